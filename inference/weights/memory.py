"""How much memory a run of a pair takes, and how many rows fit a budget.

Axes: particles, data. A row is one particle of one datum, or all particles of one datum where they run together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from pyrogen.batch import Batch, index, length
from pyrogen.errors import ConfigurationError
from pyrogen.programs.structure import Structure
from pyrogen.randomness import forked

__all__ = ["DEFAULT_MAX_BYTES", "AllocationCounter", "bytes_per_row", "evenly", "first_data", "rows_that_fit"]

DEFAULT_MAX_BYTES = 512 * 2**20


class AllocationCounter(TorchFunctionMode):
    """Counts the bytes of all tensors that calls of torch make anew, as if none were freed: more than are held at once.

    (A dispatch mode would see temporaries inside such calls, too, but loads torch's compiler, which takes seconds.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = {leaf.untyped_storage().data_ptr() for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage().data_ptr() not in inputs:
                self.bytes += leaf.numel() * leaf.element_size()
        return result


def first_data(batch: Batch, structure: Structure) -> Batch:
    """The fewest data that tell what a pair does with many: two of them, or all where it runs on a whole batch only."""
    return index(batch, slice(2)) if structure.amortized and length(batch) > 2 else batch


def bytes_per_row(batch: Batch, structure: Structure, particles: int, run: Callable[[Batch], object]) -> float:
    """Bytes that `run`, of so many particles, allocates in all for each of a datum; no random number is used up."""
    few = first_data(batch, structure)
    with forked(batch), AllocationCounter() as counter:
        run(few)
    return max(float(counter.bytes) / (length(few) * particles), 1.0)


def rows_that_fit(each: float, max_bytes: int, *, least: int = 1, what: str) -> int:
    """How many rows of `each` bytes fit a budget; `what` says for the message what a row is, of one datum.

    Raises:
        ConfigurationError: not even the least number of rows fits.
    """
    found = int(max_bytes // each)
    if found < least:
        raise ConfigurationError(
            f"{what} of {'one datum' if least == 1 else f'{least} data'}: about {each * least:,.0f} bytes, more than "
            f"max_bytes={max_bytes:,}: use fewer particles, or more memory"
        )
    return found


def evenly(rows: int, most: int) -> int:
    """The size of parts, of at most so many rows, that are as even as can be.

    Example:
        >>> evenly(10, 6)
        5
    """
    return -(-rows // -(-rows // most))
