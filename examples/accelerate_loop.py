"""A pair in a loop with Accelerate, which places model, optimizer and data on the devices that there are.

python examples/accelerate_loop.py        # needs: pip install accelerate
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pyrogen import Pair
from pyrogen.data import load
from pyrogen.inference import ELBO, ImportanceSampling, compare
from pyrogen.models import VAE


class LossOf(nn.Module):
    """The loss as a module, for only a module's call is shared between processes."""

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self.pair, self.objective = pair, ELBO()

    def forward(self, x: Tensor) -> Tensor:
        """The loss of a batch (data, event), in nats per datum."""
        return self.objective.loss(self.pair, x)


def main() -> None:
    """Train, and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=180, help="held-out digits to evaluate")
    options = parser.parse_args()
    torch.manual_seed(0)

    data = load("digits", binarize="static")
    pair = VAE(data.shape, latent=8, hidden=(200,)).initialise(data.train[:100].fixed())
    optimizer = torch.optim.Adam(pair.parameters(), lr=2e-3)
    loader = DataLoader(TensorDataset(data.train.fixed()), batch_size=100, shuffle=True)
    accelerator = Accelerator()
    loss_of, optimizer, loader = accelerator.prepare(LossOf(pair), optimizer, loader)
    for epoch in range(options.epochs):
        for (x,) in loader:
            optimizer.zero_grad()
            loss = loss_of(x)
            accelerator.backward(loss)
            optimizer.step()
        if epoch % 10 == 0:
            accelerator.print(f"epoch {epoch}: ELBO {-loss.item():.2f} nats per datum")

    if accelerator.is_main_process:
        pair.eval()
        print(compare(pair, data.test[: options.rows], [ELBO(), ImportanceSampling(1000)], progress=False))


if __name__ == "__main__":
    main()
