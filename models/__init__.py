"""The zoo: deep generative models as pairs, one family a file, and the parts that they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pyrogen.pair import Pair

from .beta_bernoulli import BetaBernoulli
from .discrete_vae import DiscreteVAE
from .global_gaussian import GlobalGaussian
from .likelihoods import (
    LIKELIHOODS,
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    Likelihood,
    make_likelihood,
)
from .linear_gaussian import LinearGaussianVAE
from .parts import GaussianEncoder, Part, StandardNormal, elementwise, positive
from .vae import VAE

__all__ = [
    "LIKELIHOODS",
    "VAE",
    "ZOO",
    "BernoulliLikelihood",
    "BetaBernoulli",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscreteVAE",
    "DiscretizedLogisticLikelihood",
    "GaussianEncoder",
    "GaussianLikelihood",
    "GlobalGaussian",
    "Likelihood",
    "LinearGaussianVAE",
    "Part",
    "StandardNormal",
    "elementwise",
    "make_likelihood",
    "positive",
]

ZOO: Mapping[str, type[Pair]] = MappingProxyType(
    {
        "vae": VAE,
        "linear-gaussian": LinearGaussianVAE,
        "beta-bernoulli": BetaBernoulli,
        "discrete-vae": DiscreteVAE,
        "global-gaussian": GlobalGaussian,
    }
)
"""The pairs by the names that the command line gives them."""
