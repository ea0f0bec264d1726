"""What a probe of a pair shows, and what it refuses."""

import itertools
import re
import warnings

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO
from pyro.infer import autoguide as auto
from torch import nn

from pyrogen.errors import NotPerDatum, PairError, PyrogenError
from pyrogen.inference import ELBO, ImportanceSampling, log_weights
from pyrogen.pair import Pair
from pyrogen.programs.source_lines import line_at

ROWS = 8
X = torch.randn(ROWS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
BITS = (X > 0).to(X.dtype)
SEEN = torch.arange(ROWS) % 3 > 0


def normal(loc, scale=1.0, events=1):
    return dist.Normal(torch.as_tensor(loc, dtype=X.dtype), scale).to_event(events)


def plate(x, name="data", **options):
    return pyro.plate(name, len(x), **options)


def wide(z):
    """(..., 2) to (..., 3)."""
    return torch.cat([z, z.sum(-1, keepdim=True)], -1)


def decode(x, likelihood=normal):
    z = pyro.sample("z", normal([0.0, 0.0]))
    pyro.sample("x", likelihood(wide(z)), obs=x)


def encode(x):
    pyro.sample("z", normal(x[..., :2], 0.5))


def vae(x):
    with plate(x):
        decode(x)


def vae_guide(x):
    with plate(x):
        encode(x)


def other_name(x):
    with plate(x, "rows"):
        decode(x)


def other_name_guide(x):
    with plate(x, "rows"):
        encode(x)


def downwards(x):
    with plate(x):
        top = pyro.sample("top", normal([0.0, 0.0]))
        low = pyro.sample("low", normal(top))
        pyro.sample("x", normal(wide(low)), obs=x)


def downwards_guide(x):
    with plate(x):
        top = pyro.sample("top", normal(x[..., :2]))
        pyro.sample("low", normal(top + x[..., :2]))


def upwards_guide(x):
    with plate(x):
        low = pyro.sample("low", normal(x[..., :2]))
        pyro.sample("top", normal(low))


def shared(x):
    mu = pyro.sample("mu", normal(torch.zeros(3)))
    with plate(x):
        z = pyro.sample("z", normal(mu))
        pyro.sample("x", normal(z), obs=x)


def shared_guide(x):
    mu = pyro.sample("mu", normal(torch.zeros(3)))
    with plate(x):
        pyro.sample("z", normal(x + mu))


def nested(x):
    with plate(x, dim=-2):
        level = pyro.sample("level", normal([[0.0]], events=0))
        with pyro.plate("pixels", 3, dim=-1):
            z = pyro.sample("z", dist.Poisson(level.exp()))
            pyro.sample("x", normal(z, events=0), obs=x)


def nested_guide(x):
    with plate(x, dim=-2):
        level = pyro.sample("level", normal(x.mean(-1, keepdim=True), events=0))
        with pyro.plate("pixels", 3, dim=-1):
            pyro.sample("z", dist.Poisson((x + level).exp()))


def pixels(x):
    with plate(x, dim=-1):
        z = pyro.sample("z", normal([0.0, 0.0]))
        with pyro.plate("pixels", 3, dim=-2):
            pyro.sample("x", dist.Bernoulli(logits=wide(z).movedim(-1, -2)), obs=x.T)


def subsampled(x):
    with plate(x, subsample_size=4) as rows:
        decode(x[rows])


def subsampled_guide(x):
    with plate(x, subsample_size=4) as rows:
        encode(x[rows])


def of_eighty(x, rows):
    with pyro.plate("data", 80, subsample=rows):
        decode(x)


def of_eighty_guide(x, rows):
    with pyro.plate("data", 80, subsample=rows):
        encode(x)


def sequential(x):
    for i in pyro.plate("data", len(x)):
        z = pyro.sample(f"z_{i}", normal(0.0, events=0))
        pyro.sample(f"x_{i}", normal(z.unsqueeze(-1).expand(*z.shape, 3)), obs=x[i])


def sequential_guide(x):
    for i in pyro.plate("data", len(x)):
        pyro.sample(f"z_{i}", normal(x[i].mean(), events=0))


def no_plate(x):
    z = pyro.sample("z", normal(torch.zeros(ROWS, 2), events=2))
    pyro.sample("x", normal(wide(z), events=2), obs=x)


def no_plate_guide(x):
    pyro.sample("z", normal(x[:, :2], events=2))


def scaled(scale, where="both"):
    def model(x):
        with plate(x), poutine.scale(scale=scale):
            decode(x)

    return model, (lambda x: poutine.scale(vae_guide, scale)(x)) if where == "both" else vae_guide


def factored(x):
    with plate(x):
        decode(x)
        pyro.factor("penalty", -x.square().sum(-1))
        pyro.deterministic("halved", x / 2, event_dim=1)


def factored_guide(x):
    with plate(x):
        pyro.deterministic("halved", x / 2, event_dim=1)
        encode(x)
        pyro.factor("correction", x.sum(-1), has_rsample=True)


def half_observed(x, seen):
    with plate(x):
        z = pyro.sample("z", normal([0.0, 0.0]))
        pyro.sample("x", normal(wide(z)), obs=x, obs_mask=seen)


def half_observed_guide(x, seen):
    with plate(x):
        encode(x)
        with poutine.mask(mask=~seen):
            pyro.sample("x_unobserved", normal(x))


def masked_guide(x):
    with plate(x), poutine.mask(mask=SEEN[: len(x)]):
        encode(x)


def discrete(x):
    with plate(x):
        z = pyro.sample("z", dist.Categorical(logits=x.new_zeros(4)))
        pyro.sample("x", normal(z.unsqueeze(-1).expand(*z.shape, 3)), obs=x)


def discrete_guide(x):
    with plate(x):
        aux = pyro.sample("aux", normal(x.mean(-1), events=0), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Categorical(logits=torch.stack([aux, -aux, aux, aux], -1)))


def guess(x):
    """A point mass on a discrete latent, which is a distribution like any other."""
    with plate(x):
        pyro.sample("z", dist.Delta(x.argmax(-1)))


def fully_visible(x):
    with plate(x):
        pyro.sample("x", normal(x.new_zeros(3)), obs=x)


PLAIN = {
    "latents": ("z",),
    "observed": ("x",),
    "local": {"z", "x"},
    "reparameterized": {"z"},
    "analytic": {"z"},
    "nesting": 1,
    "amortized": True,
    "subsampled": False,
    "objections": (),
    "joint_objections": (),
}
DEEP = PLAIN | {"latents": ("top", "low"), "local": {"top", "low", "x"}, "reparameterized": {"top", "low"}}
ONCE = "only a joint bound exists"
OTHER = "one of another density"
STRUCTURES = {
    "plain": (vae, vae_guide, X, {}),
    "other plate": (other_name, other_name_guide, X, {"data_plate": "rows"}),
    "wrong plate": (other_name, other_name_guide, X, {"local": set(), "objections": ("no vectorized plate named 'data'",)}),
    "tuple": (lambda x, y: vae(x), lambda x, y: vae_guide(x), (X, X), {}),
    "dict": (lambda y, x: vae(x), lambda x, y: vae_guide(x), {"x": X, "y": SEEN}, {}),
    "hierarchy": (downwards, downwards_guide, X, DEEP | {"analytic": {"top", "low"}}),
    "inverse": (downwards, upwards_guide, X, DEEP | {"latents": ("low", "top"), "analytic": set()}),
    "global": (
        shared,
        shared_guide,
        X,
        {
            "latents": ("mu", "z"),
            "reparameterized": {"mu", "z"},
            "analytic": {"mu", "z"},
            "objections": ("latent site 'mu' lies outside plate 'data'",),
        },
    ),
    "nested": (
        nested,
        nested_guide,
        X,
        {
            "latents": ("level", "z"),
            "local": {"level", "z", "x"},
            "reparameterized": {"level"},
            "analytic": {"level", "z"},
            "nesting": 2,
        },
    ),
    "pixels": (pixels, vae_guide, BITS, {"nesting": 2}),
    "subsampled": (subsampled, subsampled_guide, X, {"subsampled": True}),
    "of eighty": (
        of_eighty,
        of_eighty_guide,
        (X, torch.arange(ROWS)),
        {"subsampled": True, "objections": ("plate 'data' has size 80 where the batch has 8 rows",)},
    ),
    "sequential": (
        sequential,
        sequential_guide,
        X,
        {
            "latents": tuple(f"z_{i}" for i in range(ROWS)),
            "observed": tuple(f"x_{i}" for i in range(ROWS)),
            "local": set(),
            "reparameterized": {f"z_{i}" for i in range(ROWS)},
            "analytic": {f"z_{i}" for i in range(ROWS)},
            "nesting": 0,
            "objections": ("plate 'data' is sequential",),
        },
    ),
    "no plate": (
        no_plate,
        no_plate_guide,
        X,
        {"local": set(), "nesting": 0, "amortized": False, "objections": ("no vectorized plate named 'data'",)},
    ),
    "scaled": (*scaled(2.0), X, {"objections": (OTHER,) * 2, "joint_objections": ("'z' is scaled by 2 ", "'x' is scaled")}),
    "weighed": (
        *scaled(torch.linspace(1, 2, ROWS)),
        X,
        {"analytic": set(), "objections": (OTHER,) * 2, "joint_objections": (OTHER,) * 2},
    ),
    "factor": (
        factored,
        factored_guide,
        X,
        {
            "observed": ("x", "penalty"),
            "local": {"z", "x", "penalty", "correction"},
            "reparameterized": {"z", "correction"},
        },
    ),
    "half observed": (
        half_observed,
        half_observed_guide,
        (X, SEEN),
        {
            "latents": ("z", "x_unobserved"),
            "observed": ("x_observed",),
            "local": {"z", "x_observed", "x_unobserved"},
            "reparameterized": {"z", "x_unobserved"},
            "analytic": {"z", "x_unobserved"},
        },
    ),
    "one mask": (
        vae,
        masked_guide,
        X,
        {"objections": ("one mask",), "joint_objections": ("'z' has one mask",)},
    ),
    "discrete": (discrete, discrete_guide, X, {"local": {"z", "x", "aux"}, "reparameterized": {"aux"}}),
    "one guess": (
        discrete,
        guess,
        X,
        {"reparameterized": {"z"}, "analytic": set()},
    ),
    "visible": (fully_visible, None, X, {"latents": (), "local": {"x"}, "reparameterized": set(), "analytic": set()}),
    "per datum": (
        vae,
        auto.AutoNormal,
        X,
        {
            "local": {"z", "z_unconstrained", "x"},
            "reparameterized": {"z", "z_unconstrained"},
            "analytic": set(),
            "amortized": False,
        },
    ),
    "point": (
        vae,
        auto.AutoDelta,
        X,
        {
            "analytic": set(),
            "amortized": False,
            "objections": ("single value (Delta)",),
            "joint_objections": ("'z' a single",),
        },
    ),
}
every_structure = pytest.mark.parametrize(("model", "guide", "batch", "expected"), STRUCTURES.values(), ids=STRUCTURES)


def pair_of(model, guide, expected=None):
    if isinstance(guide, type):
        guide = guide(model)
    return Pair.of(model, guide, data_plate=(expected or {}).get("data_plate", "data"))


@every_structure
def test_a_structure_says_what_the_programs_show(model, guide, batch, expected):
    structure = pair_of(model, guide, expected).structure(batch)
    for name, value in (PLAIN | expected).items():
        if name == "data_plate":
            continue
        seen = getattr(structure, name)
        if name.endswith("objections"):
            assert len(seen) == len(value), seen
            assert all(fragment in line for fragment, line in zip(value, seen, strict=True)), seen
        else:
            assert seen == value, name
    assert structure.loop is None


@every_structure
def test_the_elbo_of_that_structure_is_stock_pyros(model, guide, batch, expected):
    pair = pair_of(model, guide, expected)
    structure = pair.structure(batch)
    torch.manual_seed(1)
    ours = ELBO(kl="sampled").loss(pair, batch)
    torch.manual_seed(1)
    args, kwargs = ((), batch) if isinstance(batch, dict) else (batch if isinstance(batch, tuple) else (batch,), {})
    with pair.scope(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Found non-auxiliary vars")  # a pyro.deterministic in the guide
        stock = Trace_ELBO().loss(model, pair.guide, *args, **kwargs)
    size = 80 if model is of_eighty else ROWS
    torch.testing.assert_close(ours * size, torch.tensor(stock, dtype=X.dtype), rtol=1e-10, atol=1e-10)
    if structure.objections:
        with pytest.raises(NotPerDatum, match=re.escape(structure.objections[0])):
            log_weights(pair, batch, 2)


def spread(x):
    """A decoder that takes the leading dimension for the data."""
    with plate(x):
        z = pyro.sample("z", normal([0.0, 0.0]))
        pyro.sample("x", normal(wide(z).view(len(z), 3)), obs=x)


def convolved(x):
    with plate(x):
        z = pyro.sample("z", normal([0.0, 0.0]))
        image = nn.functional.conv2d(z.view(-1, 1, 1, 2), z.new_ones(3, 1, 1, 2))
        pyro.sample("x", normal(image.flatten(1)), obs=x)


def centred(x):
    """A model that, for one particle, has nothing to average over."""
    with plate(x):
        z = pyro.sample("z", normal([0.0, 0.0]))
        particles = z.reshape(-1, len(x), 2)
        pyro.sample("x", normal(wide(z - particles.mean(0) + particles[0])), obs=x)


def centred_guide(x):
    with plate(x):
        z = pyro.sample("top", normal(x[:, :2]))
        particles = z.reshape(-1, len(x), 2)
        pyro.sample("low", normal(z - particles.mean(0) + particles[0]))


def collapsed_guide(x):
    with plate(x):
        pyro.sample("z", normal(x[:, :2], 1e-12))


LOOPS = {
    "view": (spread, vae_guide, r"3 particles do not run at once: RuntimeError: shape '\[3, 3\]' is invalid"),
    "convolution": (convolved, vae_guide, "3 particles do not run at once: ValueError: Shape mismatch inside plate"),
    "mean": (centred, vae_guide, "site 'x' has another log probability when several particles run at once"),
    "collapsed": (centred, collapsed_guide, "site 'x' has another log probability"),
    "guide": (downwards, centred_guide, "site 'low' has another log probability"),
}


@pytest.mark.parametrize(("model", "guide", "reason"), LOOPS.values(), ids=LOOPS)
def test_programs_for_one_particle_are_found_and_run_in_a_loop(model, guide, reason):
    pair = Pair.of(model, guide)
    assert re.search(reason, pair.structure(X).loop)
    torch.manual_seed(3)
    together = log_weights(pair, X, 3)
    torch.manual_seed(3)
    alone = torch.cat([log_weights(pair, X, 1) for _ in range(3)])
    assert torch.equal(together, alone)
    with pytest.raises(PairError, match="needs 2 particles at once"):
        ELBO(2).loss(pair, X)


def test_a_plate_of_the_data_in_a_closure_keeps_its_size():
    def model(x):
        with plate(X):
            decode(X)

    def guide(x):
        with plate(X):
            encode(X)

    pair = Pair.of(model, guide)
    structure = pair.structure(X)
    assert (structure.amortized, structure.loop, structure.rows) == (False, None, ROWS)
    assert ImportanceSampling(20).estimate(pair, X).log_prob.shape == (ROWS,)


def test_a_subsample_that_the_model_draws_is_one_for_all_runs_of_a_probe():
    """Two runs that happen to draw one row, and a third another, would pass for particles that do not run at once."""

    def model(x):
        mu = pyro.sample("mu", normal(x.new_zeros(x.shape[1])))
        with plate(x, subsample_size=1) as rows:
            pyro.sample("x", normal(mu), obs=x[rows])

    def guide(x):
        pyro.sample("mu", normal(x.new_zeros(x.shape[1])))

    for rows, columns in itertools.product(range(2, 7), range(1, 4)):
        assert Pair.of(model, guide).structure(X[:rows, :columns]).loop is None


def test_two_data_do_not_pass_for_two_particles():
    def model(x):
        with plate(x):
            z = pyro.sample("z", normal([0.0, 0.0]))
            pyro.sample("x", normal(wide(z)[: len(x)]), obs=x)

    assert Pair.of(model, vae_guide).structure(X[:2]).loop is not None


def test_a_structure_holds_for_batches_that_it_was_not_taken_from_only_where_it_may():
    fits_all, of_part = Pair.of(vae, vae_guide), Pair.of(subsampled, subsampled_guide)
    assert fits_all.structure(X) is fits_all.structure(X[:3])
    assert fits_all.structure(X) is not fits_all.structure(X.float())
    assert [of_part.structure(X[:rows]).subsampled for rows in (8, 4, 5)] == [True, False, True]
    one_by_one = Pair.of(sequential, sequential_guide)
    assert len(one_by_one.structure(X).latents) == ROWS
    assert len(one_by_one.structure(X[:3]).latents) == 3
    per_datum = Pair.of(vae, auto.AutoNormal(vae)).initialise(X[:1])
    for rows in (8, 2):
        with pytest.raises(PairError, match=f"plate 'data' has size 1 in the guide and {rows} in the model"):
            per_datum.structure(X[:rows])


def test_what_is_made_in_the_first_run_has_the_size_of_the_whole_batch():
    x = X.repeat(600, 1)

    def guide(x):
        loc = pyro.param("loc", lambda: torch.zeros(len(x), 2, dtype=x.dtype))
        with plate(x):
            pyro.sample("z", normal(loc))

    for pair in (Pair.of(vae, guide), Pair.of(vae, auto.AutoNormal(vae))):
        structure = pair.structure(x)
        assert {len(parameter) for parameter in pair.parameters()} == {len(x)}
        assert (structure.rows, structure.amortized) == (len(x), False)


class Regularized(Pair):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).to(X.dtype)
        self.net[1].eval()

    def model(self, x):
        vae(x)

    def guide(self, x):
        with plate(x):
            pyro.sample("z", normal(self.net(x)))


def test_a_probe_leaves_no_trace():
    pair = Regularized()
    state = {name: value.clone() for name, value in pair.state_dict().items()}
    modes, generator = [module.training for module in pair.modules()], torch.get_rng_state()
    validation = torch.distributions.Distribution._validate_args
    assert pair.structure(X).objections == ()
    assert [module.training for module in pair.modules()] == modes
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(state[name], value) for name, value in pair.state_dict().items())
    assert all(parameter.grad is None for parameter in pair.parameters())
    assert torch.distributions.Distribution._validate_args is validation
    nn.Dropout()(X)  # no hook is left behind


