"""The closed form, where a pair has one."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from pyrogen.batch import Batch, arguments
from pyrogen.errors import PairError
from pyrogen.pair import Pair

from ..weights.chunks import evaluation
from .estimate import Estimate, Estimator

__all__ = ["Exact"]


class Exact(Estimator):
    """log p(x) as the pair's own ``log_evidence(batch)`` computes it.

    Example:
        >>> from pyrogen.models import LinearGaussianVAE
        >>> Exact().estimate(LinearGaussianVAE((4,), latent=2), torch.zeros(3, 4)).kind
        'exact'
    """

    name = "Exact"

    def require(self, pair: Pair, batch: Batch) -> None:
        """See `Estimator.require`."""
        self._evidence(pair)

    def _evidence(self, pair: Pair) -> Callable[..., Tensor]:
        evidence: Callable[..., Tensor] | None = getattr(pair, "log_evidence", None)
        if evidence is None:
            raise PairError(
                f"{type(pair).__name__} offers no exact evidence: give it a method log_evidence(batch) of shape (data,), "
                "or use ImportanceSampling"
            )
        return evidence

    def estimate(self, pair: Pair, batch: Batch, *, progress: bool = False) -> Estimate:
        """See `Estimator.estimate`.

        Raises:
            PairError: the pair has no ``log_evidence``.
        """
        evidence = self._evidence(pair)
        start = time.perf_counter()
        args, kwargs = arguments(batch)
        with evaluation(pair), pair.scope():
            log_prob = evidence(*args, **kwargs)
        return Estimate(
            name=self.name,
            kind="exact",
            log_prob=log_prob,
            standard_error=torch.zeros_like(log_prob),
            evaluations=len(log_prob),
            seconds=time.perf_counter() - start,
        )
