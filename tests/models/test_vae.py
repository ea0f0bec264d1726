"""The VAE and its parts: what they compute, what they swap, what they refuse."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrogen.errors import ConfigurationError, PairError
from pyrogen.inference import ELBO
from pyrogen.models import (
    LIKELIHOODS,
    VAE,
    BernoulliLikelihood,
    CategoricalLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianEncoder,
    GaussianLikelihood,
    Part,
    StandardNormal,
    elementwise,
    make_likelihood,
    positive,
)
from pyrogen.nets import MLP

EVENT = 6
DATA = {
    "binary": torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0, 1.0]] * 4),
    "8-bit": torch.tensor([[0.0, 3.0, 128.0, 254.0, 255.0, 77.0]] * 4) / 255,
    "in the unit interval": torch.tensor([[0.0, 0.1, 0.5, 0.71234, 0.9999, 1.0]] * 4),
    "real": torch.tensor([[-3.0, 0.1, 0.5, 0.7, 2.0, 1e6]] * 4),
}
ACCEPTED = {
    "bernoulli": {"binary"},
    "continuous-bernoulli": {"binary", "8-bit", "in the unit interval"},
    "gaussian": set(DATA),
    "categorical": {"binary", "8-bit"},
    "discretized-logistic": {"binary", "8-bit"},
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_likelihood_takes_its_own_kind_of_data_and_refuses_others(name, kind):
    torch.manual_seed(1)
    vae = VAE((EVENT,), latent=2, hidden=(), likelihood=name)
    if kind in ACCEPTED[name]:
        assert poutine.trace(vae.model).get_trace(DATA[kind]).log_prob_sum().isfinite()
        return
    with pytest.raises(PairError, match="support"):
        ELBO(draws=2).estimate(vae, DATA[kind])


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_the_mean_picture_is_the_mean_of_the_draws(name):
    torch.manual_seed(2)
    likelihood = make_likelihood(name, lambda outputs: nn.Linear(2, outputs * EVENT)).double()
    z = torch.randn(3, 2, dtype=torch.float64)
    draws = likelihood(z).sample((20_000,))
    error = draws.std(0) / 20_000**0.5
    assert likelihood.mean(z).shape == (3, EVENT)
    assert ((draws.mean(0) - likelihood.mean(z)).abs() <= 5 * error).all()


def test_positive_is_positive_finite_and_of_bounded_log_derivative():
    raw = torch.tensor([-1e30, -200.0, -20.0, 0.0, 20.0, 200.0, 1e30], requires_grad=True)
    scale = positive(raw)
    assert (scale > 0).all()
    assert scale.isfinite().all()
    (slope,) = torch.autograd.grad(scale.log().sum(), raw)
    assert (slope >= 0).all()
    assert (slope <= 1).all()


def test_an_encoder_gives_location_then_scale():
    net = nn.Linear(1, 4)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([1.0, 2.0, -1.0, 3.0]))
    q = GaussianEncoder(net, 2)(torch.zeros(5, 7, 1))
    assert q.batch_shape == (5, 7)
    assert torch.equal(q.mean[0, 0], torch.tensor([1.0, 2.0]))
    assert torch.allclose(q.variance[0, 0], positive(torch.tensor([-1.0, 3.0])).square())


def test_a_categorical_likelihood_reads_its_logits_value_by_value():
    net = nn.Linear(1, 6)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))  # of two elements, three values each
    p = CategoricalLikelihood(net, values=3)(torch.zeros(1))
    of_first = torch.tensor([0.0, 2.0, 4.0]).log_softmax(0)
    of_second = torch.tensor([1.0, 3.0, 5.0]).log_softmax(0)
    assert torch.allclose(p.log_prob(torch.tensor([0.5, 1.0])), of_first[1] + of_second[2])


def test_scales_are_fixed_shared_or_each_elements_own():
    z = torch.randn(3, 2)
    fixed = GaussianLikelihood(nn.Linear(2, EVENT), scale=0.3)
    assert torch.allclose(fixed(z).variance, torch.tensor(0.09))
    assert len(list(fixed.parameters())) == 2
    shared = GaussianLikelihood(nn.Linear(2, EVENT))
    assert torch.allclose(shared(z).variance.sqrt(), torch.tensor(0.25), atol=1e-3)
    assert len(list(shared.parameters())) == 3
    each = GaussianLikelihood(nn.Linear(2, 2 * EVENT), scale="each")
    loc, raw = each.net(z).chunk(2, -1)
    assert torch.equal(each(z).mean, loc)
    assert torch.allclose(each(z).variance.sqrt(), positive(raw))


def test_a_discretized_logistic_likelihood_has_the_bins_it_is_given():
    p = DiscretizedLogisticLikelihood(nn.Linear(2, 1), bins=4)(torch.zeros(1, 2))
    values = torch.arange(4.0).reshape(4, 1, 1) / 3
    assert torch.allclose(p.log_prob(values).exp().sum(), torch.tensor(1.0))


class FixedPrior(Part):
    def forward(self, *context):
        return elementwise(dist.Normal(torch.full((2,), 5.0), 0.1))


def test_parts_are_swapped_as_objects():
    torch.manual_seed(3)
    likelihood = BernoulliLikelihood(nn.Linear(2, EVENT))
    encoder = GaussianEncoder(MLP(EVENT, (3,), 4), 2)
    prior = FixedPrior()
    vae = VAE((EVENT,), latent=2, prior=prior, encoder=encoder, likelihood=likelihood)
    assert (vae.prior, vae.encoder, vae.likelihood) == (prior, encoder, likelihood)
    assert sum(p.numel() for p in vae.parameters()) == sum(
        p.numel() for part in (likelihood, encoder) for p in part.parameters()
    )
    z = poutine.trace(vae.model).get_trace(DATA["binary"]).nodes["z"]["value"]
    assert (z - 5).abs().max() < 1


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_decoder_mirrors_encoder(architecture):
    vae = VAE((1, 8, 8), latent=3, hidden=(10, 7), architecture=architecture)
    encoder = [m for m in vae.encoder.modules() if isinstance(m, nn.Linear)]
    decoder = [m for m in vae.likelihood.modules() if isinstance(m, nn.Linear)]
    widths = [m.in_features for m in encoder[1:]]
    assert widths == [10, 7]
    assert [m.out_features for m in decoder[:-1]] == widths[::-1]


@pytest.mark.parametrize("architecture", ["mlp", "conv"])
def test_the_activation_is_everywhere(architecture):
    vae = VAE((1, 8, 8), latent=3, hidden=(10, 7), architecture=architecture, activation="elu")
    kinds = {type(m) for m in vae.modules() if type(m).__module__.endswith("activation")}
    assert kinds == {nn.ELU}


def test_the_log_weight_is_what_it_is_by_hand():
    """Kingma and Welling's formula with nothing of Pyro in it."""
    torch.manual_seed(4)
    vae, x = VAE((EVENT,), latent=2, hidden=(5,)).double(), DATA["binary"].double()
    guide = poutine.trace(vae.guide).get_trace(x)
    model = poutine.trace(poutine.replay(vae.model, trace=guide)).get_trace(x)
    z = guide.nodes["z"]["value"]
    loc, raw = vae.encoder.net(x).chunk(2, -1)
    by_hand = (
        torch.distributions.Normal(0, 1).log_prob(z).sum()
        - torch.distributions.Normal(loc, positive(raw)).log_prob(z).sum()
        - nn.functional.binary_cross_entropy_with_logits(vae.likelihood.net(z), x, reduction="sum")
    )
    assert torch.allclose(model.log_prob_sum() - guide.log_prob_sum(), by_hand, rtol=0, atol=1e-10)


