"""Fit a gated PixelCNN to handwritten digits, and look at it: its exact evidence, samples, completions, what a pixel sees.

    python examples/pixelcnn.py        # a few minutes on one core

Nothing here is a bound: the model has no latents, and log p(x) is the sum of its conditionals. The last picture sets plain
masked convolutions beside it, whose pixels are blind to some of those above to the right.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pyrogen.cli.pictures import save_pictures
from pyrogen.data import load
from pyrogen.inference import Exact, compare, fit
from pyrogen.models import PixelCNNModel
from pyrogen.nets.causal import CausalNetwork, GatedPixelCNN, MaskedPixelCNN, PixelRNN, receptive_field
from pyrogen.report import load_pictures, plots, render


def main() -> None:
    """Fit, evaluate, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="digits", help="such as mnist:FOLDER")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--rows", type=int, default=180, help="held-out digits to evaluate")
    parser.add_argument("--directory", default="runs/pixelcnn")
    options = parser.parse_args()

    data = load(options.data, binarize="dynamic")
    torch.manual_seed(0)
    run = fit(
        PixelCNNModel(data.shape, features=options.features, layers=options.layers, dropout=0.2),
        data.train,
        validation=data.validation,
        epochs=options.epochs,
        batch_size=64,
        lr=2e-3,
        scheduler="cosine",
        directory=options.directory,  # from which the command line goes on: pyrogen sample runs/pixelcnn
    )
    table = compare(run.pair, data.test[: options.rows], [Exact()])
    table.save(options.directory)
    print(table)

    # Samples, completions of half digits, the order of drawing and receptive fields, as arrays; the report draws them.
    save_pictures(run.pair, data.test, options.directory, samples=36)
    print(f"\nreport: {render(options.directory)}")
    print(f"blind spot: {draw_blind_spot(Path(options.directory))}")


def draw_blind_spot(directory: Path) -> Path:
    """What the pixel in the middle sees in networks of random weights: their architecture alone decides where it is zero."""
    grid, middle = (15, 15), (7, 7)
    torch.manual_seed(0)
    networks: dict[str, CausalNetwork] = {
        "masked convolutions": MaskedPixelCNN(grid, features=8, blocks=8, first=3),
        "gated, two stacks": GatedPixelCNN(grid, features=8, layers=9, first=3),
        "row LSTM": PixelRNN(grid, recurrence="row", hidden=8, layers=2, first=3),
        "diagonal BiLSTM": PixelRNN(grid, recurrence="diagonal", hidden=8, layers=2, first=3),
    }
    position = middle[0] * grid[1] + middle[1]
    fields = torch.stack([receptive_field(network.double(), position) for network in networks.values()])
    np.savez(directory / "blind_spot.npz", fields=fields.numpy(), order=np.arange(15 * 15).reshape(grid))
    with np.load(directory / "blind_spot.npz") as saved:
        figure = plots.receptive_field(saved["fields"], saved["order"], [middle] * len(networks), list(networks))
    path = directory / "pictures" / "blind_spot.png"
    figure.savefig(path)
    shown = load_pictures(directory)["receptive"]
    print(f"of the fitted model, pixels of some influence on one in the middle: {int((shown[0] > 0).sum())}")
    return path


if __name__ == "__main__":
    main()
