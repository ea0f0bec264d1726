"""Rules of quality: how well a fitted guide matches the posterior, and whether its latents are used."""

from __future__ import annotations

from collections.abc import Iterator

from pyrogen.limits import KHAT_LIMIT
from pyrogen.programs.faults import Fault

from ..examples import changed
from ..fitted_guide import FITTED, khats, latent_units
from ..rule import Seen, rule
from ..subject import Subject

_LEAST_SCALE = 1e-3


@rule(
    Fault(
        "PG701",
        "warning",
        "the importance weights have a heavy tail",
        why="The guide misses where the posterior has mass: importance sampling from it fails, IWAE is dominated by single "
        "draws, and the ELBO may lie far below the evidence.",
        remedy="Train longer, give the guide a richer family or a larger scale, or train with IWAE; report PSIS with its "
        "k-hat",
    ),
    bad=changed(FITTED, ("x / 2, 0.7", "x / 2, 0.1")),
    fixed=FITTED,
    trained=True,
)
def heavy_tail(subject: Subject) -> Iterator[Seen]:
    """Count data with a Pareto k-hat above 0.7; a note if they are not most of the data."""
    khat = khats(subject)
    if khat is None:
        return
    high = int((khat > KHAT_LIMIT).sum())
    if high:
        words = f"k-hat is above {KHAT_LIMIT} for {high} of {len(khat)} data, {float(khat.median()):.2f} in the median"
        yield Seen(words, severity="warning" if 2 * high > len(khat) else "note")


@rule(
    Fault(
        "PG702",
        "note",
        "latent units are inactive",
        why="An inactive unit says nothing of the datum: the model uses fewer dimensions than it has.",
        remedy="Fewer latent dimensions, a warm-up of the KL term (fit(beta=...)) or free bits",
    ),
    bad=changed(FITTED, ("x / 2, 0.7", "x / 2 * x.new_tensor([1.0, 0.0]), 0.7")),
    fixed=FITTED,
    trained=True,
)
def inactive_units(subject: Subject) -> Iterator[Seen]:
    """Count inactive units of latents that have active ones, too."""
    for units in latent_units(subject):
        idle = int((~units.active).sum())
        if 0 < idle < len(units.active):
            yield Seen(f"{idle} of {len(units.active)} units have nearly the same mean for all data", units.site)


@rule(
    Fault(
        "PG703",
        "warning",
        "the posterior has collapsed to the prior",
        why="The model explains the data without the latent, and the guide returns the prior: the representation is empty.",
        remedy="A warm-up of the KL term (fit(beta=...)), free bits, a weaker decoder, or a better initialisation",
    ),
    bad=changed(FITTED, ("x / 2, 0.7", "0.0 * x, 1.0")),
    fixed=FITTED,
    trained=True,
)
def posterior_collapse(subject: Subject) -> Iterator[Seen]:
    """Find latents without an active unit."""
    for units in latent_units(subject):
        if not bool(units.active.any()):
            yield Seen(f"none of the {len(units.active)} units has a mean that differs from datum to datum", units.site)


@rule(
    Fault(
        "PG704",
        "warning",
        "the guide's scale lies at its floor",
        why="A scale that has shrunk to its floor makes the guide nearly a point: entropy and bound are those of the floor, "
        "not of the data, and gradients vanish there.",
        remedy="Look for a likelihood that is too sharp (a scale that shrinks to 0), leaks of the datum into the latent, or "
        "a floor that is reached by a wrong sign",
    ),
    bad=changed(FITTED, ("x / 2, 0.7", "x / 2, 1e-4")),
    fixed=FITTED,
    trained=True,
)
def scale_at_floor(subject: Subject) -> Iterator[Seen]:
    """Count units whose scale is below a thousandth of the prior's for most data."""
    for units in latent_units(subject):
        low = (units.scale < _LEAST_SCALE).double().mean(0)  # (units,)
        count = int((low > 0.5).sum())
        if count and units.continuous:
            least = float(units.scale.min())
            words = f"{count} of {len(low)} units have a scale below {_LEAST_SCALE} of the prior's, down to {least:.2g}"
            yield Seen(words, units.site)