def test_pictures_are_generated_and_reconstructed():
    torch.manual_seed(5)
    vae, x = VAE((EVENT,), latent=2, hidden=(5,)), DATA["binary"]
    assert vae.generate(7).shape == (7, EVENT)
    assert not vae.generate(7).requires_grad
    expected = torch.sigmoid(vae.likelihood.net(vae.encoder.net(x)[:, :2]))
    assert torch.allclose(vae.reconstruct(x), expected)


def test_the_output_bias_starts_from_the_mean():
    torch.manual_seed(6)
    vae = VAE((EVENT,), latent=2, hidden=(5,))
    mean = torch.tensor([0.0, 0.1, 0.5, 0.7, 0.9, 1.0])
    vae.set_output_bias(mean)
    assert torch.allclose(torch.sigmoid(vae.likelihood.net[-1].bias), mean.clamp(1e-3, 1 - 1e-3), atol=1e-6)
    for other in (VAE((EVENT,), 2, (5,), likelihood="gaussian"), VAE((1, 2, 3), 2, (), architecture="conv")):
        with pytest.raises(ConfigurationError, match="output bias"):
            other.set_output_bias(mean)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VAE((0, 3)), "shape"),
        (lambda: VAE(9), "shape"),
        (lambda: VAE((9,), latent=0), "latent"),
        (lambda: VAE((9,), hidden=(3, -1)), "hidden"),
        (lambda: VAE((9,), likelihood="poisson"), "poisson"),
        (lambda: VAE((9,), architecture="resnet"), "resnet"),
        (lambda: VAE((9,), architecture="conv"), "channels, height, width"),
        (lambda: VAE((1, 3, 3), architecture="conv", channels=()), "channels"),
        (lambda: VAE((9,), activation="nope"), "nope"),
        (lambda: StandardNormal(0), "latent"),
        (lambda: GaussianEncoder(nn.Linear(2, 2), 0), "latent"),
        (lambda: GaussianLikelihood(nn.Linear(2, 2), scale=-1.0), "scale"),
        (lambda: GaussianLikelihood(nn.Linear(2, 2), scale=True), "scale"),
        (lambda: GaussianLikelihood(nn.Linear(2, 2), scale="own"), "scale"),
        (lambda: DiscretizedLogisticLikelihood(nn.Linear(2, 2), bins=1), "bins"),
        (lambda: CategoricalLikelihood(nn.Linear(2, 2), values=1), "values"),
        (lambda: make_likelihood("normal", lambda outputs: nn.Linear(2, outputs)), "normal"),
    ],
)
def test_bad_arguments_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()
