"""A study's result as files: one of plain values, that people and the report read, and ArviZ's of the draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments, length
from pyrogen.errors import ConfigurationError, DataError

from ..estimators.result_files import read_record, write_netcdf, write_record

__all__ = ["SavedResult", "description", "named", "plain", "restored"]

T = TypeVar("T")
R = TypeVar("R", bound="SavedResult")


@dataclass(frozen=True)
class SavedResult:
    """A result that is saved into a directory and read from it again.

    To write one, name its `file`; where its fields are more than `plain` and `restored` know, or there are draws, override
    `record`, `_of` and `_draws` too.

    Attributes:
        parameters: fingerprint of the pair's parameters, see `pyrogen.run_directory.fingerprint`.
    """

    parameters: str | None = field(default=None, kw_only=True)

    file: ClassVar[str]
    """Name of the file of plain values."""

    def record(self) -> dict[str, Any]:
        """All of it but posterior draws, as plain values; what is saved, printed and drawn."""
        return {"version": 1, **plain(self)}

    @classmethod
    def _of(cls: type[R], record: dict[str, Any], directory: Path) -> R:
        """The result that a record was made of; draws are read from the directory."""
        return restored(cls, record)

    def _draws(self) -> dict[str, Any]:
        """The draws as ArviZ holds them, by the names of their files."""
        return {}

    def save(self, directory: str | Path) -> Path:
        """Write the result into a directory, which is made if it is not there: see the class for its files."""
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        for name, draws in self._draws().items():
            write_netcdf(path / name, draws)
        return write_record(path, self.file, self.record())  # last: it stands for a whole result

    @classmethod
    def load(cls: type[R], directory: str | Path) -> R:
        """Read what `save` wrote.

        Raises:
            DataError: a file is missing or damaged.
        """
        record = read_record(directory, cls.file)
        try:
            return cls._of(record, Path(directory))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{Path(directory) / cls.file} is damaged ({error!r}): save it again") from error


def named(parts: Sequence[T], name: str, what: str) -> T:
    """The part of a result that has a name, such as an estimate.

    Raises:
        ConfigurationError: none has it.
    """
    names = [getattr(part, "name") for part in parts]  # noqa: B009 (a Protocol would not admit frozen dataclasses)
    if name not in names:
        raise ConfigurationError(f"no {what} is called {name!r}; there are {names}")
    return parts[names.index(name)]


def description(data: Any, batch: Batch) -> dict[str, Any]:
    """What a saved result says of its data, and of them as a batch: at least `name`, `rows`, `dimensions` and `binarize`.

    Example:
        >>> description(None, torch.zeros(3, 4))
        {'name': 'batch', 'rows': 3, 'dimensions': 4, 'binarize': 'as given'}
    """
    if hasattr(data, "describe"):
        return dict(data.describe())
    args, kwargs = arguments(batch)
    first = next(value for value in (*args, *kwargs.values()) if isinstance(value, Tensor))
    return {"name": "batch", "rows": length(batch), "dimensions": first[0].numel(), "binarize": "as given"}


def plain(value: Any, without: Collection[str] = ()) -> Any:
    """A value as JSON holds it: tensors and tuples as lists, dataclasses, named tuples and mappings as objects.

    Fields of the value itself can be left out, such as posterior draws, which have files of their own.

    Example:
        >>> plain({"a": torch.zeros(2), "b": ("c", None)})
        {'a': [0.0, 0.0], 'b': ['c', None]}
    """
    if isinstance(value, Tensor):
        return value.tolist()
    if is_dataclass(value):
        value = {one.name: getattr(value, one.name) for one in fields(value)}
    elif hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items() if name not in without}
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def restored(kind: type[T], record: Mapping[str, Any], **others: Any) -> T:
    """A dataclass of what `plain` made of it: tensors, in double precision or of truth values, and tuples are made again.

    Args:
        kind: the dataclass.
        record: plain values by field; others are passed over, and fields with a default may be missing.
        others: fields that are given as they are.

    Raises:
        KeyError: a field is missing.

    Example:
        >>> from pyrogen.inference import Bracket
        >>> restored(Bracket, plain(Bracket(5, *torch.zeros(3, 2).double(), 10, 1.0))).upper
        tensor([0., 0.], dtype=torch.float64)
    """
    found = {}
    for one in fields(kind):  # type: ignore[arg-type]
        optional = one.default is not MISSING or one.default_factory is not MISSING
        if one.name in others or (optional and one.name not in record):
            continue
        value, annotation = record[one.name], str(one.type)
        if "Mapping[str, Tensor]" in annotation:
            value = {name: _tensor(values) for name, values in value.items()}
        elif "Tensor" in annotation and value is not None:
            value = _tensor(value)
        elif annotation.startswith("tuple"):
            value = tuple(value)
        found[one.name] = value
    return kind(**found, **others)


def _tensor(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.bool if values and isinstance(values[0], bool) else torch.float64, device="cpu")
