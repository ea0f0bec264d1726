"""The categorical distribution on the grid of pixel values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from pyrogen.errors import ConfigurationError
from pyrogen.nets import positive_size

from .unit_grid import OnGrid, grid_index, grid_values

__all__ = ["GridCategorical"]


class GridCategorical(OnGrid):
    r"""A free probability for each value of a grid, as a pixel of PixelRNN has it.

    On the grid :math:`x_i = i/(B-1)`, :math:`i = 0, \dots, B-1`,

    .. math::
        P(x_i) = e^{l_i} \Big/ \sum_j e^{l_j}.

    It is `pyro.distributions.Categorical` with values in [0, 1], as every other likelihood of pixels has them.

    Reference:
        van den Oord, Kalchbrenner, Kavukcuoglu (2016), *Pixel Recurrent Neural Networks*, https://arxiv.org/abs/1601.06759.

    Args:
        logits: unnormalized log probabilities :math:`l`, shape (..., bins), at least 2 bins.

    Raises:
        ConfigurationError: there are fewer than 2 bins.

    Example:
        >>> pixel = GridCategorical(torch.tensor([0.0, 0.0, 0.7]))
        >>> pixel.log_prob(torch.tensor([0.0, 0.5, 1.0])).exp()
        tensor([0.2491, 0.2491, 0.5017])
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012 - as torch has it

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        if logits.dim() < 1:
            raise ConfigurationError("logits must have shape (..., bins), not that of a scalar")
        self.bins = positive_size("bins", logits.shape[-1], least=2)
        self.logits = logits
        super().__init__(logits.shape[:-1], validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability, in nats, of the grid point next to each value."""
        if self._validate_args:
            self._validate_sample(value)
        index = grid_index(value, self.bins).long()
        shape = torch.broadcast_shapes(index.shape, self.batch_shape)  # type: ignore[no-untyped-call]
        logits = self.logits.expand(*shape, self.bins)
        chosen = logits.gather(-1, index.expand(shape).unsqueeze(-1)).squeeze(-1)  # (..., )
        return chosen - self.logits.logsumexp(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """See `torch.distributions.Distribution.sample`."""
        indices = torch.distributions.Categorical(logits=self.logits, validate_args=False)
        index: Tensor = indices.sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return index.to(self.logits.dtype) / (self.bins - 1)

    @property
    def mean(self) -> Tensor:
        """See `torch.distributions.Distribution.mean`."""
        return self.logits.softmax(-1) @ grid_values(self.bins, self.logits)

    @property
    def variance(self) -> Tensor:
        """See `torch.distributions.Distribution.variance`."""
        deviation = grid_values(self.bins, self.logits) - self.mean.unsqueeze(-1)  # (..., bins)
        return (self.logits.softmax(-1) * deviation.square()).sum(-1)
