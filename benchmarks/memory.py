"""Peak memory of a million particles for each of a hundred data, against the budget that the estimator was given."""

from __future__ import annotations

import argparse
import time

import torch
from timing import ResidentMemory

from pyrogen.inference import AnnealedImportance, ImportanceSampling, compare
from pyrogen.models import VAE


def main() -> None:
    """Estimate, and print how far the resident memory grew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=int, default=100)
    parser.add_argument("--particles", type=int, default=1_000_000)
    parser.add_argument("--budget", type=int, default=512, help="MiB")
    options = parser.parse_args()
    torch.manual_seed(0)
    pair = VAE((16,), latent=2, hidden=(16,))
    x = torch.bernoulli(torch.full((options.data, 16), 0.4))
    budget = options.budget * 2**20
    compare(pair, x[:2], [ImportanceSampling(100, draws=10), AnnealedImportance(3)], device="cpu")
    for estimator in (
        AnnealedImportance(20, chains=options.particles // 1000, max_bytes=budget),
        ImportanceSampling(options.particles, max_bytes=budget),
    ):
        start = time.perf_counter()
        with ResidentMemory() as memory:
            compare(pair, x, [estimator], device="cpu")
        print(
            f"{estimator.name} of {options.data} data, {estimator.record()}: {time.perf_counter() - start:.0f} s; "
            f"resident memory grew by {memory.grown / 2**20:.0f} MiB, budget {options.budget} MiB"
        )


if __name__ == "__main__":
    main()
