"""Free bits: a divergence from guide to prior that costs nothing up to a level, so that a latent is taken up."""

from __future__ import annotations

from torch import Tensor

from pyrogen.programs.structure import Structure

from ..weights.divergence import unit_divergence
from ..weights.terms import Weighed

__all__ = ["missing_bits"]


def missing_bits(run: Weighed, structure: Structure, level: float) -> Tensor | float:
    r"""What the divergences of all units, each averaged over the data of the batch, lack of a level: (), in nats per datum.

    Added to the loss it makes the divergence of each unit

    .. math::
        \max\Big(\lambda, \tfrac1N \sum_i \mathrm{KL}\big(q(z_j \mid x_i) \,\|\, p(z_j)\big)\Big).

    Below the level a unit's divergence has no gradient, and nothing drives it to zero. The result is an objective, and no
    bound.

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling (2016), *Improving Variational Inference with Inverse
        Autoregressive Flow*, https://arxiv.org/abs/1606.04934, appendix C.8.

    Args:
        run: a weighed run of a pair.
        structure: of the pair.
        level: in nats for each unit.

    Raises:
        PairError: see `unit_divergence`.
    """
    missing: Tensor | float = 0.0
    for name, posterior in run.guide.visited.items():
        if posterior.dim is not None and name in run.model.visited:
            units = unit_divergence(posterior, run.model.visited[name], structure).mean((0, 1))  # (units,)
            missing = missing + (level - units).clamp(min=0).sum()
    return missing
