"""The linear Gaussian state space model: evidence by the Kalman filter, and a guide that can be exact."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size
from pyrogen.pair import Pair

from .parts import elementwise
from .sequences import counted, counting, sequence_shape

__all__ = ["LinearGaussianSSM"]

# Named axes: particles, data, steps, latent, features (of a step).


class LinearGaussianSSM(Pair):
    r"""A latent vector that moves linearly in time, seen through a linear map and noise.

    .. math::
        z_0 \sim \mathcal N(0, I), \qquad z_t \sim \mathcal N(A z_{t-1}, Q), \qquad x_t \sim \mathcal N(C z_t + d, R),
        \qquad q(z_t \mid z_{t-1}, x) = \mathcal N(F_t z_{t-1} + G_t x + g_t, \; T_t T_t^\top)

    with diagonal :math:`Q` and :math:`R`, and lower triangular :math:`T_t`. The guide can be the exact posterior
    (`set_exact_guide`) or see no further than the present step (`set_optimal_filter`).

    Reference:
        Kalman (1960), *A New Approach to Linear Filtering and Prediction Problems*, https://doi.org/10.1115/1.3662552.

    Args:
        shape: shape of a datum: (steps,), or (..., features of a step). Data arrive flattened.
        latent: number of latent dimensions.
        noise: initial standard deviation of the noise of x, in units of the data.
        drift: initial standard deviation of a step of the latents.

    Example:
        >>> pair = LinearGaussianSSM((4, 3), latent=2)
        >>> pair.set_exact_guide()
        >>> x = torch.zeros(5, 12)
        >>> bool(torch.allclose(pair.elbo(x), pair.log_evidence(x), atol=1e-4))
        True
    """

    def __init__(self, shape: Sequence[int], latent: int = 2, noise: float = 0.5, drift: float = 0.5) -> None:
        super().__init__()
        self.steps, self.features = sequence_shape(shape)
        latent = positive_size("latent", latent)
        for name, value in (("noise", noise), ("drift", drift)):
            if not 0 < value < math.inf:
                raise ConfigurationError(f"{name} must be a positive number, not {value!r}")
        turn = torch.linalg.qr(torch.eye(latent) + 0.3 * torch.randn(latent, latent)).Q  # keeps lengths
        self.transition = nn.Parameter(0.9 * turn)  # A
        self.log_drift = nn.Parameter(torch.full((latent,), math.log(drift)))  # of Q
        self.weight = nn.Parameter(torch.randn(self.features, latent) / math.sqrt(latent))  # C
        self.bias = nn.Parameter(torch.zeros(self.features))  # d
        self.log_noise = nn.Parameter(torch.full((self.features,), math.log(noise)))  # of R
        self.guide_transition = nn.Parameter(torch.zeros(self.steps - 1, latent, latent))  # F
        self.guide_weight = nn.Parameter(torch.zeros(self.steps, latent, self.steps * self.features))  # G
        self.guide_bias = nn.Parameter(torch.zeros(self.steps, latent))  # g
        self.guide_log_scale = nn.Parameter(torch.zeros(self.steps, latent))  # the diagonal of T
        self.guide_lower = nn.Parameter(torch.zeros(self.steps, latent, latent))

    def model(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Sites ``z_t``, of event shape (latent,), and ``x_t``, observed, of event shape (features,).

        The data have shape (data, steps * features); see `counting` for the lengths.
        """
        drift, noise = self.log_drift.exp(), self.log_noise.exp()
        loc, scale = torch.zeros_like(drift), torch.ones_like(drift)
        with pyro.plate(self.data_plate, len(x), dim=-1):
            for step in pyro.markov(range(self.steps)):
                with counting(lengths, step):
                    z = pyro.sample(f"z_{step}", elementwise(dist.Normal(loc, scale)))  # (..., data, latent)
                    seen = elementwise(dist.Normal(z @ self.weight.mT + self.bias, noise))
                    pyro.sample(f"x_{step}", seen, obs=self._step(x, step))
                loc, scale = z @ self.transition.mT, drift

    def guide(self, x: Tensor, lengths: Tensor | None = None) -> None:
        """Sites ``z_t``; see `model`."""
        of_x, scale_tril = self._of_data(x), self._scale_tril()
        with pyro.plate(self.data_plate, len(x), dim=-1):
            z = None
            for step in pyro.markov(range(self.steps)):
                loc = of_x[step] if z is None else of_x[step] + z @ self.guide_transition[step - 1].mT
                with counting(lengths, step):
                    z = pyro.sample(f"z_{step}", dist.MultivariateNormal(loc, scale_tril=scale_tril[step]))

    def log_evidence(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Exact log p(x), in nats, shape (data,), by the Kalman filter; of a shorter sequence, of the steps it has."""
        drift, noise = (2 * self.log_drift).exp(), (2 * self.log_noise).exp()
        scaled = self.weight.mT / noise  # (latent, features)
        mean = x.new_zeros(len(x), len(drift))  # (data, latent), of z given the steps before
        covariance = torch.eye(len(drift), dtype=x.dtype, device=x.device)  # of the same
        total = x.new_zeros(len(x))
        for step in range(self.steps):
            seen = self._step(x, step)
            factor = self.weight @ torch.linalg.cholesky(covariance)  # (features, latent)
            expected = mean @ self.weight.mT + self.bias  # (data, features)
            evidence = dist.LowRankMultivariateNormal(expected, factor, noise)
            total = total + counted(evidence.log_prob(seen), lengths, step)  # type: ignore[no-untyped-call]
            covariance = torch.linalg.inv(torch.linalg.inv(covariance) + scaled @ self.weight)
            mean = mean + (seen - expected) @ (covariance @ scaled).mT
            mean = mean @ self.transition.mT
            covariance = self.transition @ covariance @ self.transition.mT + drift.diag_embed()
            covariance = (covariance + covariance.mT) / 2
        return total

    def elbo(self, x: Tensor) -> Tensor:
        """The exact ELBO of the guide as it is for sequences of all steps, in nats, shape (data,); differentiable.

        The guide's mean and covariance of each step are carried forward; the expected log densities are those of normals
        at the mean, less half the traces of the covariances in units of the variances.
        """
        noise = self.log_noise.exp()
        of_x, scale_tril = self._of_data(x), self._scale_tril()
        mean, covariance = of_x[0], scale_tril[0] @ scale_tril[0].mT  # (data, latent), (latent, latent)
        deviation, spread, scale = mean, covariance, torch.ones_like(self.log_drift)  # of z from its prior's mean
        total = x.new_zeros(len(x))
        for step in range(self.steps):
            if step:
                forward = self.guide_transition[step - 1]  # (latent, latent)
                excess = forward - self.transition
                own = scale_tril[step] @ scale_tril[step].mT
                deviation = of_x[step] + mean @ excess.mT
                spread = excess @ covariance @ excess.mT + own
                mean = of_x[step] + mean @ forward.mT
                covariance = forward @ covariance @ forward.mT + own
                scale = self.log_drift.exp()
            prior = elementwise(dist.Normal(torch.zeros_like(scale), scale)).log_prob(deviation)
            seen = elementwise(dist.Normal(mean @ self.weight.mT + self.bias, noise)).log_prob(self._step(x, step))
            trace = (spread.diagonal() / scale.square()).sum()
            trace = trace + ((self.weight @ covariance @ self.weight.mT).diagonal() / noise.square()).sum()
            entropy = self.guide_log_scale[step].sum() + len(scale) * (1 + math.log(2 * math.pi)) / 2
            total = total + prior + seen - trace / 2 + entropy
        return total

    @torch.no_grad()
    def set_exact_guide(self, offset: float = 0.0, scale: float = 1.0) -> None:
        r"""Set the guide to the exact posterior of a full sequence, or to one that is off by a known amount.

        What the data from step t on say of :math:`z_t` is a normal of precision :math:`J_t` times its mean :math:`h_t`, both
        by a recursion from the last step backwards.

        Args:
            offset: distance of each step's mean from the right one, in the guide's right standard deviations.
            scale: factor of the standard deviations.
        """
        self._set_guide(offset, scale, look_ahead=True)

    @torch.no_grad()
    def set_optimal_filter(self, offset: float = 0.0, scale: float = 1.0) -> None:
        """Set the guide to the posterior given the step before and the present data, the optimal proposal of a filter.

        It can be off by as much as in `set_exact_guide`.
        """
        self._set_guide(offset, scale, look_ahead=False)

    def _set_guide(self, offset: float, scale: float, *, look_ahead: bool) -> None:
        drift, noise = (2 * self.log_drift).exp(), (2 * self.log_noise).exp()
        scaled = self.weight.mT / noise  # (latent, features)
        information = scaled @ self.weight  # (latent, latent), J
        of_x = torch.zeros_like(self.guide_weight[0])  # (latent, steps * features), what makes h of the data less the bias
        later = torch.zeros_like(of_x), torch.zeros_like(information)
        bias = self.bias.repeat(self.steps)  # (steps * features,)
        for step in reversed(range(self.steps)):
            of_x = later[0].clone()
            of_x[:, step * self.features : (step + 1) * self.features] += scaled
            gathered = information + later[1]
            prior = drift if step else torch.ones_like(drift)
            covariance = torch.linalg.inv(gathered + prior.reciprocal().diag_embed())  # (latent, latent)
            right = covariance.diagonal().sqrt()  # (latent,)
            if step:
                self.guide_transition[step - 1].copy_(covariance @ (self.transition / drift.unsqueeze(1)))
            self.guide_weight[step].copy_(covariance @ of_x)
            self.guide_bias[step].copy_(offset * right - covariance @ of_x @ bias)
            lower = torch.linalg.cholesky(covariance)
            self.guide_log_scale[step].copy_((scale * lower.diagonal()).log())
            self.guide_lower[step].copy_(scale * lower.tril(-1))
            if look_ahead:
                # Given the step before, z has covariance Q + 1/J around A z: what is known of it is known of A z so far.
                gain = self.transition.mT @ (torch.eye(len(drift)).to(drift) - gathered @ covariance)  # (latent, latent)
                later = gain @ of_x, gain @ gathered @ self.transition

    def _of_data(self, x: Tensor) -> Tensor:
        """The part of the guide's means that the data make, (steps, data, latent)."""
        return x @ self.guide_weight.mT + self.guide_bias.unsqueeze(1)

    def _scale_tril(self) -> Tensor:
        """T, shape (steps, latent, latent)."""
        return self.guide_log_scale.exp().diag_embed() + self.guide_lower.tril(-1)

    def _step(self, x: Tensor, step: int) -> Tensor:
        """The data of a step, shape (data, features)."""
        return x[:, step * self.features : (step + 1) * self.features]
