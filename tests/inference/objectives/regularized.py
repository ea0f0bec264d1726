"""Objectives with a penalty on the whole batch, as a user would write them in a file of their own."""

from __future__ import annotations

import math

from pyrogen.inference import ELBO


class DIPVAE(ELBO):
    """The ELBO less a penalty that pushes the covariance of the guide's means to the identity.

    ``off_diagonal * sum_{i != j} Cov[mu]_ij^2 + diagonal * sum_i (Cov[mu]_ii - 1)^2``

    Reference:
        Kumar, Sattigeri & Balakrishnan 2018, Variational Inference of Disentangled Latent Concepts from Unlabeled
        Observations, https://arxiv.org/abs/1711.00848 (DIP-VAE-I)
    """

    def __init__(self, off_diagonal=10.0, diagonal=5.0):
        super().__init__()
        self.off_diagonal, self.diagonal, self.name = off_diagonal, diagonal, "DIP-VAE"

    def penalty(self, run, structure, beta):
        means = run.guide.visited["z"].fn.mean  # (data, latent)
        centred = means - means.mean(0)
        covariance = centred.T @ centred / len(means)  # (latent, latent)
        variances = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variances.square().sum()
        return self.off_diagonal * off_diagonal + self.diagonal * (variances - 1).square().sum()


class BetaTC(ELBO):
    """The ELBO with the total correlation of the code counted `factor` times, by minibatch-weighted sampling.

    ``log q(z) ~ logsumexp_j log q(z | x_j) - log(N M)``, of M data of a set of N, and likewise for each dimension of z.

    Reference:
        Chen, Li, Grosse & Duvenaud 2018, Isolating Sources of Disentanglement in Variational Autoencoders,
        https://arxiv.org/abs/1802.04942
    """

    def __init__(self, rows, factor=6.0):
        super().__init__(kl="sampled")
        self.rows, self.factor, self.name = rows, factor, "beta-TC"

    def penalty(self, run, structure, beta):
        latent = run.guide.visited["z"]
        each = latent.fn.base_dist.log_prob(latent.value.unsqueeze(1))  # (data, given data, latent)
        pairs = math.log(self.rows * len(latent.value))
        joint = each.sum(-1).logsumexp(1) - pairs  # (data,)
        product = (each.logsumexp(1) - pairs).sum(-1)  # (data,)
        return (self.factor - 1) * (joint - product).mean()
