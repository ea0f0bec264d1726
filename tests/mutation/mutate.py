"""Put the faults of `faults.py` into a copy of the repository, one at a time, and run the tests that belong to each.

Run by hand: ``python tests/mutation/mutate.py [WORDS] [--workers N]``. With words, only the faults whose title has them.
A fault that lets its tests pass is printed as ``LIVES``; then the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue

sys.path.insert(0, str(Path(__file__).parent))

from faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]


def copy_of_repository(folder: Path) -> Path:
    """A copy whose tests import the copy: the wings lie where an import in this folder looks for them."""
    for name in ("pyrogen", "models", "inference", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for wing in ("models", "inference"):
        (folder / "pyrogen" / wing).symlink_to(folder / wing)
    return folder


def tests_pass(folder: Path, tests: str) -> bool:
    """Whether the tests that belong to a fault pass in a copy."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise RuntimeError(
            f"pytest ended with {done.returncode}: {' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.returncode == 0


def lives(fault: Fault, copies: Queue[Path]) -> bool:
    """Whether no test sees a fault."""
    folder = copies.get()
    path = folder / fault.path
    source = path.read_text()
    try:
        path.write_text(source.replace(fault.right, fault.wrong))
        return tests_pass(folder, fault.tests)
    finally:
        path.write_text(source)
        copies.put(folder)


def main() -> int:
    """Print what becomes of each fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="?", default="", help="only faults whose title or path has these words")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if options.words in f"{fault.title} {fault.path}"]
    copies: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as folder:
        for worker in range(options.workers):
            copies.put(copy_of_repository(Path(folder) / str(worker)))
        with ThreadPoolExecutor(options.workers) as pool:
            alive = 0
            for fault, alone in zip(chosen, pool.map(lambda fault: lives(fault, copies), chosen), strict=True):
                alive += alone
                print("LIVES " if alone else "caught", fault.path, "|", fault.title, flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} caught")
    return int(alive > 0)


if __name__ == "__main__":
    sys.exit(main())
