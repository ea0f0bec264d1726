"""The faults that one run of a pair shows: the code and the words of each.

`Pair.structure` raises them as errors or keeps them as objections. `pyrogen.checks` makes a rule of each. The faults that
only its rules find are defined there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..errors import PairError
from .structure import Objection

__all__ = ["Fault", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]
"""An error makes results wrong or the run fail; a warning often does; a note is worth knowing."""


@dataclass(frozen=True)
class Fault:
    """One thing that can be wrong with a pair: its code and its words.

    Example:
        >>> str(SHAPES_DIFFER.error("site 'z' has two shapes", site="z"))
        "site 'z' has two shapes: use the same plates and the same .to_event(...) in both"
    """

    code: str
    """``PG`` and three digits, of which the first is the group's."""
    severity: Severity
    title: str
    """The fault, as a short sentence without a full stop."""
    why: str
    """What goes wrong if the pair is left as it is."""
    remedy: str
    """What to do, as an imperative; ``{site}`` and ``{plate}`` stand for the names of the site and of the data plate."""

    def advice(self, *, site: str | None = None, plate: str | None = None) -> str:
        """The remedy, with the names filled in."""
        return self.remedy.replace("{site}", site or "z").replace("{plate}", plate or "data")

    def error(
        self,
        seen: str,
        *,
        remedy: str | None = None,
        site: str | None = None,
        plate: str | None = None,
        shape: tuple[int, ...] | None = None,
        line: str | None = None,
    ) -> PairError:
        """An error of this fault, whose arguments are those of `PairError`.

        Another `remedy` than the fault's can be given; an empty one leaves it out of the message. `plate` is the data plate.
        """
        advice = self.advice(site=site, plate=plate) if remedy is None else remedy
        return PairError(seen, remedy=advice or None, code=self.code, site=site, shape=shape, line=line)

    def objection(
        self, seen: str, *, remedy: str | None = None, site: str | None = None, plate: str | None = None
    ) -> Objection:
        """An objection of this fault; the arguments are those of `error`."""
        advice = self.advice(site=site, plate=plate) if remedy is None else remedy
        return Objection(seen, remedy=advice or None, code=self.code, site=site)


