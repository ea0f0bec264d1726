"""Training objectives, SVI, estimators and their comparison."""

from .checkpoint import load_checkpoint, restore
from .chunks import log_weights
from .comparison import Comparison, compare
from .elbo import ELBO
from .estimate import Curve, Draws, Estimate, Estimator
from .exact import Exact
from .fit import Run, fit, linear_warmup
from .importance import ImportanceSampling
from .objective import Objective
from .predict import reconstruct, sample, traverse
from .renyi import IWAE, Renyi

__all__ = [
    "ELBO",
    "IWAE",
    "Comparison",
    "Curve",
    "Draws",
    "Estimate",
    "Estimator",
    "Exact",
    "ImportanceSampling",
    "Objective",
    "Renyi",
    "Run",
    "compare",
    "fit",
    "linear_warmup",
    "load_checkpoint",
    "log_weights",
    "reconstruct",
    "restore",
    "sample",
    "traverse",
]
