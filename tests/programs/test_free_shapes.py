"""Distributions that leave open how long their values are, or what they sum to, as Pyro documents them."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import check
from pyrogen.errors import PairError
from pyrogen.inference import ELBO, IWAE, fit
from pyrogen.pair import Pair

TRANSITION = torch.tensor([[0.5, -0.5, 0.0], [0.1, 0.3, -0.2], [0.0, 0.0, 1.0]])
OBSERVED = torch.tensor([[0.0, 1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]])


def normal(size):
    return dist.Normal(torch.zeros(size), 1.0).to_event(1)


CHAINS = {
    "discrete": (
        lambda: dist.DiscreteHMM(torch.zeros(3), TRANSITION, dist.Categorical(logits=OBSERVED)),
        torch.randint(4, (6, 10), generator=torch.Generator().manual_seed(0)),
    ),
    "Gaussian": (
        lambda: dist.GaussianHMM(normal(2), torch.eye(2), normal(2), torch.eye(2)[:, :1], normal(1)),
        torch.randn(6, 10, 1, generator=torch.Generator().manual_seed(0)),
    ),
}


@pytest.mark.parametrize(("build", "x"), CHAINS.values(), ids=CHAINS)
def test_a_chain_takes_data_of_any_length(build, x):
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", build(), obs=x)

    assert check(Pair.of(model), x, ignore=["PG3", "PG6"]).findings == ()
    torch.testing.assert_close(
        ELBO().estimate(Pair.of(model), x).log_prob, build().log_prob(x).double(), rtol=1e-6, atol=1e-6
    )


def test_its_other_dimensions_are_compared():
    def model(x):
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.DiscreteHMM(torch.zeros(3), TRANSITION, normal((3, 2))), obs=x)

    assert "PG303" in check(Pair.of(model), torch.randn(6, 10, 1)).codes()
    assert "PG303" not in check(Pair.of(model), torch.randn(6, 10, 2)).codes()


def counts(validate, total=1):
    def model(c):
        logits = pyro.param("logits", torch.tensor([0.0, 0.5, 1.0]))
        with pyro.plate("data", len(c)):
            pyro.sample("c", dist.Multinomial(total, logits=logits, validate_args=validate), obs=c)

    return Pair.of(model)


COUNTS = torch.tensor([[6.0, 4.0, 5.0], [0.0, 1.0, 3.0]])


def test_counts_without_their_total():
    pair = counts(False)
    expected = torch.stack(
        [dist.Multinomial(int(c.sum()), logits=torch.tensor([0.0, 0.5, 1.0])).log_prob(c) for c in COUNTS]
    )
    torch.testing.assert_close(ELBO().estimate(pair, COUNTS).log_prob, expected.double(), rtol=1e-6, atol=1e-6)
    assert fit(pair, COUNTS, steps=2, progress=False).history[-1]["loss"] > 0


@pytest.mark.parametrize(("validate", "value"), [(None, COUNTS), (False, COUNTS - 1), (False, COUNTS + 0.5)])
def test_what_is_no_count_is_refused(validate, value):
    with pytest.raises(PairError, match=r"outside the support of Multinomial|to satisfy the constraint|Expected value"):
        counts(validate).structure(value)


def test_sites_of_one_element_need_no_plate():
    """As older Pyro code has them; the guide is the posterior, so that every draw's log weight is the evidence."""
    rows = 5

    def model(x):
        mean = pyro.sample("mean", dist.Normal(torch.zeros(1), torch.ones(1)))
        for row in range(rows):
            pyro.sample(f"x_{row}", dist.Normal(mean, 1.0), obs=x[row])

    def guide(x):
        pyro.sample("mean", dist.Normal(x.sum(0, keepdim=True) / (rows + 1), torch.full((1,), (rows + 1) ** -0.5)))

    x = torch.arange(float(rows))
    evidence = dist.MultivariateNormal(torch.zeros(rows), torch.eye(rows) + 1).log_prob(x)
    for objective in (ELBO(kl="sampled"), ELBO(3, kl="sampled"), IWAE(4)):
        torch.testing.assert_close(-rows * objective.loss(Pair.of(model, guide), x), evidence)
