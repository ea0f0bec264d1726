"""Free bits: a divergence from guide to prior that costs nothing up to a level, so that a latent is taken up."""

from __future__ import annotations

from pyrogen.programs.structure import Structure

from ..weights.divergence import unit_divergence
from ..weights.terms import Weighed

__all__ = ["spare"]


def spare(weighed: Weighed, structure: Structure, level: float) -> None:
    r"""Raise the divergence of each unit, averaged over the data of the batch, to a level at least.

    .. math::
        \sum_j \max\Big(\lambda, \tfrac1N \sum_i \mathrm{KL}\big(q(z_j \mid x_i) \,\|\, p(z_j)\big)\Big).

    Below the level a unit's divergence has no gradient, and nothing drives it to zero. The result is an objective, and no
    bound.

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling (2016), *Improving Variational Inference with Inverse
        Autoregressive Flow*, https://arxiv.org/abs/1606.04934, appendix C.8.

    Args:
        weighed: a run of a pair; what is missing is added to the divergence of every datum.
        structure: of the pair.
        level: in nats for each unit.

    Raises:
        PairError: see `unit_divergence`.
    """
    for name, posterior in weighed.guide.visited.items():
        if posterior.dim is None or name not in weighed.model.visited:
            continue
        units = unit_divergence(posterior, weighed.model.visited[name], structure).mean((0, 1))  # (units,)
        missing = (level - units).clamp(min=0).sum()
        local = weighed.divergence.local
        weighed.divergence.local = missing if local is None else local + missing