class AlwaysNoisy(nn.Dropout):
    def train(self, mode=True):
        return super().train(True)


def test_dropout_that_its_owner_keeps_on_is_left_on():
    noise = AlwaysNoisy(0.5)

    def guide(x):
        with plate(x):
            encode(noise(x))

    assert Pair.of(vae, guide).structure(X).objections == ()
    assert noise.training


def test_rounding_in_a_computed_latent_is_no_failure_to_run_at_once():
    def guide(x):
        with plate(x):
            noise = pyro.sample("aux", normal([0.0, 0.0]), infer={"is_auxiliary": True})
            # Another rounding for another number of elements, as matrix products have it on some processors.
            pyro.sample("z", dist.Delta(noise * (1 + 1e-14 * noise.numel()), event_dim=1))

    assert Pair.of(vae, guide).structure(X).loop is None


def test_faults_are_found_where_validation_is_off():
    with pyro.validation_enabled(False), pytest.raises(PairError, match="outside the support of the model's Gamma"):
        Pair.of(gamma_prior, negative_guide).structure(X)


def test_data_that_look_at_each_other_have_no_evidence_of_their_own():
    norm = nn.BatchNorm1d(2, track_running_stats=False).to(X.dtype)

    def model(x):
        with plate(x):
            z = pyro.sample("z", normal([0.0, 0.0]))
            pyro.sample("x", normal(wide(z), x.std(0)), obs=x)

    def guide(x):
        with plate(x):
            pyro.sample("z", normal(norm(x[:, :2])))

    for pair, site in ((Pair.of(model, vae_guide), "x"), (Pair.of(vae, guide), "z")):
        structure = pair.structure(X)
        assert structure.amortized
        with pytest.raises(NotPerDatum, match=f"'{site}' gives a datum another log probability when other data stand"):
            structure.require_per_datum("this")
        structure.require_joint("this")


