"""Rules without a detector: `Pair.structure` refuses their faults or keeps them as objections, and that is all.

The faults and their words are in `pyrogen.programs.faults`; here are the examples.
"""

from __future__ import annotations

from pyrogen.programs import faults

from ..examples import RIGHT, changed
from ..rule import Rule

__all__ = ["TABLE"]

_PRIOR = '        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))\n'
_LIKELIHOOD = '        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)\n'
_POSTERIOR = '        pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(1))\n'
_PLATE = '    with pyro.plate("data", len(x)):\n'

_FACTOR = changed(RIGHT, (_POSTERIOR, _POSTERIOR + '        pyro.factor("regularizer", -x.pow(2).sum(-1))\n'))
_MASK = "        with poutine.mask(mask=x[:, 0] > 0):\n"
_SCALE = "        with poutine.scale(scale=0.1):\n"
_MASKED = changed(RIGHT, (_PRIOR, _MASK + "    " + _PRIOR))
_SAME_NAME = changed(
    RIGHT, (_LIKELIHOOD, _LIKELIHOOD + '        pyro.sample("x", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])\n')
)
_BERNOULLI = changed(RIGHT, ("dist.Normal(decoder(z), 1.0)", "dist.Bernoulli(logits=decoder(z))"))
_SUBSAMPLED = RIGHT.replace("len(x))", "len(x), subsample_size=4)")
_UNOWNED = """\
class registry(dict):
    networks = {"encoder": nn.Sequential(nn.Linear(3, 2), nn.Dropout())}
    def __getitem__(self, name):
        return self.networks[name]

"""
_STATE = """\
state = Pair.of(model, guide).initialise(batch).state_dict()
state["pyro_params.scale"] = state.pop("pyro_params.width")
pair.load_state_dict(state)
"""
_LOADED = (
    changed(
        RIGHT,
        (
            _PLATE + _POSTERIOR,
            _PLATE
            + '        width = pyro.param("width", torch.ones(2), constraint=constraints.positive)\n'
            + _POSTERIOR.replace("0.5", "width"),
        ),
    )
    + _STATE
)
_SAMPLER = """\
class Generator(Pair):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 3)

    def draw(self, count):
        with pyro.plate("data", count, dim=-1):
            z = pyro.sample("z", dist.Normal(self.net.weight.new_zeros(2), 1.0).to_event(1))
        return self.net(z)

pair, batch = Generator(), torch.randn(8, 3)
"""
_CLASSES = """\
def model(x):
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(x.new_ones(3)))
        pyro.sample("x", dist.Normal(torch.arange(3.0).reshape(k.shape), 1.0), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("k", dist.Categorical(logits=scores(x[:, None])), infer={"enumerate": "parallel"})

scores = nn.Linear(1, 3)
pair, batch = Pair.of(model, guide), torch.randn(8)
"""
_IMAGE = """\
def model(x):
    with pyro.plate("data", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0))
        with pyro.plate("pixels", 4, subsample_size=2, dim=-1) as chosen:
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, chosen])

def guide(x):
    with pyro.plate("data", len(x), dim=-2):
        pyro.sample("z", dist.Normal(x.mean(-1, keepdim=True), 0.5))

pair, batch = Pair.of(model, guide), torch.randn(8, 4)
"""
_ONE_DIMENSION = """\
def model(x):
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
        with pyro.plate("pixels", 4, dim=-1):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

def guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x.mean(-1), 0.5))

pair, batch = Pair.of(model, guide), torch.randn(8, 4)
"""
_LOOP = """\
def model(x):
    for i in pyro.plate("data", len(x)):
        z = pyro.sample(f"z_{i}", dist.Normal(x.new_zeros(()), 1.0))
        pyro.sample(f"x_{i}", dist.Normal(z, 1.0), obs=x[i])

def guide(x):
    for i in pyro.plate("data", len(x)):
        pyro.sample(f"z_{i}", dist.Normal(x[i] / 2, 0.7))

pair, batch = Pair.of(model, guide), torch.randn(8)
"""
_RATE = """\
def model(x):
    with pyro.plate("data", len(x)):
        rate = pyro.sample("rate", dist.Gamma(x.new_ones(()), 1.0))
        pyro.sample("x", dist.Poisson(rate), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        pyro.sample("rate", dist.Normal(x, 1.0))

pair, batch = Pair.of(model, guide), torch.arange(8.0)
"""
_NO_PLATE = """\
def model(x):
    z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(2))
    pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(2), obs=x)

def guide(x):
    pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(2))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

# (the fault, the pair with it, the pair without it)
_STRUCTURE: tuple[tuple[faults.Fault, str, str], ...] = (
    (faults.PROGRAM_FAILS, changed(RIGHT, ("nn.Linear(3, 2)", "nn.Linear(4, 2)")), RIGHT),
    (faults.LATENT_WITHOUT_GUIDE, changed(RIGHT, (", obs=x", "")), RIGHT),
    (
        faults.GUIDE_SITE_WITHOUT_MODEL,
        changed(RIGHT, (_POSTERIOR, _POSTERIOR + '        pyro.sample("z_scale", dist.Gamma(x.new_ones(()), 1.0))\n')),
        RIGHT,
    ),
    (faults.NOTHING_OBSERVED, changed(RIGHT, (_LIKELIHOOD, "        decoder(z)\n")), RIGHT),
    (
        faults.OBSERVED_IN_GUIDE,
        changed(RIGHT, (_POSTERIOR, _POSTERIOR + '        pyro.sample("x", dist.Normal(x, 1.0).to_event(1))\n')),
        RIGHT,
    ),
    (
        faults.PLATES_DIFFER,
        changed(
            RIGHT,
            (
                _PLATE + _POSTERIOR,
                '    pyro.sample("z", dist.Normal(encoder(x), 0.5).to_event(2))\n',
            ),
        ),
        RIGHT,
    ),
    (faults.NAME_TWICE, _SAME_NAME, changed(_SAME_NAME, ('"x", dist.Normal(z[', '"x_0", dist.Normal(z['))),
    (faults.NO_DATA_PLATE, _NO_PLATE, RIGHT),
    (faults.PLATE_SIZE, RIGHT.replace("len(x)", "600"), RIGHT),
    (faults.UNDECLARED_DIMENSION, changed(RIGHT, ("decoder(z), 1.0).to_event(1)", "decoder(z), 1.0)")), RIGHT),
    (faults.SHAPES_DIFFER, changed(RIGHT, ("x.new_zeros(2)", "x.new_zeros(1)")), RIGHT),
    (
        faults.SEQUENTIAL_PLATE,
        _LOOP,
        changed(
            _LOOP.replace("for i in pyro.plate", "with pyro.plate").replace("_{i}", "").replace('f"', '"'),
            ("obs=x[i]", "obs=x"),
            ("x[i] / 2", "x / 2"),
        ),
    ),
    (
        faults.GLOBAL_SITE,
        changed(
            RIGHT,
            ("def model(x):\n", 'def model(x):\n    shift = pyro.sample("shift", dist.Normal(x.new_zeros(()), 1.0))\n'),
            ("decoder(z)", "decoder(z) + shift"),
            ("def guide(x):\n", 'def guide(x):\n    pyro.sample("shift", dist.Normal(x.mean(), 1.0))\n'),
        ),
        RIGHT,
    ),
    (faults.FACTOR_WITHOUT_KIND, _FACTOR, changed(_FACTOR, (".sum(-1))", ".sum(-1), has_rsample=True)"))),
    (
        faults.SCALED_SITE,
        changed(
            RIGHT,
            (_PRIOR, _SCALE + "    " + _PRIOR),
            (_POSTERIOR, _SCALE + "    " + _POSTERIOR),
        ),
        RIGHT,
    ),
    (faults.OTHER_PLATE_SUBSAMPLED, _IMAGE, changed(_IMAGE, ("4, subsample_size=2, dim", "4, dim"))),
    (faults.MASKS_DIFFER, _MASKED, changed(_MASKED, (_POSTERIOR, _MASK + "    " + _POSTERIOR))),
    (faults.POINT_MASS, changed(RIGHT, ("dist.Normal(encoder(x), 0.5)", "dist.Delta(encoder(x))")), RIGHT),
    (
        faults.UNOWNED_NETWORK,
        changed(
            RIGHT,
            ("encoder(x)", 'registry()["encoder"](x)'),
            ("encoder, decoder = nn.Linear(3, 2), ", _UNOWNED + "decoder = "),
        ),
        changed(RIGHT, ("nn.Linear(3, 2),", "nn.Sequential(nn.Linear(3, 2), nn.Dropout()),")),
    ),
    (faults.LOADED_STATE, _LOADED, changed(_LOADED, (_STATE.splitlines(keepends=True)[1], ""))),
    (faults.PLATE_DIMENSION, _ONE_DIMENSION, changed(_ONE_DIMENSION, ("4, dim=-1", "4, dim=-2"))),
    (faults.SCALED_UP_BATCH, RIGHT.replace("len(x)", "600, len(x)"), RIGHT),
    (faults.NO_DENSITY, _SAMPLER, RIGHT),
    (faults.ENUMERATED_ONLY, _CLASSES, changed(_CLASSES, ("torch.arange(3.0).reshape(k.shape)", "k.float()"))),
)
_SUPPORT = (
    (faults.DRAW_OUTSIDE_SUPPORT, _RATE, changed(_RATE, ("dist.Normal(x, 1.0)", "dist.Gamma(x + 1.0, 2.0)"))),
    (
        faults.DATUM_OUTSIDE_SUPPORT,
        _BERNOULLI,
        changed(_BERNOULLI, ("torch.randn(8, 3)", "torch.rand(8, 3).round()")),
    ),
)
_VECTORIZATION = (
    (
        faults.OBSERVED_SHAPE,
        changed(_SUBSAMPLED, ("encoder(x)", "encoder(x[:4])")),
        changed(_SUBSAMPLED.replace("=4):", "=4) as rows:"), ("obs=x", "obs=x[rows]"), ("encoder(x)", "encoder(x[rows])")),
    ),
)

TABLE: tuple[Rule, ...] = tuple(
    Rule(fault, bad, fixed, cheap=fault.severity != "note")
    for fault, bad, fixed in (*_STRUCTURE, *_SUPPORT, *_VECTORIZATION)
)
"""One rule for each row."""
