"""Data a second of two processes against one: `fit` of one pair, each process held to one core of its own.

Gradients are averaged over gloo once a step. The work is bound by computing: a convolutional VAE (few parameters, much
arithmetic), and an MLP of 784-400-20 at a large batch. Each process takes batches of the same length, so that two processes
do twice the work a step; a ratio of 2 is perfect. One and two processes take turns, and the ratio is the median over the
turns. Two processes that know nothing of each other run, too: what the machine gives to two at once (its memory, its cores
if they are halves of one, other programs) is no loss of the averaging.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time

ROUNDS, STEPS, WARMUP = 5, 30, 5
WORKLOADS = {
    "convolutional VAE 1x28x28, batch 64": ("conv", 64),
    "VAE 784-400-20, batch 512": ("mlp", 512),
}


def work(architecture: str, batch_size: int, steps: int, warmup: int) -> None:
    """Fit, and print the seconds a step after the first few."""
    import torch

    from pyrogen.inference import fit
    from pyrogen.models import VAE

    rank = int(os.environ.get("RANK", "0"))
    torch.set_num_threads(1)
    x = torch.bernoulli(torch.rand(batch_size * 8, 784, generator=torch.Generator().manual_seed(0)))
    pair = VAE((1, 28, 28), latent=20, hidden=(400,), architecture="conv" if architecture == "conv" else "mlp")
    options = {"batch_size": batch_size, "device": "cpu", "progress": False, "log_every": 10**6}
    starts: list[float] = []

    def count(module: torch.nn.Module, *_: object) -> None:
        if module.training:
            starts.append(time.perf_counter())

    pair.likelihood.register_forward_hook(count)
    fit(pair, x, steps=warmup + steps, **options)  # type: ignore[arg-type]
    if rank == 0 or "WORLD_SIZE" not in os.environ:
        print((starts[-1] - starts[-steps]) / (steps - 1), flush=True)
    os._exit(0)  # an interpreter with threads of a process group may abort as it shuts down


def measure(words: list[str], size: int, cores: list[int], *, together: bool = True) -> float:
    """Seconds a step of so many processes, of one group or each for itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if size > 1 and together:
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", *words],
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda core=cores[rank]: os.sched_setaffinity(0, [core]),
        )
        for rank in range(size)
    ]
    said = [process.communicate()[0] for process in started]
    for process in started:
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
    return statistics.mean(float(text) for text in said if text)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--work", nargs=4, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        architecture, *numbers = options.work
        work(architecture, *map(int, numbers))
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("two processes need two cores")
    for title, (architecture, batch_size) in WORKLOADS.items():
        words = [architecture, str(batch_size), str(options.steps), str(WARMUP)]
        found: dict[str, list[float]] = {"alone": [], "apart": [], "together": []}
        for _ in range(options.rounds):
            found["alone"].append(measure(words, 1, cores))
            found["apart"].append(measure(words, 2, cores, together=False))
            found["together"].append(measure(words, 2, cores))
        print(title)
        for name, seconds in found.items():
            ratios = [2 * one / two for one, two in zip(found["alone"], seconds, strict=True)]
            gain = f"{statistics.median(ratios):.2f} times the data a second ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"  {name:8s} {statistics.median(seconds) * 1e3:7.1f} ms a step{'' if name == 'alone' else ', ' + gain}")
        lost = statistics.median(a / b for a, b in zip(found["apart"], found["together"], strict=True))
        print(f"  together against apart: {lost:.2f}", flush=True)


if __name__ == "__main__":
    main()
