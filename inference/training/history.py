"""What a run measured as it went: rows that are kept, and written to a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["History", "Row"]

Row: TypeAlias = dict[str, Any]
"""One row of a run's history.

- ``step``: steps done; ``epoch``: passes over the data done; ``seconds``: wall time since the start, stops excluded.
- ``loss``: minus the objective, averaged over the steps since the last row, in nats per datum. Where an objective has
  several phases, a column ``loss.NAME`` for each, None where the phase was not taken since the last row.
- ``validation``: the validation estimate of log p(x), in nats per datum, or None where it was not measured.
- ``beta``: factor of the divergence at the last step; ``steps_per_second``.
- what the objective measured, averaged as the loss is; what callbacks added.
"""

_COLUMNS = ("step", "epoch", "seconds", "loss", "validation", "beta", "steps_per_second")  # of a run that has no row yet


class History:
    """Rows of a run, and the file that they go to."""

    def __init__(self, directory: Path | None) -> None:
        self.rows: list[Row] = []
        self.path = None if directory is None else directory / "history.csv"
        self._columns: list[str] = []

    def start(self, rows: list[Row]) -> None:
        """Begin a file with the rows of the part of the run that was done before."""
        self.rows = list(rows)
        self._write_all()

    def add(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)
        if set(row) - set(self._columns):
            self._write_all()
        elif self.path is not None:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def _write_all(self) -> None:
        """Write the file anew, with the columns of all rows."""
        self._columns = list(dict.fromkeys(name for row in self.rows for name in row)) or list(_COLUMNS)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("w", newline="") as file:
                writer = csv.DictWriter(file, self._columns)
                writer.writeheader()
                writer.writerows(self.rows)
