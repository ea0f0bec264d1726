"""Pairs whose guide is wrong in kind, with data and their evidence: what an estimator must survive, or say that it has not.

Each of `KINDS` makes, from a seed, a pair in double precision with random parameters, five data that its model has drawn,
and their ``log p(x)``, (data,).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyrogen import Pair

ROWS = 5
F64 = torch.float64


class Scalar(Pair):
    """One real latent under a prior, ``x ~ likelihood(z)``, and a guide; the evidence is an integral over a line."""

    def __init__(
        self, prior: dist.Distribution, likelihood: Callable[[Tensor], dist.Distribution], guide: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        self.prior, self.likelihood, self.posterior_guess = prior, likelihood, guide

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior)
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(*self.posterior_guess(self, x)))

    def on_a_line(self, x, half=400.0, points=160_001):
        """Points (points, 1) and the log of joint density times spacing, (points, data)."""
        z = torch.linspace(-half, half, points, dtype=F64)[:, None]
        return z, self.prior.log_prob(z) + self.likelihood(z).log_prob(x) + math.log(2 * half / (points - 1))

    def log_evidence(self, x):
        return self.on_a_line(x)[1].logsumexp(0)


def two_modes(seed):
    """``x = z^2 + noise``, and a guide that knows the positive root."""
    torch.manual_seed(seed)
    noise = 0.2 + 0.8 * float(torch.rand(()))

    def guide(pair, x):
        root = x.clamp_min(0.05).sqrt()
        return root, 1.1 / (1 + 4 * root.square() / noise**2).sqrt()

    pair = Scalar(dist.Normal(torch.zeros((), dtype=F64), 1.0), lambda z: dist.Normal(z.square(), noise), guide)
    return _with_data(pair)


def heavy_tails(seed):
    """Student's t everywhere, and a Gaussian guide of about the right moments."""
    torch.manual_seed(seed)
    freedom = torch.tensor(2 + 3 * float(torch.rand(())), dtype=F64)
    noise, width = 0.3 + float(torch.rand(())), math.exp(0.3 * float(torch.randn(())))

    def guide(pair, x):
        z, log_joint = pair.on_a_line(x, 40.0, 1_001)
        weight = log_joint.softmax(0)
        mean = (weight * z).sum(0)
        return mean, width * (weight * (z - mean).square()).sum(0).sqrt()

    return _with_data(Scalar(dist.StudentT(freedom), lambda z: dist.StudentT(freedom, z, noise), guide))


def _with_data(pair):
    x = pair.likelihood(pair.prior.sample((ROWS,))).sample()
    return pair, x, pair.log_evidence(x)


class Linear(Pair):
    """``z ~ N(0, I), x ~ N(W z, noise^2 I)``; the guide has the posterior's mean, and its own idea of width."""

    def __init__(self, weight: Tensor, noise: float, scale: float = 1.0, mean_field: bool = False) -> None:
        super().__init__()
        self.noise, self.scale, self.mean_field = noise, scale, mean_field
        self.register_buffer("weight", weight)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.weight.new_zeros(self.weight.shape[1]), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.weight.T, self.noise).to_event(1), obs=x)

    def moments(self, x):
        """The posterior's mean, (data, latent), and its precision."""
        precision = torch.eye(self.weight.shape[1], dtype=F64) + self.weight.T @ self.weight / self.noise**2
        return torch.linalg.solve(precision, self.weight.T @ x.T / self.noise**2).T, precision

    def guide(self, x):
        mean, precision = self.moments(x)
        with pyro.plate("data", len(x)):
            if self.mean_field:
                pyro.sample("z", dist.Normal(mean, self.scale * precision.diagonal().rsqrt()).to_event(1))
            else:
                pyro.sample("z", dist.MultivariateNormal(mean, self.scale**2 * torch.linalg.inv(precision)))

    def log_evidence(self, x):
        variance = self.noise**2 * torch.ones(len(self.weight), dtype=F64)
        return dist.LowRankMultivariateNormal(torch.zeros_like(variance), self.weight, variance).log_prob(x)

    def drawn(self):
        z = torch.randn(ROWS, self.weight.shape[1], dtype=F64)
        x = z @ self.weight.T + self.noise * torch.randn(ROWS, len(self.weight), dtype=F64)
        return self, x, self.log_evidence(x)


def hundred_dimensions(seed):
    torch.manual_seed(seed)
    weight = torch.randn(100, 100, dtype=F64) / 10 * (0.3 + float(torch.rand(())))
    return Linear(weight, 0.5 + float(torch.rand(())), math.exp(0.1 * float(torch.randn(())))).drawn()


