"""A sampler seen through noise: a pair with a density, made of one that has none."""

from __future__ import annotations

import pyro
from pyro import poutine
from torch import Tensor

from pyrogen.errors import ConfigurationError
from pyrogen.pair import Pair
from pyrogen.sampler import Sampler

from .parts import Part

__all__ = ["Observed"]

# Named axes: particles, data, event.


class Observed(Pair):
    r"""A sampler and an observation part, whose density every estimator serves.

    .. math::
        u \sim p(u), \qquad x \sim p(x \mid g(u)),

    where the sampler makes :math:`g(u)` of its random numbers u. The guide draws u anew from the sampler, whatever the data.
    For a better proposal, subclass and define `guide` over the sampler's sites.

    Reference:
        Wu, Burda, Salakhutdinov, Grosse (2017), *On the Quantitative Analysis of Decoder-Based Generative Models*,
        https://arxiv.org/abs/1611.04273.

    Args:
        sampler: draws data; see `pyrogen.sampler.Sampler`.
        observation: a part whose context is a draw, (..., event), such as a `GaussianLikelihood` on ``nn.Identity()``.

    Raises:
        ConfigurationError: what is given as a sampler cannot draw.

    Example:
        >>> import pyro.distributions as dist, torch
        >>> from torch import nn
        >>> from pyrogen.models import GaussianLikelihood
        >>> class Uniforms(Pair):
        ...     def draw(self, count):
        ...         with pyro.plate("data", count, dim=-1):
        ...             return pyro.sample("u", dist.Uniform(torch.zeros(3), 1.0).to_event(1))
        >>> pair = Observed(Uniforms(), GaussianLikelihood(nn.Identity(), scale=0.1))
        >>> pair.structure(torch.rand(5, 3)).latents
        ('u',)
    """

    def __init__(self, sampler: Sampler, observation: Part) -> None:
        super().__init__()
        if not isinstance(sampler, Sampler):
            raise ConfigurationError(f"a {type(sampler).__name__} is no sampler: it needs a method draw(count)")
        self.sampler, self.observation = sampler, observation

    def model(self, x: Tensor) -> None:
        """The sampler's sites, and ``x``, observed; `x` has shape (data, event)."""
        with poutine.block(hide=[self.data_plate]):  # the plate that the sampler enters is entered again below
            drawn = self.sampler.draw(len(x))  # (..., data, event)
        with pyro.plate(self.data_plate, len(x), dim=-1):
            pyro.sample("x", self.observation(drawn), obs=x)

    def guide(self, x: Tensor) -> None:
        """The sampler's sites."""
        self.sampler.draw(len(x))
