"""Latents that Pyro enumerates are drawn anew in every run, and no verdict depends on what is drawn."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate

from pyrogen import Pair, check
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.inference import ELBO, Enumeration, ParticleFilter, PyroLoss, compare, fit, joint_evidence

TRANSITION = torch.tensor([[0.2, 0.8], [0.1, 0.9]])
ONES = torch.tensor([0.3, 0.7])
WEIGHTS = torch.tensor([0.4, 0.6])


def chain(x):
    with pyro.plate("data", len(x)):
        k = 0
        for t in pyro.markov(range(3)):
            k = pyro.sample(f"k{t}", dist.Categorical(TRANSITION[k]))
            pyro.sample(f"x{t}", dist.Bernoulli(ONES[k]), obs=x[:, t])


def mixture(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(WEIGHTS))
        pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[k], 1.0), obs=x[:, 0])


def chain_evidence(x):
    """The forward recursion."""
    alpha = TRANSITION[0].expand(len(x), 2)
    for t in range(3):
        alpha = alpha if t == 0 else alpha @ TRANSITION
        alpha = alpha * torch.where(x[:, t : t + 1] > 0, ONES, 1 - ONES)
    return alpha.sum(-1).log()


def mixture_evidence(x):
    return (WEIGHTS * dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).log_prob(x[:, :1]).exp()).sum(-1).log()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("model", "evidence"), [(chain, chain_evidence), (mixture, mixture_evidence)])
def test_no_finding_and_the_exact_evidence_whatever_the_seed(model, evidence, seed):
    torch.manual_seed(seed)
    x = (torch.rand(16, 3) < 0.5).float()
    pair = Pair.of(config_enumerate(model), lambda x: None)
    assert [f for f in check(pair, x, ignore=["PG6"]).findings if f.severity in ("error", "warning")] == []
    found = Enumeration().estimate(Pair.of(config_enumerate(model), lambda x: None), x)
    torch.testing.assert_close(found.log_prob, evidence(x).double(), rtol=1e-6, atol=1e-6)


def test_a_particle_filter_takes_such_a_chain():
    torch.manual_seed(0)
    x = (torch.rand(16, 3) < 0.5).float()
    found = ParticleFilter(500).estimate(Pair.of(config_enumerate(chain), lambda x: None), x)
    assert ((found.log_prob - chain_evidence(x)).abs() <= 5 * found.standard_error + 1e-6).all()


def test_a_change_of_one_datum_is_still_seen_beside_them():
    def mixing(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(WEIGHTS))
            pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[k] + x.mean(), 1.0), obs=x[:, 0])

    torch.manual_seed(0)
    assert "PG111" in check(Pair.of(config_enumerate(mixing), lambda x: None), torch.randn(16, 3)).codes()


@pytest.mark.parametrize("column", [torch.zeros(8), torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0]), torch.arange(8) % 2.0])
def test_an_observed_column_that_hardly_changes_is_observed(column):
    def model(x, y):
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Bernoulli(logits=x.sum(-1)), obs=y)

    assert "PG125" not in check(Pair.of(model), (torch.randn(8, 3), column)).codes()


def classes(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(x.new_ones(3)))
        pyro.sample("x", dist.Normal(torch.arange(3.0).reshape(k.shape), 1.0), obs=x)  # all values of k, and no draw of it


class ClassesByEncoder(Pair):
    def __init__(self):
        super().__init__()
        self.scores = torch.nn.Linear(1, 3)

    def model(self, x):
        classes(x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=self.scores(x[:, None])), infer={"enumerate": "parallel"})


@pytest.mark.parametrize("compile", [False, "graph"])
def test_programs_that_run_only_enumerated_are_trained_so(compile):
    torch.manual_seed(0)
    x = torch.randint(3, (60,)) + 0.1 * torch.randn(60)
    pair, elbo = ClassesByEncoder(), TraceEnum_ELBO(max_plate_nesting=1)
    expected = elbo.differentiable_loss(pair.model, pair.guide, x) / len(x)
    pyro.clear_param_store()
    assert torch.isclose(PyroLoss(elbo).loss(pair, x), expected)
    fit(pair, x, objective=PyroLoss(elbo), steps=300, lr=0.1, progress=False, compile=compile)
    terms = dist.Normal(torch.arange(3.0), 1.0).log_prob(x[:, None]) - torch.tensor(3.0).log()  # (data, values of k)
    assert PyroLoss(elbo).loss(pair, x) < expected - 0.1
    assert PyroLoss(elbo).loss(pair, x) > -terms.logsumexp(-1).mean() - 1e-5


@pytest.mark.parametrize(
    "use",
    [
        lambda pair, x: ELBO().loss(pair, x),
        lambda pair, x: fit(pair, x, steps=1, progress=False),
        lambda pair, x: compare(pair, x, [ELBO()]),
        lambda pair, x: joint_evidence(pair, x),
    ],
)
def test_their_other_uses_are_refused_by_name(use):
    words = r"run only where Pyro enumerates .* PyroLoss\(TraceEnum_ELBO\(max_plate_nesting=1\)\)"
    with pytest.raises(NotPerDatum, match=words):
        use(ClassesByEncoder(), torch.randn(8))


def test_latents_that_follow_from_enumerated_ones_are_described():
    """Pyro's own test of enumeration in the model: no two sites have one shape."""

    def model(x):
        a = pyro.sample("a", dist.Bernoulli(0.25))
        b = pyro.sample("b", dist.Bernoulli(0.25 + a / 2), infer={"enumerate": "parallel"})
        c = pyro.sample("c", dist.Bernoulli(0.25 + b / 2))
        pyro.sample("x", dist.Bernoulli(0.25 + c / 2), obs=x[0])
        assert b.shape == (2, 1)

    def guide(x):
        a = pyro.sample("a", dist.Bernoulli(0.25), infer={"enumerate": "parallel"})
        pyro.sample("c", dist.Bernoulli(0.25 + a / 2))

    structure = Pair.of(model, guide).structure(torch.zeros(4))
    assert structure.latents == ("a", "c")
    assert "PG132" in [objection.code for objection in structure.objections]


class ClassesAndLevel(ClassesByEncoder):
    """A latent that all data share, and a second plate that the values of k do not reach."""

    def model(self, x):
        pyro.sample("level", dist.Normal(0.0, 1.0))
        classes(x)
        with pyro.plate("rest", 2, dim=-2), pyro.plate("of data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.stack([x, x]))

    def guide(self, x):
        pyro.sample("level", dist.Normal(0.0, 1.0))
        super().guide(x)


def test_check_says_so_in_notes():
    for pair, codes in ((ClassesByEncoder(), {"PG132"}), (ClassesAndLevel(), {"PG114", "PG132"})):
        report = check(pair, torch.randn(8))
        assert report.codes() == codes
        assert not [reason for reason in report.skipped.values() if "could not run" in reason]


def test_all_plates_are_counted_for_the_enumeration():
    structure = ClassesAndLevel().structure(torch.randn(8))
    assert structure.nesting == 2
    assert "max_plate_nesting=2" in structure.joint_objections[0]


def test_other_faults_beside_enumerated_sites_keep_their_names():
    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(x.new_ones(3)), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    with pytest.raises(PairError, match="site 'x' is observed in the guide"):
        Pair.of(classes, guide).structure(torch.randn(8))
