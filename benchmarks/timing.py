"""How the benchmarks time: peers take turns in one process, and ratios of medians are printed."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["ResidentMemory", "in_threads", "interleaved"]


def interleaved(peers: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Median seconds of each peer, all taking turns, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for number in range(rounds + 1):
        for name, call in peers.items():
            start = time.perf_counter()
            call()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


class ResidentMemory:
    """How much the resident memory of this process grows while a block runs, looked at every few milliseconds."""

    def __enter__(self) -> ResidentMemory:
        self.before = self.peak = self.now()
        self.done = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.watcher.join()

    @property
    def grown(self) -> int:
        """Bytes at the peak, above those at the start."""
        return self.peak - self.before

    @staticmethod
    def now() -> int:
        """Bytes that are resident now."""
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def watch(self) -> None:
        """Look until the block is done."""
        while not self.done.wait(0.002):
            self.peak = max(self.peak, self.now())


def in_threads(script: str, counts: tuple[int, ...] = (1, 2)) -> None:
    """Run a benchmark again in processes of their own, one for each number of threads."""
    for count in counts:
        environment = {**os.environ, "OMP_NUM_THREADS": str(count), "PYROGEN_BENCHMARK_THREADS": str(count)}
        print(f"--- {count} thread{'s' if count > 1 else ''}", flush=True)
        subprocess.run([sys.executable, script], env=environment, check=True)
