"""The structure of a pair: its sites and plates, as one checked run on a batch shows them (`pyrogen.programs.probe`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import NotPerDatum, joined
from .program import Program

__all__ = ["Objection", "Structure", "evaluation_mode"]

_NO_DENSITY = ("PG131", "PG132")
"""A sampler, and programs that run only enumerated (`pyrogen.programs.faults`)."""


class Objection(str):
    """Why some uses refuse a pair, as one sentence; with the code of its fault (`pyrogen.programs.faults`).

    Example:
        >>> objection = Objection("plate 'data' is too long", remedy="cut it", code="PG108")
        >>> objection, objection.code
        ("plate 'data' is too long: cut it", 'PG108')
    """

    seen: str
    remedy: str | None
    code: str
    site: str | None

    def __new__(cls, seen: str, *, remedy: str | None = None, code: str, site: str | None = None) -> Objection:
        """Join what was seen and what to do."""
        made = super().__new__(cls, joined(seen, remedy))
        made.seen, made.remedy, made.code, made.site = seen, remedy, code, site
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return _objection, (self.seen, self.remedy, self.code, self.site)


def _objection(seen: str, remedy: str | None, code: str, site: str | None) -> Objection:
    return Objection(seen, remedy=remedy, code=code, site=site)


@dataclass(frozen=True)
class Structure:
    """What a run of a pair showed; the same for every batch of that kind (and length, where `rows` is given)."""

    latents: tuple[str, ...]
    """Latent sites of the model, in the guide's order."""
    observed: tuple[str, ...]
    """Observed sites of the model."""
    local: frozenset[str]
    """Sites inside the data plate."""
    reparameterized: frozenset[str]
    """Guide sites whose draws carry a pathwise gradient."""
    analytic: frozenset[str]
    """Latents whose KL divergence from guide to prior has a closed form that may be used."""
    nesting: int
    """Number of plate dimensions."""
    objections: tuple[Objection, ...]
    """Why the log weight is not one of each datum alone; empty where it is."""
    joint_objections: tuple[Objection, ...]
    """Why not even the log weight of all data together is that of the model's joint density; empty where it is."""
    subsampled: bool
    """Whether the data plate draws a subsample of the batch."""
    amortized: bool
    """Whether the pair runs on any part of the batch."""
    loop: str | None
    """Why particles must be run one after the other, or None where they run together."""
    rows: int | None = None
    """Number of data of the only batches of which this is true, or None where it is true of any number."""
    independent: frozenset[str] = frozenset()
    """Plates in which a draw without a gradient moves its own cell alone, and nothing that is drawn outside the plate."""

    def require_per_datum(self, use: str) -> None:
        """Refuse a pair whose log weight is not a separate one for each datum.

        Raises:
            NotPerDatum: with the site that prevents it.
        """
        _refuse(f"{use} needs a log weight for each datum", self.objections)

    def require_density(self, use: str) -> None:
        """Refuse a sampler, which observes nothing, and programs that run only enumerated, by the same error."""
        for objection in self.joint_objections:
            if objection.code in _NO_DENSITY:
                raise NotPerDatum(f"{use} needs a density of the data: {objection}", code=objection.code)

    def require_joint(self, use: str) -> None:
        """Refuse a pair whose log weight is that of a tempered density, by the same error."""
        _refuse(f"{use} needs an untempered log weight", self.joint_objections)


def _refuse(need: str, objections: tuple[Objection, ...]) -> None:
    if objections:
        first = objections[0]
        raise NotPerDatum(f"{need}: {'; '.join(objections)}", code=first.code, site=first.site)


@contextmanager
def evaluation_mode(pair: Program) -> Iterator[None]:
    """Put all modules of a pair in evaluation mode, and each back into its own afterwards."""
    training = [part for part in pair.modules() if part.training]
    pair.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
