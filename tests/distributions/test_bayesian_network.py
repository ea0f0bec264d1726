"""Bayesian networks against sums over all their values, and against Pearl's alarm."""

from __future__ import annotations

from itertools import combinations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from scipy import stats
from torch import nn

from pyrogen.distributions.bayesian_network import BayesianNetwork
from pyrogen.distributions.bayesian_variable import Variable
from pyrogen.errors import ConfigurationError, DataError


def table(*shape, seed=0):
    return 2 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tables():
    """A diamond with a tail, children listed before their parents."""
    return BayesianNetwork(
        [
            Variable("d", table(3, 2, 2, seed=1), parents=["c", "b"]),
            Variable("a", table(2, seed=2)),
            Variable("b", table(2, 2, seed=3), parents=["a"]),
            Variable("c", table(2, 3, seed=4), parents=["a"]),
            Variable("e", table(2, 4, seed=5), parents=["d"]),
        ]
    )


def batched():
    """Tables with batch shapes (2, 1), (3,) and none."""
    return BayesianNetwork(
        [
            Variable("a", table(2, 1, 2, seed=1)),
            Variable("b", table(3, 2, 3, seed=2), parents=["a"]),
            Variable("c", table(3, 2, 2, seed=3), parents=["b", "a"]),
        ]
    )


def networks():
    """Networks as conditionals, one table among them, and a variable without parents given by a function."""
    torch.manual_seed(6)
    return BayesianNetwork(
        [
            Variable("a", lambda values: torch.tensor([0.3, -0.4, 0.1]).double().expand(*values.shape[:-1], 3), states=3),
            Variable("b", nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 2)).double(), ["a"], states=2),
            Variable("c", table(2, 2, seed=7), parents=["b"]),
            Variable("d", nn.Linear(3, 3).double(), ["a", "c", "b"], states=3),
        ]
    )


ALL = {"tables": tables, "batched": batched, "networks": networks}


@pytest.fixture(params=ALL)
def network(request):
    return ALL[request.param]()


def test_masses_add_up_to_one(network):
    values = network.enumerate_support()
    assert values.shape == (torch.Size(network.states).numel(), *network.batch_shape, len(network.names))
    assert len(set(map(tuple, values.flatten(1).tolist()))) == len(values)
    assert (network.log_prob(values).exp().sum(0) - 1).abs().max() < 1e-12


def test_log_prob_is_the_product_of_the_conditionals():
    network = tables()
    value = torch.tensor([1, 0, 1, 2, 3])  # d a b c e
    given = {name: v.conditional.log_softmax(-1) for name, v in zip("dabce", variables_of_tables(), strict=True)}
    expected = given["a"][0] + given["b"][0, 1] + given["c"][0, 2] + given["d"][2, 1, 1] + given["e"][1, 3]
    assert abs(network.log_prob(value) - expected) < 1e-12


def variables_of_tables():
    return [
        Variable("d", table(3, 2, 2, seed=1)),
        Variable("a", table(2, seed=2)),
        Variable("b", table(2, 2, seed=3)),
        Variable("c", table(2, 3, seed=4)),
        Variable("e", table(2, 4, seed=5)),
    ]


def summed(network, asked, given):
    """Joint probability of what is asked and given by adding up the masses of all values, (..., states of each)."""
    values = network.enumerate_support()  # (values, ..., variables)
    masses = network.log_prob(values).exp()
    for name, state in given.items():
        masses = masses * (values[..., network.names.index(name)] == state)
    states = [network.states[network.names.index(name)] for name in asked]
    total = torch.zeros(*network.batch_shape, *states, dtype=masses.dtype)
    for index in torch.cartesian_prod(*map(torch.arange, states)).reshape(-1, len(states)).tolist():
        here = masses
        for name, state in zip(asked, index, strict=True):
            here = here * (values[..., network.names.index(name)] == state)
        total[(..., *index)] = here.sum(0)
    return total


def test_marginals_are_sums_over_all_values(network):
    names = network.names
    questions = [((a,), {}) for a in names]
    questions += [((b, a), {}) for a, b in combinations(names, 2)]
    questions += [((a,), {b: 1}) for a in names for b in names if a != b]
    questions += [((a,), {b: 0, c: 1}) for a in names for b, c in combinations(names, 2) if a not in (b, c)]
    for asked, given in questions:
        joint = summed(network, asked, given)
        evidence = joint.sum(tuple(range(-len(asked), 0)), keepdim=True)
        found = network.marginal(*asked, given=given)
        assert found.shape == joint.shape
        assert torch.allclose(found, joint / evidence, rtol=0, atol=1e-12), (asked, given)
        if given:
            expected = evidence.log().reshape(network.batch_shape)
            assert torch.allclose(network.log_evidence(given), expected, rtol=0, atol=1e-12), given


