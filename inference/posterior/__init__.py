"""How the posteriors that several methods find for the same data differ."""

from .agreement import Agreement
from .drawing import PosteriorDraws
from .energy import energy_test
from .posteriors import Posteriors, posterior
from .two_sample import TwoSample, classifier_test

__all__ = ["Agreement", "PosteriorDraws", "Posteriors", "TwoSample", "classifier_test", "energy_test", "posterior"]
