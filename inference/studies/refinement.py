"""A guide refined for each datum by itself: what the family could do where the encoder does not do it.

Axes: particles, data.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogen.batch import Batch, arguments, device_of, index, length
from pyrogen.errors import ConfigurationError, PairError, require_at_least
from pyrogen.pair import Pair
from pyrogen.programs.run import Sites, run_guide
from pyrogen.programs.structure import Structure
from pyrogen.randomness import forked

from ..weights.evaluation import evaluation, require_per_datum
from ..weights.terms import LogTerms, weigh
from .variational_family import VariationalFamily

__all__ = ["Refinement", "refine"]

_CHECKS = 10
_CHECK_DRAWS = 64


@dataclass(frozen=True)
class Refinement:
    """The ELBO of the encoder's guide and of the refined one, per datum: each (data,), in nats.

    All are evaluated with fresh draws, that no choice has been made by; both guides see the same noise, so that their
    difference is known better than either.
    """

    encoder: Tensor
    encoder_error: Tensor
    refined: Tensor
    refined_error: Tensor
    gain: Tensor
    """Refined minus encoder."""
    gain_error: Tensor
    lost: Tensor
    """(data,), the number of steps at which the datum's bound or its gradient was not finite."""
    evaluations: int
    gradients: int
    seconds: float
    notes: tuple[str, ...]


def refine(
    pair: Pair,
    batch: Batch,
    *,
    steps: int = 300,
    particles: int = 16,
    draws: int = 1000,
    learning_rate: float = 0.1,
    rows: int = 256,
    progress: bool = False,
) -> Refinement:
    """Optimise the guide's distributions for each datum alone, and evaluate what that gains.

    Every latent's distribution keeps its kind, and its parameters become free: the encoder's value plus an offset of the
    datum's own, ``argmax_d ELBO(x_i; encoder(x_i) + d_i)``, by Adam at a falling rate with all data at once. At ten
    points on the way a datum that has become worse, on draws set aside, keeps what it had before.
    Where a latent's parameters depend on other latents its offset is the same for all values of these, and transforms
    stay as the guide makes them: a bound all the same, that the whole family might exceed.

    Reference:
        Cremer, Li & Duvenaud 2018, Inference Suboptimality in Variational Autoencoders, https://arxiv.org/abs/1801.03558

    Args:
        pair: the pair; it is run in evaluation mode and left as it was.
        batch: the data.
        steps: steps of the optimisation.
        particles: draws for each datum in a step.
        draws: fresh draws for each datum in the evaluation.
        learning_rate: where the rate begins, in units of the guide's own scale.
        rows: data refined together.
        progress: show a progress bar.

    Raises:
        ConfigurationError: an argument cannot be used.
        NotPerDatum: the pair's latents are not each datum's own.
        PairError: a distribution cannot be refined; the message names its site.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> found = refine(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4), steps=50)
        >>> bool((found.refined > found.encoder).all())
        True
    """
    require_at_least(0, steps=steps)
    require_at_least(2, particles=particles, draws=draws)
    require_at_least(1, rows=rows)
    if not 0 < learning_rate < math.inf:
        raise ConfigurationError(f"learning_rate must be a positive number, not {learning_rate}")
    start = time.perf_counter()
    structure = require_per_datum(pair, batch, "moving each datum's latents")
    if not structure.latents:
        raise PairError("the pair has no latents, and its guide nothing to refine: log p(x) needs no bound")
    total = length(batch)
    size = min(rows, total) if structure.amortized else total
    found = [torch.empty(total, dtype=torch.float64, device=device_of(batch)) for _ in range(7)]
    notes: dict[str, None] = {}
    with evaluation(pair), _frozen(pair), pair.scope(), tqdm(total=total, disable=not progress, leave=False) as bar:
        for first in range(0, total, size):
            data = slice(first, min(first + size, total))
            part = _Offsets(pair, index(batch, data) if size < total else batch, structure, particles)
            lost = part.optimise(steps, learning_rate)
            for column, values in zip(found, [*part.evaluate(draws), lost], strict=True):
                column[data] = values
            notes.update(dict.fromkeys(part.notes()))
            bar.update(data.stop - data.start)
    encoder, encoder_error, refined, refined_error, gain, gain_error, lost = found
    return Refinement(
        encoder=encoder,
        encoder_error=encoder_error,
        refined=refined,
        refined_error=refined_error,
        gain=gain,
        gain_error=gain_error,
        lost=lost,
        evaluations=total * (steps * particles + (_CHECKS + 1) * _CHECK_DRAWS + 2 * draws),
        gradients=total * steps * particles,
        seconds=time.perf_counter() - start,
        notes=tuple(notes),
    )


