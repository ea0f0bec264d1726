"""PG129: no gradient flows through a latent that is reparameterized."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from ..examples import RIGHT, changed
from ..finding import Finding
from ..rule import Rule

if TYPE_CHECKING:
    from ..subject import Subject

__all__ = ["LatentWithoutGradient"]


class LatentWithoutGradient(Rule):
    """The density of the other sites has no slope in a latent, whatever the parameters are."""

    code = "PG129"
    title = "no gradient flows through a reparameterized latent"
    group = "structure"
    severity = "warning"
    why = (
        "The encoder learns from the divergence alone and never from the data: rounding, comparing and detaching have no "
        "slope, and the posterior falls onto the prior."
    )
    remedy = "Let the value reach the likelihood by a function with a slope, or draw the latent from a discrete distribution"
    bad = changed(RIGHT, ("decoder(z)", "decoder(z.round())"))
    mended = RIGHT

    def look(self, subject: Subject) -> Iterator[Finding]:
        """Differentiate the log densities of all other sites of the model by each latent."""
        names = [
            name
            for name in subject.structure.latents
            if name in subject.structure.reparameterized
            and name in subject.draws
            and subject.draws[name].is_floating_point()
        ]
        with torch.no_grad():
            for parameter in subject.pair.parameters():  # a network may begin with zeros, and say nothing of its input
                if parameter.is_floating_point():
                    parameter.add_(torch.randn_like(parameter), alpha=0.1)
        for name in names:
            with subject.running(gradients=True):
                latents = {other: value.detach() for other, value in subject.draws.items()}
                latents[name] = latents[name].requires_grad_()
                log_probs = subject.log_probs(latents=latents)
                others = [
                    values.sum() for (role, site), (_, values) in log_probs.items() if role == "model" and site != name
                ]
                total = torch.stack(
                    [value for value in others if value.requires_grad] or [latents[name].new_zeros(())]
                ).sum()
                if not total.requires_grad:
                    continue  # PG127 says whether it matters at all
                (slope,) = torch.autograd.grad(total, latents[name], allow_unused=True)
            if (slope is None or not bool(slope.any())) and self._matters(subject, name):
                yield self.found(
                    f"the model's density changes with latent '{name}', and its gradient by it is zero", site=name
                )

    @staticmethod
    def _matters(subject: Subject, name: str) -> bool:
        with subject.running():
            drawn = torch.randn_like(subject.draws[name]).mul_(3.0).add_(subject.draws[name])
            before, after = subject.log_probs(), subject.log_probs(latents={**subject.draws, name: drawn})
        return any(
            not torch.allclose(values, after["model", site][1], equal_nan=True)
            for (role, site), (_, values) in before.items()
            if role == "model" and site != name and ("model", site) in after
        )
