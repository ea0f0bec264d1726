"""Files and folders that have to be there before anything can be read."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ..errors import DataError

__all__ = ["existing_file", "existing_folder", "file_bytes"]

_GZIP_MAGIC = b"\x1f\x8b"


def existing_file(location: str | Path) -> Path:
    """The path of a file that exists and isn't empty; `~` stands for the home folder.

    Raises:
        DataError: if there is nothing, or a folder, or an empty file.

    Example:
        >>> existing_file("nowhere.csv")
        Traceback (most recent call last):
        ...
        pyrogen.errors.DataError: nowhere.csv: no such file: check the path (the working folder is ...)
    """
    path = Path(location).expanduser()
    if path.is_dir():
        raise DataError(f"{path}: a folder where a file was expected: name the file in it")
    if not path.is_file():
        raise DataError(f"{path}: no such file: check the path (the working folder is {Path.cwd()})")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: an empty file: fetch or write it again")
    return path


def existing_folder(location: str | Path) -> Path:
    """The path of a folder that exists; `~` stands for the home folder.

    Raises:
        DataError: if there is nothing, or a file.

    Example:
        >>> existing_folder(".").name
        ''
    """
    path = Path(location).expanduser()
    if path.is_file():
        raise DataError(f"{path}: a file where a folder was expected: name the folder")
    if not path.is_dir():
        raise DataError(f"{path}: no such folder: check the path (the working folder is {Path.cwd()})")
    return path


def file_bytes(path: Path) -> bytes:
    """What an existing file holds, unpacked if it is gzipped, whatever its name says.

    Raises:
        DataError: if it is gzipped and damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "numbers")
        ...     _ = path.write_bytes(gzip.compress(b"123"))
        ...     file_bytes(path)
        b'123'
    """
    raw = path.read_bytes()
    if not raw.startswith(_GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise DataError(f"{path}: the gzip file ends too early, at byte {len(raw)}: fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: a damaged gzip file ({error}): fetch it again") from error