class _Offsets:
    """The offsets of some data, refined together."""

    def __init__(self, pair: Pair, batch: Batch, structure: Structure, particles: int) -> None:
        self.pair, self.batch, self.structure, self.particles = pair, batch, structure, particles
        self.rows = length(batch)
        args, kwargs = arguments(batch)
        visited = run_guide(pair, args, kwargs, nesting=structure.nesting).visited
        self.families = {name: VariationalFamily(site) for name, site in visited.items() if not site.observed}
        self.offsets = {
            name: [family.site.value.new_zeros(shape, dtype=family.units[0].dtype) for shape in family.shapes]
            for name, family in self.families.items()
        }
        self.conditional: set[str] = set()

    def optimise(self, steps: int, learning_rate: float) -> Tensor:
        """Move the offsets to where the ELBO is best, and count the steps each datum lost."""
        parameters = [offset.requires_grad_() for offsets in self.offsets.values() for offset in offsets]
        adam = torch.optim.Adam(parameters, learning_rate, betas=(0.9, 0.99))
        seed = int(torch.randint(2**62, (), device="cpu"))
        lost = parameters[0].new_zeros(self.rows, dtype=torch.float64)
        check = partial(self._seeded, seed, self.offsets, _CHECK_DRAWS)
        best = check()  # (draws, data)
        kept = {name: [offset.detach().clone() for offset in offsets] for name, offsets in self.offsets.items()}
        for step in range(steps):
            adam.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            with torch.enable_grad():
                bound = self._surrogate()  # (data,)
                gradients = torch.autograd.grad(-bound.sum(), parameters)
            lost += ~torch.isfinite(bound.detach())
            for parameter, gradient in zip(parameters, gradients, strict=True):
                # Data do not share parameters, so that what one of them has lost stays its own.
                parameter.grad = torch.where(torch.isfinite(gradient), gradient, 0.0)
            adam.step()
            if (step + 1) % max(1, steps // _CHECKS) == 0 or step + 1 == steps:
                values = check()
                good = _not_worse(values, best)
                best = torch.where(good, values, best)
                self._keep(kept, good)
        self.offsets = kept
        return lost

    def evaluate(self, draws: int) -> list[Tensor]:
        """Mean and standard error of the encoder's ELBO, of the refined one and of their difference, each (data,)."""
        encoder = {name: [torch.zeros_like(offset) for offset in offsets] for name, offsets in self.offsets.items()}
        parts = []
        for first in range(0, draws, self.particles):
            seed = int(torch.randint(2**62, (), device="cpu"))
            particles = max(2, min(self.particles, draws - first))
            pair = [self._seeded(seed, offsets, particles) for offsets in (encoder, self.offsets)]
            parts.append(torch.stack([*pair, pair[1] - pair[0]]))  # (3, particles, data)
        values = torch.cat(parts, 1)
        errors = values.std(1) / values.shape[1] ** 0.5
        return [column for which in range(3) for column in (values[which].mean(0), errors[which])]

    def notes(self) -> Iterator[str]:
        """What was not free."""
        for name, family in self.families.items():
            if family.keeps:
                yield f"the transforms at site '{name}' stayed as the guide makes them, and what they transform was refined"
            if name in self.conditional:
                yield f"parameters at site '{name}' depend on other latents, and were shifted alike for all values of these"

    def _weigh(self, offsets: dict[str, list[Tensor]], particles: int) -> tuple[Tensor, Tensor | None]:
        """Log weights of fresh draws, and the log density of those that carry no gradient, each (particles, data).

        Log weights see the draws' dependence on the offsets, and not the density's own: its score has expectation zero.
        """
        if particles > 1 and self.structure.loop is not None:
            weights, scores = zip(*(self._weigh(offsets, 1) for _ in range(particles)), strict=True)
            return torch.cat(weights), None if scores[0] is None else torch.cat(scores)
        args, kwargs = arguments(self.batch)
        live: dict[str, Any] = {}
        given = {name: partial(self._draw, name, offsets[name], particles, live) for name in self.families}
        count, nesting = (None if particles == 1 else particles), self.structure.nesting
        guide: Sites = run_guide(self.pair, args, kwargs, particles=count, nesting=nesting, given=cast(Any, given))
        score = LogTerms()
        for name, family in self.families.items():
            site = guide.visited[name]
            if len(site.fn.batch_shape) > nesting:
                self.conditional.add(name)
            original, site.fn = site.fn, live[name]
            if name not in self.structure.reparameterized:
                score.add(site.log_prob(), site, self.structure)
            site.fn = family(original, [offset.detach() for offset in offsets[name]])
        weighed = weigh(self.pair, self.batch, self.structure, particles, guide=guide)
        log_weight = cast(Tensor, weighed.log_weight().local).expand(particles, self.rows)
        return log_weight, score.local

    def _draw(self, name: str, offsets: list[Tensor], particles: int, live: dict[str, Any], fn: Any) -> Tensor:
        live[name] = shifted = self.families[name](fn, offsets)
        missing = self.structure.nesting - len(shifted.batch_shape)
        value: Tensor = shifted() if missing < 0 or particles == 1 else shifted(torch.Size((particles, *(1,) * missing)))
        return value  # (particles, plates..., event...), without particles where there is one

    def _surrogate(self) -> Tensor:
        """The ELBO of each datum, (data,), with the gradient of the offsets."""
        log_weight, score = self._weigh(self.offsets, self.particles)
        if score is None:
            return log_weight.mean(0)
        others = (log_weight.sum(0) - log_weight) / (self.particles - 1)
        return log_weight.mean(0) + ((log_weight - others).detach() * (score - score.detach())).mean(0)

    def _seeded(self, seed: int, offsets: dict[str, list[Tensor]], particles: int) -> Tensor:
        with forked(self.batch, seed), torch.no_grad():
            return self._weigh(offsets, particles)[0].double()

    def _keep(self, kept: dict[str, list[Tensor]], good: Tensor) -> None:
        """Take over the offsets of some data."""
        for name, family in self.families.items():
            axis = len(family.site.fn.batch_shape) + (family.site.dim or 0)
            for old, new in zip(kept[name], self.offsets[name], strict=True):
                where = good.reshape((1,) * axis + (-1,) + (1,) * (new.dim() - axis - 1))
                old.copy_(torch.where(where, new.detach(), old))


def _not_worse(values: Tensor, before: Tensor) -> Tensor:
    """Whether log weights, (draws, data), are not below earlier ones under the same noise beyond their error: (data,).

    The optimisation moves towards the better, so that it takes evidence to stay behind, and not to follow it.
    """
    finite = torch.isfinite(values).all(0)
    difference = values - before
    error = difference.std(0) / len(difference) ** 0.5
    good: Tensor = finite & (~torch.isfinite(before).all(0) | (difference.mean(0) >= -2 * error))
    return good


@contextmanager
def _frozen(pair: Pair) -> Iterator[None]:
    """Let no gradient be computed for the pair's own parameters."""
    learned = [parameter for parameter in pair.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)
