"""Rules of structure: whether guide, likelihood and data depend on each other as they should.

Each detector changes one thing, a datum or a latent, and compares log densities before and after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro.distributions import Delta
from torch import Tensor

from pyrogen.batch import device_of, index
from pyrogen.programs import faults
from pyrogen.programs.faults import Fault
from pyrogen.programs.run import run_model
from pyrogen.programs.traces import data_dim, innermost, samples
from pyrogen.programs.vectorization import close

from ..examples import RIGHT, changed
from ..rule import Seen, rule
from ..subject import Subject


@rule(faults.DATA_MIXED, bad=changed(RIGHT, ("encoder(x)", "encoder(x - x.mean(0))")))
def data_mixed(subject: Subject) -> Iterator[Seen]:
    """Replace one datum, keep the latents, and compare the log probabilities of all other data."""
    structure = subject.structure
    known = any(objection.code == faults.DATA_MIXED.code for objection in structure.objections)
    if known or structure.subsampled or subject.replacement is None or subject.rows < 2:
        return
    datum, batch = subject.replacement
    with subject.running():
        before, again, after = subject.log_probs(), subject.log_probs(), subject.log_probs(batch)
    others = [row for row in range(subject.rows) if row != datum]
    for key, (dim, values) in before.items():
        if dim is None or key not in after or not close(values, again[key][1]):
            continue
        now = after[key][1]
        if values.dim() < -dim or values.shape != now.shape or values.shape[dim] != subject.rows:
            continue
        rows = torch.tensor(others, device=values.device)
        if not close(values.index_select(dim, rows), now.index_select(dim, rows), slack=10.0):
            role, name = key
            words = (
                f"another value for datum {datum} changes the log probability of other data at site '{name}' of the {role}"
            )
            yield Seen(words, name, line=subject.line_of(name, guide=role == "guide"))
            return


@rule(
    Fault(
        "PG125",
        "warning",
        "what the model observes does not depend on the batch",
        why="Every batch then trains on the same data, those of a closure or a global.",
        remedy="Observe the batch that the program is given",
    ),
    bad=changed(
        RIGHT,
        ("obs=x", "obs=data[:len(x)]"),
        ("pair, batch", "data = torch.randn(100, 3)\npair, batch"),
        ("guide), torch.randn(8, 3)", "guide), data[:8]"),
    ),
    density=True,
)
def batch_not_observed(subject: Subject) -> Iterator[Seen]:
    """Put each datum in the place of the one before and compare the observed values, unless all data have one."""
    if subject.replacement is None or subject.structure.subsampled:
        return
    moved = index(subject.batch, torch.arange(1, subject.rows + 1, device=device_of(subject.batch)) % subject.rows)
    with subject.running():
        traces = []
        for batch in (subject.batch, moved):
            torch.manual_seed(0)
            traces.append(subject.trace(batch)[1])
    observed = {name: site for name, site in samples(traces[0]) if site["is_observed"]}
    for name, site in observed.items():
        before, after = site["value"], traces[1].nodes.get(name, site)["value"]
        if not isinstance(before, Tensor) or not isinstance(after, Tensor):
            continue
        if 0 in site["fn"].event_shape or not torch.equal(before, after):  # a factor, whose data are not known
            return
        dim = data_dim(subject.pair, site)
        along = None if dim is None else before.dim() - site["fn"].event_dim + dim
        if along is not None and along >= 0 and torch.equal(before, before.roll(1, along)):
            return
    names = ", ".join(f"'{name}'" for name in observed)
    yield Seen(f"another datum in the batch changes no value that the model observes (sites {names})", min(observed))


@rule(
    Fault(
        "PG127",
        "warning",
        "a latent influences nothing in the model",
        why="Its posterior is its prior, and the guide learns nothing. Often the model uses another variable by mistake.",
        remedy="Use the value that pyro.sample returns, or take the site out of both programs",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(encoder(x))")),
    density=True,
)
def latent_without_influence(subject: Subject) -> Iterator[Seen]:
    """Give each latent in turn a draw from the prior, and compare the log probabilities of all other sites."""
    with subject.running():
        subject.shake_parameters()
        before = subject.log_probs()
        for name in subject.structure.latents:
            if name not in subject.draws or isinstance(innermost(subject.guide[name]["fn"]), Delta):
                continue
            given = _with_prior_draw(subject, name)
            if given is None or torch.equal(given[name], subject.draws[name]):
                continue
            after = subject.log_probs(latents=given)
            if all(
                (role, other) == ("model", name) or role == "guide" or _equal(values, after[role, other][1])
                for (role, other), (_, values) in before.items()
                if (role, other) in after
            ):
                yield Seen(f"another value of latent '{name}' changes no other site of the model", name)


@rule(
    Fault(
        "PG128",
        "note",
        "the guide's local latents do not depend on the data",
        why="One posterior for all data leaves a gap that is as wide as the data are different.",
        remedy="Compute the parameters of local latents from the datum, as an encoder does",
    ),
    bad=changed(
        RIGHT,
        ("encoder(x)", "centre"),
        ("encoder, decoder = nn.Linear(3, 2)", "centre, decoder = nn.Parameter(torch.zeros(2))"),
    ),
    density=True,
)
def guide_ignores_data(subject: Subject) -> Iterator[Seen]:
    """Replace one datum, keep the latents, and compare the guide's log densities."""
    structure = subject.structure
    local = [name for name in subject.draws if name in structure.local and name in subject.guide]
    if not structure.amortized or structure.subsampled or not local or subject.replacement is None:
        return
    with subject.running():
        subject.shake_parameters()
        before, after = subject.log_probs(), subject.log_probs(subject.replacement[1])
    if all(torch.equal(before["guide", name][1], after["guide", name][1]) for name in local):
        words = f"another datum changes the guide of no local latent ('{local[0]}')"
        yield Seen(words, local[0], line=subject.line_of(local[0], guide=True))


