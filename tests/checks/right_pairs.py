"""Right pairs of many kinds, as source: `check` must leave them alone, and the mutation test puts its faults into them."""

from __future__ import annotations

VAE = """
class VAE(Pair):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
        self.decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 6))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.encoder(x).chunk(2, -1)
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))

pair, batch = VAE(), torch.rand(12, 6).round()
"""

FUNCTIONS = """
encoder, decoder = nn.Linear(5, 2), nn.Linear(2, 5)

def model(x):
    pyro.module("decoder", decoder)
    scale = pyro.param("scale", torch.ones(5), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), scale).to_event(1), obs=x)

def guide(x):
    pyro.module("encoder", encoder)
    width = pyro.param("width", torch.ones(2), constraint=constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(encoder(x), width).to_event(1))

pair, batch = Pair.of(model, guide), torch.randn(10, 5)
"""

HIERARCHICAL = """
class Ladder(Pair):
    def __init__(self):
        super().__init__()
        self.up, self.top, self.down, self.out = nn.Linear(5, 3), nn.Linear(3, 2), nn.Linear(2, 3), nn.Linear(3, 5)

    def model(self, x):
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            low = pyro.sample("low", dist.Normal(self.down(top), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.out(low), 0.5).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Normal(self.up(x), 0.5).to_event(1))
            pyro.sample("top", dist.Normal(self.top(low), 0.5).to_event(1))

pair, batch = Ladder(), torch.randn(9, 5)
"""

DISCRETE = """
class Mixture(Pair):
    def __init__(self):
        super().__init__()
        self.encoder, self.centres = nn.Linear(4, 3), nn.Embedding(3, 4)

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=x.new_zeros(3)))
            pyro.sample("x", dist.Normal(self.centres(k), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(logits=self.encoder(x)), infer={"enumerate": "parallel"})

pair, batch = Mixture(), torch.randn(7, 4)
"""

CONDITIONAL = """
class Conditional(Pair):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6 + 3, 2), nn.Linear(2 + 3, 6)

    def model(self, x, y):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            hot = nn.functional.one_hot(y, 3).to(x).expand(*z.shape[:-1], 3)
            pyro.sample("x", dist.Normal(self.decoder(torch.cat([z, hot], -1)), 1.0).to_event(1), obs=x)

    def guide(self, x, y):
        hot = nn.functional.one_hot(y, 3).to(x)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(torch.cat([x, hot], -1)), 0.5).to_event(1))

pair, batch = Conditional(), (torch.randn(8, 6), torch.arange(8) % 3)
"""

DICTIONARY = """
class Regression(Pair):
    def __init__(self):
        super().__init__()
        self.slope, self.encoder = nn.Linear(3, 1), nn.Linear(4, 1)

    def model(self, inputs, target):
        with pyro.plate("data", len(inputs)):
            noise = pyro.sample("noise", dist.LogNormal(inputs.new_zeros(()), 1.0))
            pyro.sample("target", dist.Normal(self.slope(inputs).squeeze(-1), noise), obs=target)

    def guide(self, inputs, target):
        with pyro.plate("data", len(inputs)):
            loc = self.encoder(torch.cat([inputs, target.unsqueeze(-1)], -1)).squeeze(-1).tanh()
            pyro.sample("noise", dist.LogNormal(loc, 0.5))

pair, batch = Regression(), {"inputs": torch.randn(8, 3), "target": torch.randn(8)}
"""

SEQUENCES = """
class Steps(Pair):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(1, 1), nn.Linear(1, 1)

    def model(self, x, lengths):
        steps = torch.arange(x.shape[1], device=x.device)
        with pyro.plate("data", len(x), dim=-2), pyro.plate("time", x.shape[1], dim=-1):
            with poutine.mask(mask=steps < lengths.unsqueeze(-1)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
                pyro.sample("x", dist.Normal(self.decoder(z.unsqueeze(-1)).squeeze(-1), 1.0), obs=x)

    def guide(self, x, lengths):
        steps = torch.arange(x.shape[1], device=x.device)
        with pyro.plate("data", len(x), dim=-2), pyro.plate("time", x.shape[1], dim=-1):
            with poutine.mask(mask=steps < lengths.unsqueeze(-1)):
                pyro.sample("z", dist.Normal(self.encoder(x.unsqueeze(-1)).squeeze(-1), 0.5))

pair, batch = Steps(), (torch.randn(6, 5), torch.tensor([5, 3, 1, 4, 2, 5]))
"""

