"""What a user's code may do while a run goes on: log, measure, save, stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair

from .history import Row

__all__ = ["Callback", "TensorBoard", "Training", "as_callbacks"]


class Training:
    """What a callback is told of a run, and how it stops it.

    Attributes:
        pair: the pair, in training mode; what evaluates it, as `compare` does, puts it back into that mode.
        rows: the rows of the history so far; see `pyrogen.inference.training.history.Row`.
        step: steps done.
        total: steps to do in all.
        directory: the run's directory, if it has one.
        first: whether this is the first of several processes, each of which has callbacks of its own.
        stopping: whether the run is to end after this step.
    """

    def __init__(self, pair: Pair, total: int, directory: Path | None, *, first: bool = True) -> None:
        self.pair, self.total, self.directory, self.first = pair, total, directory, first
        self.rows: list[Row] = []
        self.step = 0
        self.stopping = False

    def stop(self) -> None:
        """End the run after this step as if its steps were done: a checkpoint is written, and `Run.stopped_early` is set."""
        self.stopping = True


class Callback:
    """What is called as a run goes on; to write one, override what is of use.

    Draws of a callback do not change those of the run. It is called in each of several processes.
    """

    def on_step(self, training: Training) -> None:
        """After each step; those of a fused call (`steps_per_call`) are then taken one by one."""

    def on_row(self, training: Training, row: Row) -> None:
        """Before a row is added to the history: numbers put into it become columns of their own."""

    def on_validation(self, training: Training, value: float) -> None:
        """After a validation, with the mean estimate in nats per datum."""

    def on_checkpoint(self, training: Training, path: Path) -> None:
        """After a checkpoint was written."""

    def on_end(self, training: Training) -> None:
        """At the end of the run, whatever ended it."""


class _OnRow(Callback):
    """A function of the training and the row, as a callback."""

    def __init__(self, function: Callable[[Training, Row], Any]) -> None:
        self.function = function

    def on_row(self, training: Training, row: Row) -> None:
        self.function(training, row)


class TensorBoard(Callback):
    """Curves of the history's columns for TensorBoard, and what a subclass adds to the `writer`.

    Args:
        directory: where the event files go.

    Raises:
        ConfigurationError: tensorboard is not installed.
    """

    def __init__(self, directory: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigurationError(
                "TensorBoard curves need the package tensorboard: install pyrogen[tensorboard]"
            ) from error
        self.writer: Any = SummaryWriter(str(directory))

    def on_row(self, training: Training, row: Row) -> None:
        """See `Callback.on_row`."""
        for name, value in row.items():
            if name not in ("step", "epoch", "seconds") and value is not None:
                self.writer.add_scalar(name, value, row["step"])

    def on_end(self, training: Training) -> None:
        """See `Callback.on_end`."""
        self.writer.close()


def as_callbacks(given: Sequence[Callback | Callable[[Training, Row], Any]]) -> list[Callback]:
    """Callbacks, functions among them as such that are called with each row.

    Raises:
        ConfigurationError: one is neither.
    """
    for one in given:
        if not isinstance(one, Callback) and (isinstance(one, type) or not callable(one)):
            raise ConfigurationError(f"a callback is a Callback or a function of the training and a row, not {one!r}")
    return [one if isinstance(one, Callback) else _OnRow(one) for one in given]
