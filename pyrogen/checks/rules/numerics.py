"""Rules of numbers: whether log densities and gradients are finite, reach all parameters, and have one precision."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pyrogen.programs import faults
from pyrogen.programs.faults import Fault

from ..examples import RIGHT, changed
from ..exponentials import exponential_of_a_network
from ..gradient_runs import (
    ENLARGED,
    baseline_parameters,
    flat_parameters,
    run_on_batch,
    runs_on_extreme_data,
    scale_of,
)
from ..rule import Seen, rule
from ..subject import Subject

_LEAST_SCALE, _LARGEST_SCALE = 1e-15, 1e15


@rule(faults.LOG_PROB_NOT_FINITE, bad=changed(RIGHT, ("decoder(z), 1.0", "decoder(z), 1e-30")))
def log_prob_not_finite(subject: Subject) -> Iterator[Seen]:
    """Check the log densities of a run on the batch."""
    found = run_on_batch(subject).not_finite()
    if found is not None:
        role, site, log_prob = found
        values = log_prob[~torch.isfinite(log_prob)]
        words = f"the log density in the {role} is {values[0].item()} for {len(values)} of {log_prob.numel()} values"
        yield Seen(words, site.name, tuple(log_prob.shape), subject.line_of(site.name, guide=role == "guide"))


@rule(
    Fault(
        "PG402",
        "error",
        "a gradient is not finite at the start",
        why="One step makes the parameters NaN. torch.where does not stop the gradient of the branch that is not taken: the "
        "square root of a negative number there gives NaN times 0, which is NaN.",
        remedy="Give the function an argument at which it is smooth, before it is called: torch.where(z > 0, z, 1.0).sqrt()",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(torch.where(z > 0, z.sqrt(), 0.0))")),
    fixed=changed(RIGHT, ("decoder(z)", "decoder(torch.where(z > 0, torch.where(z > 0, z, 1.0).sqrt(), 0.0))")),
)
def gradient_not_finite(subject: Subject) -> Iterator[Seen]:
    """Check the gradients of a run whose log densities are finite."""
    run = run_on_batch(subject)
    names = run.gradients_not_finite()
    if names and run.not_finite() is None:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield Seen(f"the gradient is not finite for {', '.join(map(repr, names[:3]))}{more}")


@rule(
    Fault(
        "PG403",
        "warning",
        "data at the edge of what is allowed give no finite number",
        why="One such datum in one batch ends the training.",
        remedy="Add a floor to what is divided by or taken a logarithm of, bound what is exponentiated, and scale the data",
    ),
    bad=changed(RIGHT, ("encoder(x)", "encoder(x / x.std(-1, keepdim=True))")),
    fixed=changed(RIGHT, ("encoder(x)", "encoder(x / (x.var(-1, keepdim=True) + 1e-4).sqrt())")),
)
def fails_on_extreme_data(subject: Subject) -> Iterator[Seen]:
    """Check log densities and gradients on zeros, ones and large data, where the likelihood allows them."""
    first = run_on_batch(subject)
    if first.not_finite() is not None or first.gradients_not_finite():
        return
    for run in runs_on_extreme_data(subject):
        severity: faults.Severity = (
            "note" if run.batch == ENLARGED else "warning"
        )  # right pairs may need data of their scale
        found = run.not_finite()
        if found is not None:
            role, site, _ = found
            line = subject.line_of(site.name, guide=role == "guide")
            words = f"on {run.batch} the log density in the {role} is not finite"
            yield Seen(words, site.name, line=line, severity=severity)
            return
        names = run.gradients_not_finite()
        if names:
            yield Seen(f"on {run.batch} the gradient of '{names[0]}' is not finite", severity=severity)
            return


@rule(
    Fault(
        "PG404",
        "warning",
        "a parameter receives no gradient",
        why="The parameter keeps its initial value however long one trains: it is used nowhere, or its way to the loss is "
        "cut by detach(), torch.no_grad(), argmax or NumPy.",
        remedy="Use it, connect it (no detach), freeze it with requires_grad_(False), or remove it",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(z).detach()")),
    density=True,
)
def parameter_without_gradient(subject: Subject) -> Iterator[Seen]:
    """Find parameters on which the log weight does not depend, without those of baselines."""
    gradients = run_on_batch(subject).gradients
    missing = [name for name, gradient in gradients.items() if gradient is None]
    if missing:
        missing = sorted(set(missing) - baseline_parameters(subject), key=list(gradients).index)
    if missing:
        some = ", ".join(f"'{name}'" for name in missing[:4]) + (", ..." if len(missing) > 4 else "")
        yield Seen(f"{len(missing)} of {len(gradients)} parameters have no gradient: {some}")


@rule(
    Fault(
        "PG405",
        "warning",
        "the gradient of a parameter is zero throughout",
        why="Rounding, a sign, a comparison, or a clamp beyond its bounds has the derivative zero: nothing behind it is "
        "trained.",
        remedy="Let the value reach the loss by a function with a gradient, such as a straight-through estimate or a softer "
        "bound",
    ),
    bad=changed(RIGHT, ("decoder(z)", "decoder(z).round()")),
)
def gradient_is_zero(subject: Subject) -> Iterator[Seen]:
    """Find parameters that change the log weight and have a zero gradient, even where all parameters are moved at random."""
    for name in flat_parameters(subject):
        yield Seen(f"the gradient of '{name}' is zero in all its elements, though the log weight changes with it")


@rule(
    Fault(
        "PG406",
        "warning",
        "numbers become float64 on the way",
        why="Everything computed from them is float64, too, at half the speed on a CPU and a small fraction of it on a GPU; "
        "some devices lack it.",
        remedy="Make constants in the dtype of what they meet (x.new_tensor, .to(x.dtype)); NumPy's floats are float64",
    ),
    bad=changed(RIGHT, ("x.new_zeros(2)", "x.new_zeros(2, dtype=torch.float64)")),
)
def promoted_to_double(subject: Subject) -> Iterator[Seen]:
    """Find values and log densities in float64, where parameters and data are in float32."""
    given = [*subject.pair.parameters(), *subject.args, *subject.kwargs.values()]
    if any(isinstance(value, Tensor) and value.dtype == torch.float64 for value in given):
        return
    for role, site in run_on_batch(subject).sites():
        tensors = {"value": site.value, "log density": site.log_prob()}
        what = next((what for what, tensor in tensors.items() if tensor.dtype == torch.float64), None)
        if what is not None:
            words = f"the {what} in the {role} is float64, from float32 parameters and data"
            yield Seen(words, site.name, line=subject.line_of(site.name, guide=role == "guide"))


@rule(
    Fault(
        "PG407",
        "note",
        "a scale is the exponential of a network's output",
        why="The exponential multiplies a change of the network's output: one large step or one unusual datum makes the "
        "scale infinite or zero, often after thousands of steps. softplus grows only linearly.",
        remedy="Use torch.nn.functional.softplus(raw) + 1e-4, or bound what is exponentiated, for instance by 5 * tanh(raw "
        "/ 5)",
    ),
    bad=changed(RIGHT, ("encoder(x), 0.5", "encoder(x), encoder(x).exp()")),
    fixed=changed(RIGHT, ("encoder(x), 0.5", "encoder(x), nn.functional.softplus(encoder(x)) + 1e-4")),
)
def scale_explodes(subject: Subject) -> Iterator[Seen]:
    """Find scales that are unbounded exponentials; a warning where extreme data make one infinite or zero."""
    for role, site in run_on_batch(subject).sites():
        scale = scale_of(site)
        if scale is None or not exponential_of_a_network(scale):
            continue
        line = subject.line_of(site.name, guide=role == "guide")
        for run in runs_on_extreme_data(subject):
            sites = (run.guide if role == "guide" else run.model).visited
            there = scale_of(sites[site.name]) if site.name in sites else None
            if there is not None and not bool(((there > _LEAST_SCALE) & (there < _LARGEST_SCALE)).all()):
                words = f"on {run.batch} the scale in the {role} is {_worst(there):.3g}, an exponential without a bound"
                yield Seen(words, site.name, line=line, severity="warning")
                break
        else:
            words = f"the scale in the {role} is the exponential of a network's output, without a bound"
            yield Seen(words, site.name, line=line)


def _worst(scale: Tensor) -> float:
    """The scale that is farthest from 1, in logarithms."""
    values = scale.detach().flatten()
    return float(values[values.log().abs().nan_to_num(nan=torch.inf).argmax()])
