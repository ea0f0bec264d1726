"""Training steps a second, side by side: pyrogen, Pyro's `SVI`, torch by hand, and NumPyro, on six workloads.

Each workload runs in a process of its own for each number of threads, held to as many cores. There

1. every peer is started on one batch with a learning rate of zero: its first call is timed, and its losses must agree with
   those of the others to five standard errors, so that all train the same model;
2. the peers take turns, in an order drawn anew for each round, and medians and medians of ratios are printed;
3. a second process starts the peers again, on the caches that the compilers of the first have left on the disk.

All have the same initial parameters and the same Adam, and gather each batch from data on the device by row numbers drawn
beforehand (`fit` draws its own, `SVI.run` always has the first batch). What is wanted is a share of another's time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from timing import ratio, run_again, turns
from training import by_hand, by_numpyro, by_pyro, by_pyrogen
from training.discrete import Discrete
from training.eight_schools import EightSchools
from training.iwae import ImportanceWeighted
from training.problem import Left, Peer, Workload
from training.vae import ConvolutionalVAE, LargeVAE, SmallVAE

WORKLOADS: dict[str, type[Workload]] = {
    workload.letter: workload
    for workload in (SmallVAE, LargeVAE, ConvolutionalVAE, ImportanceWeighted, Discrete, EightSchools)
}
LOSSES = 64
"""Draws of each peer's loss that are compared, at least."""
SECONDS = 1.0
"""How long they are drawn, at least, where the run is not a quick one."""
ROUNDING = 2e-5
"""How far losses may differ, relatively, by the order of their sums in single precision."""


@dataclass
class Started:
    """A peer that has run."""

    peer: Peer
    first_call: float
    """Seconds that the first call took beyond a later one: tracing and compiling."""
    losses: np.ndarray
    """In nats per datum."""

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    @property
    def error(self) -> float:
        """Its standard error, rounding included."""
        sampling = float(self.losses.std(ddof=1)) / len(self.losses) ** 0.5
        return float(np.hypot(sampling, ROUNDING * abs(self.loss)))


def main(words: Sequence[str] | None = None) -> int:
    """Run the workloads that are asked for; the exit status is not zero where a peer failed or trains another model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WORKLOADS), help="letters of workloads: %(default)s")
    parser.add_argument("--threads", default="1,2", help="numbers of threads: %(default)s")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each peer: %(default)s")
    parser.add_argument("--peers", default="", help="only the peers whose names begin so: 'pyrogen,Pyro SVI'")
    parser.add_argument(
        "--pin", action=argparse.BooleanOptionalAction, default=True, help="hold each process to as many cores as threads"
    )
    parser.add_argument("--device", default="cpu", help="where all run: %(default)s, or cuda")
    parser.add_argument("--quick", action="store_true", help="tiny, one round, nothing that needs a C++ compiler")
    parser.add_argument("--stage", choices=("first", "again"), help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    letters = options.only.split(",")
    if unknown := sorted(set(letters) - set(WORKLOADS)):
        parser.error(f"no workload {', '.join(unknown)}: choose from {', '.join(WORKLOADS)}")
    if options.stage:
        workload = WORKLOADS[letters[0]](options.quick)
        rounds = 1 if options.quick else options.rounds
        torch.set_num_threads(int(os.environ["PYROGEN_BENCHMARK_THREADS"]))
        return measure(workload, chosen(workload, options.peers), rounds, again=options.stage == "again")
    status = 0
    for count in map(int, options.threads.split(",")):
        for letter in letters:
            status |= processes(letter, count, options)
    return status


def processes(letter: str, threads: int, options: argparse.Namespace) -> int:
    """Run one workload, and start it once more."""
    print(f"\n=== ({letter}) {WORKLOADS[letter].title}: {threads} thread{'s' if threads > 1 else ''}", flush=True)
    words = ["--only", letter, "--rounds", str(options.rounds), "--peers", options.peers]
    words += ["--quick"] if options.quick else []
    with tempfile.TemporaryDirectory() as cache:
        variables = {
            "PYROGEN_BENCHMARK_DEVICE": options.device,
            "MKL_NUM_THREADS": str(threads),
            "PJRT_NPROC": str(threads),  # the size of XLA's pool of threads
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen={str(threads > 1).lower()}",
            "JAX_PLATFORMS": options.device,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
            "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        }
        stages = ("first",) if options.quick else ("first", "again")
        return max(run_again(__file__, threads, [*words, "--stage", s], variables, pin=options.pin) for s in stages)


def chosen(workload: Workload, names: str) -> list[Peer]:
    """The peers that are asked for."""
    found = [peer for module in (by_pyrogen, by_pyro, by_hand, by_numpyro) for peer in module.peers(workload)]
    return [
        peer
        for peer in found
        if any(peer.name.startswith(name.strip()) for name in names.split(","))
        and not (workload.quick and peer.compiler == "inductor")
    ]


def measure(workload: Workload, peers: list[Peer], rounds: int, *, again: bool) -> int:
    """Start the peers and compare their losses; then time them, or, in a second process, stop there."""
    steps = 16 if workload.quick else workload.steps
    warm_up({peer.compiler for peer in peers})
    started, failed = [], False
    for peer in peers:
        try:
            started.append(start(workload, peer, steps))
        except Left as reason:
            if not again:
                print(f"left out: {peer.name}: {reason}")
        except Exception as error:  # the other peers are still to be timed
            failed = True
            print(f"FAILED: {peer.name}: {type(error).__name__}: {error}")
    if again:
        print("first call in a second process, on the caches of the first:")
        print("; ".join(f"{one.peer.name} {one.first_call:.2f} s" for one in started if one.peer.has_first_call))
        return 0
    disagree = compare(started)
    if any(peer.compiler == "inductor" for peer in peers):
        torch._dynamo.reset()  # forgets the graphs of the runners that have just been started
    runners = {one.peer.name: one.peer.make(workload.problem(steps)) for one in started}
    seconds = turns({name: runner.seconds for name, runner in runners.items()}, rounds, shuffle=True)
    show(workload, started, seconds)
    return int(failed or disagree)


def warm_up(compilers: set[str | None]) -> None:
    """Import the compilers, which is no peer's first call."""
    if "inductor" in compilers:
        torch.compile(lambda x: x + 1)(torch.zeros(()))
    if "xla" in compilers and find_spec("numpyro") is not None:
        import jax
        import numpyro  # noqa: F401 - imported for its time alone

        jax.jit(lambda x: x + 1)(0.0)


