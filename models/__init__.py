"""The zoo: deep generative models as pairs, one family a file, and the parts that they are made of.

An argument that cannot be used, a size, a scale or a name, is refused with a `pyrogen.errors.ConfigurationError`.
"""

# ruff: noqa: F403, F405 - a new part is exported where it is registered

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pyrogen.pair import Pair

from .autoregressive import MADEModel, PixelCNNModel, PixelRNNModel, TransformerModel, WaveNetModel
from .beta_bernoulli import BetaBernoulli
from .discrete_vae import DiscreteVAE
from .global_gaussian import GlobalGaussian
from .hidden_markov import HiddenMarkov
from .linear_gaussian import LinearGaussianVAE
from .linear_gaussian_state_space import LinearGaussianSSM
from .observed import Observed
from .parts import *
from .pixelvae import PixelVAE
from .vae import VAE
from .visible import FullyVisible

__all__ = [
    "ENCODERS",
    "LIKELIHOODS",
    "PRIORS",
    "VAE",
    "ZOO",
    "AutoregressiveLikelihood",
    "BernoulliLikelihood",
    "BetaBernoulli",
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscreteVAE",
    "DiscretizedLogisticLikelihood",
    "Encoder",
    "FullRankEncoder",
    "FullyVisible",
    "GaussianEncoder",
    "GaussianLikelihood",
    "GlobalGaussian",
    "HiddenMarkov",
    "Likelihood",
    "LinearGaussianSSM",
    "LinearGaussianVAE",
    "MADEModel",
    "MixturePrior",
    "Observed",
    "Part",
    "PixelCNNModel",
    "PixelRNNModel",
    "PixelVAE",
    "StandardNormal",
    "TransformerModel",
    "WaveNetModel",
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
        "linear-gaussian-ssm": LinearGaussianSSM,
        "hidden-markov": HiddenMarkov,
        "made": MADEModel,
        "pixelcnn": PixelCNNModel,
        "pixelrnn": PixelRNNModel,
        "wavenet": WaveNetModel,
        "transformer": TransformerModel,
        "pixelvae": PixelVAE,
    }
)
"""The pairs by the names that the command line gives them."""
