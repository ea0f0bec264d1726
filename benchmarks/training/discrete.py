"""A VAE with discrete latents, all of whose values are enumerated.

Named axes: latents, categories, data, event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import Tensor, nn

from pyrogen.inference import Objective
from pyrogen.nets import MLP
from pyrogen.pair import Pair

from .jax_networks import translated
from .problem import ByHand, Left, Problem, Program, PyroELBO, Workload

__all__ = ["Discrete", "TwoCategories"]

CATEGORIES = 8


class TwoCategories(Pair):
    """Two categorical latents of 8 values: 64 states for each datum, and a guide marked for parallel enumeration."""

    def __init__(self, event: int, hidden: int) -> None:
        super().__init__()
        self.prior = nn.Parameter(torch.zeros(2, CATEGORIES))
        self.codes = nn.Parameter(torch.randn(2, CATEGORIES, hidden))
        self.encoder = MLP(event, (hidden,), 2 * CATEGORIES, "tanh")
        self.decoder = MLP(hidden, (hidden,), event, "tanh")

    def model(self, x: Tensor) -> None:
        """Sites ``first``, ``second``, and ``x`` of event shape (event,)."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            first = pyro.sample("first", dist.Categorical(logits=self.prior[0]))
            second = pyro.sample("second", dist.Categorical(logits=self.prior[1]))
            logits = self.decoder(self.codes[0][first] + self.codes[1][second])
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    @config_enumerate
    def guide(self, x: Tensor) -> None:
        """Sites ``first`` and ``second``, independent given `x`."""
        with pyro.plate(self.data_plate, len(x), dim=-1):
            first, second = self.encoder(x).chunk(2, -1)
            pyro.sample("first", dist.Categorical(logits=first))
            pyro.sample("second", dist.Categorical(logits=second))


class Discrete(Workload):
    """The exact ELBO, a sum over all states."""

    letter, title = "e", f"discrete VAE, 2 latents of {CATEGORIES} values enumerated, 784-64, batch 32"
    note = (
        "pyrogen takes Pyro's TraceEnum_ELBO through its adapter. NumPyro's enumeration needs funsor: its program sums over "
        "the states in closed form instead, as the loss by hand does. Nothing is random."
    )
    batch, steps = 32, 15

    def problem(self, steps: int, lr: float = 1e-3) -> Problem:
        """See `Workload.problem`."""
        generator = np.random.default_rng(0)
        rows, batch = (64, 4) if self.quick else (4096, self.batch)
        x = (generator.random((rows, 36 if self.quick else 784)) < 0.3).astype(np.float32)
        return Problem((x,), generator.integers(0, rows, (steps, batch)), steps, lr)

    def pair(self) -> TwoCategories:
        """See `Workload.pair`."""
        torch.manual_seed(0)
        return TwoCategories(*((36, 8) if self.quick else (784, 64)))

    def objective(self) -> Objective:
        """See `Workload.objective`."""
        try:
            from pyrogen.inference import PyroLoss
        except ImportError as error:
            raise Left("this pyrogen has no adapter PyroLoss") from error
        return PyroLoss(TraceEnum_ELBO(max_plate_nesting=1))

    def pyro_elbos(self) -> Mapping[str, Callable[[], PyroELBO]]:
        """See `Workload.pyro_elbos`."""
        return {"": lambda: TraceEnum_ELBO(max_plate_nesting=1)}

    def by_hand(self) -> ByHand:
        """See `Workload.by_hand`."""
        pair = self.pair()

        def loss(x: Tensor) -> Tensor:
            log_prior = pair.prior.log_softmax(-1)
            q1, q2 = (part.log_softmax(-1) for part in pair.encoder(x).chunk(2, -1))  # (data, categories) each
            logits = pair.decoder(pair.codes[0][:, None] + pair.codes[1])[:, :, None]  # (categories, categories, 1, event)
            likelihood = (logits * x - F.softplus(logits)).sum(-1)  # (categories, categories, data)
            states = q1.exp().mT[:, None] * q2.exp().mT  # (categories, categories, data)
            divergence = (q1.exp() * (q1 - log_prior[0])).sum() + (q2.exp() * (q2 - log_prior[1])).sum()
            return (divergence - (states * likelihood).sum()) / len(x)

        return ByHand(list(pair.parameters()), loss)

    def numpyro(self) -> Program:
        """See `Workload.numpyro`."""
        import jax
        import jax.numpy as jnp
        import numpyro
        from numpyro.infer import Trace_ELBO

        pair = self.pair()
        encoder, encode = translated(pair.encoder)
        decoder, decode = translated(pair.decoder)
        tables = {"prior": jnp.asarray(pair.prior.detach().numpy()), "codes": jnp.asarray(pair.codes.detach().numpy())}

        def model(x: jax.Array) -> None:
            tree = numpyro.param("pair", {"encoder": encoder, "decoder": decoder, **tables})
            log_prior = jax.nn.log_softmax(tree["prior"])
            q1, q2 = (jax.nn.log_softmax(part) for part in jnp.split(encode(tree["encoder"], x), 2, -1))
            logits = decode(tree["decoder"], tree["codes"][0][:, None] + tree["codes"][1])[:, :, None]
            likelihood = (logits * x - jax.nn.softplus(logits)).sum(-1)  # (categories, categories, data)
            states = jnp.exp(q1).T[:, None] * jnp.exp(q2).T
            divergence = (jnp.exp(q1) * (q1 - log_prior[0])).sum() + (jnp.exp(q2) * (q2 - log_prior[1])).sum()
            numpyro.factor("elbo", (states * likelihood).sum() - divergence)

        def guide(x: jax.Array) -> None:
            pass

        return Program(model, guide, Trace_ELBO())