def test_evidence_may_differ_by_datum():
    network = batched()
    states = torch.tensor([[0], [1]])  # broadcasts with the batch (2, 3)
    other = torch.tensor([2, 0, 1])
    found = network.marginal("a", given={"c": states, "b": other})
    for i in range(2):
        for j in range(3):
            alone = network.marginal("a", given={"c": i, "b": int(other[j])})[i, j]
            assert torch.allclose(found[i, j], alone, rtol=0, atol=1e-14)
    wide = tables().marginal("a", given={"e": torch.tensor([0, 3, 1])})  # a network without batch takes that of evidence
    assert torch.allclose(wide[1], tables().marginal("a", given={"e": 3}), rtol=0, atol=1e-14)


def test_pearls_alarm():
    """Russell and Norvig, Artificial Intelligence, section on inference in Bayesian networks: 0.284 and 0.716."""
    network = BayesianNetwork(
        [
            Variable("burglary", torch.tensor([0.999, 0.001]).log()),
            Variable("earthquake", torch.tensor([0.998, 0.002]).log()),
            Variable(
                "alarm",
                torch.tensor([[[0.999, 0.001], [0.71, 0.29]], [[0.06, 0.94], [0.05, 0.95]]]).log(),
                parents=["burglary", "earthquake"],
            ),
            Variable("John calls", torch.tensor([[0.95, 0.05], [0.10, 0.90]]).log(), parents=["alarm"]),
            Variable("Mary calls", torch.tensor([[0.99, 0.01], [0.30, 0.70]]).log(), parents=["alarm"]),
        ]
    )
    posterior = network.marginal("burglary", given={"John calls": 1, "Mary calls": 1})
    assert abs(posterior[1] - 0.2842) < 5e-5


def test_samples_follow_the_density(network):
    torch.manual_seed(8)
    draws, values = 20_000, network.enumerate_support()
    sample = network.sample((draws,))
    assert sample.shape == (draws, *network.batch_shape, len(network.names))
    assert network.support.check(sample).all()
    masses = network.log_prob(values).exp().reshape(len(values), -1)  # (values, batch)
    places = torch.tensor([torch.Size(network.states[i + 1 :]).numel() for i in range(len(network.states))])
    number = (sample * places).sum(-1).reshape(draws, -1)  # the row of each draw in the list of all values
    for column in range(masses.shape[1]):
        counts = torch.bincount(number[:, column], minlength=len(masses)).double()
        expected = draws * masses[:, column]
        rare = expected < 5
        pooled = torch.cat([counts[~rare], counts[rare].sum()[None]])
        hoped = torch.cat([expected[~rare], expected[rare].sum()[None]])
        keep = hoped > 0
        statistic = ((pooled - hoped)[keep].square() / hoped[keep]).sum().item()
        assert stats.chi2.sf(statistic, int(keep.sum()) - 1) > 1e-6


def test_expansion_keeps_the_density(network):
    torch.manual_seed(9)
    wide = network.expand((4, *network.batch_shape))
    draws = wide.sample((2,))
    assert draws.shape == (2, *wide.batch_shape, len(network.names))
    assert torch.equal(wide.log_prob(draws), network.log_prob(draws))
    assert torch.allclose(wide.marginal("a")[3], network.marginal("a"), rtol=0, atol=0)
    assert wide.enumerate_support().shape[1:] == (*wide.batch_shape, len(network.names))


def test_floats_are_state_numbers_too(network):
    torch.manual_seed(10)
    draws = network.sample((5,))
    assert torch.equal(network.log_prob(draws.double()), network.log_prob(draws))


def test_an_unobserved_network_is_enumerated_in_a_plate():
    """Pyro's enumeration of all values gives the exact evidence of what hangs on it."""
    network = tables()
    loc = table(len(network.names), seed=11)
    x = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)

    def model():
        with pyro.plate("data", len(x)):
            value = pyro.sample("value", network, infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal((value * loc).sum(-1), 1.0), obs=x)

    def guide():
        pass

    found = -TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide)
    values = network.enumerate_support()
    likelihood = dist.Normal((values * loc).sum(-1)[:, None], 1.0).log_prob(x)
    exact = (network.log_prob(values)[:, None] + likelihood).logsumexp(0).sum()
    assert abs(found - exact.item()) < 1e-10


def test_answers_have_the_gradients_of_their_sums():
    tensors = [table(2, seed=1).requires_grad_(), table(2, 3, seed=2).requires_grad_()]

    def evidence(a, b):
        network = BayesianNetwork([Variable("a", a), Variable("b", b, ["a"])], validate_args=False)
        return network.log_evidence({"b": 2}), network.marginal("a", given={"b": 1}), network.log_prob(torch.tensor([1, 0]))

    assert torch.autograd.gradcheck(evidence, tensors)


