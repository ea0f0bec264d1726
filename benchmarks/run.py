"""Run all benchmarks, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ON_MNIST = ("importance.py", "mnist_visible.py")
_SCRIPTS = (
    "svi.py",
    "processes.py",
    "coverage.py",
    "sampling.py",
    "sampling_transformer.py",
    "frontiers.py",
    *_ON_MNIST,
)


def main() -> None:
    """Run those whose data are at hand."""
    for script in _SCRIPTS:
        if script in _ON_MNIST and "PYROGEN_MNIST" not in os.environ:
            print(f"=== {script}: left out, for PYROGEN_MNIST names no folder with the MNIST files")
            continue
        print(f"=== {script}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(script))], check=True)


if __name__ == "__main__":
    main()
