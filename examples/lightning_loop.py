"""A pair under Lightning's Trainer: its loss goes to Lightning, and Lightning's data, devices and logs to it.

python examples/lightning_loop.py        # needs: pip install pytorch-lightning
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import pytorch_lightning as lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from pyrogen import Pair
from pyrogen.data import load
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, Objective, compare
from pyrogen.models import VAE


class Training(lightning.LightningModule):
    """What Lightning asks for: the loss of a batch, and an optimizer."""

    def __init__(self, pair: Pair, objective: Objective) -> None:
        super().__init__()
        self.pair, self.objective = pair, objective
        self.carried: Mapping[str, Tensor] = {}

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        """The loss, in nats per datum; what the objective carries goes from step to step."""
        loss, self.carried, _ = self.objective.compute(self.pair, batch[0], self.carried)
        self.log("loss", loss.detach())
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        """The bound on held-out data."""
        self.log("validation", ELBO(draws=8).estimate(self.pair, batch[0]).log_prob.mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.pair.parameters(), lr=2e-3)


def main() -> None:
    """Train under Lightning, and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rows", type=int, default=180, help="held-out digits to evaluate")
    options = parser.parse_args()
    lightning.seed_everything(0, verbose=False)

    data = load("digits", binarize="static")
    train, held_out = (TensorDataset(part.fixed()) for part in (data.train, data.validation))
    pair = VAE(data.shape, latent=8, hidden=(200,)).initialise(data.train[:100].fixed())
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        accelerator="auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        Training(pair, IWAE(5)), DataLoader(train, batch_size=100, shuffle=True), DataLoader(held_out, batch_size=1000)
    )
    print(f"validation ELBO {trainer.callback_metrics['validation']:.2f} nats per datum")
    print(compare(pair, data.test[: options.rows], [ELBO(), ImportanceSampling(1000)], progress=False))


if __name__ == "__main__":
    main()
