"""The reparametrization trick, and its variants that leave the guide's score out.

Axes: particles, plates (`nesting` of them), data, event.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from pyrogen.errors import PairError
from pyrogen.programs.run import Site

from ...weights.terms import LogTerms, Weighed, scaled
from .estimator import BoundTask, GradientEstimator, Surrogate
from .score_function import ScoreFunction

__all__ = ["DoublyReparameterized", "Pathwise", "StickingTheLanding"]

Scale = Callable[[Site], Callable[[Tensor], Tensor]]
"""For a site of the guide, what to do with the gradient that arrives at its draws."""


class Pathwise(ScoreFunction):
    """The reparametrization trick: through the draws of the guide, and through its density.

    Sites whose draws carry no gradient get the score function's, with its default baseline.

    Reference:
        Kingma & Welling 2014, Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114
    """

    name = "pathwise"

    def __init__(self) -> None:
        super().__init__()


class StickingTheLanding(GradientEstimator):
    """Through the draws of the guide alone: the guide's score, whose expectation is zero in an ELBO, is left out.

    Its variance is zero where the guide is the posterior. Of an importance-weighted bound it is biased.

    Reference:
        Roeder, Wu & Duvenaud 2017, Sticking the Landing, https://arxiv.org/abs/1703.09194
    """

    name = "sticking-the-landing"
    closed_forms = False

    def surrogate(self, task: BoundTask) -> Surrogate:
        """See `GradientEstimator.surrogate`."""
        run = _without_score(task, self.name)
        return Surrogate(task.total(task.objective.bound(task.log_weight(run)), run), run, task.state)

    def biased(self, order: float) -> bool:
        """See `GradientEstimator.biased`."""
        return order != 1.0


class DoublyReparameterized(GradientEstimator):
    """Through the draws of the guide alone, where the score of an importance-weighted bound is itself reparameterized.

    The gradient of each particle's draws is multiplied by ``alpha + (1 - alpha) v_k``, with the normalised weights
    ``v_k`` to the power of ``1 - alpha``; its signal does not fade as particles grow.

    Reference:
        Tucker, Lawson, Gu & Maddison 2019, Doubly Reparameterized Gradient Estimators, https://arxiv.org/abs/1810.04152
    """

    name = "doubly-reparameterized"
    closed_forms = False

    def surrogate(self, task: BoundTask) -> Surrogate:
        """See `GradientEstimator.surrogate`."""
        order = task.objective.order
        known: list[Tensor] = []

        def scale(site: Site) -> Callable[[Tensor], Tensor]:
            return lambda gradient: _times(gradient, known[0], site, task.structure.nesting)

        run = _without_score(task, self.name, scale)
        log_weight = task.log_weight(run)
        known.append(order + (1 - order) * ((1 - order) * log_weight.detach()).softmax(0))
        return Surrogate(task.total(task.objective.bound(log_weight), run), run, task.state)


def _times(gradient: Tensor, factor: Tensor, site: Site, nesting: int) -> Tensor:
    """A gradient of a site's draws, times a factor (particles, data) or (particles,)."""
    if len(factor) == 1:
        return gradient
    shape = [len(factor)] + [1] * nesting
    if site.dim is not None and factor.dim() > 1:
        shape[site.dim] = factor.shape[-1]
    return gradient * factor.reshape(shape + [1] * site.fn.event_dim)  # (particles, plates..., event...)


def _without_score(task: BoundTask, name: str, scale: Scale | None = None) -> Weighed:
    """A weighed run whose gradient flows through the draws of the guide alone, and not through its density.

    The latents that the model and the guide's density see are copies of the draws: a factor on the gradient that arrives at
    a copy is applied once, however the draws depend on each other.
    """
    drawn = task.run_guide()
    sites = [site for site in drawn.visited.values() if not site.observed]
    for site in sites:
        if site.name not in task.structure.reparameterized:
            raise PairError(
                f"gradient='{name}' needs reparameterized draws, and {type(site.fn).__name__} at site '{site.name}' has "
                "none: use gradient='pathwise', which falls back to the score function"
            )
    copies = {site.name: site.value.view_as(site.value) for site in sites}
    for site in sites if scale is not None else ():
        if copies[site.name].requires_grad:
            copies[site.name].register_hook(scale(site))  # type: ignore[misc, no-untyped-call]
    live = fixed = drawn
    if len(sites) > 1:
        task.require_repeatable(name)
        live = task.run_guide(copies, drawn)
        fixed = task.run_guide({latent: value.detach() for latent, value in copies.items()}, drawn)
    weighed = task.weigh(guide=live, latents=copies)
    score = LogTerms()
    for site in sites:
        log_prob = fixed.visited[site.name].log_prob(site.value.detach())
        score.add(scaled(log_prob - log_prob.detach(), site, drawn), fixed.visited[site.name], task.structure)
    weighed.divergence = weighed.divergence.minus(score)
    return weighed
