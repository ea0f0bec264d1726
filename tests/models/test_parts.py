"""Parts by name: what the registries make of names, classes and objects; priors and encoders against exact answers."""

from __future__ import annotations

import copy
import math
from functools import partial

import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from pyrogen.errors import ConfigurationError
from pyrogen.inference import ELBO, fit
from pyrogen.models import (
    ENCODERS,
    LIKELIHOODS,
    PRIORS,
    VAE,
    Encoder,
    FullRankEncoder,
    GaussianEncoder,
    GaussianLikelihood,
    LinearGaussianVAE,
    MixturePrior,
    Part,
    elementwise,
    positive,
)
from pyrogen.registry import Registry

EVENT, LATENT = 5, 3


class Vamp(Part):
    """The average of the encoder's posteriors of inputs that it learns."""

    def __init__(self, encoder: Part, shape: tuple[int, ...], inputs: int = 4):
        super().__init__()
        self.share(encoder=encoder)
        self.inputs = nn.Parameter(torch.rand(inputs, math.prod(shape)))

    def forward(self, *context):
        weights = dist.Categorical(logits=self.inputs.new_zeros(len(self.inputs)))
        return dist.MixtureSameFamily(weights, self.encoder(self.inputs))


def raw_of(scale):
    """What `positive` maps to a scale."""
    return torch.expm1(scale - 1e-4).log()


@pytest.fixture
def oracle():
    torch.manual_seed(1)
    pair = LinearGaussianVAE((EVENT,), LATENT, guide="full").double()
    with torch.no_grad():
        pair.bias.normal_()
        pair.log_noise.fill_(math.log(0.5))  # in double precision
    pair.set_exact_guide()
    return pair, torch.randn(7, EVENT, dtype=torch.float64)


def exact_encoder(pair):
    """A full-rank encoder that is the posterior of a linear Gaussian model."""
    encoder = FullRankEncoder(lambda outputs: nn.Linear(EVENT, outputs), LATENT).double()
    scale_tril = pair.posterior(torch.zeros(1, EVENT, dtype=torch.float64)).scale_tril[0]
    rows, columns = torch.tril_indices(LATENT, LATENT, -1)
    with torch.no_grad():
        encoder.net.weight.zero_()
        encoder.net.weight[:LATENT] = pair.encoder.weight
        encoder.net.bias.copy_(torch.cat([pair.encoder.bias, raw_of(scale_tril.diagonal()), scale_tril[rows, columns]]))
    return encoder


def test_a_full_rank_encoder_can_be_the_exact_posterior(oracle):
    pair, x = oracle
    q, posterior = exact_encoder(pair)(x), pair.posterior(x)
    torch.testing.assert_close(q.mean, posterior.mean, rtol=0, atol=1e-10)
    torch.testing.assert_close(q.covariance_matrix, posterior.covariance_matrix, rtol=0, atol=1e-10)


def test_the_elbo_of_an_exact_posterior_is_the_evidence(oracle):
    pair, x = oracle
    likelihood = GaussianLikelihood(nn.Linear(LATENT, EVENT), scale=0.5).double()
    with torch.no_grad():
        likelihood.net.weight.copy_(pair.weight)
        likelihood.net.bias.copy_(pair.bias)
    vae = VAE((EVENT,), LATENT, encoder=exact_encoder(pair), likelihood=likelihood).double()
    estimate = ELBO(kl="sampled", draws=5).estimate(vae, x)
    assert (estimate.log_prob - pair.log_evidence(x)).abs().max() < 1e-9
    assert estimate.standard_error.max() < 1e-9
    assert vae.structure(x).analytic == {"z"}
    analytic = ELBO(draws=4000).estimate(vae, x)
    assert ((analytic.log_prob - pair.log_evidence(x)).abs() <= 5 * analytic.standard_error).all()


