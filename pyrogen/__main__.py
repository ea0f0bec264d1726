"""``python -m pyrogen``: the command line."""

from __future__ import annotations

import os
import sys

from .cli import main


def leave(status: int) -> None:
    """End the process; one of several does so without taking the interpreter down.

    All is written by then, and threads of torch's process groups now and then abort an interpreter that shuts down
    (``terminate called without an active exception``), which torchrun would report as a failure of the run.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    leave(main())