@pytest.mark.parametrize("noise_in", ["model", "guide"])
def test_noise_that_is_no_site_is_not_held_against_a_pair(noise_in):
    def noisy(program):
        return lambda x: program(x + torch.randn_like(x))

    pair = Pair.of(*(noisy(p) if role == noise_in else p for role, p in (("model", vae), ("guide", vae_guide))))
    structure = pair.structure(X)
    assert (structure.loop, structure.objections, structure.amortized) == (None, (), True)


def hidden_dropout():
    nets = [[nn.Dropout(0.5)]]

    def model(x):
        with plate(x):
            z = pyro.sample("z", normal([0.0, 0.0]))
            pyro.sample("x", normal(nets[0][0](wide(z))), obs=x)

    return model


def with_likelihood(likelihood):
    def model(x):
        with plate(x):
            decode(x, likelihood)

    return model


def samples(*names, **options):
    """A guide, or model, of scalar standard normals."""

    def program(x):
        with plate(x):
            for name in names:
                pyro.sample(name, normal(0.0, events=0), **options)

    return program


def in_plate(size):
    def guide(x):
        with pyro.plate("data", size):
            pyro.sample("z", normal(torch.zeros(2)).expand([size]))

    return guide


def raising(error):
    def program(x):
        raise error

    return program


