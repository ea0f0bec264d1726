"""Importance sampling of 100 digits with 5,000 particles each: pyrogen, a hand-written torch loop, and Pyro's Importance.

All on one pair, 784-400-20 with a Bernoulli likelihood. Pyro's `Importance` runs one particle of one datum at a time; it is
timed on a few digits and particles, and its time is scaled to the whole task. The loop by hand has the chunks of pyrogen.
"""

from __future__ import annotations

import os

import pyro
import torch
import torch.nn.functional as F
from timing import ResidentMemory, in_threads, interleaved
from torch import Tensor
from torch.distributions import Normal
from training.problem import DEVICE

from pyrogen.data import load
from pyrogen.inference import ImportanceSampling, compare
from pyrogen.models import VAE

DIGITS, PARTICLES = 100, 5000
PYRO_DIGITS, PYRO_PARTICLES = 4, 100
MAX_BYTES = 64 * 2**20


@torch.no_grad()
def by_hand(pair: VAE, x: Tensor, data: int = 4) -> Tensor:
    """Log weights (particles, data), with nothing but torch; the encoder runs once for each datum."""
    found, particles = [], 256 * torch.get_num_threads()
    for start in range(0, len(x), data):
        part, weights = x[start : start + data], []
        loc, raw = pair.encoder.net(part).chunk(2, -1)
        scale = F.softplus(raw) + 1e-4
        for first in range(0, PARTICLES, particles):
            count = min(particles, PARTICLES - first)
            z = loc + scale * torch.randn(count, *loc.shape, device=loc.device)
            logits = pair.likelihood.net(z)
            likelihood = -F.binary_cross_entropy_with_logits(logits, part.expand_as(logits), reduction="none").sum(-1)
            prior, posterior = Normal(0.0, 1.0, validate_args=False), Normal(loc, scale, validate_args=False)
            weights.append(likelihood + prior.log_prob(z).sum(-1) - posterior.log_prob(z).sum(-1))
        found.append(torch.cat(weights))
    return torch.cat(found, 1)


def by_pyro(pair: VAE, x: Tensor) -> None:
    """Pyro's own importance sampling, datum by datum."""
    for i in range(PYRO_DIGITS):
        pyro.infer.Importance(pair.model, pair.guide, num_samples=PYRO_PARTICLES).run(x[i : i + 1])


def measure() -> None:
    """Print the ratios for the number of threads that this process has."""
    torch.set_num_threads(int(os.environ["PYROGEN_BENCHMARK_THREADS"]))
    source = f"mnist:{os.environ['PYROGEN_MNIST']}"
    x = load(source, binarize="dynamic").test[:DIGITS].fixed()
    assert isinstance(x, Tensor)
    x = x.to(DEVICE)
    torch.manual_seed(0)
    pair = VAE((784,), latent=20, hidden=(400,)).eval().to(DEVICE)
    estimator = ImportanceSampling(PARTICLES, draws=0, max_bytes=MAX_BYTES)
    compare(pair, x[:8], [ImportanceSampling(300, draws=0)])
    with ResidentMemory() as memory:
        compare(pair, x, [estimator])
    with torch.no_grad():
        seconds = interleaved(
            {
                "pyrogen": lambda: compare(pair, x, [estimator]),
                "by hand": lambda: by_hand(pair, x),
                "pyro": lambda: by_pyro(pair, x),
            }
        )
    scaled = seconds["pyro"] * DIGITS * PARTICLES / (PYRO_DIGITS * PYRO_PARTICLES)
    print(f"pyrogen compare, IS({PARTICLES}), {DIGITS} digits: {seconds['pyrogen']:.2f} s")
    print(f"pyro.infer.Importance (scaled from {PYRO_DIGITS} x {PYRO_PARTICLES}): {scaled:.0f} s")
    print(f"faster than pyro.infer.Importance: {scaled / seconds['pyrogen']:.0f} x (wanted: 30 on one thread, 60 on two)")
    print(f"time against the loop by hand: {seconds['pyrogen'] / seconds['by hand']:.2f} (wanted: at most 1.15)")
    print(f"resident memory grew by {memory.grown / 2**20:.0f} MiB, budget {MAX_BYTES / 2**20:.0f} MiB")


if __name__ == "__main__":
    if "PYROGEN_BENCHMARK_THREADS" in os.environ:
        measure()
    else:
        in_threads(__file__)
