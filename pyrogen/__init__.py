"""pyrogen: deep generative models as Pyro model/guide pairs, and how far their answers are from the truth.

`Pair` and `check` are here; datasets are in `pyrogen.data`, the zoo in `pyrogen.models`, training and evaluation in
`pyrogen.inference`, tables and pages in `pyrogen.report`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = ["Pair", "__version__", "check"]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .checks import check
    from .pair import Pair
else:
    # `Pair` is imported when it is asked for (PEP 562), so that a command's help need not wait for torch. Type checkers
    # don't see these two functions: to them a name that isn't there stays an error.
    def __getattr__(name: str) -> object:
        module = {"Pair": "pair", "check": "checks"}.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found: object = getattr(import_module(f".{module}", __name__), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
