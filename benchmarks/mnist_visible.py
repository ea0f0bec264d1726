"""Fully visible models on MNIST: nats of the whole test set, parameters and core-seconds, each with its recipe.

Give names of recipes, or nothing for all: made, pixelcnn, pixelrnn-row, pixelrnn-diagonal, transformer. The folder of the
MNIST files is named in PYROGEN_MNIST. Binarization is dynamic: drawn anew for each training batch, once for the test set.
"""

from __future__ import annotations

import argparse
import os
import resource
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pyrogen.data import load
from pyrogen.inference import Exact, compare, fit
from pyrogen.inference.graphs import Compile
from pyrogen.models import MADEModel, PixelCNNModel, PixelRNNModel, TransformerModel
from pyrogen.models.visible import FullyVisible


@dataclass
class Recipe:
    """A model and how it is trained; always with Adam and a cosine decay to zero."""

    model: type[FullyVisible]
    arguments: dict[str, Any]
    epochs: int
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    batch_size: int = 128
    clip: float | None = None
    fit: dict[str, Any] = field(default_factory=dict)


RECIPES = {
    "made": Recipe(MADEModel, {"hidden": (1500,)}, epochs=200, betas=(0.9, 0.99)),
    "pixelcnn": Recipe(
        PixelCNNModel,
        {"features": 32, "layers": 8, "kernel": 3, "dilations": (1, 2, 1, 4)},
        epochs=8,
        lr=2e-3,
        batch_size=32,
        clip=1.0,
    ),
    "pixelrnn-row": Recipe(
        PixelRNNModel, {"recurrence": "row", "hidden": 16, "layers": 3}, epochs=3, lr=3e-3, batch_size=64, clip=1.0
    ),
    "pixelrnn-diagonal": Recipe(
        PixelRNNModel, {"recurrence": "diagonal", "hidden": 16, "layers": 3}, epochs=1, lr=3e-3, batch_size=64, clip=1.0
    ),
    "transformer": Recipe(
        TransformerModel, {"width": 64, "layers": 2, "heads": 2}, epochs=1, lr=2e-3, batch_size=32, clip=1.0
    ),
}


def core_seconds() -> float:
    """Processor time of this process and its children so far, over all cores."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def run(name: str, recipe: Recipe, directory: Path, *, compile: Compile, epochs: int | None, steps: int | None) -> str:
    """Train, score the test set, and give a row of the table."""
    data = load(f"mnist:{os.environ['PYROGEN_MNIST']}", binarize="dynamic", validation=0.0)
    torch.manual_seed(0)
    pair = recipe.model((1, 28, 28), **recipe.arguments)
    start = core_seconds()
    passes = recipe.epochs if epochs is None else epochs
    done = fit(
        pair,
        data.train,
        epochs=None if steps else passes,
        steps=steps,
        batch_size=recipe.batch_size,
        optimizer=partial(torch.optim.Adam, lr=recipe.lr, betas=recipe.betas, fused=True),
        scheduler="cosine",
        clip=recipe.clip,
        device="cpu",
        directory=directory / name,
        resume=True,
        compile=compile,
    )
    trained = core_seconds() - start
    test = compare(pair, data.test if steps is None else data.test[:500], [Exact()], device="cpu").estimates[0].log_prob
    parameters = sum(parameter.numel() for parameter in pair.parameters())
    error = float(test.std() / len(test) ** 0.5)
    return (
        f"| {name} | {float(test.mean()):.2f} ± {error:.2f} | dynamic | {parameters:,} | {done.steps:,} of "
        f"{recipe.batch_size} | {trained:,.0f} |"
    )


def main() -> None:
    """Train what was asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes; all if none is given")
    parser.add_argument("--directory", type=Path, default=Path("runs/visible"), help="where the runs go")
    parser.add_argument(
        "--compile", choices=["yes", "graph", "auto"], help="how to compile the training step; not, if not given"
    )
    parser.add_argument("--epochs", type=int, help="in place of the recipe's")
    parser.add_argument("--steps", type=int, help="steps in place of epochs, and 500 test digits: to try it out")
    options = parser.parse_args()
    rows = [
        "| model | test log p(x), nats | binarization | parameters | steps | core-seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name in options.names or RECIPES:
        row = run(
            name,
            RECIPES[name],
            options.directory,
            compile=True if options.compile == "yes" else options.compile or False,
            epochs=options.epochs,
            steps=options.steps,
        )
        rows.append(row)
        print("\n".join(rows), flush=True)


if __name__ == "__main__":
    main()
