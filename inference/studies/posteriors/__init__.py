"""How the posteriors that several methods find for the same data differ."""

from .agreement import Agreement
from .posterior_comparison import Posteriors, posterior
from .posterior_draws import PosteriorDraws
from .two_sample import TwoSample, classifier_test, energy_test

__all__ = ["Agreement", "PosteriorDraws", "Posteriors", "TwoSample", "classifier_test", "energy_test", "posterior"]
