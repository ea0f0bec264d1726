"""The closed form, where a pair has one."""

from __future__ import annotations

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments
from pyrogen.errors import PairError
from pyrogen.pair import Pair

from ..weights.chunks import Block
from .estimate import BlockEstimate, Estimator

__all__ = ["Exact"]


class Exact(Estimator):
    """log p(x) as the pair's own ``log_evidence(batch)`` computes it.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> Exact().estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4)).kind
        'exact'
    """

    name, kind = "Exact", "exact"

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`."""
        if getattr(pair, "log_evidence", None) is None:
            raise PairError(
                f"{type(pair).__name__} offers no exact evidence: give it a method log_evidence(batch) of shape (data,), "
                "or use ImportanceSampling"
            )

    def begin(self, whole: Block) -> Block:
        """See `Estimator.begin`."""
        return whole.sized(whole.rows)

    def block(self, block: Block) -> BlockEstimate:
        """See `Estimator.block`."""
        args, kwargs = arguments(block.batch)
        with block.pair.scope():
            log_prob: Tensor = block.pair.log_evidence(*args, **kwargs)  # type: ignore[operator]  # `require` has seen it
        return BlockEstimate(log_prob, torch.zeros_like(log_prob))
