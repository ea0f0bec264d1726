"""Markov transitions that leave a tempered density as it is, for all chains of all data at once.

Axes: chains, data, dims.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogen.batch import Batch
from pyrogen.errors import ConfigurationError

from ..latent_density import LatentDensity

__all__ = ["HMC", "MALA", "Moved", "State", "Transition", "evaluate", "move"]

_JITTER = 0.2  # of the step size: a fixed one may step in time with an orbit of the density


@dataclass(frozen=True)
class Transition:
    """Hamiltonian Monte Carlo: a few leapfrog steps, then accepted or not.

    Reference:
        Neal 2011, MCMC Using Hamiltonian Dynamics, https://arxiv.org/abs/1206.1901

    Args:
        steps: leapfrog steps of a transition, each of which takes one gradient.
        target: share of accepted moves to which a pilot run adapts the step size.

    Raises:
        ConfigurationError: no step, or a target that is no share.
    """

    steps: int
    target: float

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigurationError(f"a transition needs at least one leapfrog step, not {self.steps}")
        if not 0 < self.target < 1:
            raise ConfigurationError(f"target must be a share of accepted moves between 0 and 1, not {self.target}")

    @property
    def name(self) -> str:
        """What it is called."""
        return "MALA" if self.steps == 1 else f"HMC({self.steps})"


class HMC(Transition):
    """Hamiltonian Monte Carlo with so many leapfrog steps; see `Transition`.

    Example:
        >>> HMC(3).name
        'HMC(3)'
    """

    def __init__(self, steps: int = 5, *, target: float = 0.8) -> None:
        super().__init__(steps, target)


class MALA(Transition):
    """The Metropolis-adjusted Langevin algorithm, which is Hamiltonian Monte Carlo with one leapfrog step.

    Reference:
        Roberts & Tweedie 1996, Exponential convergence of Langevin distributions, https://doi.org/10.2307/3318418

    Example:
        >>> MALA().name
        'MALA'
    """

    def __init__(self, *, target: float = 0.57) -> None:
        super().__init__(1, target)


class State(NamedTuple):
    """Chains with all that a transition needs to know of where they are, so that it is not computed twice."""

    u: Tensor
    """(chains, data, dims), unconstrained."""
    base: Tensor
    """(chains, data), in nats; see `pyrogen.inference.estimators.latent_density.Terms`."""
    slope: Tensor
    """(chains, data), in nats."""
    base_gradient: Tensor
    """(chains, data, dims)."""
    slope_gradient: Tensor
    """(chains, data, dims)."""


class Moved(NamedTuple):
    """Chains after a transition."""

    state: State
    acceptance: Tensor
    """Probability with which each move was accepted, 0 where its end was not finite: (chains, data)."""


def evaluate(density: LatentDensity, u: Tensor, batch: Batch) -> State:
    """The state of chains at unconstrained latents `u`, (chains, data, dims)."""
    with torch.enable_grad():
        u = u.detach().contiguous().requires_grad_()
        base, slope = density.terms(u, batch)
        (base_gradient,) = torch.autograd.grad(base.sum(), u, retain_graph=True)
        (slope_gradient,) = torch.autograd.grad(slope.sum(), u)
    return State(u.detach(), base.detach(), slope.detach(), base_gradient, slope_gradient)


def move(density: LatentDensity, batch: Batch, state: State, beta: Tensor, step: Tensor, scale: Tensor, steps: int) -> Moved:
    """One transition that leaves ``base + beta * slope`` invariant.

    Args:
        density: the path of densities.
        batch: the data.
        state: the chains.
        beta: (data,) or (chains, data), the inverse temperature.
        step: (data,) or (chains, data), the step size, in units of `scale`.
        scale: (data, dims) or (chains, data, dims), about the standard deviation of each dimension.
        steps: leapfrog steps.
    """
    tempered = beta[..., None]  # (data, 1) or (chains, data, 1)
    momentum = torch.randn_like(state.u)
    jitter = 1 + _JITTER * (2 * torch.rand_like(state.base) - 1)  # (chains, data)
    stride = (jitter * step)[..., None] * scale  # (chains, data, dims)
    before = state.base + beta * state.slope - 0.5 * momentum.square().sum(-1)  # (chains, data)
    u, gradient = state.u, state.base_gradient + tempered * state.slope_gradient
    momentum = momentum + 0.5 * stride * gradient
    for _ in range(steps - 1):
        u = u + stride * momentum
        momentum = momentum + stride * _gradient(density, u, batch, beta)
    end = evaluate(density, u + stride * momentum, batch)
    momentum = momentum + 0.5 * stride * (end.base_gradient + tempered * end.slope_gradient)
    gain = end.base + beta * end.slope - 0.5 * momentum.square().sum(-1) - before
    # What is not finite is never accepted: a chain that meets it stays where it was.
    gain = torch.where(torch.isfinite(end.base) & torch.isfinite(end.slope), gain, -math.inf)
    gain = gain.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf)
    accepted = torch.rand_like(gain).log() < gain  # (chains, data)
    chosen = [
        torch.where(accepted[..., None] if new.dim() == 3 else accepted, new, old)
        for new, old in zip(end, state, strict=True)
    ]
    return Moved(State(*chosen), gain.clamp(max=0.0).exp())


def _gradient(density: LatentDensity, u: Tensor, batch: Batch, beta: Tensor) -> Tensor:
    """The gradient of the tempered log density alone, in one sweep."""
    with torch.enable_grad():
        u = u.detach().requires_grad_()
        base, slope = density.terms(u, batch)
        (gradient,) = torch.autograd.grad((base + beta * slope).sum(), u)
    return gradient