PROGRAM_FAILS = Fault(
    "PG100",
    "error",
    "the model or the guide does not run on the batch",
    why="A program that raises an error cannot be checked any further, and training would stop at its first step.",
    remedy="read the error and its line; the programs get the batch as it was given",
)
LATENT_WITHOUT_GUIDE = Fault(
    "PG101",
    "error",
    "a latent of the model is neither observed nor sampled by the guide",
    why="Pyro would draw it from the prior in every step: the bound counts it, nothing learns it. Often obs= was forgotten.",
    remedy="give the guide a pyro.sample('{site}', ...) statement, or observe it",
)
GUIDE_SITE_WITHOUT_MODEL = Fault(
    "PG102",
    "error",
    "a site of the guide is no site of the model",
    why="Its log density enters the bound with no counterpart in the model. Often a name is misspelt.",
    remedy="rename it, or mark it with infer={'is_auxiliary': True}",
)
NOTHING_OBSERVED = Fault(
    "PG103",
    "error",
    "the model observes nothing",
    why="Without data the best guide is the prior, and training learns nothing.",
    remedy="give a pyro.sample statement obs=<the data>",
)
OBSERVED_IN_GUIDE = Fault(
    "PG104",
    "error",
    "a site is observed where the guide samples it, or observed in the guide",
    why="What is observed has no posterior: Pyro would score the guide's draw instead of the data, or the data twice.",
    remedy="observe it in the model only",
)
PLATES_DIFFER = Fault(
    "PG105",
    "error",
    "a site is in other plates in the guide than in the model",
    why="Plates scale and split the log densities: where the two sides differ, these are not those of the same data.",
    remedy="use the same plates, of the same sizes and subsamples, in both",
)
NAME_TWICE = Fault(
    "PG106",
    "error",
    "two sites, parameters or nested plates have one name",
    why="A trace knows a site by its name: the second statement would replace the first.",
    remedy="give each site and parameter a name of its own; in a loop, put the number into it",
)
NO_DATA_PLATE = Fault(
    "PG107",
    "warning",
    "no vectorized plate holds the data",
    why="There is then one log density for all data together: no evidence per datum, and a bound that grows with the batch.",
    remedy="write `with pyro.plate('{plate}', len(x)):`, or set data_plate to the name you use",
)
PLATE_SIZE = Fault(
    "PG108",
    "error",
    "the data plate has another length than the batch",
    why="The log densities are scaled by the plate's size over the number of data in it, or do not fit its shape at all.",
    remedy="give it the batch's length",
)
UNDECLARED_DIMENSION = Fault(
    "PG109",
    "error",
    "a batch dimension is declared neither by a plate nor by to_event",
    why="The log density of a datum would be a row of numbers instead of one.",
    remedy="Every batch dimension must lie in a plate: declare event dimensions with .to_event(...), or enter a pyro.plate",
)
SHAPES_DIFFER = Fault(
    "PG110",
    "error",
    "a latent has another shape in the guide than in the model",
    why="Broadcasting would score one latent as many, or many as one.",
    remedy="use the same plates and the same .to_event(...) in both",
)
DATA_MIXED = Fault(
    "PG111",
    "error",
    "a change of one datum changes the log probability of another",
    why="The log weight of a datum then depends on the other data in the batch, and there is no evidence of it alone.",
    remedy="let nothing inside plate '{plate}' mix the data, as means, sorting or softmax over the batch do",
)
SITES_VARY = Fault(
    "PG112",
    "error",
    "a program visits other sites, or gives them other shapes, from run to run",
    why="All particles run at once, and a compiled step repeats one run: what is true of one run must be true of all.",
    remedy="let every run visit the same sites with the same shapes, and mask what does not count (poutine.mask)",
)
SEQUENTIAL_PLATE = Fault(
    "PG113",
    "warning",
    "the data plate is a Python loop",
    why="A loop runs the networks once for each datum, and makes a site of its own for each instead of one for all.",
    remedy="write `with pyro.plate('{plate}', len(x)):`",
)
GLOBAL_SITE = Fault(
    "PG114",
    "note",
    "a site lies outside the data plate, so that all data share it",
    why="The evidence is then that of all data together: training by ELBO is right, and estimates per datum are refused.",
    remedy="nothing, if the latent is meant to be shared; else move the statement into the data plate",
)
FACTOR_WITHOUT_KIND = Fault(
    "PG115",
    "error",
    "a factor in the guide does not say whether it is made of reparameterized draws",
    why="The gradient of a bound depends on it, and Pyro cannot know it.",
    remedy="give it has_rsample=True or has_rsample=False",
)
SCALED_SITE = Fault(
    "PG116",
    "warning",
    "a site's log density is scaled",
    why="A scaled density is another density: its bound is none on the evidence, and estimates per datum are refused.",
    remedy="leave poutine.scale out; to weight the divergence of an ELBO, give fit beta=",
)
OTHER_PLATE_SUBSAMPLED = Fault(
    "PG117",
    "warning",
    "a plate other than the data plate draws a subsample",
    why="Its scale is then part of each datum's log weight, which becomes that of another density: by hundreds of nats in "
    "known cases.",
    remedy="give that plate its full size, or name it as the data plate, which is no loop: `with pyro.plate(...)`",
)
MASKS_DIFFER = Fault(
    "PG118",
    "error",
    "a latent has one mask in the model and another in the guide",
    why="One side then counts what the other leaves out, and the result is no bound.",
    remedy="use the same masks in both, of poutine.mask and of the distribution (.mask) alike",
)
POINT_MASS = Fault(
    "PG119",
    "note",
    "the guide gives a continuous latent a single value",
    why="A Delta guide finds a posterior mode: one can train towards it, but its log density is no bound on the evidence.",
    remedy="nothing, if a mode is what you want; else give the guide a density",
)
UNOWNED_NETWORK = Fault(
    "PG122",
    "error",
    "the pair runs dropout or batch normalization in a network that it does not own",
    why="eval() does not reach that layer: evaluations would stay noisy, or mix the data.",
    remedy="name its network in the model or guide itself (as a closure, a global or a default), or make the pair a "
    "subclass of Pair with the network as an attribute",
)
LOADED_STATE = Fault(
    "PG123",
    "error",
    "the state that was loaded belongs to another pair",
    why="Parameters that no statement names would be lost in silence, and those that are missing would start anew.",
    remedy="Load the state of a pair with the same pyro.param statements, or pass strict=False",
)
PLATE_DIMENSION = Fault(
    "PG124",
    "error",
    "two nested plates use one dimension",
    why="The sizes of both plates cannot stand in one dimension of a tensor.",
    remedy="give one of the plates dim= one farther to the left",
)
SCALED_UP_BATCH = Fault(
    "PG130",
    "note",
    "the data plate scales the batch up to a larger data set",
    why="Training on such mini-batches is right, also where data share a latent; estimates per datum are refused.",
    remedy="nothing, if the batches are parts of that many data; to estimate, give it the batch's length",
)
ENUMERATED_ONLY = Fault(
    "PG132",
    "note",
    "the programs run only where Pyro enumerates their discrete latents",
    why="They take a dimension of enumerated values for granted, which a draw of a latent does not have. Training by Pyro's "
    "TraceEnum_ELBO is right; no estimator of log p(x) can run them.",
    remedy="train with PyroLoss(TraceEnum_ELBO(...)), or index with pyro.ops.indexing.Vindex and take sizes from the values",
)
NO_DENSITY = Fault(
    "PG131",
    "note",
    "the pair draws data and has no density",
    why="A generator or a Markov chain can be trained by an objective that compares its draws with data, and sampled from, "
    "but no estimator of log p(x) can serve it.",
    remedy="nothing, if draws are what you want; else give it an observation part: pyrogen.models.Observed",
)
DRAW_OUTSIDE_SUPPORT = Fault(
    "PG201",
    "error",
    "the guide draws values outside the prior's support",
    why="The prior gives such a draw no density: the bound is minus infinity, or NaN, as soon as one comes up.",
    remedy="give the guide a distribution of the same support, such as LogNormal or Gamma for what is positive",
)
DATUM_OUTSIDE_SUPPORT = Fault(
    "PG203",
    "error",
    "an observed value lies outside the likelihood's support",
    why="There is no density there: where nothing validates, a formula that happens to give a number is trained on.",
    remedy="Binarize or rescale the data, or choose another likelihood",
)
GREY_PIXELS = Fault(
    "PG205",
    "warning",
    "a Bernoulli observes values between 0 and 1",
    why="Its formula gives them the mean loss of pixels drawn anew as 0 or 1, each with its value as probability: right to "
    "train with, but grey pixels have no probability, and `compare` refuses to report one.",
    remedy="Binarize the data (binarize='dynamic' where they are loaded), or choose another likelihood",
)
UNCONSTRAINED_ARGUMENT = Fault(
    "PG204",
    "warning",
    "nothing keeps an argument of a distribution inside its constraint",
    why="One step of the optimizer can make a scale negative; from then on, often late in a run, the loss is NaN.",
    remedy="pass it through nn.functional.softplus, exp, sigmoid or softmax, or use pyro.param with a constraint",
)
BROADCAST_DATA = Fault(
    "PG303",
    "error",
    "broadcasting makes a matrix of data by data",
    why="A column of n numbers against a row of n silently becomes an n by n matrix: each datum is scored against the "
    "others' parameters, and the loss still falls.",
    remedy="give the network's output and the data one shape: squeeze(-1) the one or unsqueeze(-1) the other",
)
OBSERVED_SHAPE = Fault(
    "PG306",
    "error",
    "the observed value does not fit its distribution's shape",
    why="Value and distribution cannot be broadcast against each other; often a subsample was not applied to the data.",
    remedy="give obs the rows and the shape that the distribution has",
)
LOG_PROB_NOT_FINITE = Fault(
    "PG401",
    "error",
    "a log density is not finite at the start",
    why="The loss is infinite or NaN at the first step, and every parameter is NaN after it.",
    remedy="keep scales away from zero and probabilities away from 0 and 1: pass logits, add a floor to scales",
)
