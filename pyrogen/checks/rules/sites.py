"""Rules of structure: which sites a program visits, how they are sampled, and on how many data it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro.distributions import Delta

from pyrogen.batch import index
from pyrogen.programs import faults
from pyrogen.programs.faults import Fault
from pyrogen.programs.source_lines import line_of_error
from pyrogen.programs.traces import innermost, is_subsample, is_summed_out, samples

from ..examples import RIGHT, changed
from ..rule import Seen, rule
from ..subject import Subject

_RUNS = 8


@rule(
    faults.SITES_VARY,
    bad=changed(
        RIGHT,
        (
            "obs=x)\n",
            "obs=x)\n        if z[..., 0].mean() > 0:\n"
            '            pyro.sample("extra", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])\n',
        ),
    ),
)
def sites_vary(subject: Subject) -> Iterator[Seen]:
    """Compare the sites of several runs under different random numbers."""
    known: dict[str, dict[str, Any]] | None = None
    with subject.running():
        for seed in range(_RUNS):
            torch.manual_seed(seed)
            traces = zip(("guide", "model"), subject.trace(), strict=True)
            seen = {
                role: {name: _shapes(site) for name, site in samples(trace) if not _drawn(trace, site)}
                for role, trace in traces
            }
            known = known or seen
            for role, sites in seen.items():
                different = [name for name in {**known[role], **sites} if known[role].get(name) != sites.get(name)]
                if different:
                    name = different[0]
                    before, after = known[role].get(name), sites.get(name)
                    shapes = f"has shapes {before} in one run and {after} in another"
                    yield Seen(f"site '{name}' of the {role} {shapes if before and after else 'comes and goes'}", name)
                    return


_SUMMED_OUT = """\
def model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(centres(k).squeeze(-1), 1.0), obs=x)

centres = nn.Embedding(3, 1)
pair, batch = Pair.of(model), torch.randn(8)
"""
_GUIDE = """\
def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(logits=encoder(x.unsqueeze(-1))))

encoder, centres = nn.Linear(1, 3), nn.Embedding"""


@rule(
    Fault(
        "PG120",
        "note",
        "a latent without a guide site is summed over by Pyro's enumeration",
        why="Only a loss that enumerates, Pyro's TraceEnum_ELBO, sees the sum: other objectives and estimators refuse it.",
        remedy="Train with TraceEnum_ELBO, or sample the latent in the guide",
    ),
    bad=_SUMMED_OUT,
    fixed=changed(
        _SUMMED_OUT,
        (', infer={"enumerate": "parallel"}', ""),
        ("centres = nn.Embedding", _GUIDE),
        ("Pair.of(model)", "Pair.of(model, guide)"),
    ),
    cheap=True,
)
def summed_out(subject: Subject) -> Iterator[Seen]:
    """Find sites of the model that are marked for enumeration and missing from the guide."""
    for name, site in subject.model.items():
        if not site["is_observed"] and is_summed_out(site) and name not in subject.guide:
            yield Seen(f"latent '{name}' is left to Pyro's parallel enumeration", name)


@rule(
    Fault(
        "PG121",
        "note",
        "a latent's draws carry no pathwise gradient",
        why="Its parameters learn by the score function, whose gradients are right and far noisier.",
        remedy="Nothing, if the latent is discrete; enumerate it where that is cheap; else use a reparameterized "
        "distribution",
    ),
    bad=changed(
        RIGHT,
        ("dist.Normal(x.new_zeros(2), 1.0)", "dist.Bernoulli(logits=x.new_zeros(2))"),
        ("dist.Normal(encoder(x), 0.5)", "dist.Bernoulli(logits=encoder(x))"),
    ),
    cheap=True,
)
def no_pathwise_gradient(subject: Subject) -> Iterator[Seen]:
    """Find latents of the guide that are neither reparameterized nor enumerated."""
    for name, site in subject.guide.items():
        if name not in subject.structure.latents:
            continue
        excused = site["infer"].get("enumerate") is not None or isinstance(innermost(site["fn"]), Delta)
        if name not in subject.structure.reparameterized and not excused:
            words = f"the guide draws latent '{name}' from a {type(innermost(site['fn'])).__name__}"
            yield Seen(words, name, line=subject.line_of(name, guide=True))


@rule(
    Fault(
        "PG126",
        "warning",
        "the pair runs on batches of one length only",
        why="The last batch of an epoch is shorter, evaluation takes other numbers of data, and new data have no posterior.",
        remedy="Take all sizes from the batch, as len(x), and compute the guide's parameters from the data",
    ),
    bad=RIGHT.replace("len(x)", "8"),
)
def one_length_only(subject: Subject) -> Iterator[Seen]:
    """Find out why a part of the batch does not run; parameters for each datum make it a note."""
    structure = subject.structure
    unplated = {faults.NO_DATA_PLATE.code, faults.SEQUENTIAL_PLATE.code}
    if structure.amortized or subject.rows < 2 or any(o.code in unplated for o in structure.objections):
        return
    each = [name for name, parameter in subject.pair.named_parameters() if subject.rows in parameter.shape]
    if each:
        yield Seen(
            f"there are parameters for each of the {subject.rows} data ('{each[0]}'), so that the pair fits these alone",
            severity="note",
            remedy="Nothing, if these are all data; fit with batch_size= their number",
        )
        return
    reason, line = "its plate or its shapes stay as they were", None
    try:
        with subject.running():
            subject.run(batch=index(subject.batch, slice(max(1, subject.rows // 2))))
    except Exception as error:  # whatever the program raises
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        line = line_of_error(error)
    yield Seen(f"half of the batch of {subject.rows} data does not run: {reason}", line=line)


def _drawn(trace: Any, site: Any) -> bool:
    """Whether a site lies in a sequential plate that draws a subsample, so that other runs have others in its place."""
    plates = [trace.nodes.get(frame.name) for frame in site["cond_indep_stack"] if frame.dim is None]
    return any(
        plate is not None and is_subsample(plate) and (plate["fn"].subsample_size or plate["fn"].size) < plate["fn"].size
        for plate in plates
    )


def _shapes(site: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(site["fn"].batch_shape), tuple(site["fn"].event_shape)
