"""What one of several processes says: nothing that the first one says, too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrogen.processes import Processes

__all__ = ["quiet_unless_first"]

_SECONDS = 1.0  # for the first process to print: torchrun ends all of them once one has ended


@contextmanager
def quiet_unless_first(processes: Processes) -> Iterator[None]:
    """End without a word, but not with success, where the first process has met and will print the same error.

    Raises:
        SystemExit: in place of such an error.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if processes.told_by_first(error):
            time.sleep(_SECONDS)
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 2) from error
        raise
