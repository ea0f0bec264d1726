"""What a new user would do with a pair, and what came of it: structure, Pyro's own loss, fit, compare, check."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from pyrogen.batch import arguments, length
from pyrogen.checks import check
from pyrogen.errors import PyrogenError
from pyrogen.inference import ELBO, IWAE, ImportanceSampling, PyroLoss, compare, fit
from pyrogen.programs.structure import Structure, evaluation_mode

from .attempt import Attempt

__all__ = ["FIT_STEPS", "STAGES", "Result", "Step", "tried"]

STAGES = ("structure", "same loss", "fit", "graph", "compare", "check")
FIT_STEPS = 6
_RUNS = 64
_SAME_LOSS, _SAME_GRADIENT, _ERRORS = 1e-5, 1e-3, 5.0


@dataclass
class Step:
    """What one stage has shown."""

    said: str
    refused: bool = False
    wrong: str | None = None
    """What should not have been, if anything."""
    codes: frozenset[str] = frozenset()
    """Of `check`, the codes of errors and warnings."""


@dataclass
class Result:
    """What all stages have shown of one attempt."""

    attempt: Attempt
    steps: dict[str, Step] = field(default_factory=dict)

    @property
    def wrong(self) -> list[str]:
        """What should not have been."""
        return [f"{stage}: {step.wrong}" for stage, step in self.steps.items() if step.wrong]

    def runs(self, *stages: str) -> bool:
        """Whether these stages were reached and refused nothing."""
        return all(stage in self.steps and not self.steps[stage].refused for stage in stages)


def tried(attempt: Attempt) -> Result:
    """Do with a pair what a new user would do, stage by stage; after a refused structure only `check` is left."""
    result = Result(attempt)
    stages: dict[str, Callable[[Attempt], str]] = {
        "structure": _structure,
        "same loss": _same_loss,
        "fit": _fit,
        "graph": _graph,
        "compare": _compare,
    }
    for stage, run in stages.items():
        result.steps[stage] = _step(attempt, stage, run)
        if stage == "structure" and result.steps[stage].refused:
            break
    result.steps["check"] = _checked(attempt)
    return result


def _step(attempt: Attempt, stage: str, run: Callable[[Attempt], str]) -> Step:
    expected = attempt.refusals.get(stage)
    try:
        with _quiet():
            step = Step(run(attempt))
    except _Disagreement as error:
        return Step(str(error), wrong=str(error))
    except PyrogenError as error:
        step = Step(str(error), refused=True)
        if expected is None:
            step.wrong = f"refused: {error}"
        elif not re.search(expected.words, str(error)):
            step.wrong = f"refused in other words than {expected.words!r}: {error}"
    except Exception as error:  # whatever has come through: a user would see it, so the page has to
        return Step(f"{type(error).__name__}: {error}", refused=True, wrong=f"crashed: {type(error).__name__}: {error}")
    if expected is not None and not step.refused:
        step.wrong = f"not refused, and it should say {expected.words!r}"
    return step


def _structure(attempt: Attempt) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        seen = attempt.pair.structure(attempt.batch)
    return _described(seen)


def _described(seen: Structure) -> str:
    shared = [name for name in seen.latents if name not in seen.local]
    parts = [
        f"{len(seen.latents)} latent{_s(seen.latents)}" + (f" ({len(shared)} shared by all data)" if shared else ""),
        f"{len(seen.observed)} observed",
        *(["subsampled"] if seen.subsampled else []),
        *([] if seen.amortized else ["whole batch only"]),
        "particles at once" if seen.loop is None else "particles in turn",
    ]
    return ", ".join(parts)


def _s(values: tuple[str, ...]) -> str:
    return "" if len(values) == 1 else "s"


class _Disagreement(Exception):
    """Pyro says another number."""


def _elbo(attempt: Attempt) -> Any:
    return Trace_ELBO() if attempt.elbo is None else attempt.elbo


def _objective(attempt: Attempt) -> Any:
    return ELBO(kl="sampled") if attempt.elbo is None else PyroLoss(attempt.elbo)


def _programs(attempt: Attempt) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return attempt.programs or (attempt.pair.model, attempt.pair.guide)


def _same_loss(attempt: Attempt) -> str:
    """The loss and its gradient, from the same draws, as Pyro's own objective has them."""
    pair, batch = attempt.pair, attempt.batch
    args, kwargs = arguments(batch)
    losses, gradients = [], []
    size = _size(attempt)
    with evaluation_mode(pair), torch.random.fork_rng():
        for ours in (True, False):
            torch.manual_seed(7)
            pair.zero_grad()
            if ours:
                loss = _objective(attempt).loss(pair, batch) * size
                loss.backward()
                losses.append(float(loss.detach()))
            else:
                with pair.scope():
                    losses.append(float(_elbo(attempt).loss_and_grads(*_programs(attempt), *args, **kwargs)))
            gradients.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in pair.parameters()])
        pair.zero_grad()
    apart = abs(losses[0] - losses[1]) / abs(losses[1])
    if apart > _SAME_LOSS:
        raise _Disagreement(f"loss {losses[0]:.6g}, and Pyro's is {losses[1]:.6g}")
    said = f"{losses[0]:,.1f} nats, Pyro's to {_SAME_LOSS:.0e}"
    structure = pair.structure(batch)
    if attempt.elbo is not None or structure.reparameterized >= frozenset(structure.latents):
        difference = _norm([a - b for a, b in zip(*gradients, strict=True)]) / max(_norm(gradients[1]), 1e-30)
        if not difference <= _SAME_GRADIENT:
            raise _Disagreement(f"the gradient is {difference:.2g} of its length away from Pyro's")
        said += f", its gradient to {_SAME_GRADIENT:.0e}"
    return said


