"""How often the nominal 95% interval of each estimator holds the truth, over random oracle problems of 1 to 50 dimensions.

A problem is a model with random parameters, a guide that is off by a random amount, and one datum drawn from the model; each
model serves five data. The truth is the exact evidence, and the exact bound of that guide for the ELBO and for IWAE (where
latents can be enumerated). Estimates are counted where their diagnostics are good, and where they are not. Brackets of
bidirectional Monte Carlo are counted over data that the same models have simulated.

A second table has problems whose guide is wrong in kind (`tests/wrong_guides.py`): of the estimates that nothing is said
against, how many intervals hold the truth, and how many are off by more than four errors.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrogen.inference import (
    ELBO,
    IWAE,
    AnnealedImportance,
    Estimate,
    ImportanceSampling,
    TemperedSMC,
    compare,
    sandwich,
)
from pyrogen.models import BetaBernoulli, DiscreteVAE, LinearGaussianVAE

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from wrong_guides import KINDS

IWAE_PARTICLES = 2
ROWS = 5


def linear(generator: torch.Generator) -> tuple[LinearGaussianVAE, Tensor]:
    """A linear-Gaussian model of 1 to 50 latent dimensions, of which small ones are as frequent as large ones."""
    latent = round(math.exp(float(torch.rand((), generator=generator)) * math.log(50)))
    event = latent + int(torch.randint(0, 10, (), generator=generator))
    full = "full" if torch.rand((), generator=generator) < 0.7 else "diagonal"
    noise = 0.3 + float(torch.rand((), generator=generator))
    pair = LinearGaussianVAE((event,), latent=latent, noise=noise, guide=full).double()
    pair.set_exact_guide(
        offset=float(torch.randn((), generator=generator)) * 0.3,
        scale=math.exp(0.25 * float(torch.randn((), generator=generator))),
    )
    return pair, dist.LowRankMultivariateNormal(pair.bias, pair.weight, (2 * pair.log_noise).exp()).sample((ROWS,))


def beta(generator: torch.Generator) -> tuple[BetaBernoulli, Tensor]:
    """A Beta-Bernoulli model of 1 to 30 tosses."""
    event = int(torch.randint(1, 31, (), generator=generator))
    a, b = (0.5 + 4 * torch.rand(2, generator=generator)).tolist()
    pair = BetaBernoulli((event,), a, b).double()
    pair.set_exact_guide(
        offset=float(torch.rand((), generator=generator)), scale=0.6 + 0.4 * float(torch.rand((), generator=generator))
    )
    return pair, torch.bernoulli(dist.Beta(a, b).sample((ROWS, 1)).double().expand(ROWS, event))


def discrete(generator: torch.Generator) -> tuple[DiscreteVAE, Tensor]:
    """A model with 1 to 4 binary latents and an untrained guide."""
    latent, event = (int(torch.randint(1, 5, (), generator=generator)) for _ in range(2))
    pair = DiscreteVAE((event,), latent=latent).double()
    return pair, torch.bernoulli(torch.full((ROWS, event), 0.5, dtype=torch.float64))


def problems(models: int) -> Iterator[tuple[LinearGaussianVAE | BetaBernoulli | DiscreteVAE, Tensor]]:
    """Random models with data: twice as many linear-Gaussian ones as of the other families."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for number in range(models):
        with torch.no_grad():
            yield (linear, beta, linear, discrete)[number % 4](generator)


def exact_iwae(pair: DiscreteVAE, x: Tensor) -> Tensor:
    """The expected importance-weighted bound, by enumerating all tuples of particles."""
    log_guide = dist.Bernoulli(logits=pair.encoder(x)[:, None]).log_prob(pair.states).sum(-1)  # (data, states)
    weight = pair._log_joint(x) - log_guide
    tuples = torch.cartesian_prod(*[torch.arange(len(pair.states))] * IWAE_PARTICLES)  # (tuples, particles)
    bound = weight[:, tuples].logsumexp(-1) - math.log(IWAE_PARTICLES)
    return (log_guide[:, tuples].sum(-1).exp() * bound).sum(-1)