COUNTS = """
class Counts(Pair):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(1, 2)

    def model(self, x):
        with pyro.plate("data", len(x)):
            rate = pyro.sample("rate", dist.Gamma(x.new_tensor(2.0), 1.0))
            pyro.sample("x", dist.Poisson(rate), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc, raw = self.encoder(x.log1p().unsqueeze(-1)).unbind(-1)
            pyro.sample("rate", dist.LogNormal(loc, nn.functional.softplus(raw) + 0.01))

pair, batch = Counts(), torch.arange(10.0)
"""

GLOBAL = """
from pyro.infer.autoguide import AutoNormal

def model(x):
    mu = pyro.sample("mu", dist.Normal(x.new_zeros(3), 1.0).to_event(1))
    scale = pyro.sample("scale", dist.HalfNormal(x.new_ones(3)).to_event(1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mu, scale).to_event(1), obs=x)

pair, batch = Pair.of(model, AutoNormal(model)), torch.randn(9, 3)
"""

IMAGES = """
class Images(Pair):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4))
        self.decoder = nn.Linear(2, 64)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            logits = self.decoder(z).unflatten(-1, (1, 8, 8))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(3), obs=x)

    def guide(self, x):
        loc, raw = self.encoder(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))

pair, batch = Images(), torch.rand(6, 1, 8, 8).round()
"""

DROPOUT = VAE.replace("nn.Tanh(), nn.Linear(8, 4)", "nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 4)")

SUBSAMPLED = """
def model(x):
    with pyro.plate("data", len(x), subsample_size=4) as rows:
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x[rows])

def guide(x):
    with pyro.plate("data", len(x), subsample_size=4) as rows:
        pyro.sample("z", dist.Normal(encoder(x[rows]), 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

AUXILIARY = """
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        mean = pyro.deterministic("mean", decoder(z), event_dim=1)
        pyro.sample("x", dist.Normal(mean, 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        u = pyro.sample("u", dist.Normal(encoder(x), 1.0).to_event(1), infer={"is_auxiliary": True})
        pyro.sample("z", dist.Normal(u, 0.5).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

FULL_COVARIANCE = """
class Correlated(Pair):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(3, 2 + 4), nn.Linear(2, 3)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.StudentT(4.0, self.decoder(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        loc, raw = self.encoder(x).split((2, 4), -1)
        raw = raw.unflatten(-1, (2, 2))
        tril = raw.tril(-1) + torch.diag_embed(nn.functional.softplus(raw.diagonal(dim1=-2, dim2=-1)) + 0.01)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=tril))

pair, batch = Correlated(), torch.randn(8, 3)
"""

FLOW = """
from pyro.distributions.transforms import affine_autoregressive

flow = affine_autoregressive(2, hidden_dims=[8])

def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    pyro.module("flow", flow)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.TransformedDistribution(dist.Normal(encoder(x), 0.5).to_event(1), [flow]))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
"""

VISIBLE = """
def model(x):
    logits = pyro.param("logits", torch.zeros(4))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

pair, batch = Pair.of(model), torch.rand(8, 4).round()
"""

DOUBLE = (
    FUNCTIONS.replace("nn.Linear(5, 2), nn.Linear(2, 5)", "nn.Linear(5, 2).double(), nn.Linear(2, 5).double()")
    .replace("torch.ones(5)", "torch.ones(5, dtype=torch.float64)")
    .replace("torch.ones(2)", "torch.ones(2, dtype=torch.float64)")
    .replace("torch.randn(10, 5)", "torch.randn(10, 5, dtype=torch.float64)")
)

FACTOR = VAE.replace(
    'pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)',
    'pyro.factor("x", -nn.functional.binary_cross_entropy_with_logits(\n'
    '                self.decoder(z), x.expand(*z.shape[:-1], 6), reduction="none").sum(-1))',
)

OTHER_PLATE = FUNCTIONS.replace('pyro.plate("data"', 'pyro.plate("rows"').replace(
    "Pair.of(model, guide)", 'Pair.of(model, guide, data_plate="rows")'
)

RIGHT = {
    "vae": VAE,
    "functions": FUNCTIONS,
    "hierarchical": HIERARCHICAL,
    "discrete, enumerated by the guide": DISCRETE,
    "conditional, a tuple": CONDITIONAL,
    "a dictionary": DICTIONARY,
    "masked sequences": SEQUENCES,
    "counts": COUNTS,
    "global latents, an autoguide": GLOBAL,
    "images": IMAGES,
    "dropout": DROPOUT,
    "subsampled": SUBSAMPLED,
    "auxiliary": AUXILIARY,
    "full covariance": FULL_COVARIANCE,
    "flow": FLOW,
    "visible": VISIBLE,
    "double": DOUBLE,
    "factor": FACTOR,
    "other plate": OTHER_PLATE,
}
"""Sources that define ``pair`` and ``batch``, by what they show."""
