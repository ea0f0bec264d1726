"""The benchmark of frontiers runs, and prints what it says it does."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_it_prints_prices_beside_gains(monkeypatch, capsys):
    words = ["--epochs", "1", "--trainings", "1", "--rounds", "1", "--hidden", "10", "--features", "2"]
    monkeypatch.setattr(sys, "argv", ["frontiers.py", *words])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    runpy.run_path(str(BENCHMARKS / "frontiers.py"), run_name="__main__")
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.startswith("| M") or "masked" in line]
    table = {(cells[1].strip(), cells[2].strip()): cells[3:7] for cells in lines}
    assert {key: int(cells[0]) for key, cells in table.items() if key[0] == "MADE"} == {
        ("MADE", "raster"): 64,
        ("MADE", "random"): 64,
        ("MADE", "slope 2"): 22,
        ("MADE", "diagonal"): 15,
        ("MADE", "coarse to fine, 1 level"): 19,
        ("MADE", "coarse to fine, 2 levels"): 10,
        ("MADE", "all at once"): 1,
    }
    # The same masks and the same seed make the same network: what is drawn in fewer steps costs nothing.
    assert table["masked CNN", "slope 3, the masks of raster"][2].split("±")[0].strip() == "+0.000"
