"""When does a PixelVAE leave its latent unused, and what mends it?

    python examples/pixelvae.py        # a few minutes on one core

A likelihood that is autoregressive can explain digits without a latent, and the more layers it has, the better. Each row is
one PixelVAE on binarized 8x8 digits: how deep its PixelCNN is, how it was trained, the bound that came of it, the rate (how
much the latent says about a datum, at most), and how many units are active.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pyrogen.data import load
from pyrogen.inference import ELBO, fit, linear_warmup, usage
from pyrogen.models import PixelVAE


@dataclass
class Training:
    """A way to train."""

    name: str
    objective: ELBO
    beta: float | Callable[[int], float] = 1.0


def main() -> None:
    """Fit each, print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--layers", default="1,4", help="layers of the PixelCNNs")
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument("--features", type=int, default=24)
    options = parser.parse_args()

    data = load("digits", binarize="dynamic")
    held_out = data.test.fixed()
    trainings = [
        Training("plain", ELBO()),
        Training("warm-up of the divergence", ELBO(), linear_warmup(options.steps // 2)),
        Training("free bits, 0.3 nats a unit", ELBO(free_bits=0.3)),
    ]
    print(f"{'layers':<8}{'training':<30}{'ELBO':>16}{'rate':>16}{'active':>10}")
    for layers in map(int, options.layers.split(",")):
        for training in trainings:
            torch.manual_seed(0)
            pair = PixelVAE(data.shape, options.latent, (100,), features=options.features, layers=layers)
            fit(
                pair,
                data.train,
                objective=training.objective,
                beta=training.beta,
                steps=options.steps,
                batch_size=64,
                lr=2e-3,
                scheduler="cosine",
                progress=False,
            )
            torch.manual_seed(1)
            bound = ELBO(draws=50).estimate(pair, held_out)
            error = float(bound.standard_error.square().mean() / len(bound.log_prob)) ** 0.5
            [used] = usage(pair, held_out)
            shown = f"{float(bound.log_prob.mean()):.3f} ± {error:.3f}", f"{used.rate:.2f} ± {used.error:.2f}"
            print(
                f"{layers:<8}{training.name:<30}{shown[0]:>16}{shown[1]:>16}{used.active:>6} of {options.latent}", flush=True
            )


if __name__ == "__main__":
    main()
