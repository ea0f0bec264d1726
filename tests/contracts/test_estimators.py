"""What every public estimator must hold, on models whose evidence and bounds are known in closed form."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import oracles
import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrogen import Pair, inference
from pyrogen.errors import NotPerDatum, PairError
from pyrogen.inference import (
    CUBO,
    ELBO,
    EUBO,
    IWAE,
    MALA,
    NUTS,
    AnnealedImportance,
    BlockEstimate,
    Enumeration,
    Estimator,
    Exact,
    ImportanceSampling,
    ParticleFilter,
    Renyi,
    TemperedSMC,
)
from pyrogen.inference.weights.chunks import Block
from pyrogen.models import GlobalGaussian

ALL = ("linear", "beta", "discrete")
CONTINUOUS = ("linear", "beta")
ROWS = {"sequences": 6}


@dataclass(frozen=True)
class Case:
    """An estimator, the oracles that it can do, and what its estimates come to, to within their errors."""

    estimator: Estimator
    on: tuple[str, ...]
    kind: str
    target: str | None = "evidence"
    """A function of `oracles`; None of a bound whose gap to the evidence has no closed form."""
    rows: int = 30
    options: dict = field(default_factory=dict)
    """How the oracle's guide is wrong, where the default would leave weights without a variance."""
    evaluations: int | None = None
    """For each datum, where the number is fixed."""
    trusted: bool = True
    """Whether its own diagnostics find no fault, of as few particles as a test takes."""


CASES = [
    Case(ELBO(draws=400), ALL, "lower", "elbo", evaluations=400),
    Case(ELBO(kl="sampled", draws=400), ALL, "lower", "elbo", evaluations=400),
    Case(IWAE(10, draws=50), ALL, "lower", None, evaluations=500),
    Case(Renyi(0.5, 10, draws=50), ALL, "lower", None, evaluations=500),
    Case(ImportanceSampling(2000), ALL, "consistent", evaluations=2000),
    Case(ImportanceSampling(500, smoothing=False), ALL, "lower", evaluations=500),
    Case(Exact(), (*ALL, "sequences"), "exact", evaluations=1),
    Case(Enumeration(), ("discrete",), "exact", evaluations=1),
    Case(CUBO(2.0, 20_000), ("linear",), "upper", "cubo", options={"scale": 1.25}, evaluations=20_000),
    Case(EUBO(2000), ALL, "upper", "eubo", evaluations=2000),
    Case(EUBO(by=ImportanceSampling(20_000, draws=2000)), ("linear", "beta"), "upper", "eubo", rows=5, evaluations=22_000),
    Case(AnnealedImportance(60), CONTINUOUS, "consistent"),
    Case(AnnealedImportance(30, initial="guide"), CONTINUOUS, "consistent"),
    Case(AnnealedImportance(60, schedule="adaptive"), CONTINUOUS, "consistent"),
    Case(AnnealedImportance(60, schedule="linear", transition=MALA()), CONTINUOUS, "consistent"),
    Case(
        AnnealedImportance(schedule=[0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.7, 1], chains=32),
        CONTINUOUS,
        "consistent",
        trusted=False,
    ),
    Case(TemperedSMC(64), CONTINUOUS, "consistent"),
    Case(TemperedSMC(32, initial="guide", transition=MALA(), moves=3), CONTINUOUS, "consistent"),
    Case(ParticleFilter(100, islands=50), ("sequences",), "consistent", trusted=False),
    Case(ParticleFilter(100, islands=50, proposal="prior"), ("sequences",), "consistent"),
    Case(NUTS(60, warmup=40, chains=2), ("linear",), "consistent", rows=2, trusted=False),
]
RUNS = [
    pytest.param(case, name, id=f"{case.estimator}-{number}-{name}") for number, case in enumerate(CASES) for name in case.on
]
FIRST = {type(case.estimator): case for case in reversed(CASES)}
EACH = pytest.mark.parametrize("case", FIRST.values(), ids=lambda case: type(case.estimator).__name__)


def made(case, name=None):
    name = name or case.on[0]
    return getattr(oracles, name)(ROWS.get(name, case.rows), **case.options)


def test_every_public_estimator_has_a_case():
    public = [value for value in vars(inference).values() if inspect.isclass(value) and issubclass(value, Estimator)]
    assert {kind for kind in public if not inspect.isabstract(kind)} == FIRST.keys()


@EACH
def test_makes_its_tensors_where_the_data_lie(case):
    """As under `torch.set_default_device("cuda")`; a tensor on the meta device raises when it meets another."""
    pair, x = made(case)
    with torch.device("meta"):
        found = case.estimator.estimate(pair, x[:4])
        assert all(bound.device.type == "cpu" for bound in found.interval())
    assert found.log_prob.device.type == "cpu"


