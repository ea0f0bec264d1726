"""Annealed importance sampling of a VAE against a torch loop written by hand: seconds, in turns, and their ratio.

100 data, 16 chains, a 784-400-20 decoder, 5 leapfrog steps at each temperature. The loop by hand knows the model: it calls
the decoder itself, takes the gradient of the prior in closed form, and has frozen step sizes given, as the estimator has
after its pilot run. Both carry the likelihood and its gradient from temperature to temperature. Times are of the annealing
itself; the pilot run, which the loop by hand has no need of, is given beside them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from timing import ratio, turns
from torch import Tensor

from pyrogen.inference.estimators.annealing.ais import anneal
from pyrogen.inference.estimators.annealing.mover import Mover
from pyrogen.inference.estimators.annealing.schedule import AnnealingPath, plan
from pyrogen.inference.estimators.annealing.transition import HMC
from pyrogen.inference.estimators.latent_density import LatentDensity
from pyrogen.inference.graphs import Compile, SharedGraphs
from pyrogen.models import VAE

CHAINS, LEAPFROGS = 16, 5
MODES: dict[str, Compile] = {"the pair": False, "recorded graph": "graph", "compiled": True}


def by_hand(decode: Callable[[Tensor], Tensor], x: Tensor, z: Tensor, chosen: AnnealingPath) -> Tensor:
    """Log weights (chains, data) of a loop that knows the model."""

    def likelihood(z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            logits = decode(z)
            value = (x * logits - F.softplus(logits)).sum(-1)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    value, gradient = likelihood(z)
    log_weight = torch.zeros_like(value)
    for place in range(1, len(chosen.betas)):
        beta = chosen.betas[place].float()
        log_weight = log_weight + (beta - chosen.betas[place - 1].float()) * value
        step = chosen.steps[place].float()[:, None]
        p = torch.randn_like(z)
        before = beta * value - 0.5 * (z * z).sum(-1) - 0.5 * (p * p).sum(-1)
        q, g, v = z, gradient, value
        for _ in range(LEAPFROGS):
            p = p + 0.5 * step * (beta[:, None] * g - q)
            q = q + step * p
            v, g = likelihood(q)
            p = p + 0.5 * step * (beta[:, None] * g - q)
        after = beta * v - 0.5 * (q * q).sum(-1) - 0.5 * (p * p).sum(-1)
        accepted = torch.rand_like(v).log() < after - before
        z = torch.where(accepted[..., None], q, z)
        gradient = torch.where(accepted[..., None], g, gradient)
        value = torch.where(accepted, v, value)
    return log_weight


def main() -> None:
    """Time all of them in turns, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=int, default=100)
    parser.add_argument("--temperatures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--modes", nargs="*", default=list(MODES), choices=list(MODES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    pair = VAE((1, 28, 28), latent=20, hidden=(400,))
    x = torch.bernoulli(torch.full((options.data, 784), 0.3))
    density, transition = LatentDensity(pair, x), HMC(LEAPFROGS)
    started = time.perf_counter()
    chosen = plan(Mover(density), x, transition, "sigmoid", options.temperatures)
    pilot = time.perf_counter() - started
    draws = density.draw(x, CHAINS)

    def annealed(graphs: SharedGraphs) -> Tensor:
        mover = Mover(density, graphs, calls=options.temperatures)
        return anneal(mover, x, mover.start(draws, x), chosen, transition).log_weight

    peers: dict[str, Callable[[], object]] = {"loop by hand": lambda: by_hand(pair.likelihood.net, x, draws, chosen)}
    for name in options.modes:
        peers[name] = partial(annealed, SharedGraphs(MODES[name]))  # the graphs stay from round to round
    seconds = turns({name: partial(timed, call) for name, call in peers.items()}, options.rounds)
    print(
        f"{options.data} data, {CHAINS} chains, {options.temperatures} temperatures, {LEAPFROGS} leapfrog steps each, "
        f"{options.threads} thread(s); median of {options.rounds} rounds; the pilot run takes {pilot:.1f} s"
    )
    for name in peers:
        of_hand, faster = ratio(seconds, name, "loop by hand"), ratio(seconds, "loop by hand", name)
        print(
            f"{name:14s} {statistics.median(seconds[name]):8.2f} s   {of_hand:.3f} of the loop by hand, "
            f"which takes {faster:.2f} times as long"
        )


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