def covers(estimate: Estimate, truth: Tensor) -> list[bool]:
    """Whether each 95% interval holds its truth; an estimate without error is taken to its rounding."""
    low, high = estimate.interval(0.95)
    return ((low - 1e-9 <= truth) & (truth <= high + 1e-9)).tolist()


@torch.no_grad()
def wrong_guides(problems: int, particles: int, temperatures: int) -> None:
    """Count and print the second table."""
    few = temperatures // 4
    print(f"| {'guide':15s} | {'estimator':24s} | unflagged | covered |  error | off by > 4 errors |")
    print(f"|{'-' * 17}|{'-' * 26}|----------:|--------:|-------:|------------------:|")
    for kind, made in KINDS.items():
        counts: dict[str, list[tuple[bool, bool, bool]]] = {}
        for seed in range(problems):
            pair, x, truth = made(seed)
            for place, estimator in enumerate(
                [
                    ImportanceSampling(particles, draws=0),
                    ImportanceSampling(particles, draws=0, defensive=0.0),
                    AnnealedImportance(temperatures),
                    AnnealedImportance(few, initial="guide"),
                    TemperedSMC(),
                ]
            ):
                torch.manual_seed(100 * seed + place)
                found = estimator.estimate(pair, x)
                wild = (found.log_prob - truth).abs() > 4 * found.standard_error
                name = f"{found.name}, guide alone" if place == 1 else found.name
                seen = zip(found.untrusted().tolist(), covers(found, truth), wild.tolist(), strict=True)
                counts.setdefault(name, []).extend(seen)
        for name, values in counts.items():
            good = [(held, wild) for bad, held, wild in values if not bad]
            share = sum(held for held, _ in good) / max(1, len(good))
            error = math.sqrt(share * (1 - share) / max(1, len(good)))
            row = f"{len(good):4d}/{len(values):4d} | {share:7.1%} | {error:6.1%} | {sum(wild for _, wild in good):17d} |"
            print(f"| {kind:15s} | {name:24s} | {row}", flush=True)


@torch.no_grad()
def main() -> None:
    """Count, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--wrong", type=int, default=100, help="models of each kind with a wrong guide")
    parser.add_argument("--particles", type=int, default=5000)
    parser.add_argument("--temperatures", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: dict[str, list[bool]] = {}

    def count(estimate: Estimate, truth: Tensor, name: str | None = None) -> None:
        for held, bad in zip(covers(estimate, truth), estimate.untrusted().tolist(), strict=True):
            group = "flagged" if bad else "good"
            counts.setdefault(f"{name or estimate.name}, {group}", []).append(held)

    for number, (pair, x) in enumerate(problems(options.models)):
        bounds = [ELBO(), ELBO(kl="sampled"), IWAE(IWAE_PARTICLES)]
        bounds[1].name = "ELBO, sampled KL"
        estimators = [ImportanceSampling(options.particles, draws=0)]
        if not isinstance(pair, DiscreteVAE):
            few = options.temperatures // 4
            estimators += [AnnealedImportance(options.temperatures), AnnealedImportance(few, initial="guide"), TemperedSMC()]
        found = compare(pair, x, [*bounds, *estimators], device="cpu", seed=100 * number).estimates
        count(found[0], pair.elbo(x))
        count(found[1], pair.elbo(x))
        if isinstance(pair, DiscreteVAE):
            count(found[2], exact_iwae(pair, x))
            count(found[3], pair.log_evidence(x))
            continue
        for estimate in found[3:]:
            count(estimate, pair.log_evidence(x))
        bracket = sandwich(pair, x, 20, temperatures=options.temperatures // 4, device="cpu", seed=number)
        low, high = bracket.last.interval(0.95)
        counts.setdefault("bracket of 20 data, at least 95%", []).append(low <= float(bracket.exact.mean()) <= high)
    print(f"| {'estimator':40s} | problems | covered |  error |")
    print(f"|{'-' * 42}|---------:|--------:|-------:|")
    for name in sorted(counts):
        values = counts[name]
        share = sum(values) / len(values)
        print(f"| {name:40s} | {len(values):8d} | {share:7.1%} | {math.sqrt(share * (1 - share) / len(values)):6.1%} |")
    print()
    wrong_guides(options.wrong, options.particles, options.temperatures)


if __name__ == "__main__":
    main()
