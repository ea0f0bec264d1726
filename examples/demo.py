"""Train a VAE on handwritten digits, and ask how far its variational answer is from the true one.

    python examples/demo.py        # under a minute on two cores

The digits (8x8 pixels, embedded in scikit-learn) are binarized dynamically, as is usual for MNIST: a pixel's grey value is
the probability that it is on, drawn anew in every epoch, and once for the held-out digits.
"""

from __future__ import annotations

import argparse

import torch

from pyrogen.cli.pictures import save_pictures
from pyrogen.data import load
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, compare, fit
from pyrogen.models import VAE
from pyrogen.report import render


def main() -> None:
    """Fit, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rows", type=int, default=180, help="held-out digits to evaluate")
    parser.add_argument("--particles", type=int, default=5000, help="importance samples for each of them")
    parser.add_argument("--directory", default="runs/demo")
    options = parser.parse_args()

    data = load("digits", binarize="dynamic")
    torch.manual_seed(0)
    run = fit(
        VAE(data.shape, latent=8, hidden=(200,)),
        data.train,
        validation=data.validation,
        epochs=options.epochs,
        batch_size=100,
        lr=2e-3,
        scheduler="cosine",
        checkpoint_every=10,
        directory=options.directory,  # from which the command line goes on: pyrogen compare runs/demo --estimators ...
    )
    table = compare(run.pair, data.test[: options.rows], [ELBO(), IWAE(50), ImportanceSampling(options.particles)])
    table.save(options.directory)
    save_pictures(run.pair, data.test, options.directory)
    print(table)
    print(f"\nreport: {render(options.directory)}")


if __name__ == "__main__":
    main()
