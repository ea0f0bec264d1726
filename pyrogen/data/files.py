"""Files and folders that have to be there before anything can be read."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from ..errors import DataError

__all__ = ["existing_file", "existing_folder", "file_bytes"]


def existing_file(location: str | Path) -> Path:
    """The path of a file that exists and isn't empty; `~` stands for the home folder.

    Raises:
        DataError: if there is nothing, or a folder, or an empty file.
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
    """
    raw = path.read_bytes()
    if not raw.startswith(b"\x1f\x8b"):  # how every gzip file begins
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise DataError(f"{path}: the gzip file ends too early, at byte {len(raw)}: fetch it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: a damaged gzip file ({error}): fetch it again") from error
