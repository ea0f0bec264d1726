"""How the benchmarks time: peers take turns in one process, and ratios of medians are printed."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["ResidentMemory", "in_threads", "interleaved", "ratio", "run_again", "turns"]


def interleaved(peers: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """Median seconds of each peer, all taking turns, after one round that is not counted."""

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def seconds() -> float:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start

        return seconds

    found = turns({name: timed(call) for name, call in peers.items()}, rounds)
    return {name: statistics.median(values) for name, values in found.items()}


def turns(peers: Mapping[str, Callable[[], float]], rounds: int = 5, *, shuffle: bool = False) -> dict[str, list[float]]:
    """What peers that time themselves report in each round, after one round that is not counted.

    Args:
        peers: each returns its seconds.
        rounds: how often each is called.
        shuffle: whether each round has an order of its own, so that no peer always follows the same other one.
    """
    order = list(peers)
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    generator = random.Random(0)
    for number in range(rounds + 1):
        if shuffle:
            generator.shuffle(order)
        for name in order:
            value = peers[name]()
            if number:
                seconds[name].append(value)
    return seconds


def ratio(seconds: Mapping[str, Sequence[float]], peer: str, other: str) -> float:
    """Median over the rounds of the time of a peer against that of another: what slows a whole round down cancels."""
    return statistics.median(a / b for a, b in zip(seconds[peer], seconds[other], strict=True))


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
        print(f"--- {count} thread{'s' if count > 1 else ''}", flush=True)
        run_again(script, count, check=True)


def run_again(
    script: str,
    threads: int,
    arguments: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    pin: bool = False,
    check: bool = False,
) -> int:
    """Run a benchmark in a process of its own that has some number of threads, and return its exit status.

    Args:
        script: the file.
        threads: how many threads OpenMP may use; the process finds the number in ``PYROGEN_BENCHMARK_THREADS``.
        arguments: its words on the command line.
        environment: variables to set besides.
        pin: hold the process, from its first thread on, to as many cores. Without it a library that has threads of its own
            (XLA hands each call to another thread) computes on more cores than the number says.
        check: raise where the exit status is not zero.
    """
    variables = {"OMP_NUM_THREADS": str(threads), "PYROGEN_BENCHMARK_THREADS": str(threads), **(environment or {})}

    def hold() -> None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])

    finished = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, **variables},
        check=check,
        preexec_fn=hold if pin and hasattr(os, "sched_setaffinity") else None,
    )
    return finished.returncode
