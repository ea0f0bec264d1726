"""The rules, one a file, in the order of their codes."""

from __future__ import annotations

from ..rule import Rule
from .batch_norm_couples_data import BatchNormCouplesData
from .batch_not_observed import BatchNotObserved
from .broadcast_data import BroadcastData
from .data_entangled import DataEntangled
from .data_in_event import DataInEvent
from .datum_outside_support import DatumOutsideSupport
from .draw_by_python import DrawByPython
from .draw_outside_sites import DrawOutsideSites
from .draw_outside_support import DrawOutsideSupport
from .dropout_in_evaluation import DropoutInEvaluation
from .factor_of_all_data import FactorOfAllData
from .factor_without_gradient_kind import FactorWithoutGradientKind
from .fails_on_extreme_data import FailsOnExtremeData
from .foreign_network import ForeignNetwork
from .global_site import GlobalSite
from .gradient_is_zero import GradientIsZero
from .gradient_not_finite import GradientNotFinite
from .guide_ignores_data import GuideIgnoresData
from .guide_site_without_model import GuideSiteWithoutModel
from .host_waits import HostWaits
from .inactive_units import InactiveUnits
from .latent_without_gradient import LatentWithoutGradient
from .latent_without_guide import LatentWithoutGuide
from .latent_without_influence import LatentWithoutInfluence
from .loaded_state import LoadedState
from .log_prob_not_finite import LogProbNotFinite
from .masks_differ import MasksDiffer
from .name_twice import NameTwice
from .no_data_plate import NoDataPlate
from .no_pathwise_gradient import NoPathwiseGradient
from .not_determined_by_the_seed import NotDeterminedByTheSeed
from .nothing_observed import NothingObserved
from .numpy_of_a_device_tensor import NumpyOfADeviceTensor
from .observed_in_guide import ObservedInGuide
from .observed_shape import ObservedShape
from .other_plate_subsampled import OtherPlateSubsampled
from .parameter_without_gradient import ParameterWithoutGradient
from .particles_differ import ParticlesDiffer
from .particles_fail import ParticlesFail
from .plate_dimension import PlateDimension
from .plate_size import PlateSize
from .plates_differ import PlatesDiffer
from .point_mass import PointMass
from .posterior_collapse import PosteriorCollapse
from .prior_not_covered import PriorNotCovered
from .program_fails import ProgramFails
from .promoted_to_double import PromotedToDouble
from .run_changes import RunChanges
from .scale_at_its_floor import ScaleAtItsFloor
from .scale_explodes import ScaleExplodes
from .scaled_site import ScaledSite
from .scaled_up_batch import ScaledUpBatch
from .seeds_the_generator import SeedsTheGenerator
from .sequential_plate import SequentialPlate
from .shape_depends_on_values import ShapeDependsOnValues
from .shapes_differ import ShapesDiffer
from .sites_come_and_go import SitesComeAndGo
from .summed_out import SummedOut
from .tensor_left_behind import TensorLeftBehind
from .tensor_on_the_default_device import TensorOnTheDefaultDevice
from .unconstrained_parameter import UnconstrainedParameter
from .undeclared_dimension import UndeclaredDimension
from .weights_without_variance import WeightsWithoutVariance
from .whole_batch_only import WholeBatchOnly

__all__ = ["RULES"]

_CLASSES: tuple[type[Rule], ...] = (
    ScaleAtItsFloor,
    PosteriorCollapse,
    InactiveUnits,
    WeightsWithoutVariance,
    SeedsTheGenerator,
    NotDeterminedByTheSeed,
    BatchNormCouplesData,
    DropoutInEvaluation,
    DrawByPython,
    DrawOutsideSites,
    ScaleExplodes,
    PromotedToDouble,
    GradientIsZero,
    ParameterWithoutGradient,
    FailsOnExtremeData,
    GradientNotFinite,
    LogProbNotFinite,
    WholeBatchOnly,
    UndeclaredDimension,
    UnconstrainedParameter,
    SummedOut,
    SitesComeAndGo,
    ShapesDiffer,
    SequentialPlate,
    ScaledUpBatch,
    ScaledSite,
    ProgramFails,
    PriorNotCovered,
    PointMass,
    PlatesDiffer,
    PlateSize,
    PlateDimension,
    ParticlesFail,
    ParticlesDiffer,
    OtherPlateSubsampled,
    ObservedShape,
    ObservedInGuide,
    NothingObserved,
    NoPathwiseGradient,
    NoDataPlate,
    NameTwice,
    MasksDiffer,
    LoadedState,
    LatentWithoutInfluence,
    LatentWithoutGuide,
    LatentWithoutGradient,
    GuideSiteWithoutModel,
    GuideIgnoresData,
    GlobalSite,
    ForeignNetwork,
    FactorWithoutGradientKind,
    FactorOfAllData,
    DrawOutsideSupport,
    DatumOutsideSupport,
    DataInEvent,
    DataEntangled,
    BroadcastData,
    BatchNotObserved,
    RunChanges,
    ShapeDependsOnValues,
    HostWaits,
    NumpyOfADeviceTensor,
    TensorLeftBehind,
    TensorOnTheDefaultDevice,
)

RULES: tuple[Rule, ...] = tuple(sorted((make() for make in _CLASSES), key=lambda rule: rule.code))
"""One of each rule, in the order of their codes."""