def outside(x):
    pyro.sample("z", normal(torch.zeros(2)))


def no_event(x):
    with plate(x):
        z = pyro.sample("z", normal([0.0, 0.0]))
    pyro.sample("x", normal(wide(z), events=1), obs=x)


def no_event_no_plate(x):
    pyro.sample("x", normal(torch.zeros(ROWS, 3)), obs=x)


def level_only(x):
    with plate(x, dim=-2):
        pyro.sample("level", normal([[0.0]], events=0))
        pyro.sample("z", dist.Poisson(x.new_ones(1, 1)))


def same_factor(x):
    with plate(x):
        encode(x)
        pyro.factor("penalty", x.sum(-1), has_rsample=True)


def factor_unsaid(x):
    with plate(x):
        encode(x)
        pyro.factor("f", x.sum(-1))


def gamma_prior(x):
    with plate(x):
        z = pyro.sample("z", dist.Gamma(x.new_ones(2), 1.0).to_event(1))
        pyro.sample("x", normal(wide(z)), obs=x)


def negative_guide(x):
    with plate(x):
        pyro.sample("z", normal([-9.0, -9.0], 0.1))


def computed(x):
    with plate(x):
        z = pyro.deterministic("z", x[:, :2], event_dim=1)
        pyro.sample("x", normal(wide(z)), obs=x)


