"""A training loop of your own: a compiled step that you call, and log weights of which you make what you like.

python examples/own_loop.py        # a minute on two cores, a third of which compiles the step once
python examples/own_loop.py --compile graph
"""

from __future__ import annotations

import argparse
import math

import torch

from pyrogen.data import load
from pyrogen.inference import ELBO, compiled_svi, log_weights
from pyrogen.models import VAE


def main() -> None:
    """Train by hand, and estimate log p(x) by hand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--compile", default=True, help="graph: record the step without compiling it")
    options = parser.parse_args()
    torch.manual_seed(0)

    data = load("digits", binarize="dynamic")
    pair = VAE(data.shape, latent=8, hidden=(200,))
    pair.set_output_bias(data.train.values.mean(0))
    optimizer = torch.optim.Adam(pair.parameters(), lr=2e-3, fused=True)
    example = data.train.draw(torch.arange(100))
    step = compiled_svi(pair, ELBO(), optimizer, example, compile=options.compile)
    for number in range(options.steps):
        rows = torch.randint(len(data.train), (100,))
        loss = step(data.train.draw(rows))
        if number % 500 == 0:
            print(f"step {number}: ELBO {-loss.item():.2f} nats per datum")

    pair.eval()
    weights = log_weights(pair, data.test.fixed(), options.particles)  # (particles, data)
    print(f"ELBO     {weights.mean():.2f} nats per datum")
    print(f"IS({options.particles}) {(weights.logsumexp(0) - math.log(options.particles)).mean():.2f} nats per datum")


if __name__ == "__main__":
    main()
