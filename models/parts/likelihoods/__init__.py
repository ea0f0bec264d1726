r"""Likelihoods p(x | z) of pixels and features: parts that map a latent to the distribution of a datum.

A model gives a likelihood's constructor what it names of ``net`` (what makes a network from its number of outputs for each
element of a datum), ``latent`` (number of dimensions) and ``shape`` (of a datum).

Data are flattened to ``event`` elements. The named likelihoods take images with pixels in [0, 1]; with validation on, what
lies outside the support is refused:

==================== ========================= =================================================
name                 data                      outputs of the network, per element
==================== ========================= =================================================
bernoulli            0 or 1                    1, the logit
continuous-bernoulli [0, 1]                    1, the logit
gaussian             any real number           1, the mean (the scale is one trained number)
categorical          the grid 0, 1/255, ..., 1 256, a logit for each value
discretized-logistic the grid 0, 1/255, ..., 1 1, the location (the scale is one trained number)
==================== ========================= =================================================

Several outputs lie parameter by parameter, as ``chunk`` takes them apart: all elements' first, then all second ones.

Named axes: ``...`` any leading dimensions, ``latent``, ``event``, ``values``.
"""

from __future__ import annotations

from pyrogen.registry import Registry

from ..part import Net
from .likelihood import (
    AutoregressiveLikelihood,
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    Likelihood,
    Scale,
)

__all__ = [
    "LIKELIHOODS",
    "AutoregressiveLikelihood",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "GaussianLikelihood",
    "Likelihood",
    "Scale",
    "make_likelihood",
]

LIKELIHOODS: Registry[Likelihood] = Registry(
    "likelihood",
    Likelihood,
    {
        "bernoulli": BernoulliLikelihood,
        "continuous-bernoulli": ContinuousBernoulliLikelihood,
        "gaussian": GaussianLikelihood,
        "categorical": CategoricalLikelihood,
        "discretized-logistic": DiscretizedLogisticLikelihood,
    },
)
"""The likelihoods by name."""


def make_likelihood(name: str, make_net: Net) -> Likelihood:
    """A likelihood by its name in `LIKELIHOODS`, with options as in ``"gaussian:scale=0.1"``.

    The network is made from its number of outputs per element.

    Raises:
        ConfigurationError: no likelihood has that name, or it takes no such option.

    Example:
        >>> from torch import nn
        >>> type(make_likelihood("gaussian", lambda outputs: nn.Linear(2, outputs * 9))).__name__
        'GaussianLikelihood'
    """
    return LIKELIHOODS.make(name, net=make_net)
