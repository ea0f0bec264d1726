"""Fully visible pairs and the PixelVAE: densities that sum to one, exact evidence, completions, what they refuse."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn

from pyrogen.errors import ConfigurationError, PairError
from pyrogen.inference import ELBO, Exact, ImportanceSampling, compare
from pyrogen.models import (
    AutoregressiveLikelihood,
    FullyVisible,
    MADEModel,
    PixelCNNModel,
    PixelRNNModel,
    PixelVAE,
    TransformerModel,
    WaveNetModel,
)
from pyrogen.nets.causal import CausalLinear

MODELS = {
    "made": lambda: MADEModel((1, 2, 3), hidden=(20,)),
    "made, coarse to fine": lambda: MADEModel((2, 3), hidden=(20,), order="coarse-to-fine"),
    "made, random": lambda: MADEModel((6,), hidden=(20,), order="random"),
    "pixelcnn": lambda: PixelCNNModel((2, 3), features=4, layers=2),
    "pixelcnn of two channels": lambda: PixelCNNModel((2, 1, 3), features=4, layers=2),
    "pixelrnn": lambda: PixelRNNModel((1, 2, 3), hidden=3, layers=1),
    "wavenet": lambda: WaveNetModel((6,), features=4, layers=2),
    "transformer": lambda: TransformerModel((2, 3), width=8, layers=1, heads=2),
}
EVERYTHING = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)), dtype=torch.float64)  # (64, 6)

every_model = pytest.mark.parametrize("name", MODELS)


def make(name):
    torch.manual_seed(1)
    pair = MODELS[name]().double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.mul_(2.0)
    return pair.eval()


@every_model
def test_probabilities_of_all_data_sum_to_one(name):
    log_prob = make(name).log_evidence(EVERYTHING)
    assert log_prob.exp().sum().item() == pytest.approx(1.0, abs=1e-10)
    assert log_prob.std() > 0.1


@every_model
def test_its_bounds_are_its_evidence(name):
    pair = make(name)
    table = compare(pair, EVERYTHING, [Exact(), ELBO(draws=3), ImportanceSampling(10, draws=0)], device="cpu")
    assert table["Exact"].kind == "exact"
    assert (table["Exact"].standard_error == 0).all()
    exact = pair.log_evidence(EVERYTHING).detach()
    for estimate in table.estimates:
        assert (estimate.log_prob - exact).abs().max() < 1e-9, estimate.name


def test_the_evidence_is_the_same_in_parts():
    pair, x = make("pixelcnn"), EVERYTHING.repeat(10, 1)  # (640, 6), more than are scored at once
    with torch.no_grad():
        parts = pair.log_evidence(x)
    assert parts.shape == (640,)
    assert (parts - pair.log_evidence(x)).abs().max() < 1e-12


def test_a_completion_keeps_what_is_known_and_follows_the_conditional():
    """The last three of six elements given the first three, against their exact conditional probabilities."""
    pair = make("made")
    known = torch.tensor([True, True, True, False, False, False])
    start = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    agree = (EVERYTHING[:, :3] == start).all(1)
    probability = pair.log_evidence(EVERYTHING[agree]).softmax(0).detach()  # of the 8 ways to go on
    torch.manual_seed(2)
    count = 20_000
    drawn = pair.complete(torch.cat([start, start.new_zeros(3)]).expand(count, 6), known)
    assert torch.equal(drawn[:, :3], start.expand(count, 3))
    index = (drawn[:, 3:] @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long()
    seen = torch.bincount(index, minlength=8) / count
    error = (probability * (1 - probability) / count).sqrt()
    assert ((seen - probability).abs() <= 5 * error).all()


def test_any_causal_network_makes_a_pair():
    torch.manual_seed(3)
    pair = FullyVisible(CausalLinear((6,))).double()
    assert pair.log_evidence(EVERYTHING).exp().sum().item() == pytest.approx(1.0, abs=1e-10)
    assert pair.structure(EVERYTHING).latents == ()


def test_a_pixelvae_is_normalized_over_data():
    """By quadrature over its one latent, whose grid is so fine and wide that its error is below 1e-6."""
    torch.manual_seed(4)
    pair = PixelVAE((1, 2, 3), 1, (5,), context=2, features=4, layers=2).double().eval()
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)[:, None, None]  # (grid, 1, latent)
    log_prior = -0.5 * (z[..., 0].square() + math.log(2 * math.pi)) + math.log(16 / 400)
    with torch.no_grad():
        log_joint = pair.likelihood(z.expand(-1, 64, -1)).log_prob(EVERYTHING) + log_prior  # (grid, data)
    evidence = log_joint.logsumexp(0)
    assert evidence.exp().sum().item() == pytest.approx(1.0, abs=1e-6)
    estimate = ImportanceSampling(2000, draws=0).estimate(pair, EVERYTHING)
    assert ((estimate.log_prob - evidence).abs() <= 5 * estimate.standard_error + 1e-9).all()


def test_a_pixelvae_draws_its_pictures():
    torch.manual_seed(5)
    pair = PixelVAE((1, 3, 3), 2, (5,), features=4, layers=2)
    assert pair.generate(7).shape == (7, 9)
    again = pair.reconstruct(pair.generate(4))
    assert ((again == 0) | (again == 1)).all()
    with pytest.raises(NotImplementedError):
        pair.likelihood.mean(torch.zeros(1, 2))


def test_validation_refuses_what_is_not_binary():
    with pytest.raises(PairError, match="support"):
        make("pixelcnn").initialise(0.5 * EVERYTHING)


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda: MADEModel((1, 2, 3, 4)), "shape must be"),
        (lambda: MADEModel((6,), order="spiral"), "spiral"),
        (lambda: MADEModel((6,), likelihood="poisson"), "poisson"),
        (lambda: PixelCNNModel((6,)), "a PixelCNN needs the shape"),
        (lambda: PixelRNNModel((6,)), "a PixelRNN needs the shape"),
        (lambda: PixelVAE((6,)), "a PixelVAE needs the shape"),
        (lambda: PixelVAE((1, 2, 3), context=0), "context"),
        (lambda: TransformerModel((6,), width=10, heads=4), "heads must divide"),
        (lambda: WaveNetModel((6,), kernel=1), "kernel"),
        (lambda: AutoregressiveLikelihood(nn.Linear(2, 3), CausalLinear((9,))), "takes no context"),
    ],
)
def test_bad_arguments_are_refused(attempt, said):
    with pytest.raises(ConfigurationError, match=said):
        attempt()
