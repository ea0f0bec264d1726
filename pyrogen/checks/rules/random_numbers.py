"""Rules of randomness: whether random numbers come from sample statements alone, and follow the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from pyrogen.programs.faults import Fault

from ..examples import RIGHT, changed
from ..random_runs import line_that_changes, numpy_state, randomness_of
from ..rule import Seen, rule
from ..subject import Subject

_NETWORKS = "encoder, decoder ="


@rule(
    Fault(
        "PG501",
        "warning",
        "random numbers are drawn outside sample statements",
        why="Pyro does not know of the draw: its density is missing from every bound, and no estimator can repeat it or "
        "draw it for several particles.",
        remedy="Draw it by pyro.sample (in the guide with infer={'is_auxiliary': True} if the model lacks it), or draw it "
        "before, as part of the batch",
    ),
    bad=changed(RIGHT, ("encoder(x)", "encoder(x) + torch.randn_like(x[:, :2])")),
)
def draw_outside_sites(subject: Subject) -> Iterator[Seen]:
    """Find calls of torch.randn, rsample and the like; a note where no log density depends on them."""
    seen = randomness_of(subject)
    for one in seen.operations:
        if one.kind == "draw" and seen.harmless:
            yield Seen(
                f"{one.operation}() draws random numbers in each run, which no log density depends on",
                line=one.line,
                severity="note",
                remedy="Draw initial values once: pyro.param('name', lambda: torch.randn(...))",
            )
        elif one.kind == "draw":
            yield Seen(f"{one.operation}() draws random numbers that belong to no site", line=one.line)


@rule(
    Fault(
        "PG502",
        "warning",
        "a program draws from Python's or NumPy's generator",
        why="Such numbers follow neither torch.manual_seed nor a checkpoint, are frozen in a compiled step, and belong to "
        "no site.",
        remedy="Draw by pyro.sample, or from torch's generator",
    ),
    bad=changed(RIGHT, ("encoder(x)", "encoder(x) * random.uniform(0.9, 1.1)"), ("def model", "import random\n\ndef model")),
)
def draw_by_python(subject: Subject) -> Iterator[Seen]:
    """Find runs that move the state of Python's or NumPy's generator."""
    for name in randomness_of(subject).other_generators:
        state = random.getstate if name.startswith("Python") else numpy_state
        yield Seen(f"a run of the pair draws from {name}", line=line_that_changes(subject, state))


@rule(
    Fault(
        "PG503",
        "warning",
        "dropout is at work in evaluation",
        why="Every estimate is then that of a pair with random parts missing, different at each call.",
        remedy="Use nn.Dropout as a submodule, or pass training=self.training to the function",
    ),
    bad=changed(RIGHT, ("encoder(x)", "nn.functional.dropout(encoder(x), 0.2)")),
    fixed=changed(RIGHT, ("encoder(x)", "dropout(encoder(x))"), (_NETWORKS, f"dropout = nn.Dropout(0.2)\n{_NETWORKS}")),
)
def dropout_in_evaluation(subject: Subject) -> Iterator[Seen]:
    """Find dropout that is active in a run in evaluation mode."""
    for one in randomness_of(subject).operations:
        if one.kind == "dropout":
            yield Seen(f"{one.operation}() drops elements though the pair is in evaluation mode", line=one.line)


@rule(
    Fault(
        "PG504",
        "warning",
        "batch normalization couples the data of a batch",
        why="The log weight of a datum then depends on the other data, so that no bound is one of each datum. In training "
        "mode alone it adds noise to the gradients; in evaluation it makes every estimate wrong.",
        remedy="Use nn.LayerNorm or nn.GroupNorm, or in evaluation running statistics (track_running_stats=True, "
        "training=self.training)",
    ),
    bad=changed(
        RIGHT,
        ("encoder(x)", "norm(encoder(x))"),
        (_NETWORKS, f"norm = nn.BatchNorm1d(2, track_running_stats=False)\n{_NETWORKS}"),
    ),
    fixed=changed(RIGHT, ("encoder(x)", "norm(encoder(x))"), (_NETWORKS, f"norm = nn.LayerNorm(2)\n{_NETWORKS}")),
)
def batch_norm(subject: Subject) -> Iterator[Seen]:
    """Find batch normalization by the batch's own statistics; a note where it does so in training mode only."""
    active = [one for one in randomness_of(subject).operations if one.kind == "batch norm"]
    for one in active:
        yield Seen("statistics of the batch are used though the pair is in evaluation mode", line=one.line)
    names = [name for name, module in subject.pair.named_modules() if isinstance(module, _BatchNorm)]
    if names and not active:
        words = f"'{names[0]}' normalizes by the batch's statistics in training mode, and by running ones in evaluation"
        yield Seen(words, severity="note")


@rule(
    Fault(
        "PG505",
        "warning",
        "a run is not determined by the seed",
        why="Neither torch.manual_seed nor a checkpoint reaches a generator that the program keeps for itself: runs cannot "
        "be repeated, and estimators cannot hold random numbers fixed. A counter or a clock in a program has the same "
        "effect.",
        remedy="Draw from torch's own generator, by pyro.sample; put what changes with time into a buffer or into the batch",
    ),
    bad=changed(
        RIGHT,
        ("encoder(x)", "encoder(x) + rng.normal()"),
        ("def model", "import numpy\n\nrng = numpy.random.default_rng(0)\n\ndef model"),
    ),
)
def not_determined_by_seed(subject: Subject) -> Iterator[Seen]:
    """Find draws from other generators, and runs that differ though all known generators are seeded alike."""
    seen = randomness_of(subject)
    own = [one for one in seen.operations if one.kind == "generator"]
    for one in own:
        yield Seen(f"{one.operation}() draws from a generator of its own", line=one.line)
    if seen.differs is not None and not own:
        words = "two runs with all generators seeded alike give different numbers"
        yield Seen(words, seen.differs, line=subject.line_of(seen.differs, guide=True))


@rule(
    Fault(
        "PG506",
        "error",
        "a program seeds the generator",
        why="Every run then draws the same numbers: gradients see one noise only, and a thousand particles are one.",
        remedy="Seed once, outside of model and guide",
    ),
    bad=changed(RIGHT, ("def guide(x):", "def guide(x):\n    torch.manual_seed(0)")),
)
def seeds_generator(subject: Subject) -> Iterator[Seen]:
    """Compare the states of torch's generator after runs that began with different seeds."""
    if randomness_of(subject).reseeds:
        line = line_that_changes(subject, lambda: torch.default_generator.initial_seed())
        yield Seen("torch's generator is in one and the same state after a run, whatever its seed before", line=line)