def test_what_does_not_matter_is_not_enumerated():
    """A chain of 60 variables has 2^60 values, and its third variable depends on two of them."""
    chain = [Variable("0", table(2))]
    chain += [Variable(str(i), table(2, 2, seed=i), parents=[str(i - 1)]) for i in range(1, 60)]
    network = BayesianNetwork(chain)
    short = BayesianNetwork(chain[:3])
    assert torch.equal(network.marginal("2"), short.marginal("2"))
    assert network.marginal("59", given={str(i): 0 for i in range(5, 58)}).shape == (2,)
    for ask in (lambda: network.marginal("59"), network.enumerate_support, lambda: network.log_evidence({"40": 1})):
        with pytest.raises(ConfigurationError, match="joint states"):
            ask()


def test_nothing_is_read_from_the_device():
    network = BayesianNetwork(
        [Variable("a", torch.zeros(2, device="meta")), Variable("b", nn.Linear(1, 3, device="meta"), ["a"], states=3)],
        validate_args=False,
    )
    assert network.log_prob(torch.zeros(5, 2, device="meta")).shape == (5,)
    assert network.log_prob(torch.zeros(5, 2, device="meta")).device.type == "meta"
    assert network.marginal("a", given={"b": 1}).device.type == "meta"
    assert network.sample((4,)).device.type == "meta"


A = Variable("a", torch.zeros(2))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BayesianNetwork([]), "at least one variable"),
        (lambda: BayesianNetwork([A, A]), "each name once"),
        (lambda: BayesianNetwork([A, Variable("b", torch.zeros(2, 2), ["c"])]), "no such variable"),
        (lambda: BayesianNetwork([A, Variable("b", torch.zeros(2, 2), "a")]), "list of names"),
        (lambda: BayesianNetwork([A, Variable("b", torch.zeros(2, 2, 2), ["a", "a"])]), "each once"),
        (lambda: BayesianNetwork([Variable("b", torch.zeros(2, 2), ["b"])]), "circle"),
        (
            lambda: BayesianNetwork([A, Variable("b", torch.zeros(2, 2), ["c"]), Variable("c", torch.zeros(2, 2), ["b"])]),
            "b, c go round in a circle",
        ),
        (lambda: BayesianNetwork([A, Variable("b", torch.zeros(3, 2), ["a"])]), r"\(\.\.\., 2, 2\)"),
        (lambda: BayesianNetwork([A, Variable("b", torch.zeros(2), ["a"])]), "one axis for each parent"),
        (lambda: BayesianNetwork([Variable("b", torch.zeros(2), states=3)]), "of which there are 3"),
        (lambda: BayesianNetwork([Variable("b", torch.zeros(()))]), "last axis"),
        (lambda: BayesianNetwork([Variable("b", nn.Linear(1, 2), ["a"]), A]), "states of 'b'"),
        (lambda: BayesianNetwork([Variable("a", torch.zeros(2, 2)), Variable("b", torch.zeros(3, 2))]), "broadcast"),
        (lambda: tables().marginal("f"), "no variable 'f'"),
        (lambda: tables().marginal("a", "a"), "each once"),
        (lambda: tables().marginal(), "ask for"),
        (lambda: tables().marginal("a", given={"a": 1}), "not given"),
        (lambda: tables().log_evidence({"f": 1}), "no variable 'f'"),
        (
            lambda: BayesianNetwork([A, Variable("b", nn.Linear(1, 2), ["a"], states=3)]).log_prob(torch.tensor([0, 0])),
            "network of 'b' must give 3",
        ),
    ],
)
def test_what_is_no_network_is_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda n: n.log_prob(torch.tensor([2, 0])), ValueError),
        (lambda n: n.log_prob(torch.tensor([0, -1])), ValueError),
        (lambda n: n.log_prob(torch.tensor([0.5, 0.0])), ValueError),
        (lambda n: n.log_prob(torch.tensor([torch.nan, 0.0])), ValueError),
        (lambda n: n.log_prob(torch.tensor([0, 0, 0])), ValueError),
        (lambda n: n.marginal("a", given={"b": 2}), DataError),
        (lambda n: n.marginal("a", given={"b": torch.tensor([0, -1])}), DataError),
        (lambda n: n.marginal("a", given={"b": 0.5}), DataError),
        (lambda n: n.marginal("a", given={"b": 1}), DataError),  # impossible
    ],
)
def test_values_that_do_not_exist_are_refused(ask, error):
    network = BayesianNetwork([A, Variable("b", torch.tensor([[1.0, 0.0], [1.0, 0.0]]).log(), ["a"])], validate_args=True)
    with pytest.raises(error):
        ask(network)


def test_impossible_evidence_has_no_mass():
    network = BayesianNetwork([A, Variable("b", torch.tensor([[1.0, 0.0], [1.0, 0.0]]).log(), ["a"])])
    assert network.log_evidence({"b": 1}) == -torch.inf
