"""Rules of vectorization: whether several data, and several particles, keep to their own dimensions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pyro.distributions import Unit
from torch import Tensor

from pyrogen.batch import index
from pyrogen.programs import faults
from pyrogen.programs.faults import Fault
from pyrogen.programs.source_lines import line_of_error
from pyrogen.programs.traces import data_dim, innermost, samples

from ..examples import RIGHT, changed
from ..rule import Seen, rule
from ..subject import Subject

_LEFT = changed(
    RIGHT,
    ('        pyro.sample("x"', '        both = torch.cat([z, x[:, :1]], dim=1)\n        pyro.sample("x"'),
    ("decoder(z)", "decoder(both)"),
    ("nn.Linear(2, 3)", "nn.Linear(3, 3)"),
)


@rule(
    Fault(
        "PG301",
        "warning",
        "the pair does not run for several particles at once",
        why="Particles are then run one after the other, which gives the same numbers and takes as many times longer.",
        remedy="Count dimensions from the right (dim=-1), and let nothing depend on how many there are on the left",
    ),
    bad=_LEFT,
    fixed=changed(_LEFT, ("x[:, :1]], dim=1)", "x[:, :1].expand(*z.shape[:-1], 1)], dim=-1)")),
)
def particles_fail(subject: Subject) -> Iterator[Seen]:
    """Read from the structure why particles do not run at once, and find the line."""
    reason, line = subject.structure.loop, None
    if reason is None or reason.startswith("site '"):
        return
    try:
        with subject.running():
            subject.run(particles=17)
    except Exception as error:  # whatever the program raises
        line = line_of_error(error)
    yield Seen(reason, line=line)


@rule(
    Fault(
        "PG302",
        "warning",
        "several particles at once have other log probabilities than one after the other",
        why="A dimension is counted from the left and means something else once particles come first. pyrogen runs them in "
        "a loop; with vectorize_particles=True Pyro's own losses would be wrong without an error.",
        remedy="Count dimensions from the right (dim=-1), and reduce over named ones only",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(z - z.mean(0))")),
)
def particles_differ(subject: Subject) -> Iterator[Seen]:
    """Read from the structure which site differs."""
    reason = subject.structure.loop
    if reason is not None and (found := re.match("site '(.*?)'", reason)):
        yield Seen(reason, found[1])


_COLUMN = changed(
    RIGHT,
    ("dist.Normal(encoder(x), 0.5)", "dist.Normal(encoder(x.unsqueeze(-1)), 0.5)"),
    ("nn.Linear(3, 2), nn.Linear(2, 3)", "nn.Linear(1, 2), nn.Linear(2, 1)"),
    ("torch.randn(8, 3)", "torch.randn(8)"),
)


@rule(faults.BROADCAST_DATA, bad=_COLUMN, fixed=changed(_COLUMN, ("obs=x)", "obs=x.unsqueeze(-1))")), cheap=True)
def broadcast_data(subject: Subject) -> Iterator[Seen]:
    """Compare the shapes of observed values with those of their distributions."""
    for name, site in samples(subject.traces[1]):
        value, fn = site["value"], site["fn"]
        if not site["is_observed"] or not isinstance(value, Tensor) or value.numel() <= 1 or 0 in fn.event_shape:
            continue
        given, declared = tuple(value.shape[value.dim() - fn.event_dim :]), tuple(fn.event_shape)
        any_length = getattr(innermost(fn), "duration", 0) is None  # a hidden Markov model that is the same at all times
        if given[any_length:] != declared[any_length:]:
            yield Seen(
                f"site '{name}' observes a value of shape {tuple(value.shape)} where its distribution has batch shape "
                f"{tuple(fn.batch_shape)} and event shape {declared}, and broadcasting hides it",
                name,
                tuple(value.shape),
            )
            continue
        dim = data_dim(subject.pair, site)
        along = None if dim is None else value.dim() - fn.event_dim + dim  # the data's dimension in the value
        rows = fn.batch_shape[dim] if dim is not None and -dim <= len(fn.batch_shape) else 1
        if along is not None and rows > 1 and (along < 0 or value.shape[along] == 1):
            words = f"site '{name}' observes one value of shape {tuple(value.shape)} for all {rows} data"
            yield Seen(words, name, tuple(value.shape), remedy="Observe the datum of each row")


_FACTOR = changed(
    RIGHT,
    (
        'pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)',
        'pyro.factor("x", -(decoder(z) - x).pow(2).sum())',
    ),
)


@rule(
    Fault(
        "PG304",
        "error",
        "a factor inside the data plate is one number for all data",
        why="The plate repeats the number for each datum: the sum over a batch then counts it as many times as there are "
        "data.",
        remedy="Sum over the dimensions of one datum only, .sum(-1) and not .sum() or .mean(), or move the factor outside",
    ),
    bad=_FACTOR,
    fixed=changed(_FACTOR, (".sum())", ".sum(-1))")),
    cheap=True,
)
def factor_of_all_data(subject: Subject) -> Iterator[Seen]:
    """Find factors that have no dimension of the data, or whose memory has a stride of zero along it."""
    for role, sites in (("guide", subject.guide), ("model", subject.model)):
        for name, site in sites.items():
            dim, fn = data_dim(subject.pair, site), innermost(site["fn"])
            if dim is None or not isinstance(fn, Unit):
                continue
            values = fn.log_factor
            if values.dim() < -dim or (values.shape[dim] > 1 and values.stride()[dim] == 0):
                yield Seen(
                    f"factor '{name}' of the {role} is one number, which plate '{subject.pair.data_plate}' repeats for "
                    f"each of {subject.rows} data",
                    name,
                    line=subject.line_of(name, guide=role == "guide"),
                )


@rule(
    Fault(
        "PG305",
        "error",
        "a site inside the data plate has the data in its event dimensions, too",
        why="The plate repeats the log density of all data for each of them: the bound counts it as often as there are "
        "data.",
        remedy="Declare the dimensions of one datum only: .to_event(1) for rows, .to_event(3) for images with channels",
    ),
    bad=changed(RIGHT, ("1.0).to_event(1), obs", "1.0).to_event(2), obs")),
)
def data_in_event(subject: Subject) -> Iterator[Seen]:
    """Compare the event shapes of a run on all data with those of a run on one less."""
    if subject.rows < 3 or not subject.structure.local:
        return
    try:
        with subject.running():
            traces = subject.trace(index(subject.batch, slice(subject.rows - 1)))
    except Exception:  # a pair that runs on the whole batch only
        return
    for role, whole, trace in (("guide", subject.guide, traces[0]), ("model", subject.model, traces[1])):
        for name, site in samples(trace):
            if name not in whole or data_dim(subject.pair, site) is None:
                continue
            before, after = tuple(whole[name]["fn"].event_shape), tuple(site["fn"].event_shape)
            if (subject.rows, subject.rows - 1) in zip(before, after, strict=False):
                yield Seen(
                    f"site '{name}' of the {role} has event shape {before} for {subject.rows} data and {after} for one less",
                    name,
                    line=subject.line_of(name, guide=role == "guide"),
                )
