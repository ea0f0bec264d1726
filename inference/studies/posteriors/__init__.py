"""How the posteriors that several methods find for the same data differ."""

from .agreement import Agreement
from .energy import energy_test
from .posterior_draws import PosteriorDraws
from .side_by_side import Posteriors, posterior
from .two_sample import TwoSample, classifier_test

__all__ = ["Agreement", "PosteriorDraws", "Posteriors", "TwoSample", "classifier_test", "energy_test", "posterior"]
