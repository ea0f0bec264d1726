"""A study's result as files: one of plain values, that people and the report read, and ArviZ's of the draws."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError, DataError

from ..estimators.result_files import read_record, write_netcdf, write_record

__all__ = ["SavedResult", "named", "plain", "restored"]

T = TypeVar("T")
R = TypeVar("R", bound="SavedResult")


class SavedResult(ABC):
    """A result that is saved into a directory and read from it again.

    To write one, name its `file`, and implement `record` and `_of`; where there are draws, `_draws` too.
    """

    file: ClassVar[str]
    """Name of the file of plain values."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """All of it but posterior draws, as plain values with a ``version``; what is saved, printed and drawn."""

    @classmethod
    @abstractmethod
    def _of(cls: type[R], record: dict[str, Any], directory: Path) -> R:
        """The result that a record was made of; draws are read from the directory."""

    def _draws(self) -> dict[str, Any]:
        """The draws as ``arviz.InferenceData``, by the names of their files."""
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


def plain(value: Any) -> Any:
    """A value as JSON holds it: tensors and tuples as lists, dataclasses and mappings as objects.

    Example:
        >>> plain({"a": torch.zeros(2), "b": ("c", None)})
        {'a': [0.0, 0.0], 'b': ['c', None]}
    """
    if isinstance(value, Tensor):
        return value.tolist()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
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
    for field in fields(kind):  # type: ignore[arg-type]
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if field.name in others or (optional and field.name not in record):
            continue
        value, annotation = record[field.name], str(field.type)
        if "Mapping[str, Tensor]" in annotation:
            value = {name: _tensor(values) for name, values in value.items()}
        elif "Tensor" in annotation and value is not None:
            value = _tensor(value)
        elif annotation.startswith("tuple"):
            value = tuple(value)
        found[field.name] = value
    return kind(**found, **others)


def _tensor(values: list[Any]) -> Tensor:
    return torch.tensor(values, dtype=torch.bool if values and isinstance(values[0], bool) else torch.float64)