def ill_conditioned(seed):
    """Singular values from 0.1 to 10, so that the posterior's variances differ by up to 10,000."""
    torch.manual_seed(seed)
    dims = int(torch.randint(2, 8, ()))
    left, right = (torch.linalg.qr(torch.randn(dims, dims, dtype=F64))[0] for _ in range(2))
    weight = left @ torch.diag(torch.logspace(-1, 1, dims, dtype=F64)) @ right
    return Linear(weight, 0.1, math.exp(0.2 * float(torch.randn(())))).drawn()


class Crossed(Linear):
    """Effects of rows and of columns within each datum, ``x_ij ~ N(a_i + b_j, noise^2)``, whose guide has them independent.

    The sum of all a less that of all b is hardly known, and the guide's conditional widths are far too narrow there.
    """

    def __init__(self, rows: int, columns: int, noise: float) -> None:
        cells = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        effects = [torch.nn.functional.one_hot(cells[:, i], n) for i, n in enumerate((rows, columns))]
        super().__init__(torch.cat(effects, 1).to(F64), noise, mean_field=True)
        self.rows, self.columns = rows, columns

    def plates(self, x):
        sizes = {"data": len(x), "rows": self.rows, "columns": self.columns}
        return [pyro.plate(name, size, dim=dim) for dim, (name, size) in zip((-3, -2, -1), sizes.items(), strict=True)]

    def model(self, x):
        data, rows, columns = self.plates(x)
        zero = self.weight.new_zeros(())
        with data:
            with rows:
                a = pyro.sample("a", dist.Normal(zero, 1.0))
            with columns:
                b = pyro.sample("b", dist.Normal(zero, 1.0))
            with rows, columns:
                pyro.sample("x", dist.Normal(a + b, self.noise), obs=x.reshape(-1, self.rows, self.columns))

    def guide(self, x):
        mean, precision = self.moments(x)
        scale = precision.diagonal().rsqrt()
        data, rows, columns = self.plates(x)
        with data:
            with rows:
                pyro.sample("a", dist.Normal(mean[:, : self.rows, None], scale[: self.rows, None]))
            with columns:
                pyro.sample("b", dist.Normal(mean[:, None, self.rows :], scale[self.rows :]))


def crossed(seed):
    torch.manual_seed(seed)
    rows, columns = torch.randint(2, 7, (2,)).tolist()
    return Crossed(rows, columns, 0.2 + float(torch.rand(()))).drawn()


class Funnel(Pair):
    """``v ~ N(0, 2), z_j ~ N(0, e^(v/2)), x_j ~ N(z_j, noise)``, and a guide that has v and z independent."""

    def __init__(self, dims: int, noise: float) -> None:
        super().__init__()
        self.dims, self.noise = dims, noise

    def model(self, x):
        with pyro.plate("data", len(x)):
            v = pyro.sample("v", dist.Normal(x.new_zeros(()), 2.0))
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.dims), (v / 2).exp()[..., None]).to_event(1))
            pyro.sample("x", dist.Normal(z, self.noise).to_event(1), obs=x)

    def guide(self, x):
        v, log_joint = self.on_a_line(x)
        weight = log_joint.softmax(0)
        mean = (weight * v).sum(0)
        share = (mean.exp() / (mean.exp() + self.noise**2))[:, None]  # of the signal in the variance of x
        with pyro.plate("data", len(x)):
            pyro.sample("v", dist.Normal(mean, (weight * (v - mean).square()).sum(0).sqrt()))
            pyro.sample("z", dist.Normal(share * x, (share.sqrt() * self.noise).expand_as(x)).to_event(1))

    def on_a_line(self, x, half=14.0, points=401):
        """Values of v, (points, 1), and the log of its joint density with x, times spacing, (points, data)."""
        v = torch.linspace(-half, half, points, dtype=F64)[:, None]
        likelihood = dist.Normal(0.0, (v.exp() + self.noise**2).sqrt()[..., None]).log_prob(x).sum(-1)
        return v, dist.Normal(0.0, 2.0).log_prob(v) + likelihood + math.log(2 * half / (points - 1))

    def log_evidence(self, x):
        return self.on_a_line(x)[1].logsumexp(0)


def funnel(seed):
    torch.manual_seed(seed)
    pair = Funnel(1 + int(torch.randint(0, 5, ())), 0.3 + float(torch.rand(())))
    z = torch.randn(ROWS, 1, dtype=F64).exp() * torch.randn(ROWS, pair.dims, dtype=F64)
    x = z + pair.noise * torch.randn_like(z)
    return pair, x, pair.log_evidence(x)


KINDS = {
    "two modes": two_modes,
    "funnel": funnel,
    "heavy tails": heavy_tails,
    "crossed plates": crossed,
    "ill-conditioned": ill_conditioned,
    "100 dimensions": hundred_dimensions,
}