GREY = BITS.clone()
GREY[2, 1] = 0.25
bits = with_likelihood(lambda z: dist.Bernoulli(logits=z).to_event(1))
positive = with_likelihood(lambda z: dist.LogNormal(z, 1.0).to_event(1))
interval = with_likelihood(lambda z: dist.Uniform(z - z - 1, 1.0).to_event(1))
simplex = with_likelihood(lambda z: dist.Dirichlet(z.exp()))
FAULTS = {
    "latent not guided": (
        vae,
        samples("aux", infer={"is_auxiliary": True}),
        X,
        r"site 'z' of the model is neither observed",
    ),
    "no guide": (vae, None, X, r"give the guide a pyro.sample\('z', ...\) statement, or observe it"),
    "guide site left over": (
        vae,
        lambda x: [vae_guide(x), pyro.sample("w", normal(0.0, events=0))],
        X,
        r"site 'w' of the guide is no site of the model \(its latents: 'z'\): rename it, or mark it with infer",
    ),
    "an empty plate in the guide": (
        vae,
        lambda x: [vae_guide(x), list(pyro.plate("rest", 5, subsample_size=2))],
        X,
        "plate 'rest' of the guide holds nothing, and the model has no such plate: take it out",
    ),
    "observed in the guide": (vae, vae, X, "site 'x' is observed in the guide: observe it in the model only"),
    "observed and guided": (fully_visible, samples("x"), X, "site 'x' is observed in the model, yet the guide samples it"),
    "computed and guided": (computed, vae_guide, X, r"site 'z' is computed \(pyro.deterministic\) in the model, yet"),
    "another plate": (
        vae,
        outside,
        X,
        "site 'z' is outside plate 'data' in the guide and at plate dimension -1 in the model",
    ),
    "another size": (
        vae,
        in_plate(5),
        X,
        "plate 'data' has size 5 in the guide and 8 in the model: give both the same size",
    ),
    "another event": (
        vae,
        samples("z"),
        X,
        r"site 'z' has batch shape \(8,\) and event shape \(\) in the guide, and \(8,\) and \(2,\) in the model: use",
    ),
    "another plate inside": (nested, level_only, X, r"site 'z' has batch shape \(8, 1\) and .* \(8, 3\) and .* same plates"),
    "no plate": (
        no_event_no_plate,
        None,
        X,
        r"site 'x': log_prob has shape \(8,\), more dimensions than plates.* .to_event",
    ),
    "factors of one name": (factored, same_factor, X, "'penalty' is observed in the model, yet the guide has a pyro.factor"),
    "batch dimension": (no_event, vae_guide, X, r"site 'x': (.|\n)*declare event dimensions with .to_event"),
    "grey data": (
        bits,
        vae_guide,
        6 * GREY,
        r"outside the support of Bernoulli \(Boolean\(\)\) at index \[\d, \d\]: (6|1.5). Binarize or rescale",
    ),
    "negative data": (
        positive,
        vae_guide,
        -BITS,
        r"outside the support of LogNormal \(GreaterThan.*\) at index \[0, 0\]: -",
    ),
    "beyond a bound": (interval, vae_guide, -2 * GREY, r"Uniform \(Interval\) at index \[1, 0\]: -2. Binarize or rescale"),
    "no simplex": (simplex, vae_guide, BITS, r"Dirichlet \(Simplex\(\)\) at index \[\d\]: \[[01.]+, [01.]+, [01.]+\]"),
    "not a number": (fully_visible, None, X / 0 * 0, r"outside the support of Normal \(Real\(\)\) at index \[0, 0\]: nan"),
    "masked": (poutine.mask(bits, mask=False), vae_guide, 6 * GREY, "A mask does not excuse it: fill in some value"),
    "nothing observed": (samples("z"), samples("z"), X, "the model observes nothing: give a pyro.sample statement obs="),
    "model raises": (raising(OSError("no disk")), None, X, "the model does not run on this batch: OSError: no disk"),
    "guide raises": (vae, raising(AssertionError()), X, "the guide does not run on this batch: AssertionError"),
    "one name for a parameter and a site": (
        lambda x: [pyro.param("z", torch.zeros(2)), vae(x)],
        vae_guide,
        X,
        "z is already in the trace as a param: give each site and parameter a name of its own",
    ),
    "one name for a site and a parameter": (
        vae,
        lambda x: [vae_guide(x), pyro.param("z", torch.zeros(2))],
        X,
        "z is already in the trace as a sample: give each site and parameter a name of its own",
    ),
    "wrong arguments": (vae, vae_guide, (X, X), "the guide does not run on this batch: TypeError: .* 1 positional"),
    "unsaid factor": (vae, factor_unsaid, X, r"pyro.factor\('f', ...\) in the guide must say .* has_rsample=True"),
    "other support": (
        gamma_prior,
        negative_guide,
        X,
        "site 'z': the guide draws a value outside .* Gamma .* the same",
    ),
    "hidden dropout": (hidden_dropout(), vae_guide, X, r"the pair runs a Dropout that it does not own, .* \(as a closure"),
    "empty": (vae, vae_guide, X[:0], "the batch is empty: it has 0 rows"),
    "other lengths": (vae, vae_guide, (X, X[:3]), r"disagree in their leading dimension: \[3, 8\]; each must have one row"),
    "scalar": (vae, vae_guide, {"x": X.sum()}, "holds a scalar tensor: every tensor of a batch has the data as its leading"),
    "array": (vae, vae_guide, X.numpy(), "a tensor or a tuple or dict of tensors, not ndarray: .* torch.as_tensor"),
    "numbers": (vae, vae_guide, [1.0, 2.0], "a tuple or dict of tensors, and this one holds none: list"),
}


@pytest.mark.parametrize(("model", "guide", "batch", "message"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_pair_is_refused_by_name(model, guide, batch, message):
    pair = Pair.of(model, guide)
    for _ in range(2):  # a fault stays a fault
        with pytest.raises(PyrogenError, match=message):
            pair.structure(batch)
    assert pair.training
    assert len(pyro.get_param_store()) == 0


def test_a_layer_that_the_pair_does_not_own_is_refused_at_the_line_that_calls_it():
    model = hidden_dropout()
    with pytest.raises(PyrogenError) as caught:
        Pair.of(model, vae_guide).structure(X)
    assert caught.value.line == line_at(__file__, model.__code__.co_firstlineno + 3)


def test_a_fault_shows_in_a_batch_that_is_like_an_earlier_one():
    pair = Pair.of(vae, vae_guide).initialise(X)
    with pytest.raises(PyrogenError, match="the batch is empty"):
        pair.structure(X[:0])
