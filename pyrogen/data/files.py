"""Files and folders that have to be there before anything can be read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import DataError

__all__ = ["MOST_INFLATION", "existing_file", "existing_folder", "require_memory"]

MOST_INFLATION = 1100
"""Bytes that deflate makes of one, at most: 1,032, and some for headers."""


def existing_file(location: str | Path) -> Path:
    """The path of a file that exists and isn't empty; `~` stands for the home folder.

    Raises:
        DataError: if there is nothing, or a folder, or an empty file.
    """
    path = Path(location).expanduser()
    if _is(path, "dir"):
        raise DataError(f"{path}: a folder where a file was expected: name the file in it")
    if not _is(path, "file"):
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
    if _is(path, "file"):
        raise DataError(f"{path}: a file where a folder was expected: name the folder")
    if not _is(path, "dir"):
        raise DataError(f"{path}: no such folder: check the path (the working folder is {Path.cwd()})")
    return path


def require_memory(where: object, size: int) -> None:
    """Refuse what claims to be larger than the machine's memory, before any of it is read.

    Raises:
        DataError: with both sizes.
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else sys.maxsize
    if size > memory:
        raise DataError(f"{where}: claims {size:,} bytes, and this machine has {memory:,} bytes of memory: fetch it again")


def _is(path: Path, kind: str) -> bool:
    """Whether a path is a "file" or a "dir"; one that is too long is neither."""
    try:
        return bool(getattr(path, f"is_{kind}")())
    except OSError:
        return False
