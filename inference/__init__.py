"""Training objectives, SVI, estimators and their comparison."""

from .annealing import HMC, MALA, AnnealedImportance, Bracket, Sandwich, TemperedSMC, Transition, sandwich
from .calibration import Calibration, calibration
from .checkpoint import load_checkpoint, restore
from .chunks import log_weights
from .comparison import Comparison, compare
from .compiled import CompiledSVI, CompileReport, compiled_svi
from .cubo import CUBO
from .density import LatentDensity
from .elbo import ELBO
from .enumeration import Enumeration
from .estimate import Curve, Draws, Estimate, Estimator
from .eubo import EUBO
from .exact import Exact
from .filtering import ParticleFilter
from .fit import Run, fit, linear_warmup
from .gaps import Gaps, gaps
from .importance import ImportanceSampling
from .joint_evidence import JointEvidence, joint_evidence
from .nuts import NUTS
from .objective import Objective
from .posterior import Posteriors, posterior
from .precision import Precision
from .predict import reconstruct, sample, traverse
from .pyro_loss import PyroLoss
from .refine import Refinement, refine
from .renyi import IWAE, Renyi
from .simulate import simulate
from .usage import Usage, usage

__all__ = [
    "CUBO",
    "ELBO",
    "EUBO",
    "HMC",
    "IWAE",
    "MALA",
    "NUTS",
    "AnnealedImportance",
    "Bracket",
    "Calibration",
    "Comparison",
    "CompileReport",
    "CompiledSVI",
    "Curve",
    "Draws",
    "Enumeration",
    "Estimate",
    "Estimator",
    "Exact",
    "Gaps",
    "ImportanceSampling",
    "JointEvidence",
    "LatentDensity",
    "Objective",
    "ParticleFilter",
    "Posteriors",
    "Precision",
    "PyroLoss",
    "Refinement",
    "Renyi",
    "Run",
    "Sandwich",
    "TemperedSMC",
    "Transition",
    "Usage",
    "calibration",
    "compare",
    "compiled_svi",
    "fit",
    "gaps",
    "joint_evidence",
    "linear_warmup",
    "load_checkpoint",
    "log_weights",
    "posterior",
    "reconstruct",
    "refine",
    "restore",
    "sample",
    "sandwich",
    "simulate",
    "traverse",
    "usage",
]