def _size(attempt: Attempt) -> int:
    """By what the loss of a datum is multiplied to be that of all: the data plate's size, or for Pyro's losses the rows."""
    return length(attempt.batch) if attempt.elbo is not None or attempt.plate_size is None else attempt.plate_size


def _norm(tensors: list[Tensor]) -> float:
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors]).sum().sqrt())


def _fit(attempt: Attempt, compile: bool | str = False) -> str:
    run = fit(
        attempt.pair,
        attempt.batch,
        objective=_objective(attempt),
        steps=FIT_STEPS,
        batch_size=attempt.batch_size,
        log_every=1,
        progress=False,
        device="cpu",
        compile=compile,  # type: ignore[arg-type]
    )
    losses = [float(row["loss"]) for row in run.history]
    return f"{losses[0]:.4g} → {losses[-1]:.4g} nats per datum in {FIT_STEPS} steps"


def _graph(attempt: Attempt) -> str:
    return _fit(attempt, "graph")


def _compare(attempt: Attempt) -> str:
    """Three estimates, the first of them checked against the mean of Pyro's own."""
    pair, batch = attempt.pair, attempt.batch
    table = compare(pair, batch, [ELBO(draws=64), IWAE(16, draws=16), ImportanceSampling(200)], device="cpu")
    args, kwargs = arguments(batch)
    with evaluation_mode(pair), pair.scope(), torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        theirs = -torch.tensor([Trace_ELBO().loss(*_programs(attempt), *args, **kwargs) for _ in range(_RUNS)]).double()
    first = table.estimates[0]
    error = float((first.standard_error.square().sum() + theirs.var() / _RUNS).sqrt())
    away = float(first.log_prob.sum() - theirs.mean()) / max(error, 1e-6 * abs(float(theirs.mean())))
    if abs(away) > _ERRORS:
        raise _Disagreement(f"the ELBO of all data is {away:.1f} standard errors away from the mean of Pyro's {_RUNS}")
    numbers = ", ".join(f"{estimate.name} {float(estimate.log_prob.mean()):.1f}" for estimate in table.estimates)
    return f"{numbers}; Pyro's mean is {abs(away):.1f} standard errors away"


def _checked(attempt: Attempt) -> Step:
    try:
        with _quiet():
            report = check(attempt.pair, attempt.batch, device="cuda")
    except Exception as error:  # whatever has come through
        return Step("", refused=True, wrong=f"crashed: {type(error).__name__}: {error}")
    told = [f for f in report.findings if f.severity != "note"]
    wrong = [f"{f.code} {f.severity} at {f.site or f.line}: {f.seen}" for f in told if f.code not in attempt.findings]
    codes: dict[str, str] = {finding.code: finding.severity for finding in report.findings}
    said = ", ".join(f"{code} {severity}" for code, severity in sorted(codes.items())) or "clean"
    return Step(said, refused=not report.ok, wrong="; ".join(wrong) or None, codes=frozenset(f.code for f in told))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the warnings of the examples themselves, and Pyro's settings as they were."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    pyro.clear_param_store()
