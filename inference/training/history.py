"""What a run measured as it went: rows that are kept, written to a CSV file and, if wished, to TensorBoard."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, TypeAlias

from pyrogen.errors import ConfigurationError

__all__ = ["History", "Row"]

Row: TypeAlias = dict[str, Any]
"""One row of a run's history.

- ``step``: steps done; ``epoch``: passes over the data done; ``seconds``: wall time since the start, stops excluded.
- ``loss``: minus the objective, averaged over the steps since the last row, in nats per datum. Where an objective has
  several phases, a column ``loss.NAME`` for each, None where the phase was not taken since the last row.
- ``validation``: the validation estimate of log p(x), in nats per datum, or None where it was not measured.
- ``beta``: factor of the divergence at the last step; ``steps_per_second``.
- what the objective measured, averaged as the loss is.
"""

_PLACES = ("step", "epoch", "seconds")  # of these TensorBoard has no curve
_COLUMNS = (*_PLACES, "loss", "validation", "beta", "steps_per_second")  # of a run that has no row yet


class History:
    """Rows of a run, and the files that they go to."""

    def __init__(self, directory: Path | None, *, tensorboard: bool = False) -> None:
        self.rows: list[Row] = []
        self.path = None if directory is None else directory / "history.csv"
        self._columns: list[str] = []
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
        self._write_all()

    def add(self, row: Row) -> None:
        """Add a row to all places."""
        self.rows.append(row)
        if set(row) - set(self._columns):
            self._write_all()
        elif self.path is not None:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        if self._writer is not None:
            for name, value in row.items():
                if name not in _PLACES and value is not None:
                    self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Flush what is buffered."""
        if self._writer is not None:
            self._writer.close()

    def _write_all(self) -> None:
        """Write the file anew, with the columns of all rows."""
        self._columns = list(dict.fromkeys(name for row in self.rows for name in row)) or list(_COLUMNS)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(self.rows)
