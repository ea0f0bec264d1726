"""An objective of two phases, as a user would write one: a factor VAE, whose critic tells codes from shuffled ones."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from pyrogen.inference import ELBO, Loss, Phase
from pyrogen.inference.objectives.gradients import BoundTask
from pyrogen.models import VAE


class FactorVAE(ELBO):
    """The ELBO less gamma times the total correlation of the code, by a critic's density ratio (Kim & Mnih 2018)."""

    def __init__(self, latent=2, gamma=3.0, every=1):
        super().__init__()
        self.gamma, self.every, self.name = gamma, every, "FactorVAE"
        torch.manual_seed(5)
        self.networks["critic"] = nn.Sequential(nn.Linear(latent, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 1))

    def phases(self, pair, batch):
        return [
            Phase("pair", self.compute, list(pair.parameters()), every=self.every),
            Phase("critic", self.critic_loss, list(self.networks.parameters())),
        ]

    def penalty(self, run, structure, beta):
        return self.gamma * self.networks["critic"](run.guide.visited["z"].value).mean()

    def critic_loss(self, pair, batch, state, *, beta=1.0):
        with torch.no_grad():
            z = BoundTask(self, pair, batch, pair.structure(batch), state).run_guide().visited["z"].value
        shuffled = z.gather(0, torch.rand_like(z).argsort(0))  # (data, latent)
        real, fake = self.networks["critic"](z), self.networks["critic"](shuffled)
        right = ((real > 0).double().mean() + (fake < 0).double().mean()) / 2
        return Loss((softplus(-real) + softplus(fake)).mean(), state, {"critic accuracy": right})


def small_vae():
    torch.manual_seed(1)
    return VAE((6,), latent=2, hidden=(8,))


def binary(rows=40, width=6):
    return torch.bernoulli(torch.rand(rows, width, generator=torch.Generator().manual_seed(0)))
