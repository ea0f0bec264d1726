"""A batch as a flat list of tensors, as a recorded graph takes it, and what of a batch a graph holds for good."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from torch import Tensor

from pyrogen.batch import Batch, arguments
from pyrogen.errors import DataError

__all__ = ["BatchLayout", "fixed_part"]


class BatchLayout:
    """Where the tensors of a batch lie in a list; everything else in the batch is kept as it is.

    Args:
        batch: a batch like those to come.

    Example:
        >>> import torch
        >>> layout = BatchLayout({"x": torch.zeros(2), "name": "digits"})
        >>> layout.unpack(layout.pack({"x": torch.ones(2), "name": "digits"}))
        {'x': tensor([1., 1.]), 'name': 'digits'}
    """

    def __init__(self, batch: Batch) -> None:
        args, kwargs = arguments(batch)
        entries: dict[int | str, Any] = dict(enumerate(args))
        entries.update(kwargs)
        self.kind: type = type(batch) if isinstance(batch, Tensor | Mapping) else tuple
        self.fixed = {place: value for place, value in entries.items() if not isinstance(value, Tensor)}
        self.places = [place for place in entries if place not in self.fixed]

    def pack(self, batch: Batch) -> list[Tensor]:
        """The tensors of a batch, in order."""
        return [batch] if isinstance(batch, Tensor) else [batch[place] for place in self.places]  # type: ignore[index]

    def unpack(self, tensors: Sequence[Tensor]) -> Batch:
        """The batch that those tensors are."""
        whole = {**dict(zip(self.places, tensors, strict=True)), **self.fixed}
        if issubclass(self.kind, Mapping):
            return {str(name): whole[name] for name in whole}
        values = tuple(whole[place] for place in sorted(whole))
        return values[0] if issubclass(self.kind, Tensor) else values


def fixed_part(batch: Batch) -> Hashable:
    """What of a batch a graph takes in for good: where its tensors lie, and the values of all that is no tensor.

    Raises:
        DataError: an entry cannot be told from another one.
    """
    if isinstance(batch, Tensor):
        return None
    args, kwargs = arguments(batch)
    entries: list[tuple[int | str, Any]] = [*enumerate(args), *sorted(kwargs.items())]
    return tuple((place, None if isinstance(v, Tensor) else (type(v), _frozen(v, place))) for place, v in entries)


def _frozen(value: Any, place: int | str) -> Hashable:
    if isinstance(value, list | tuple):
        return tuple((type(part), _frozen(part, place)) for part in value)
    if isinstance(value, Mapping):
        return tuple((name, type(part), _frozen(part, place)) for name, part in value.items())
    if not isinstance(value, Tensor):
        if hasattr(value, "tobytes") and hasattr(value, "shape"):  # an array of numpy's
            return str(value.dtype), tuple(value.shape), value.tobytes()
        try:
            hash(value)
        except TypeError:
            pass
        else:
            return value  # type: ignore[no-any-return]
    raise DataError(
        f"entry {place!r} of a batch is or holds a {type(value).__name__}, by whose value no recorded graph can be chosen: "
        "make tensors entries of their own, pass numbers, strings and tuples of them, or use compile=False"
    )
