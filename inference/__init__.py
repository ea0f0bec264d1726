"""Training objectives, SVI, estimators and their comparison."""

from .checkpoint import load_checkpoint, restore
from .chunks import log_weights
from .comparison import Comparison, compare
from .compiled import CompiledSVI, CompileReport, compiled_svi
from .elbo import ELBO
from .estimate import Curve, Draws, Estimate, Estimator
from .exact import Exact
from .fit import Run, fit, linear_warmup
from .importance import ImportanceSampling
from .objective import Objective
from .precision import Precision
from .predict import reconstruct, sample, traverse
from .pyro_loss import PyroLoss
from .renyi import IWAE, Renyi
from .usage import Usage, usage

__all__ = [
    "ELBO",
    "IWAE",
    "Comparison",
    "CompileReport",
    "CompiledSVI",
    "Curve",
    "Draws",
    "Estimate",
    "Estimator",
    "Exact",
    "ImportanceSampling",
    "Objective",
    "Precision",
    "PyroLoss",
    "Renyi",
    "Run",
    "Usage",
    "compare",
    "compiled_svi",
    "fit",
    "linear_warmup",
    "load_checkpoint",
    "log_weights",
    "reconstruct",
    "restore",
    "sample",
    "traverse",
    "usage",
]
