"""Transitions as Markov kernels: exact draws in, one transition with a large step, exact draws out."""

from __future__ import annotations

import math

import pytest
import torch

from pyrogen.inference.estimators.annealing.transition import evaluate, move
from pyrogen.inference.estimators.latent_density import Terms

F64 = torch.float64
CHAINS = 400_000
BETA = 0.3


class Skewed:
    """log f = (base + 0.3 slope) is that of a normal and, given it, of a logistic number, in two dimensions."""

    def terms(self, u, batch):
        whole = log_density(u)
        bent = u[..., 0].sin() + 0.3 * u[..., 1]  # base and slope alone are other densities, and other gradients
        return Terms(whole - BETA * bent, bent)


def log_density(u):
    normal, shifted = u[..., 0], u[..., 1] - 0.5 * u[..., 0]
    return -0.5 * normal.square() - shifted - 2 * torch.nn.functional.softplus(-shifted)


def exact(seed):
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(CHAINS, 1, dtype=F64, generator=generator)
    logistic = torch.logit(torch.rand(CHAINS, 1, dtype=F64, generator=generator))
    return torch.stack([normal, logistic + 0.5 * normal], -1)  # (chains, 1, dims)


LOOKS = {
    "normal": lambda u: u[..., 0],
    "logistic": lambda u: u[..., 1],
    "energy": log_density,
    "radius": lambda u: u.square().sum(-1),
    "slant": lambda u: u[..., 0] - u[..., 1],
}


def distance(one, other):
    """The largest distance of two empirical distribution functions."""
    both = torch.cat([one, other]).sort().values
    counts = [torch.searchsorted(x.sort().values, both, right=True) / len(x) for x in (one, other)]
    return float((counts[0] - counts[1]).abs().max())


@pytest.mark.parametrize(("steps", "step"), [(1, 1.5), (2, 1.2), (4, 1.2)])
def test_a_transition_leaves_its_density_as_it_is(steps, step):
    torch.manual_seed(steps)
    density, batch = Skewed(), torch.zeros(1, 1)
    state = evaluate(density, exact(0), batch)
    beta, scale = torch.full((1,), BETA, dtype=F64), torch.tensor([[1.0, 1.5]], dtype=F64)
    moved = move(density, batch, state, beta, torch.full((1,), step, dtype=F64), scale, steps)
    went = (moved.state.u != state.u).any(-1).double()
    assert 0.3 < went.mean() < 0.9  # the step is large enough for errors of the kernel to show
    error = (moved.acceptance * (1 - moved.acceptance)).mean().sqrt() / CHAINS**0.5
    assert (went.mean() - moved.acceptance.mean()).abs() < 5 * error
    fresh, band = exact(1), math.sqrt(math.log(4 / 1e-6) / 2) * 2 / CHAINS**0.5  # two samples, each within DKW's band
    for name, look in LOOKS.items():
        after, known = look(moved.state.u).flatten(), look(fresh).flatten()
        assert distance(after, known) < band, name
        # The draws that went in are known: what one transition has changed of a mean varies less than the mean.
        change = after - look(state.u).flatten()
        assert change.mean().abs() < 5 * change.std() / CHAINS**0.5, name
    reached = evaluate(density, moved.state.u, batch)
    for one, other in zip(moved.state, reached, strict=True):
        torch.testing.assert_close(one, other)


def test_values_that_are_not_finite_are_never_accepted():
    class Edge(Skewed):
        def terms(self, u, batch):
            base, slope = super().terms(u, batch)
            return Terms(torch.where(u[..., 0] > 0, math.nan, base), slope)

    torch.manual_seed(5)
    density, batch = Edge(), torch.zeros(1, 1)
    start = -torch.rand(1000, 1, 2, dtype=F64)
    step = torch.full((1,), 2.0, dtype=F64)
    moved = move(density, batch, evaluate(density, start, batch), step * 0.15, step, torch.ones(1, 2, dtype=F64), 1)
    assert (moved.state.u[..., 0] <= 0).all()
    assert 0.1 < (moved.acceptance == 0).double().mean() < 0.9


@pytest.mark.parametrize("steps", [2, 4])
def test_the_error_of_the_energy_is_of_second_order_in_the_step(steps):
    density, batch, beta = Skewed(), torch.zeros(1, 1), torch.full((1,), BETA, dtype=F64)
    state = evaluate(density, exact(0)[:20_000], batch)
    lost = []
    for refined in (1, 2, 4):  # paths of one length, by more and more steps
        torch.manual_seed(steps)
        step = torch.full((1,), 0.2 / refined, dtype=F64)
        moved = move(density, batch, state, beta, step, torch.ones(1, 2, dtype=F64), steps * refined)
        lost.append(float(1 - moved.acceptance.mean()))
    assert lost[0] > 3.5 * lost[1] > 3.5**2 * lost[2]
