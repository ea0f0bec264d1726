"""How often the nominal 95% interval of each estimator holds the truth, over 2,000 random oracle problems.

A problem is a model with random parameters, a guide that is off by a random amount, and one datum drawn from the model.
The truth is the exact evidence for importance sampling, and the exact bound of that guide for the ELBO and for IWAE (where
latents can be enumerated). Importance sampling is counted where its k-hat is at most 0.7, and where it is not.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrogen.inference import ELBO, IWAE, Estimate, ImportanceSampling
from pyrogen.models import BetaBernoulli, DiscreteVAE, LinearGaussianVAE

IWAE_PARTICLES = 2


def linear(generator: torch.Generator) -> tuple[LinearGaussianVAE, Tensor]:
    """A linear-Gaussian problem of 1 to 10 latent dimensions."""
    latent = int(torch.randint(1, 11, (), generator=generator))
    event = latent + int(torch.randint(0, 10, (), generator=generator))
    full = "full" if torch.rand((), generator=generator) < 0.7 else "diagonal"
    noise = 0.3 + float(torch.rand((), generator=generator))
    pair = LinearGaussianVAE((event,), latent=latent, noise=noise, guide=full).double()
    pair.set_exact_guide(
        offset=float(torch.randn((), generator=generator)) * 0.3,
        scale=math.exp(0.25 * float(torch.randn((), generator=generator))),
    )
    return pair, dist.LowRankMultivariateNormal(pair.bias, pair.weight, (2 * pair.log_noise).exp()).sample((1,))


def beta(generator: torch.Generator) -> tuple[BetaBernoulli, Tensor]:
    """A Beta-Bernoulli problem of 1 to 30 tosses."""
    event = int(torch.randint(1, 31, (), generator=generator))
    a, b = (0.5 + 4 * torch.rand(2, generator=generator)).tolist()
    pair = BetaBernoulli((event,), a, b).double()
    pair.set_exact_guide(
        offset=float(torch.rand((), generator=generator)), scale=0.6 + 0.4 * float(torch.rand((), generator=generator))
    )
    return pair, torch.bernoulli(dist.Beta(a, b).sample((1, 1)).double().expand(1, event))


def discrete(generator: torch.Generator) -> tuple[DiscreteVAE, Tensor]:
    """A problem with 1 to 4 binary latents and an untrained guide."""
    latent, event = (int(torch.randint(1, 5, (), generator=generator)) for _ in range(2))
    pair = DiscreteVAE((event,), latent=latent).double()
    return pair, torch.bernoulli(torch.full((1, event), 0.5, dtype=torch.float64))


def problems(count: int) -> Iterator[tuple[LinearGaussianVAE | BetaBernoulli | DiscreteVAE, Tensor]]:
    """Random problems, of each family in turn."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for number in range(count):
        with torch.no_grad():
            yield (linear, beta, discrete)[number % 3](generator)


def exact_iwae(pair: DiscreteVAE, x: Tensor) -> Tensor:
    """The expected importance-weighted bound, by enumerating all tuples of particles."""
    log_guide = dist.Bernoulli(logits=pair.encoder(x)[:, None]).log_prob(pair.states).sum(-1)  # (data, states)
    weight = pair._log_joint(x) - log_guide
    tuples = torch.cartesian_prod(*[torch.arange(len(pair.states))] * IWAE_PARTICLES)  # (tuples, particles)
    bound = weight[:, tuples].logsumexp(-1) - math.log(IWAE_PARTICLES)
    return (log_guide[:, tuples].sum(-1).exp() * bound).sum(-1)


def covers(estimate: Estimate, truth: Tensor) -> bool:
    """Whether the 95% interval holds the truth; an estimate without error is taken to its rounding."""
    low, high = estimate.interval(0.95)
    return bool((low - 1e-9 <= truth) & (truth <= high + 1e-9))


@torch.no_grad()
def main() -> None:
    """Count, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=2000)
    parser.add_argument("--particles", type=int, default=5000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: dict[str, list[bool]] = {}
    for pair, x in problems(options.problems):
        counts.setdefault("ELBO", []).append(covers(ELBO().estimate(pair, x), pair.elbo(x)))
        sampled = ELBO(kl="sampled").estimate(pair, x)
        counts.setdefault("ELBO, sampled KL", []).append(covers(sampled, pair.elbo(x)))
        if isinstance(pair, DiscreteVAE):
            found = IWAE(IWAE_PARTICLES).estimate(pair, x)
            counts.setdefault(f"IWAE({IWAE_PARTICLES}), enumerable", []).append(covers(found, exact_iwae(pair, x)))
        found = ImportanceSampling(options.particles, draws=0).estimate(pair, x)
        khat = float(found.khat) if found.khat is not None else math.nan
        group = "k-hat above 0.7" if khat > 0.7 else "k-hat at most 0.7" if khat <= 0.7 else "k-hat not known (ties)"
        counts.setdefault(f"IS({options.particles}), {group}", []).append(covers(found, pair.log_evidence(x)))
    print(f"| {'estimator':34s} | problems | covered |  error |")
    print(f"|{'-' * 36}|---------:|--------:|-------:|")
    for name, values in counts.items():
        share = sum(values) / len(values)
        print(f"| {name:34s} | {len(values):8d} | {share:7.1%} | {math.sqrt(share * (1 - share) / len(values)):6.1%} |")


if __name__ == "__main__":
    main()