@pytest.mark.parametrize(("case", "name"), RUNS)
def test_contract(case, name):
    """Shapes, errors and costs; the pair is left as it was; and the numbers are right to within their errors."""
    pair, x = made(case, name)
    pair.train()
    before = {key: value.clone() for key, value in pair.state_dict().items()}
    torch.manual_seed(0)
    found = case.estimator.estimate(pair, x)
    assert pair.training
    assert all(torch.equal(before[key], value) for key, value in pair.state_dict().items())
    assert all(parameter.grad is None for parameter in pair.parameters())
    rows = len(x)
    columns = [found.log_prob, found.standard_error, found.khat, found.ess, *found.diagnostics.values()]
    for column in columns:
        assert column is None or (column.shape, column.dtype, column.requires_grad) == ((rows,), torch.float64, False)
    assert (found.name, found.kind) == (case.estimator.name, case.kind)
    assert found.seconds > 0
    assert found.evaluations == case.evaluations * rows if case.evaluations else found.evaluations > found.particles * rows
    # Chains from the guide are held against particles without gradients.
    looked = 2000 * rows if getattr(case.estimator, "initial", None) == "guide" else 0
    assert found.gradients in (0, found.evaluations - looked) or isinstance(case.estimator, NUTS)
    assert (found.standard_error >= 0).all()
    assert (found.standard_error == 0).all() == (case.kind == "exact")
    low, high = found.interval(0.95)
    assert ((low <= found.log_prob) & (found.log_prob <= high)).all()
    if found.draws is not None:
        (latent,) = found.draws.latents.values() if name != "sequences" else [found.draws.latents["z_0"]]
        assert latent.shape[:2] == found.draws.log_likelihood.shape
        assert latent.shape[1] == rows
        assert len(latent) == getattr(case.estimator, "draws", found.particles) or isinstance(case.estimator, NUTS)
    evidence = oracles.evidence(pair, x)
    # The logarithm of an unbiased estimate lies below by half its variance; of a power of it, by as many times that.
    bias = found.standard_error.square() * (2 if case.target == "cubo" else 1)
    if case.target is not None:
        off = found.log_prob - getattr(oracles, case.target)(pair, x)
        assert (off < 5 * found.standard_error + 1e-9).all()
        assert (off > -5 * found.standard_error - bias - 1e-9).all()
        error = (found.standard_error.square().sum().sqrt() / rows).item()
        assert -5 * error - bias.mean() - 1e-9 < off.mean() < 5 * error + 1e-9
    if case.kind == "upper":
        assert (found.log_prob + 5 * found.standard_error > evidence).all()
    else:
        assert (found.log_prob - 5 * found.standard_error - 1e-9 < evidence).all()
    if case.trusted and name != "discrete":  # whose latents may leave too few distinct weights to tell k-hat
        assert not found.untrusted().any()
    assert found.khat is None or not (found.khat > 0.7).any()
    assert (found.diagnostics.get("acceptance", found.log_prob.new_ones(rows)) > 0.3).all()
    assert not any(found.diagnostics[name].any() for name in ("lost", "extinct") if name in found.diagnostics)


@EACH
def test_one_seed_gives_one_estimate_and_another_seed_another(case):
    pair, x = made(case)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(case.estimator.estimate(pair, x[:1]).log_prob)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2]) == (case.kind == "exact")


@EACH
def test_recorded_graphs_find_what_the_pair_finds(case):
    """By graphs, too, the numbers are right; the estimators that use none take the argument all the same."""
    pair, x = made(case)
    torch.manual_seed(0)
    found = case.estimator.estimate(pair, x[:3], compile="graph")
    torch.manual_seed(0)
    expected = case.estimator.estimate(pair, x[:3])
    if found.gradients:  # a rounding error may send a chain another way
        error = (found.standard_error.square() + expected.standard_error.square()).sqrt()
        assert ((found.log_prob - expected.log_prob).abs() < 5 * error).all()
    else:
        torch.testing.assert_close(found.log_prob, expected.log_prob, rtol=1e-9, atol=1e-9)


@EACH
def test_each_datum_keeps_its_place(case, monkeypatch):
    """Data far apart, each in a block of its own, and in reverse order."""
    pair, x = made(case)
    sized, made_of = Block.sized, []

    def one_by_one(whole, size, **options):
        made_of.append(sized(whole, 1, **options))
        return made_of[-1]

    monkeypatch.setattr(Block, "sized", one_by_one)
    x = x[:4]
    if case.on[0] != "discrete":
        x = x * torch.tensor([0.2, 2.0, 1.0, 1.5])[: len(x), None]
    for batch in (x, x.flip(0)):
        torch.manual_seed(0)
        found = case.estimator.estimate(pair, batch)
        target = getattr(oracles, case.target or "evidence")(pair, batch)
        bias = found.standard_error.square() * 2
        off = found.log_prob - target
        assert made_of[-1].blocks == len(batch)
        assert (off < 5 * found.standard_error + 1e-9).all()
        assert case.target is None or (off > -5 * found.standard_error - bias - 1e-9).all()


@EACH
def test_a_pair_without_an_evidence_of_each_datum_is_refused_before_any_work(case):
    """By name of the site; a closed form is the pair's own word, and taken as it is."""
    if isinstance(case.estimator, Exact):
        pytest.skip("the pair itself says what the evidence of a datum is")
    pair, x = GlobalGaussian((1,)), torch.zeros(4, 1)
    for refuse in (case.estimator.require, case.estimator.estimate):
        with pytest.raises(NotPerDatum, match="'mu'"):
            refuse(pair, x)


def test_estimates_of_a_wrong_shape_are_named():
    class Total(Estimator):
        name, kind = "total", "exact"

        def block(self, block):
            total = block.pair.log_evidence(block.batch).sum()
            return BlockEstimate(total, torch.zeros_like(total))

    with pytest.raises(PairError, match=r"total gives 'log_prob' of shape \(\) for 40 data"):
        Total().estimate(*oracles.linear())

    class Joint(Pair):
        def model(self, x):
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

        def guide(self, x):
            pass

        def log_evidence(self, x):
            return dist.Normal(0.0, 1.0).log_prob(x).sum()

    with pytest.raises(PairError, match="of shape"):
        Exact().estimate(Joint(), torch.zeros(3))
