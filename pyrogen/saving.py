"""Files that are replaced at once or not at all, so that no reader ever meets half of one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replace_file"]


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """A temporary file to write in place of `path`: on leaving the block it is flushed to the disk and renamed.

    It lies in the same folder under a hidden name that ends as that of `path` does (libraries choose a format by it). After
    an error, in the block or while renaming, it is removed, and `path` is what it was.

    The folder must be there. Close the file before the block ends.

    Raises:
        OSError: the file can't be written or renamed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with replace_file(Path(folder, "notes.txt")) as temporary:
        ...         _ = temporary.write_text("complete")
        ...     Path(folder, "notes.txt").read_text()
        'complete'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
