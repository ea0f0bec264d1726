"""What is on a simulated CUDA device, and what a run on it shows: mixed devices, values that the host waits for.

A tensor is known by its storage, which its views share.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from pyrogen.programs.source_lines import WATCHERS, program_line

__all__ = ["DeviceMix", "HostRead", "Origin", "SimulatedCuda"]

_VALIDATION = tuple(
    str(Path(torch.distributions.__file__).parent / f"{name}.py") for name in ("distribution", "constraints")
)


@dataclass(frozen=True)
class Origin:
    """Where a tensor on the CPU comes from."""

    line: str | None
    """The line that made it; None if it was there before the run."""
    tensor: Tensor | None = None
    """The tensor itself, if it was there before the run."""
    used: str | None = None
    """The line that first used it, if it was there before the run."""


@dataclass(frozen=True)
class DeviceMix:
    """An operation on tensors of two devices, which raises on a GPU."""

    operation: str
    line: str | None
    origin: Origin
    """Where the operand on the CPU comes from."""
    shape: tuple[int, ...]
    """Shape of the operand on the CPU."""


@dataclass(frozen=True)
class HostRead:
    """A value of the device that the host waits for."""

    call: str
    line: str | None
    shapes: bool = False
    """Whether the shape of a result depends on it."""
    refused: bool = False
    """Whether torch raises there for a tensor on a GPU."""


@dataclass
class SimulatedCuda:
    """A CUDA device that is simulated: which tensors are on it, and what a run under `simulate` shows."""

    expected: list[tuple[Any, ...]] | None = None
    """The operations of another run, to be compared with."""
    mixes: list[DeviceMix] = field(default_factory=list)
    reads: list[HostRead] = field(default_factory=list)
    operations: list[tuple[Any, ...]] = field(default_factory=list)
    """Name and shapes of the results of each operation, in order."""
    first_difference: tuple[str, str | None] | None = None
    """The first operation that is not the expected one, and its line."""

    call: str = ""
    """Name of the torch function that is running."""
    inside: bool = False
    """Whether a function of a tensor on the device is running, so that torch makes new tensors there, too."""
    quiet: bool = False
    """Whether operations are not to be watched."""
    checked: bool = False
    """Whether a function is running that reads values on the CPU alone, to check them."""

    def __post_init__(self) -> None:
        # For each storage a weak reference, which keeps its number from being used again; origin None: on the device.
        self._storages: dict[int, tuple[StorageWeakRef, Origin | None]] = {}

    def place(self, tensors: Iterable[Tensor], origin: Origin | None = None) -> None:
        """Place tensors on the device or, with an origin, on the CPU."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = StorageWeakRef(storage), origin  # type: ignore[no-untyped-call]

    def origin(self, tensor: Tensor) -> Origin | None:
        """Return where a tensor on the CPU comes from; None for one on the device."""
        key = tensor.untyped_storage()._cdata
        return self._storages[key][1] if key in self._storages else Origin(None, tensor)

    def origin_in_use(self, tensor: Tensor) -> Origin | None:
        """Return the origin of a tensor that the program uses now, and record its line if the tensor is new."""
        if tensor.untyped_storage()._cdata not in self._storages:
            self.place([tensor], Origin(None, tensor, program_line()))
        return self.origin(tensor)

    def has(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is on the device."""
        return self.origin(tensor) is None

    def read(self, call: str, *, shapes: bool = False, refused: bool = False) -> None:
        """Record that the host waits for a value, unless a distribution validates its arguments."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(WATCHERS):
            frame = frame.f_back
        if not (self.checked or frame.f_code.co_filename.startswith(_VALIDATION)):
            self.reads.append(HostRead(call, program_line(), shapes, refused))
