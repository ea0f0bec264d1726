"""The benchmark of drawing from a PixelCNN runs small, and its network by hand is the same one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_it_runs_small():
    done = subprocess.run(
        [sys.executable, "sampling.py", "--quick"],
        cwd=BENCHMARKS,
        env={**os.environ, "PYROGEN_BENCHMARK_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "6x6, 2 at once: 0 of 72 pixels differ" in done.stdout
    assert "e-08" in done.stdout or "e-07" in done.stdout
    assert "log_prob and its gradient" in done.stdout
