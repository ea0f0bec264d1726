"""Eight schools, with an automatic guide: twenty numbers to train, so that all of the time is overhead.

Reference:
    Rubin 1981, Estimation in Parallel Randomized Experiments, https://doi.org/10.3102/10769986006004377

Named axes: schools.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from pyro.infer.autoguide.initialization import init_to_value
from torch import Tensor

from pyrogen.inference import ELBO, Objective
from pyrogen.pair import Pair

from .problem import ByHand, Problem, Program, PyroELBO, Wanted, Workload

__all__ = ["EightSchools"]

EFFECTS = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], np.float32)
ERRORS = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], np.float32)
START = {"mu": 1.0, "tau": 2.0, "z": 0.5}
"""Where the guide starts, the same for all peers."""
SPREAD = 0.1


def model(y: Tensor, sigma: Tensor) -> None:
    """An effect for each school around a common one, not centred."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("data", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * z, sigma), obs=y)


class EightSchools(Workload):
    """A sampled ELBO with one draw, and all data in each step."""

    letter, title = "f", "eight schools, AutoNormal guide, all data in each step"
    note = "KL divergence sampled by all peers. By hand the twenty numbers are two tensors; in the others they are six."
    steps = 300
    wanted = (Wanted("pyrogen compiled", "Pyro SVI", 1 / 8), Wanted("pyrogen compiled", "NumPyro jit", 1.0))

    def problem(self, steps: int, lr: float = 1e-3) -> Problem:
        """See `Workload.problem`."""
        return Problem((EFFECTS, ERRORS), None, steps, lr)

    def programs(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """See `Workload.programs`."""
        values = {name: torch.full((8,) if name == "z" else (), value) for name, value in START.items()}
        return model, AutoNormal(model, init_loc_fn=init_to_value(values=values), init_scale=SPREAD)

    def pair(self) -> Pair:
        """See `Workload.pair`."""
        return Pair.of(*self.programs())

    def objective(self) -> Objective:
        """See `Workload.objective`."""
        return ELBO(kl="sampled")

    def pyro_elbos(self) -> Mapping[str, Callable[[], PyroELBO]]:
        """See `Workload.pyro_elbos`."""
        return {"": Trace_ELBO}

    def by_hand(self) -> ByHand:
        """See `Workload.by_hand`."""
        start = torch.tensor([START["mu"], math.log(START["tau"]), *[START["z"]] * 8])
        loc = torch.nn.Parameter(start)
        raw = torch.nn.Parameter(torch.full_like(start, math.log(math.expm1(SPREAD))))
        constant = math.log(2 / (math.pi * 5)) - math.log(5)  # of the half-Cauchy and of the prior of mu

        def loss(y: Tensor, sigma: Tensor) -> Tensor:
            scale = F.softplus(raw)
            noise = torch.randn_like(loc)
            u = loc + scale * noise
            mu, log_tau, z = u[0], u[1], u[2:]
            tau = log_tau.exp()
            # The guide's constants cancel all of the Gaussian ones but those of tau and the data.
            log_prior = -0.5 * (mu / 5) ** 2 - torch.log1p((tau / 5) ** 2) + log_tau - 0.5 * (z * z).sum()
            log_likelihood = (-0.5 * ((y - mu - tau * z) / sigma) ** 2 - sigma.log()).sum()
            log_guide = (-0.5 * noise**2 - scale.log()).sum()
            rest = constant + 0.5 * math.log(2 * math.pi) * (1 - len(y))
            return -(log_prior + log_likelihood - log_guide + rest) / len(y)

        return ByHand([loc, raw], loss)

    def numpyro(self) -> Program:
        """See `Workload.numpyro`."""
        import jax.numpy as jnp
        import numpyro
        import numpyro.distributions as ndist
        from numpyro.infer import Trace_ELBO as NumPyroELBO
        from numpyro.infer import autoguide, initialization

        def program(y: object, sigma: object) -> None:
            mu = numpyro.sample("mu", ndist.Normal(0.0, 5.0))
            tau = numpyro.sample("tau", ndist.HalfCauchy(5.0))
            with numpyro.plate("data", len(EFFECTS)):
                z = numpyro.sample("z", ndist.Normal(0.0, 1.0))
                numpyro.sample("y", ndist.Normal(mu + tau * z, sigma), obs=y)

        values = {name: jnp.full((8,) if name == "z" else (), value) for name, value in START.items()}
        guide = autoguide.AutoNormal(program, init_loc_fn=initialization.init_to_value(values=values), init_scale=SPREAD)
        return Program(program, guide, NumPyroELBO())