def start(workload: Workload, peer: Peer, steps: int) -> Started:
    """Run a peer for the first time, on one batch and with a learning rate of zero."""
    begin = time.perf_counter()
    runner = peer.make(workload.problem(steps).held())
    losses = [runner.losses()]
    first = time.perf_counter() - begin
    begin = time.perf_counter()
    losses.append(runner.losses())
    first -= time.perf_counter() - begin
    seconds = 0.0 if workload.quick else SECONDS
    while sum(map(len, losses)) < LOSSES or time.perf_counter() - begin < seconds:
        losses.append(runner.losses())
    return Started(peer, first, np.concatenate(losses))


def compare(started: Sequence[Started]) -> bool:
    """Whether a loss is another than the first peer's; the losses are printed."""
    wrong = []
    for one in started:
        apart = abs(one.loss - started[0].loss) / float(np.hypot(one.error, started[0].error))
        if not apart < 5:
            wrong.append(f"{one.peer.name} ({one.loss:.4f} ± {one.error:.4f})")
    if started:
        words = f"loss of the first batch: {started[0].loss:.4f} ± {started[0].error:.4f} nats per datum"
        print(f"{words}; {'ANOTHER MODEL: ' + ', '.join(wrong) if wrong else 'all peers agree to 5 standard errors'}")
    return bool(wrong)


def show(workload: Workload, started: Sequence[Started], seconds: dict[str, list[float]]) -> None:
    """The table, and what was wanted."""
    others = [name for name in ("Pyro SVI", "torch by hand", "NumPyro jit") if name in seconds]
    heads = "".join(f" | {'/ ' + name:>15s}" for name in others)
    print(f"| {'peer':24s} | {'steps/s':>8s} | {'us a step':>9s}{heads} | first call |")
    for one in started:
        name = one.peer.name
        median = statistics.median(seconds[name])
        ratios = "".join(f" | {ratio(seconds, name, other):15.3g}" for other in others)
        first = f"{one.first_call:8.2f} s" if one.peer.has_first_call else ""
        print(f"| {name:24s} | {1 / median:8.0f} | {median * 1e6:9.0f}{ratios} | {first:>10s} |")
    if workload.note:
        print(workload.note)
    for wanted in workload.wanted:
        if wanted.peer in seconds and wanted.other in seconds:
            value = ratio(seconds, wanted.peer, wanted.other)
            words = f"(wanted: at most {wanted.at_most:.3g}): {'met' if value <= wanted.at_most else 'NOT MET'}"
            print(f"{wanted.peer} takes {value:.3g} of the time of {wanted.other} {words}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
