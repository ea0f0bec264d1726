"""The evidence of MNIST digits under a VAE that `fit` has trained, by importance sampling, annealing both ways and SMC.

Wu et al. 2017, https://arxiv.org/abs/1611.04273, found importance sampling from the encoder about a nat below annealed
importance sampling, and annealing from the encoder with few temperatures close to annealing from the prior with many. This
prints the same comparison for a run directory, with errors, and a bracket on data simulated from the model.

    PYROGEN_MNIST=folder python examples/mnist_vae.py --epochs 100 --directory runs/mnist
    PYROGEN_MNIST=folder python benchmarks/mnist_evidence.py runs/mnist
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pyrogen.data import load
from pyrogen.inference import (
    ELBO,
    IWAE,
    AnnealedImportance,
    ImportanceSampling,
    TemperedSMC,
    compare,
    gaps,
    restore,
    sandwich,
)
from pyrogen.models import VAE


def main() -> None:
    """Compare, bracket, split the gap; print, and save beside the run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="what examples/mnist_vae.py wrote")
    parser.add_argument("--rows", type=int, default=100, help="test digits, the first ones")
    parser.add_argument("--temperatures", type=int, default=1000)
    parser.add_argument("--particles", type=int, default=5000)
    parser.add_argument("--simulations", type=int, default=50, help="simulated digits in the bracket; 0 for none")
    parser.add_argument("--data", default=f"mnist:{os.environ.get('PYROGEN_MNIST', '')}")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    data = load(options.data, binarize="dynamic", validation=0.0)
    pair = VAE(data.shape, latent=50, hidden=(300, 300), activation="tanh")
    restore(pair, options.directory, data.train[:2].fixed())
    rows, many = data.test[: options.rows], options.temperatures
    few = max(2, many // 10)
    plain = ImportanceSampling(options.particles, draws=0, smoothing=False)
    best = AnnealedImportance(many, initial="guide")
    estimators = [
        ELBO(),
        IWAE(options.particles, draws=4),
        plain,
        ImportanceSampling(options.particles, draws=0),
        AnnealedImportance(many),
        AnnealedImportance(few, initial="guide"),
        best,
        TemperedSMC(),
    ]
    table = compare(pair, rows, estimators, compile=options.compile, progress=True, device="cpu")
    table.save(options.directory)
    print(table, flush=True)
    for name in (f"AIS({many})", f"AIS({few}) from the guide", f"AIS({many}) from the guide"):
        below = table[name].log_prob - table[plain.name].log_prob
        print(f"{name} minus {plain.name}: {below.mean():.3f} ± {below.std() / len(below) ** 0.5:.3f} nats over the data")
    if options.simulations:
        found = sandwich(pair, rows, options.simulations, temperatures=(few, many), compile=options.compile, device="cpu")
        found.save(options.directory)
        print(found, flush=True)
    split = gaps(pair, rows, table)
    split.save(options.directory)
    print(split)
    table.plot("cost").savefig(options.directory / "cost.png", dpi=100)


if __name__ == "__main__":
    main()
