"""The logistic distribution, discretized to the grid of pixel values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid

from pyrogen.nets import positive_size

from .unit_grid import OnGrid, grid_index

__all__ = ["DiscretizedLogistic"]


class DiscretizedLogistic(OnGrid):
    r"""The logistic distribution's mass in each bin around a grid of values, tails in the outer bins.

    On the grid :math:`x \in \{0, 1/(B-1), \dots, 1\}`, with half a bin :math:`h = 1/(2(B-1))`,

    .. math::
        P(x) = \sigma\big((x + h - \mu)/s\big) - \sigma\big((x - h - \mu)/s\big),

    where the first term is 1 at :math:`x = 1` and the second is 0 at :math:`x = 0`.

    Reference:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling (2016), *Improved Variational Inference with
        Inverse Autoregressive Flow*, https://arxiv.org/abs/1606.04934. The outer bins take the tails as in
        Salimans, Karpathy, Chen, Kingma (2017), *PixelCNN++*, https://arxiv.org/abs/1701.05517.

    Args:
        loc: the location :math:`\mu`, in units of the grid's length 1; any shape.
        scale: the scale :math:`s > 0`, in the same units; broadcasts with `loc`.
        bins: the number of bins :math:`B`; 256 for 8-bit pixels divided by 255.

    Raises:
        ConfigurationError: `bins` is not an integer of at least 2.

    Example:
        >>> pixel = DiscretizedLogistic(torch.tensor(0.3), torch.tensor(0.1), bins=256)
        >>> pixel.log_prob(pixel.enumerate_support()).exp().sum()
        tensor(1.0000)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - as torch has it

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, bins: int = 256, validate_args: bool | None = None
    ) -> None:
        self.bins = positive_size("bins", bins, least=2)
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log of the bin's mass, in nats, finite however far the value lies in the tails.

        With edges :math:`a < b` in scales from the location, it is that of
        :math:`\sigma(b) - \sigma(a) = \sigma(b)\,\sigma(-a)\,(1 - e^{a - b})`.
        """
        if self._validate_args:
            self._validate_sample(value)
        last = self.bins - 1
        index = grid_index(value, self.bins)
        # Counted in bins, the upper edge of one bin and the lower edge of the next are the same number even
        # after rounding: the masses add up to 1 in any dtype.
        rate = 1 / (self.scale * last)
        centre = self.loc * last
        below_upper = logsigmoid((index + 0.5 - centre) * rate)
        above_lower = logsigmoid((centre - (index - 0.5)) * rate)
        inner = below_upper + above_lower + torch.log(-torch.expm1(-rate))
        return torch.where(index == 0, below_upper, torch.where(index == last, above_lower, inner))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 - an immutable, as torch has it
        """See `torch.distributions.Distribution.sample`."""
        shape = self._extended_shape(torch.Size(sample_shape))
        uniform = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        logistic = self.loc + self.scale * torch.logit(uniform)
        return grid_index(logistic, self.bins) / (self.bins - 1)

    @property
    def mean(self) -> Tensor:
        r"""The mean, exactly: :math:`\sum_{i=0}^{B-2} P(x > i/(B-1)) / (B-1)`."""
        last = self.bins - 1
        rate, centre = 1 / (self.scale * last), self.loc * last
        total = torch.zeros_like(self.loc)
        for index in range(last):  # one bin at a time, for all at once would take `bins` times the memory
            total = total + torch.sigmoid((centre - (index + 0.5)) * rate)
        return total / last

    @property
    def variance(self) -> Tensor:
        """See `torch.distributions.Distribution.variance`."""
        last = self.bins - 1
        rate, centre = 1 / (self.scale * last), self.loc * last
        mean = self.mean * last
        total = torch.zeros_like(self.loc)
        for index in range(last):
            # Summation by parts around the mean: no difference of two large squares.
            total = total + (2 * (index - mean) + 1) * torch.sigmoid((centre - (index + 0.5)) * rate)
        return (total + mean.square()) / last**2
