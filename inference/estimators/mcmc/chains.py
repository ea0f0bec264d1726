"""Markov chains by the No-U-Turn sampler, one after another, and their diagnostics.

Axes: chains, draws, dims (all latents, unconstrained and laid side by side).
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro.infer
import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from ..result_files import load_arviz

__all__ = ["ChainSettings", "Chains", "Health", "effective_draws", "health", "run_chains"]

RHAT_LIMIT = 1.01
ESS_LIMIT = 400.0
_REDRAWS = 20  # of starting points without a finite density and gradient


@dataclass(frozen=True)
class ChainSettings:
    """How chains are run; see `pyro.infer.NUTS`.

    Raises:
        ConfigurationError: a number cannot be used.
    """

    draws: int = 1000
    warmup: int = 500
    chains: int = 4
    target_acceptance: float = 0.8
    max_depth: int = 10
    full_mass: bool = False

    def __post_init__(self) -> None:
        for name, least, why in (
            ("draws", 8, "to diagnose a chain and to fit the bridge's proposal"),
            ("warmup", 1, "to adapt the step size"),
            ("chains", 1, "to have draws at all"),
            ("max_depth", 1, "to move"),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"{name} must be at least {least}, {why}, and it is {value!r}")
        if not 0 < self.target_acceptance < 1:
            raise ConfigurationError(f"target_acceptance must lie between 0 and 1, not {self.target_acceptance}")


@dataclass(frozen=True)
class Chains:
    """Draws of several chains.

    Attributes:
        values: (chains, draws, dims), of the chains that are left.
        divergences: number of draws, after the warmup, whose trajectory diverged.
        acceptance: mean probability of acceptance; of no chains ``nan``.
        gradients: gradients of the log density that all chains took, the warmup's and the lost chains' too.
        lost: chains that found no finite start, or whose draws are not finite.
    """

    values: Tensor
    divergences: int
    acceptance: float
    gradients: int
    lost: int


class Health(NamedTuple):
    """The diagnostics of chains, of the worst dimension."""

    rhat: float
    """Rank-normalised split R-hat."""
    bulk: float
    """Effective number of draws for the centre of the distribution."""
    tail: float
    """Effective number of draws for the 5% and 95% quantiles."""

    def complaints(self) -> list[str]:
        """What fails, in words."""
        found = []
        if not self.rhat <= RHAT_LIMIT:
            found.append(f"R-hat {self.rhat:.3f} is above {RHAT_LIMIT}")
        if not min(self.bulk, self.tail) >= ESS_LIMIT:
            found.append(f"the effective number of draws, {min(self.bulk, self.tail):.0f}, is below {ESS_LIMIT:.0f}")
        return found


def run_chains(
    log_density: Callable[[Tensor], Tensor],
    starts: Callable[[int], Tensor],
    sampler: ChainSettings,
    *,
    advance: Callable[[], object] = lambda: None,
) -> Chains:
    """Run the chains in this process, one after another; random numbers come from torch's default generator.

    Args:
        log_density: from unconstrained points (points, dims) to log densities (points,), in nats, differentiable.
        starts: draws so many starting points, (points, dims).
        sampler: how the chains are run.
        advance: called after each chain.

    Returns:
        The chains. One whose start has no finite density and gradient begins elsewhere, and is lost where this does not
        help; the others do not notice.
    """
    calls = 0

    def potential(latents: dict[str, Tensor]) -> Tensor:
        nonlocal calls
        calls += 1
        with torch.enable_grad():
            return -log_density(latents["u"].unsqueeze(0)).sum()

    kept, divergences, acceptance = [], 0, []
    begin = starts(sampler.chains).detach()
    for chain in range(sampler.chains):
        start = _finite_start(begin[chain], starts, potential)
        if start is not None:
            kernel = pyro.infer.NUTS(  # type: ignore[no-untyped-call]
                potential_fn=potential,
                target_accept_prob=sampler.target_acceptance,
                max_tree_depth=sampler.max_depth,
                full_mass=sampler.full_mass,
            )
            mcmc = pyro.infer.MCMC(  # type: ignore[no-untyped-call]
                kernel,
                num_samples=sampler.draws,
                warmup_steps=sampler.warmup,
                initial_params={"u": start},
                hook_fn=(watch := _Watch()),
                disable_progbar=True,
            )
            with _quiet():
                mcmc.run()
            values = mcmc.get_samples()["u"].detach()  # type: ignore[no-untyped-call]  # (draws, dims)
            if bool(torch.isfinite(values).all()):
                kept.append(values)
                divergences += watch.divergences
                acceptance.append(watch.acceptance)
        advance()
    values = torch.stack(kept) if kept else begin.new_empty(0, sampler.draws, begin.shape[-1])
    mean = sum(acceptance) / len(acceptance) if acceptance else math.nan
    return Chains(values, divergences, mean, calls, sampler.chains - len(kept))


def health(values: Tensor) -> Health:
    """Diagnose chains (chains, draws, dims), by ArviZ; of a single chain the two halves are compared.

    Reference:
        Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, Rank-Normalization, Folding, and Localization,
        https://arxiv.org/abs/1903.08008
    """
    if not len(values):
        return Health(math.nan, 0.0, 0.0)
    found = []
    for dim in range(values.shape[-1]):
        column = _two_chains(values[..., dim])
        found.append(
            [_arviz("rhat", column), _arviz("ess", column), _arviz("ess", column, method="tail", prob=(0.05, 0.95))]
        )
    rhat, bulk, tail = torch.tensor(found, dtype=torch.float64, device="cpu").unbind(1)  # (dims,) each
    return Health(float(rhat.max()), float(bulk.min()), float(tail.min()))


def effective_draws(values: Tensor) -> float:
    """The effective number of draws for the mean of values (chains, draws); of constant ones, their number."""
    found = _arviz("ess", _two_chains(values), method="mean")
    return found if math.isfinite(found) and found > 0 else float(values.numel())


class _Watch:
    """What a chain's kernel says of itself after its last draw."""

    divergences = 0
    acceptance = math.nan

    def __call__(self, kernel: Any, latents: Any, stage: str, step: int) -> None:
        if stage.startswith("Sample"):
            self.divergences = len(kernel.diagnostics()["divergences"])
            self.acceptance = float(kernel.logging()["acc. prob"])


