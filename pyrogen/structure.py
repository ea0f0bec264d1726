"""The structure of a pair: its sites and plates, as one checked run on a batch shows them (`pyrogen.probe`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from .errors import NotPerDatum

if TYPE_CHECKING:
    pass


__all__ = ["Structure", "evaluation_mode"]


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
    objections: tuple[str, ...]
    """Why the log weight is not one of each datum alone; empty where it is."""
    joint_objections: tuple[str, ...]
    """Why not even the log weight of all data together is that of the model's joint density; empty where it is."""
    subsampled: bool
    """Whether the data plate draws a subsample of the batch."""
    amortized: bool
    """Whether the pair runs on any part of the batch."""
    loop: str | None
    """Why particles must be run one after the other, or None where they run together."""
    rows: int | None = None
    """Number of data of the only batches of which this is true, or None where it is true of any number."""

    def require_per_datum(self, use: str) -> None:
        """Refuse a pair whose log weight is not a separate one for each datum.

        Raises:
            NotPerDatum: with the site that prevents it.
        """
        if self.objections:
            raise NotPerDatum(f"{use} needs a log weight for each datum: " + "; ".join(self.objections))

    def require_joint(self, use: str) -> None:
        """Refuse a pair whose log weight is that of a tempered density.

        Raises:
            NotPerDatum: with the site that prevents it.
        """
        if self.joint_objections:
            raise NotPerDatum(f"{use} needs an untempered log weight: " + "; ".join(self.joint_objections))


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module and all below it in evaluation mode, and each back into its own afterwards."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
