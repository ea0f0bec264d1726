"""Masks of `poutine.mask` and of distributions (`.mask`) count as one: where the two sides differ, there is no bound."""

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch

from pyrogen.errors import NotPerDatum, PairError
from pyrogen.inference import ELBO, ImportanceSampling
from pyrogen.pair import Pair

ROWS = 6
X = torch.randn(ROWS, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
SEEN = torch.arange(ROWS) % 2 == 0
ALL = torch.ones(ROWS, dtype=torch.bool)


def normal(loc, scale=1.0):
    return dist.Normal(torch.as_tensor(loc, dtype=X.dtype), scale)


def odd(mask):
    return torch.arange(len(mask)) % 3 == 1


MASKED = {
    "by a handler": lambda fn, mask: (fn.to_event(1), mask),
    "on the distribution": lambda fn, mask: (fn.to_event(1).mask(mask), None),
    "under the event": lambda fn, mask: (fn.mask(mask[:, None]).to_event(1), None),
    "expanded": lambda fn, mask: (fn.mask(mask[:, None]).expand([len(mask), 2]).to_event(1), None),
    "twice": lambda fn, mask: (fn.to_event(1).mask(mask | odd(mask)).mask(mask | ~odd(mask)), None),
    "by both": lambda fn, mask: (fn.to_event(1).mask(mask | odd(mask)), mask | ~odd(mask)),
}


def sample(name, kind, loc, scale, mask, **options):
    fn, outer = MASKED[kind](normal(loc, scale).expand([len(mask), 2]), mask)
    with poutine.mask(mask=True if outer is None else outer):
        return pyro.sample(name, fn, **options)


def pair_of(*kinds):
    """Model and guide whose latents are masked, each in its own way; what is observed is masked as the model's latent is."""

    def model(x, mask, other):
        with pyro.plate("data", len(x)):
            z = sample("z", kinds[0], 0.0, 1.0, mask)
            with poutine.mask(mask=SEEN[: len(x)]):
                pyro.sample("x", normal(z).to_event(1), obs=x)

    def guide(x, mask, other):
        with pyro.plate("data", len(x)):
            sample("z", kinds[1], x / 2, 0.8, other)

    return Pair.of(model, guide)


@pytest.mark.parametrize("guide", MASKED)
@pytest.mark.parametrize("model", MASKED)
def test_the_evidence_of_what_is_masked_on_both_sides_is_exact(model, guide):
    exact = torch.where(SEEN, dist.Normal(0.0, 2**0.5).log_prob(X).sum(-1), 0.0)
    pair, batch = pair_of(model, guide), (X, SEEN, SEEN)
    torch.manual_seed(0)
    found = ImportanceSampling(20_000).estimate(pair, batch)
    assert ((found.log_prob - exact).abs() <= 5 * found.standard_error + 1e-12).all()
    bounds = [ELBO(kl=kl, draws=2000).estimate(pair, batch) for kl in (None, "sampled")]
    error = torch.stack([bound.standard_error for bound in bounds]).norm(dim=0)
    assert ((bounds[0].log_prob - bounds[1].log_prob).abs() <= 5 * error + 1e-12).all()


@pytest.mark.parametrize("kind", MASKED)
@pytest.mark.parametrize("side", ["model", "guide"])
def test_a_mask_on_one_side_is_refused(kind, side):
    masks = (SEEN, ALL) if side == "model" else (ALL, SEEN)
    with pytest.raises(PairError, match="latent 'z' has one mask in the model and another in the guide: use the same masks"):
        ImportanceSampling(10).estimate(pair_of(kind, kind), (X, *masks))


def test_masks_of_elements_and_of_data_are_told_apart():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal([0.0, 0.0]).mask(torch.tensor([True, False])).to_event(1))
            pyro.sample("x", normal(z).to_event(1), obs=x)

    def guide(x, mask):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(x / 2).mask(torch.tensor(mask)).to_event(1))

    fits = Pair.of(model, lambda x: guide(x, [True, False]))
    assert fits.structure(X).objections == ()
    with pytest.raises(NotPerDatum, match="one mask in the model"):
        Pair.of(model, lambda x: guide(x, [False, True])).structure(X).require_per_datum("this")


@pytest.mark.parametrize("latent", [lambda fn: fn.to_event(1).mask(False), lambda fn: fn.mask(False).to_event(1)])
def test_the_mask_false_has_a_divergence_of_zero(latent):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", latent(normal([0.0, 0.0])))
            pyro.sample("x", normal(z).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", latent(normal([1.0, 0.0], 0.5)))

    pair, losses = Pair.of(model, guide), []
    for kl in (None, "sampled"):
        torch.manual_seed(0)
        losses.append(ELBO(kl=kl).loss(pair, X))
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("mask", [SEEN[:, None], SEEN[:3], torch.ones(2, ROWS, dtype=torch.bool)])
def test_a_mask_of_another_shape_is_named(mask):
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", normal([0.0, 0.0]).to_event(1))
            with poutine.mask(mask=mask):
                pyro.sample("x", normal(z).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", normal(x / 2).to_event(1))

    with pytest.raises(PairError, match=r"site 'x'.* mask of shape \(\d.*\) lies over log_prob of shape \(6,\)"):
        Pair.of(model, guide).structure(X)
