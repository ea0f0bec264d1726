"""Run all benchmarks, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Run those whose data are at hand."""
    for script in ("svi.py", "coverage.py", "importance.py"):
        if script == "importance.py" and "PYROGEN_MNIST" not in os.environ:
            print(f"=== {script}: left out, for PYROGEN_MNIST names no folder with the MNIST files")
            continue
        print(f"=== {script}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(script))], check=True)


if __name__ == "__main__":
    main()
