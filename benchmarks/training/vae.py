"""Variational autoencoders with dense and with convolutional networks.

Named axes: data, latent, event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyrogen.inference import ELBO, Objective
from pyrogen.models import VAE

from .jax_networks import translated
from .problem import ByHand, Problem, Program, PyroELBO, Wanted, Workload

__all__ = ["ConvolutionalVAE", "LargeVAE", "SmallVAE", "VAEWorkload"]

ROWS = 4096
FLOOR = 1e-4
"""Least scale of pyrogen's encoder, which all peers share."""


class VAEWorkload(Workload):
    """A VAE on binary images: a Bernoulli likelihood, a diagonal Gaussian guide, the ELBO with its KL in closed form."""

    note = "KL divergence in closed form, but sampled by Pyro's Trace_ELBO ('Pyro SVI', with and without validation)."
    shape: tuple[int, ...] = (784,)
    latent = 20
    hidden: tuple[int, ...]
    batch: int

    def problem(self, steps: int, lr: float = 1e-3) -> Problem:
        """See `Workload.problem`."""
        generator = np.random.default_rng(0)
        rows, batch = (64, 4) if self.quick else (ROWS, self.batch)
        x = (generator.random((rows, int(np.prod(self.image)))) < 0.3).astype(np.float32)
        return Problem((x,), generator.integers(0, rows, (steps, batch)), steps, lr)

    @property
    def image(self) -> tuple[int, ...]:
        """Shape of a datum."""
        return (*self.shape[:-2], *(6,) * len(self.shape[-2:])) if self.quick else self.shape

    def pair(self) -> VAE:
        """See `Workload.pair`."""
        torch.manual_seed(0)
        return VAE(self.image, latent=self.latent, hidden=self.hidden)

    def objective(self) -> Objective:
        """See `Workload.objective`."""
        return ELBO()

    def pyro_elbos(self) -> Mapping[str, Callable[[], PyroELBO]]:
        """See `Workload.pyro_elbos`."""
        return {"": Trace_ELBO, "closed-form KL": TraceMeanField_ELBO}

    def by_hand(self) -> ByHand:
        """See `Workload.by_hand`."""
        pair = self.pair()
        encoder, decoder = pair.encoder.net, pair.likelihood.net

        def loss(x: Tensor) -> Tensor:
            loc, raw = encoder(x).chunk(2, -1)
            scale = F.softplus(raw) + FLOOR
            logits = decoder(loc + scale * torch.randn_like(loc))
            divergence = (0.5 * (loc**2 + scale**2 - 1) - scale.log()).sum()
            return (F.binary_cross_entropy_with_logits(logits, x, reduction="sum") + divergence) / len(x)

        return ByHand(list(pair.parameters()), loss)

    def numpyro(self) -> Program:
        """See `Workload.numpyro`."""
        import jax
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as dist

        pair, latent = self.pair(), self.latent
        encoder, encode = translated(pair.encoder.net)
        decoder, decode = translated(pair.likelihood.net)

        def model(x: jax.Array) -> None:
            parameters = numpyro.param("decoder", decoder)
            with numpyro.plate("data", len(x)):
                z = numpyro.sample("z", dist.Normal(jnp.zeros(latent), jnp.ones(latent)).to_event(1))
                numpyro.sample("x", dist.Bernoulli(logits=decode(parameters, z)).to_event(1), obs=x)

        def guide(x: jax.Array) -> None:
            parameters = numpyro.param("encoder", encoder)
            with numpyro.plate("data", len(x)):
                loc, raw = jnp.split(encode(parameters, x), 2, -1)
                numpyro.sample("z", dist.Normal(loc, jax.nn.softplus(raw) + FLOOR).to_event(1))

        return Program(model, guide, self.numpyro_elbo())

    def numpyro_elbo(self) -> object:
        """NumPyro's objective."""
        from numpyro.infer import TraceMeanField_ELBO

        return TraceMeanField_ELBO()


class SmallVAE(VAEWorkload):
    """So small that the time is that of calls, not of arithmetic."""

    letter, title = "a", "VAE 784-64-20, batch 32"
    hidden, batch, steps = (64,), 32, 200
    wanted = (
        Wanted("pyrogen compiled", "Pyro SVI", 1 / 5),
        Wanted("pyrogen compiled", "torch by hand", 0.7),
        Wanted("pyrogen compiled", "NumPyro jit", 1.0),
        Wanted("pyrogen eager", "Pyro SVI", 1 / 1.5),
    )


class LargeVAE(VAEWorkload):
    """The usual size for MNIST, where products of matrices take most of the time."""

    letter, title = "b", "VAE 784-400-20, batch 128"
    hidden, batch, steps = (400,), 128, 40
    wanted = (Wanted("pyrogen compiled", "torch by hand", 0.75), Wanted("pyrogen compiled", "NumPyro jit", 1.0))


class ConvolutionalVAE(VAEWorkload):
    """Two convolutions of stride 2 with 32 and 64 channels, and their mirror."""

    letter, title = "c", "convolutional VAE 28x28 - 32x14x14 - 64x7x7 - 20, batch 64"
    note = f"{VAEWorkload.note} Images are (channels, height, width) in torch and (height, width, channels) in JAX."
    shape, hidden, batch, steps = (1, 28, 28), (), 64, 10
    wanted = (Wanted("pyrogen compiled", "torch by hand", 1.0),)

    def pair(self) -> VAE:
        """See `Workload.pair`."""
        torch.manual_seed(0)
        return VAE(self.image, latent=self.latent, hidden=self.hidden, architecture="conv")