def test_the_divergence_of_a_full_rank_encoder_is_that_of_gaussians():
    torch.manual_seed(2)
    q = FullRankEncoder(nn.Linear(EVENT, 9), LATENT).double()(torch.randn(7, EVENT, dtype=torch.float64))
    loc, scale = torch.randn(LATENT, dtype=torch.float64), torch.rand(LATENT, dtype=torch.float64) + 0.5
    found = kl_divergence(q, elementwise(dist.Normal(loc, scale)))
    expected = kl_divergence(q, dist.MultivariateNormal(loc, scale_tril=scale.diag()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    with pytest.raises(NotImplementedError):
        kl_divergence(q, elementwise(dist.Laplace(loc, scale)))


def test_a_mixture_prior_is_the_sum_of_its_components():
    torch.manual_seed(3)
    prior = MixturePrior(LATENT, components=4).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_()
    z = torch.randn(6, LATENT, dtype=torch.float64)
    each = torch.distributions.Normal(prior.locs, positive(prior.raw_scales)).log_prob(z.unsqueeze(1)).sum(-1)
    expected = (prior.logits.log_softmax(0) + each).logsumexp(-1)
    torch.testing.assert_close(prior().log_prob(z), expected, rtol=0, atol=1e-12)
    assert torch.allclose(positive(MixturePrior(2).raw_scales), torch.tensor(1.0), atol=1e-3)


def test_a_part_that_shares_another_is_saved_trained_and_copied_with_it():
    torch.manual_seed(4)
    pair = VAE((EVENT,), LATENT, (6,), prior=partial(Vamp, inputs=3))
    assert pair.prior.encoder is pair.encoder
    names = [name for name in pair.state_dict() if name.startswith("prior")]
    assert names == ["prior.inputs"]
    copied = copy.deepcopy(pair)
    assert copied.prior.encoder is copied.encoder
    assert copied.encoder is not pair.encoder
    before, x = pair.encoder.net[0].weight.clone(), torch.rand(8, EVENT).round()
    fit(pair, x, steps=3, device="cpu", progress=False)
    assert not torch.equal(pair.encoder.net[0].weight, before)
    z = torch.randn(5, LATENT)
    assert not torch.equal(copied.prior().log_prob(z), pair.prior().log_prob(z))
    copied.load_state_dict(pair.state_dict())
    assert torch.equal(copied.prior().log_prob(z), pair.prior().log_prob(z))


@pytest.mark.parametrize("latent", [1, 2, 6])
@pytest.mark.parametrize("architecture", ["mlp", "conv"])
@pytest.mark.parametrize("name", ENCODERS)
def test_the_network_has_as_many_outputs_as_the_encoder_needs(name, architecture, latent):
    vae = VAE((1, 4, 4), latent, (5,), architecture=architecture, channels=(3,), encoder=name)
    q = vae.encoder(torch.rand(3, 7, 16))
    assert (q.batch_shape, q.event_shape) == ((3, 7), (latent,))


def test_options_reach_a_part_in_every_form():
    assert VAE((4,), prior="mixture:3").prior.logits.shape == (3,)
    assert VAE((4,), prior="pyrogen.models.MixturePrior:components=3").prior.locs.shape == (3, 20)
    assert VAE((4,), prior=MixturePrior).prior.locs.shape == (10, 20)
    assert VAE((4,), likelihood="gaussian:each").likelihood.net[-1].out_features == 8
    assert VAE((4,), 2, likelihood="categorical:values=3").likelihood.net[-1].out_features == 12
    encoder = GaussianEncoder(nn.Linear(4, 6), 3)
    assert VAE((4,), 3, encoder=encoder).encoder is encoder
    assert VAE((4,), 3, encoder=lambda net, latent: GaussianEncoder(net, latent)).encoder.net[-1].out_features == 6


@pytest.fixture
def own():
    return Registry("prior", Part, dict(PRIORS))


def test_a_class_is_registered(own):
    @own.register("wide")
    class Wide(Part):
        def __init__(self, latent: int, scale: float = 2.0):
            super().__init__()
            self.latent, self.scale = latent, scale

        def forward(self, *context):
            return elementwise(dist.Normal(torch.zeros(self.latent), self.scale))

    assert list(own) == [*PRIORS, "wide"]
    assert own["wide"] is Wide
    assert own.make("wide:scale=3", latent=2, shape=(4,)).scale == 3.0


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        (lambda own: own.make("mxture", latent=2), "no prior is called 'mxture': did you mean 'mixture'"),
        (lambda own: own.make("xyz", latent=2), "there are standard-normal, mixture"),
        (lambda own: own.make("mixture:latent=3", latent=2), "has no argument 'latent'"),
        (lambda own: own.make("mixture:0", latent=2), "components must be a positive integer"),
        (lambda own: own.make("mixture:1:2", latent=2), "too many values: MixturePrior takes components"),
        (lambda own: own.make("torch.nn.ELU", latent=2), "torch.nn.ELU is no prior"),
        (lambda own: own.make(nn.ELU(), latent=2), "a prior cannot be a ELU"),
        (lambda own: own.register("mixture")(MixturePrior), "taken"),
        (lambda own: own.register("my.prior")(MixturePrior), "a dot or a colon"),
        (lambda own: own.register("elu")(nn.ELU), "is no prior"),
        (lambda own: LIKELIHOODS.make("gaussian:wide", net=nn.Linear(2, 2)), "scale"),
    ],
)
def test_bad_parts_are_refused(own, attempt, said):
    with pytest.raises(ConfigurationError, match=said):
        attempt(own)


def test_an_encoder_without_a_head_is_none():
    assert issubclass(FullRankEncoder, Encoder)
    with pytest.raises(TypeError, match="head"):
        Encoder(nn.Linear(2, 2), 1, outputs=2)
