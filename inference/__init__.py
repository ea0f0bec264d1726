"""Training objectives, SVI, estimators and their comparison."""

from .estimators.annealing import HMC, MALA, AnnealedImportance, TemperedSMC, Transition
from .estimators.cubo import CUBO
from .estimators.enumeration import Enumeration
from .estimators.estimate import BlockEstimate, Curve, Draws, Estimate, Estimator
from .estimators.eubo import EUBO
from .estimators.exact import Exact
from .estimators.filtering import ParticleFilter
from .estimators.importance import ImportanceSampling
from .estimators.latent_density import LatentDensity
from .estimators.mcmc.nuts import NUTS
from .graphs import CompileReport
from .objectives.bound import EvidenceBound
from .objectives.elbo import ELBO
from .objectives.gradients import DoublyReparameterized, GradientEstimator, Pathwise, ScoreFunction, StickingTheLanding
from .objectives.objective import Loss, Objective, Phase
from .objectives.pyro_loss import PyroLoss
from .objectives.renyi import IWAE, Renyi
from .studies.brackets import Bracket, Sandwich, sandwich
from .studies.comparison import Comparison, compare
from .studies.inference_gaps import Gaps, gaps
from .studies.joint import JointEvidence, joint_evidence
from .studies.latent_usage import Usage, usage
from .studies.posteriors import Posteriors, posterior
from .studies.prediction import encode, interpolate, reconstruct, sample, traverse
from .studies.refinement import Refinement, refine
from .studies.simulation import simulate
from .studies.simulation_based_calibration import Calibration, calibration
from .training.callbacks import Callback, TensorBoard, Training
from .training.checkpoints import load_checkpoint, restore
from .training.fitting import fit, linear_warmup
from .training.own_loop import CompiledSVI, compiled_svi
from .training.precision import Precision
from .training.run import Run
from .weights.chunks import log_weights

__all__ = [
    "CUBO",
    "ELBO",
    "EUBO",
    "HMC",
    "IWAE",
    "MALA",
    "NUTS",
    "AnnealedImportance",
    "BlockEstimate",
    "Bracket",
    "Calibration",
    "Callback",
    "Comparison",
    "CompileReport",
    "CompiledSVI",
    "Curve",
    "DoublyReparameterized",
    "Draws",
    "Enumeration",
    "Estimate",
    "Estimator",
    "EvidenceBound",
    "Exact",
    "Gaps",
    "GradientEstimator",
    "ImportanceSampling",
    "JointEvidence",
    "LatentDensity",
    "Loss",
    "Objective",
    "ParticleFilter",
    "Pathwise",
    "Phase",
    "Posteriors",
    "Precision",
    "PyroLoss",
    "Refinement",
    "Renyi",
    "Run",
    "Sandwich",
    "ScoreFunction",
    "StickingTheLanding",
    "TemperedSMC",
    "TensorBoard",
    "Training",
    "Transition",
    "Usage",
    "calibration",
    "compare",
    "compiled_svi",
    "encode",
    "fit",
    "gaps",
    "interpolate",
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
