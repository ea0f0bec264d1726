"""The parts that models are made of, by name: priors, encoders, likelihoods."""

from __future__ import annotations

from .encoders import ENCODERS, Encoder, FullRankEncoder, GaussianEncoder
from .likelihoods import (
    LIKELIHOODS,
    AutoregressiveLikelihood,
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    Likelihood,
    make_likelihood,
)
from .part import SCALE_FLOOR, Net, Part, elementwise, made_net, positive
from .priors import PRIORS, MixturePrior, StandardNormal

__all__ = [
    "ENCODERS",
    "LIKELIHOODS",
    "PRIORS",
    "SCALE_FLOOR",
    "AutoregressiveLikelihood",
    "BernoulliLikelihood",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "Encoder",
    "FullRankEncoder",
    "GaussianEncoder",
    "GaussianLikelihood",
    "Likelihood",
    "MixturePrior",
    "Net",
    "Part",
    "StandardNormal",
    "elementwise",
    "made_net",
    "make_likelihood",
    "positive",
]