@rule(
    Fault(
        "PG129",
        "warning",
        "no gradient flows through a reparameterized latent",
        why="The encoder then learns from the divergence alone and never from the data, and the posterior falls onto the "
        "prior. Rounding, comparing and detaching have no gradient.",
        remedy="Let the value reach the likelihood by a function with a gradient, or draw the latent from a discrete "
        "distribution",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(z.round())")),
)
def latent_without_gradient(subject: Subject) -> Iterator[Seen]:
    """Differentiate the log densities of all other sites of the model by each latent."""
    subject.shake_parameters()
    for name in subject.structure.latents:
        drawn = subject.draws.get(name)
        if name not in subject.structure.reparameterized or drawn is None or not drawn.is_floating_point():
            continue
        with subject.running(gradients=True):
            latents = {other: value.detach() for other, value in subject.draws.items()}
            latents[name].requires_grad_()
            log_probs = subject.log_probs(latents=latents)
            others = [values.sum() for (role, site), (_, values) in log_probs.items() if role == "model" and site != name]
            differentiable = [value for value in others if value.requires_grad]
            if not differentiable:
                continue  # PG127 tells whether it matters at all
            (gradient,) = torch.autograd.grad(torch.stack(differentiable).sum(), latents[name], allow_unused=True)
        if (gradient is None or not bool(gradient.any())) and _influences(subject, name):
            yield Seen(f"the model's density changes with latent '{name}', and its gradient by it is zero", name)


def _with_prior_draw(subject: Subject, name: str) -> dict[str, Tensor] | None:
    """The guide's draws with one latent drawn from the prior; None where that has another shape."""
    others = {other: value for other, value in subject.draws.items() if other != name}
    at: dict[str, Any] = {"indices": subject.indices, "nesting": subject.structure.nesting}
    drawn = run_model(subject.pair, subject.args, subject.kwargs, others, draw=True, **at)
    value = drawn.visited[name].value
    return None if value.shape != subject.draws[name].shape else {**others, name: value}


def _influences(subject: Subject, name: str) -> bool:
    """Whether another value of a latent changes another site of the model."""
    with subject.running():
        drawn = torch.randn_like(subject.draws[name]).mul_(3.0).add_(subject.draws[name])
        before, after = subject.log_probs(), subject.log_probs(latents={**subject.draws, name: drawn})
    return any(
        not torch.allclose(values, after["model", site][1], equal_nan=True)
        for (role, site), (_, values) in before.items()
        if role == "model" and site != name and ("model", site) in after
    )


def _equal(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are equal to the last bit, as the same operations on the same numbers are."""
    return first.shape == second.shape and torch.allclose(first, second, rtol=0.0, atol=0.0, equal_nan=True)
