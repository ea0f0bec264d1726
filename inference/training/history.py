"""What a run measured as it went: rows that are kept, written to a CSV file and, if wished, to TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, TypedDict

from pyrogen.errors import ConfigurationError

__all__ = ["History", "Row"]


class Row(TypedDict):
    """One row of a run's history."""

    step: int
    """Steps done."""
    epoch: float
    """Passes over the data done."""
    seconds: float
    """Wall time since the start of the run, stops excluded."""
    loss: float
    """Minus the objective, averaged over the steps since the last row, in nats per datum."""
    validation: float | None
    """The validation estimate of log p(x), in nats per datum, where it was measured."""
    beta: float
    """Factor of the divergence at the last step."""
    steps_per_second: float


class History:
    """Rows of a run, and the files that they go to."""

    def __init__(self, directory: Path | None, *, tensorboard: bool = False) -> None:
        self.rows: list[Row] = []
        self.path = None if directory is None else directory / "history.csv"
        self._writer: Any = None
        if tensorboard:
            if directory is None:
                raise ConfigurationError("tensorboard=True needs a directory to write to")
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError as error:
                raise ConfigurationError(
                    "tensorboard=True needs the package tensorboard: install pyrogen[tensorboard]"
                ) from error
            self._writer = SummaryWriter(str(directory / "tensorboard"))

    def start(self, rows: list[Row]) -> None:
        """Begin a file with the rows of the part of the run that was done before."""
        self.rows = list(rows)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(Row.__annotations__))
                writer.writeheader()
                writer.writerows(self.rows)

    def add(self, row: Row) -> None:
        """Add a row to all places."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, list(Row.__annotations__)).writerow(row)
        if self._writer is not None:
            for name in ("loss", "validation", "beta", "steps_per_second"):
                value = row[name]
                if value is not None:
                    self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush what is buffered."""
        if self._writer is not None:
            self._writer.close()
