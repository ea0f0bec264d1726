"""The importance-weighted bound with 5 particles.

Named axes: particles, data, latent, event.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from pyro.infer import RenyiELBO
from torch import Tensor

from pyrogen.inference import IWAE, Objective

from .problem import ByHand, PyroELBO, Wanted
from .vae import FLOOR, VAEWorkload

__all__ = ["ImportanceWeighted"]

PARTICLES = 5


class ImportanceWeighted(VAEWorkload):
    """IWAE with the pathwise gradient; all peers run their particles at once."""

    letter, title = "d", f"IWAE({PARTICLES}), VAE 784-400-20, batch 32"
    note = "NumPyro maps its particles by vmap, encoder included; the others encode once."
    hidden, batch, steps = (400,), 32, 40
    wanted = (Wanted("pyrogen compiled", "NumPyro jit", 1.0),)

    def objective(self) -> Objective:
        """See `Workload.objective`."""
        return IWAE(PARTICLES)

    def pyro_elbos(self) -> Mapping[str, Callable[[], PyroELBO]]:
        """See `Workload.pyro_elbos`."""
        return {"": lambda: RenyiELBO(alpha=0, num_particles=PARTICLES, max_plate_nesting=1, vectorize_particles=True)}

    def by_hand(self) -> ByHand:
        """See `Workload.by_hand`."""
        pair = self.pair()
        encoder, decoder = pair.encoder.net, pair.likelihood.net

        def loss(x: Tensor) -> Tensor:
            loc, raw = encoder(x).chunk(2, -1)
            scale = F.softplus(raw) + FLOOR
            noise = torch.randn(PARTICLES, *loc.shape, device=x.device)
            z = loc + scale * noise  # (particles, data, latent)
            logits = decoder(z)
            likelihood = -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)
            ratio = (0.5 * (noise**2 - z**2) + scale.log()).sum(-1)  # of prior and guide; their constants cancel
            return math.log(PARTICLES) - (likelihood + ratio).logsumexp(0).mean()

        return ByHand(list(pair.parameters()), loss)

    def numpyro_elbo(self) -> object:
        """See `VAEWorkload.numpyro_elbo`."""
        from numpyro.infer import RenyiELBO

        return RenyiELBO(alpha=0, num_particles=PARTICLES)
