"""Your own model and guide: a VAE in a few lines of Pyro, with the library's fit and comparison.

python examples/own_pair.py
pyrogen fit examples/own_pair.py:MyVAE --data digits --binarize dynamic --epochs 50 --args.latent 4
"""

from __future__ import annotations

import argparse
import math

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyrogen import Pair
from pyrogen.data import load
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, compare, fit


class MyVAE(Pair):
    """A Bernoulli decoder and a Gaussian encoder, each with one hidden layer."""

    def __init__(self, shape: tuple[int, ...], latent: int = 8, hidden: int = 100) -> None:
        super().__init__()
        pixels = math.prod(shape)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels))
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.latent = latent

    def model(self, x: Tensor) -> None:
        """``z`` from a standard normal, ``x`` from the decoder."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.latent), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        """``z`` from the encoder."""
        loc, log_scale = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


def main() -> None:
    """Fit and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=180, help="held-out digits to evaluate")
    parser.add_argument("--particles", type=int, default=1000)
    options = parser.parse_args()
    data = load("digits", binarize="dynamic")
    run = fit(MyVAE(data.shape), data.train, epochs=options.epochs)
    print(compare(run.pair, data.test[: options.rows], [ELBO(), IWAE(50), ImportanceSampling(options.particles)]))


if __name__ == "__main__":
    main()
