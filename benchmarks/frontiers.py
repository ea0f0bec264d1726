"""What drawing several pixels at once costs in nats, and what it gains in steps.

Each order is a factorization of its own, which `log_prob` honours exactly, so each gets a network of its own, trained in
the same way: the embedded digits, 8x8 pixels, binarized anew in every batch (dynamic) or at one half (threshold); Adam with
cosine decay; the parameters that are best on the validation rows. Nats are those of the test rows, binarized ten times if
dynamically, averaged over several trainings. The price is the mean difference to raster order on the same binarized rows,
with its standard error over rows, which knows nothing of how trainings differ. Dynamic binarization makes pixels
independent given the greys. The masked network has a blind spot in raster order and none on diagonals; the gated one has
none. Seconds are those of drawing 64 images by the cached sampler, all networks taking turns.
"""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from functools import partial

import torch
from timing import interleaved
from torch import Tensor

from pyrogen.data import Dataset, load
from pyrogen.distributions import Autoregressive
from pyrogen.nets.causal import MADE, CausalNetwork, DiagonalPixelCNN, GatedPixelCNN, Order

DRAWS = 10
"""Binarizations of each row that is scored."""


def networks(grid: tuple[int, int], hidden: int, features: int) -> dict[str, dict[str, Callable[[], CausalNetwork]]]:
    """Networks by kind and order, raster order first."""
    made = partial(MADE, grid, hidden=(hidden, hidden))
    wave = partial(DiagonalPixelCNN, grid, features=features, layers=4, kernel=3, first=5)
    return {
        "MADE": {
            "raster": made,
            "random": lambda: made(order=Order.random(grid, seed=1)),
            "slope 2": lambda: made(order=Order.diagonal(grid, 2)),
            "diagonal": lambda: made(order=Order.diagonal(grid)),
            "coarse to fine, 1 level": lambda: made(order=Order.coarse_to_fine(grid, 1)),
            "coarse to fine, 2 levels": lambda: made(order=Order.coarse_to_fine(grid, 2)),
            "all at once": lambda: made(order=Order(torch.zeros(grid, dtype=torch.long))),
        },
        "masked CNN": {
            "raster": lambda: wave(slope=grid[1]),
            "slope 3, the masks of raster": lambda: wave(slope=3),
            "slope 2": lambda: wave(slope=2),
            "diagonal": lambda: wave(slope=1),
            "raster, gated PixelCNN": lambda: GatedPixelCNN(grid, features=features, layers=5, kernel=3, first=5),
        },
    }


def train(network: CausalNetwork, data: Dataset, epochs: int, batch: int = 64) -> None:
    """Fit by maximum likelihood; end with the parameters that were best on the validation rows."""
    likelihood = Autoregressive(network, event_shape=data.shape, validate_args=False)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, betas=(0.9, 0.99))
    steps = math.ceil(len(data.train) / batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
    held_out = rows(data, "validation", seed=1)
    best, kept = -math.inf, copy.deepcopy(network.state_dict())
    for epoch in range(epochs):
        for index in torch.randperm(len(data.train)).split(batch):
            x = data.train.draw(index)
            assert isinstance(x, Tensor)
            loss = -likelihood.log_prob(x.reshape(-1, *data.shape)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 5 == 4 or epoch == epochs - 1:
            with torch.no_grad():
                score = float(likelihood.log_prob(held_out).mean())
            if score > best:
                best, kept = score, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)


def rows(data: Dataset, split: str, seed: int) -> Tensor:
    """The rows of a split, each binarized several times, (draws, rows, *shape); the same for all networks."""
    values = getattr(data, split).values  # (rows, event)
    if data.train.binarize != "dynamic":
        return values.reshape(1, len(values), *data.shape)  # type: ignore[no-any-return]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(DRAWS, *values.shape, generator=generator) < values
    return drawn.float().reshape(DRAWS, len(values), *data.shape)


def main() -> None:
    """Train all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--binarize", choices=("dynamic", "threshold"), default="dynamic")
    parser.add_argument("--trainings", type=int, default=2, help="of each network")
    parser.add_argument("--hidden", type=int, default=300, help="units of each of MADE's two hidden layers")
    parser.add_argument("--features", type=int, default=24, help="of the convolutions")
    parser.add_argument("--rounds", type=int, default=15, help="of timing")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = load("digits", binarize=options.binarize, test=0.2)
    grid = (data.shape[-2], data.shape[-1])
    test = rows(data, "test", seed=2)
    print(f"{len(data.train)} digits to learn from, {len(data.test)} to report on, {len(test)} binarization(s) of each")
    print(f"| {'network':10s} | {'order':28s} | steps |   nats | price ± error    | ms for 64 | gain |")
    print(f"|{'-' * 12}|{'-' * 30}|------:|-------:|-----------------:|----------:|-----:|")
    for kind, orders in networks(grid, options.hidden, options.features).items():
        scores: dict[str, Tensor] = {}
        samplers: dict[str, Callable[[], object]] = {}
        steps: dict[str, int] = {}
        for order, make in orders.items():
            found = []
            for training in range(options.trainings):
                torch.manual_seed(training)
                network = make()
                train(network, data, options.epochs)
                likelihood = Autoregressive(network, event_shape=data.shape)
                with torch.no_grad():
                    found.append(likelihood.log_prob(test).mean(0))  # (rows,)
            scores[order] = torch.stack(found).mean(0)
            samplers[order] = partial(likelihood.sample, (64,), progress=False)
            steps[order] = len(network.groups)
        seconds = interleaved(samplers, options.rounds)
        for order, score in scores.items():
            price = scores["raster"] - score
            error = float(price.std()) / math.sqrt(len(price))
            said = "" if order == "raster" else f"{float(price.mean()):+7.3f} ± {error:.3f}"
            gain = seconds["raster"] / seconds[order]
            print(
                f"| {kind:10s} | {order:28s} | {steps[order]:5d} | {-float(score.mean()):6.2f} | {said:>16s} | "
                f"{1e3 * seconds[order]:9.1f} | {gain:4.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