def _finite_start(
    start: Tensor, starts: Callable[[int], Tensor], potential: Callable[[dict[str, Tensor]], Tensor]
) -> Tensor | None:
    """A point whose density and gradient are finite: the one given, if it is one, or another."""
    for _ in range(_REDRAWS):
        point = start.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            energy = potential({"u": point})
            (gradient,) = torch.autograd.grad(energy, point)
        if bool(torch.isfinite(energy)) and bool(torch.isfinite(gradient).all()):
            return point.detach()
        start = starts(1)[0]
    return None


def _two_chains(values: Tensor) -> Any:
    """Values (chains, draws) as an array with at least two chains."""
    array = values.detach().double().cpu()
    if len(array) == 1:
        array = array[:, : array.shape[1] // 2 * 2].reshape(2, -1)
    return array.numpy()


def _arviz(name: str, values: Any, **options: Any) -> float:
    """A diagnostic of one dimension; ``nan`` where it is not known."""
    diagnostic = getattr(load_arviz(), name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by the variance of what may be constant
        return float(diagnostic(values, **options))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave Pyro's logger, to which each run of MCMC gives handlers of its own, as it was."""
    logger = logging.getLogger("pyro.infer.mcmc")
    before = logger.handlers, logger.propagate, logger.level
    try:
        yield
    finally:
        logger.handlers, logger.propagate = list(before[0]), before[1]
        logger.setLevel(before[2])
