"""Seconds that `check` takes on a VAE of MNIST's size: the first call in a process, and later ones."""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from pyrogen import check
from pyrogen.models import VAE


def main() -> None:
    """Check a few times, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="calls after the first")
    options = parser.parse_args()
    torch.manual_seed(0)
    pair, x = VAE((1, 28, 28), latent=20, hidden=(400,)), torch.bernoulli(torch.full((128, 784), 0.3))
    seconds = []
    for _ in range(1 + options.rounds):
        start = time.perf_counter()
        report = check(pair, x)
        seconds.append(time.perf_counter() - start)
    later = statistics.median(seconds[1:]) if options.rounds else float("nan")
    print(f"first call {seconds[0]:.2f} s, later ones {later:.2f} s (wanted: under 5); findings: {report.codes() or 'none'}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
