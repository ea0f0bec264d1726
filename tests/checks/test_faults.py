"""Faults that people make, put one by one into right pairs: each must come out under its code.

The faults are those of questions and reports about Pyro and torch: forgotten plates and ``obs=``, shapes that broadcast,
supports that do not meet, scales that nothing keeps positive, tensors on the wrong device, dropout left on, and so on.
"""

from __future__ import annotations

import pytest
import right_pairs as right

from pyrogen.checks import check
from pyrogen.checks.examples import changed, load_example

X = 'pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)'
Z = 'z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))'
Q = 'pyro.sample("z", dist.Normal(loc, nn.functional.softplus(raw)).to_event(1))'
PLATE = '    with pyro.plate("data", len(x)):\n'

FAULTS = {
    # structure
    "a misspelt guide site": ("PG101", right.VAE, (Q, Q.replace('"z"', '"zz"'))),
    "obs= forgotten": ("PG101", right.VAE, (X, X.replace(", obs=x", ""))),
    "obs=None": ("PG101", right.FUNCTIONS, ("obs=x)", "obs=None)")),
    "the guide leaves a latent out": (
        "PG101",
        right.HIERARCHICAL,
        ('\n            pyro.sample("top", dist.Normal(self.top(low), 0.5).to_event(1))', ""),
    ),
    "no guide at all": ("PG101", right.FUNCTIONS, ("Pair.of(model, guide)", "Pair.of(model)")),
    "a site left over in the guide": (
        "PG102",
        right.VAE,
        (Q, Q + '\n            pyro.sample("w", dist.Normal(loc, 1.0).to_event(1))'),
    ),
    "an auxiliary site that is not marked": ("PG102", right.AUXILIARY, (', infer={"is_auxiliary": True}', "")),
    "everything observed is computed": (
        "PG103",
        right.FUNCTIONS,
        ('pyro.sample("x", dist.Normal(decoder(z), scale).to_event(1), obs=x)', 'pyro.deterministic("x", decoder(z))'),
    ),
    "the guide observes": (
        "PG104",
        right.VAE,
        (Q, Q + '\n            pyro.sample("x", dist.Normal(x, 1.0).to_event(1), obs=x)'),
    ),
    "the guide samples the data": (
        "PG104",
        right.VAE,
        (Q, Q + '\n            pyro.sample("x", dist.Bernoulli(x).to_event(1))'),
    ),
    "the guide without its plate": (
        "PG105",
        right.FUNCTIONS,
        (
            '    with pyro.plate("data", len(x)):\n        pyro.sample("z", dist.Normal(encoder(x), width).to_event(1))',
            '    pyro.sample("z", dist.Normal(encoder(x), width).to_event(2))',
        ),
    ),
    "the guide's plate under another name": (
        "PG105",
        right.FUNCTIONS,
        (
            '    with pyro.plate("data", len(x)):\n        pyro.sample("z", dist.Normal(encoder(x)',
            '    with pyro.plate("rows", len(x)):\n        pyro.sample("z", dist.Normal(encoder(x)',
        ),
    ),
    "subsamples of two sizes": (
        "PG105",
        right.SUBSAMPLED,
        (
            'def guide(x):\n    with pyro.plate("data", len(x), subsample_size=4)',
            'def guide(x):\n    with pyro.plate("data", len(x), subsample_size=3)',
        ),
    ),
    "rows given to the model, drawn in the guide": (
        "PG105",
        right.SUBSAMPLED,
        (
            'def model(x):\n    with pyro.plate("data", len(x), subsample_size=4)',
            'def model(x):\n    with pyro.plate("data", len(x), subsample=torch.arange(4, 8))',
        ),
    ),
    "one name for two latents": (
        "PG106",
        right.HIERARCHICAL,
        ('low = pyro.sample("low", dist.Normal(self.down', 'low = pyro.sample("top", dist.Normal(self.down'),
    ),
    "nested plates of one name": (
        "PG106",
        right.SEQUENCES,
        (
            "def model(self, x, lengths):\n"
            "        steps = torch.arange(x.shape[1], device=x.device)\n"
            '        with pyro.plate("data", len(x), dim=-2), pyro.plate("time"',
            "def model(self, x, lengths):\n"
            "        steps = torch.arange(x.shape[1], device=x.device)\n"
            '        with pyro.plate("data", len(x), dim=-2), pyro.plate("data"',
        ),
    ),
    "no data plate": (
        "PG107",
        right.COUNTS,
        (
            '        with pyro.plate("data", len(x)):\n'
            '            rate = pyro.sample("rate", dist.Gamma(x.new_tensor(2.0), 1.0))\n'
            '            pyro.sample("x", dist.Poisson(rate), obs=x)',
            '        rate = pyro.sample("rate", dist.Gamma(x.new_tensor(2.0), 1.0).expand([len(x)]).to_event(1))\n'
            '        pyro.sample("x", dist.Poisson(rate).to_event(1), obs=x)',
        ),
        (
            '        with pyro.plate("data", len(x)):\n'
            "            loc, raw = self.encoder(x.log1p().unsqueeze(-1)).unbind(-1)\n"
            '            pyro.sample("rate", dist.LogNormal(loc, nn.functional.softplus(raw) + 0.01))',
            "        loc, raw = self.encoder(x.log1p().unsqueeze(-1)).unbind(-1)\n"
            '        pyro.sample("rate", dist.LogNormal(loc, nn.functional.softplus(raw) + 0.01).to_event(1))',
        ),
    ),
    "a plate that the pair does not know": ("PG107", right.OTHER_PLATE, (', data_plate="rows"', "")),
    "the plate has the size of the data set": (
        "PG108",
        right.VAE.replace("len(x)", "60000"),
    ),
    "the plate counts features": (
        "PG108",
        right.VAE.replace("len(x)", "x.shape[1]"),
    ),
    "to_event forgotten in the model": ("PG109", right.VAE, (X, X.replace(".to_event(1)", ""))),
    "to_event forgotten in the guide": ("PG109", right.VAE, (Q, Q.replace(".to_event(1)", ""))),
    "to_event(1) for images": ("PG109", right.IMAGES, (".to_event(3)", ".to_event(1)")),
    "a latent with too many units in the guide": (
        "PG110",
        right.VAE,
        ("nn.Linear(8, 4))", "nn.Linear(8, 6))"),
        ("x.new_zeros(2)", "x.new_zeros(2)"),
    ),
    "the encoder centres by the batch": ("PG111", right.VAE, ("self.encoder(x)", "self.encoder(x - x.mean(0))")),
    "softmax over the data": (
        "PG111",
        right.CONDITIONAL,
        ("self.encoder(torch.cat([x, hot], -1))", "self.encoder(torch.cat([x, hot], -1)).softmax(0)"),
    ),
    "the encoder is given the data in another order": ("PG111", right.FUNCTIONS, ("encoder(x)", "encoder(x.flip(0))")),
    "attention among the data": ("PG111", right.FUNCTIONS, ("encoder(x)", "encoder((x @ x.T).softmax(-1) @ x)")),
    "a site that is there at times": (
        "PG112",
        right.VAE,
        (
            X,
            X + "\n"
            "            if torch.rand(()) < 0.5:\n"
            '                pyro.sample("more", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])',
        ),
    ),
    "as many steps as a draw says": (
        "PG112",
        right.FUNCTIONS,
        (
            "obs=x)",
            "obs=x)\n"
            "        for step in range(int(z.abs().sum() * 3) % 3):\n"
            '            pyro.sample(f"y_{step}", dist.Normal(z[..., 0], 1.0), obs=x[:, 0])',
        ),
    ),
    "a loop over the data": (
        "PG113",
        right.GLOBAL,
        (
            '    with pyro.plate("data", len(x)):\n        pyro.sample("x", dist.Normal(mu, scale).to_event(1), obs=x)',
            '    for row in pyro.plate("data", len(x)):\n'
            '        pyro.sample(f"x_{row}", dist.Normal(mu, scale).to_event(1), obs=x[row])',
        ),
    ),
    "a factor in the guide that says nothing": (
        "PG115",
        right.VAE,
        (Q, Q + '\n            pyro.factor("penalty", -loc.pow(2).sum(-1))'),
    ),
    "annealing by poutine.scale": (
        "PG116",
        right.VAE,
        (f"            {Z}", f"            with poutine.scale(scale=0.01):\n                {Z}"),
        (f"            {Q}", f"            with poutine.scale(scale=0.01):\n                {Q}"),
    ),
    "time steps subsampled": (
        "PG117",
        right.GLOBAL,
        (
            '    with pyro.plate("data", len(x)):\n        pyro.sample("x", dist.Normal(mu, scale).to_event(1), obs=x)',
            '    with pyro.plate("data", len(x), dim=-2), pyro.plate("features", 3, subsample_size=2, dim=-1) as some:\n'
            '        pyro.sample("x", dist.Normal(mu[..., some], scale[..., some]), obs=x[:, some])',
        ),
    ),
    "a mask in the model only": (
        "PG118",
        right.SEQUENCES,
        (
            "            with poutine.mask(mask=steps < lengths.unsqueeze(-1)):\n"
            '                pyro.sample("z", dist.Normal(self.encoder',
            '            if True:\n                pyro.sample("z", dist.Normal(self.encoder',
        ),
    ),
    "a point instead of a posterior": ("PG119", right.VAE, (Q, 'pyro.sample("z", dist.Delta(loc).to_event(1))')),
    "enumeration asked for in the model": (
        "PG120",
        right.DISCRETE,
        (
            "dist.Categorical(logits=x.new_zeros(3)))",
            'dist.Categorical(logits=x.new_zeros(3)), infer={"enumerate": "parallel"})',
        ),
        (
            '            pyro.sample("k", dist.Categorical(logits=self.encoder(x)), infer={"enumerate": "parallel"})',
            "            pass",
        ),
    ),
    "a network hidden in a list of a class": (
        "PG122",
        right.FUNCTIONS,
        (
            "encoder, decoder = nn.Linear(5, 2), nn.Linear(2, 5)",
            "class Nets:\n"
            "    def __init__(self):\n"
            "        self.all = [nn.Sequential(nn.Linear(5, 2), nn.BatchNorm1d(2))]\n"
            "    def __call__(self, x):\n"
            "        return self.all[0](x)\n"
            "\n"
            "nets, decoder = Nets(), nn.Linear(2, 5)",
        ),
        ('    pyro.module("encoder", encoder)\n', ""),
        ("encoder(x)", "nets(x)"),
    ),
    "two plates in one dimension": (
        "PG124",
        right.SEQUENCES.replace("dim=-2", "dim=-1"),
    ),
    "data from a closure": (
        "PG125",
        right.FUNCTIONS,
        ("obs=x)", "obs=everything)"),
        ("pair, batch", "everything = torch.randn(10, 5)\npair, batch"),
    ),
    "a batch size written down": (
        "PG126",
        right.VAE,
        (f"{X}", X.replace("self.decoder(z)", "self.decoder(z).reshape(12, 6)")),
    ),
    "the decoder is given the input": ("PG127", right.VAE, ("self.decoder(z)", "self.decoder(x[..., :2])")),
    "a level of the hierarchy that no one reads": (
        "PG127",
        right.HIERARCHICAL,
        ("dist.Normal(self.down(top), 1.0)", "dist.Normal(x.new_zeros(3), 1.0)"),
    ),
    "a guide without data": (
        "PG128",
        right.FUNCTIONS,
        ("dist.Normal(encoder(x), width)", "dist.Normal(encoder.bias, width)"),
    ),
    "the latent rounded": ("PG129", right.VAE, ("self.decoder(z)", "self.decoder(z.round())")),
    "the latent detached": ("PG129", right.HIERARCHICAL, ("self.out(low)", "self.out(low.detach())")),
    "only the likelihood in the plate": (
        "PG105",
        right.FUNCTIONS,
        (
            '    with pyro.plate("data", len(x)):\n'
            '        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))\n',
            '    z = pyro.sample("z", dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(2))\n'
            '    with pyro.plate("data", len(x)):\n',
        ),
    ),
    "the likelihood outside the plate": (
        "PG109",
        right.FUNCTIONS,
        ('        pyro.sample("x", dist.Normal(decoder(z)', '    pyro.sample("x", dist.Normal(decoder(z)'),
    ),
    "a latent of fewer units in the guide": (
        "PG110",
        right.VAE,
        ("dist.Normal(loc, nn.functional.softplus(raw))", "dist.Normal(loc[..., :1], nn.functional.softplus(raw[..., :1]))"),
    ),
    "a plate without a size": ("PG110", right.VAE.replace('pyro.plate("data", len(x))', 'pyro.plate("data")')),
    "the data sorted": ("PG111", right.FUNCTIONS, ("encoder(x)", "encoder(x.sort(0).values)")),
    "the data scaled by their sum": ("PG111", right.VAE, ("self.encoder(x)", "self.encoder(x / x.sum(0).clamp(min=1))")),
    "a sum over the wrong dimension of the latents": ("PG111", right.VAE, ("self.decoder(z)", "self.decoder(z + z.sum(0))")),
    "a scaled model": ("PG116", right.FUNCTIONS, ("def model(x):\n", "@poutine.scale(scale=0.1)\ndef model(x):\n")),
    "data masked in the guide": (
        "PG118",
        right.FUNCTIONS,
        ("def guide(x):\n", "@poutine.mask(mask=torch.arange(10) > 4)\ndef guide(x):\n"),
    ),
    "a tuple in the wrong order": (
        "PG100",
        right.CONDITIONAL,
        ("(torch.randn(8, 6), torch.arange(8) % 3)", "(torch.arange(8) % 3, torch.randn(8, 6))"),
    ),
    "a guide of another signature": ("PG100", right.CONDITIONAL, ("def guide(self, x, y):", "def guide(self, x):")),
    # support
    "a Normal guide for what is positive": ("PG201", right.COUNTS, ("dist.LogNormal(loc", "dist.Normal(loc")),
    "a Normal guide for a class": (
        "PG201",
        right.DISCRETE,
        (
            'dist.Categorical(logits=self.encoder(x)), infer={"enumerate": "parallel"}',
            "dist.Normal(self.encoder(x)[..., 0], 1.0)",
        ),
    ),
    "one class too many in the guide": (
        "PG201",
        right.DISCRETE,
        ("nn.Linear(4, 3)", "nn.Linear(4, 300)"),
        ("nn.Embedding(3, 4)", "nn.Embedding(300, 4)"),
    ),
    "one class too few in the guide": ("PG202", right.DISCRETE, ("nn.Linear(4, 3)", "nn.Linear(4, 2)")),
    "a guide in the unit interval for what is positive": (
        "PG202",
        right.COUNTS,
        (
            "dist.LogNormal(loc, nn.functional.softplus(raw) + 0.01)",
            "dist.Beta(loc.exp(), nn.functional.softplus(raw) + 0.1)",
        ),
    ),
    "a Uniform guide under a Normal prior": (
        "PG202",
        right.AUXILIARY,
        ("dist.Normal(u, 0.5)", "dist.Uniform(u - 1.0, u + 1.0)"),
    ),
    "grey pixels": ("PG205", right.VAE, (".round()", "")),
    "pixels to 255": ("PG203", right.IMAGES, ("torch.rand(6, 1, 8, 8).round()", "torch.randint(256, (6, 1, 8, 8)).float()")),
    "counts that are not whole": (
        "PG203",
        right.COUNTS,
        ("torch.arange(10.0)", "torch.arange(10.0) + 0.5"),
    ),
    "missing values": ("PG203", right.FUNCTIONS, ("torch.randn(10, 5)", "torch.randn(10, 5).log()")),
    "the encoder's raw output as a scale": ("PG204", right.VAE, (Q, Q.replace("nn.functional.softplus(raw)", "raw"))),
    "a scale parameter without a constraint": (
        "PG204",
        right.FUNCTIONS,
        ('pyro.param("scale", torch.ones(5), constraint=constraints.positive)', 'pyro.param("scale", torch.ones(5))'),
    ),
    "logits passed as probabilities": ("PG204", right.IMAGES, ("logits=logits", "logits")),
    "a Cholesky factor with a raw diagonal": (
        "PG204",
        right.FULL_COVARIANCE,
        ("nn.functional.softplus(raw.diagonal(dim1=-2, dim2=-1)) + 0.01", "raw.diagonal(dim1=-2, dim2=-1) + 1.0"),
    ),
    "a scale floored far below": (
        "PG204",
        right.DICTIONARY,
        ("dist.LogNormal(loc, 0.5)", "dist.LogNormal(loc, loc + 2.0)"),
        (".squeeze(-1).tanh()", ".squeeze(-1)"),
    ),
    "zeros under a LogNormal": (
        "PG203",
        right.FUNCTIONS,
        ("dist.Normal(decoder(z), scale)", "dist.LogNormal(decoder(z), scale)"),
        ("torch.randn(10, 5)", "torch.randn(10, 5).relu()"),
    ),
    "a class that there is not": (
        "PG203",
        right.COUNTS,
        ("dist.Poisson(rate)", "dist.Categorical(logits=rate.unsqueeze(-1).expand(*rate.shape, 5))"),
    ),
    "a HalfNormal guide under a Normal prior": (
        "PG202",
        right.FUNCTIONS,
        ("dist.Normal(encoder(x), width)", "dist.HalfNormal(encoder(x).exp() + width)"),
    ),
    "relu as a scale": ("PG204", right.VAE, ("nn.functional.softplus(raw)", "nn.functional.relu(raw)")),
    "tanh as a probability": ("PG204", right.IMAGES, ("logits=logits", "logits.tanh()")),
    "a rate that a bias can make negative": (
        "PG204",
        right.COUNTS,
        ("dist.Poisson(rate)", "dist.Poisson(rate + self.encoder.bias[0] + 3)"),
    ),
    # vectorisation
    "dimensions counted from the left": ("PG301", right.CONDITIONAL, ("torch.cat([z, hot], -1)", "torch.cat([z, hot], 1)")),
    "a reshape to the batch": (
        "PG301",
        right.IMAGES,
        ("self.decoder(z).unflatten(-1, (1, 8, 8))", "self.decoder(z).view(len(x), 1, 8, 8)"),
    ),
    "a softmax over dimension 1": ("PG302", right.VAE, ("self.decoder(z)", "self.decoder(z.softmax(1))")),
    "a column against a row": (
        "PG303",
        right.DICTIONARY,
        ("dist.Normal(self.slope(inputs).squeeze(-1), noise)", "dist.Normal(self.slope(inputs), noise)"),
    ),
    "a network of one output for many pixels": ("PG303", right.VAE, ("nn.Linear(8, 6))\n\n", "nn.Linear(8, 1))\n\n")),
    "the first row observed by all": ("PG303", right.FUNCTIONS, ("obs=x)", "obs=x[:1])")),
    "the mean observed by all": ("PG303", right.FUNCTIONS, ("obs=x)", "obs=x.mean(0))")),
    "a loss summed over the batch": ("PG304", right.FACTOR, (".sum(-1))", ".sum())")),
    "a loss averaged over the batch": ("PG304", right.FACTOR, (".sum(-1))", ".mean())")),
    "to_event(2) inside the plate": ("PG305", right.VAE, (X, X.replace("to_event(1)", "to_event(2)"))),
    "a subsample that the data do not follow": ("PG306", right.SUBSAMPLED, ("obs=x[rows]", "obs=x")),
    "a view of two dimensions": ("PG301", right.VAE, ("self.decoder(z)", "self.decoder(z.view(-1, 2))")),
    "a target with one dimension too many": (
        "PG303",
        right.DICTIONARY,
        ("torch.randn(8)}", "torch.randn(8, 1)}"),
        ("target.unsqueeze(-1)", "target"),
    ),
    # numbers
    "a scale of zero": (
        "PG401",
        right.FUNCTIONS,
        ("dist.Normal(decoder(z), scale)", "dist.Normal(decoder(z), scale * 1e-30)"),
    ),
    "a parameter that is never used": (
        "PG404",
        right.VAE,
        ("        super().__init__()\n", "        super().__init__()\n        self.spare = nn.Linear(2, 2)\n"),
    ),
    "detach in the encoder": ("PG404", right.VAE, ("self.encoder(x)", "self.encoder(x).detach()")),
    "float64 from NumPy": ("PG406", right.VAE, ("x.new_zeros(2)", "torch.zeros(2, dtype=torch.float64)")),
    "the logarithm of zero": ("PG401", right.FUNCTIONS, ("encoder(x)", "encoder((x - x).abs().log())")),
    "a square root at zero": ("PG402", right.FUNCTIONS, ("decoder(z), scale", "decoder(z) + (scale - scale).sqrt(), scale")),
    "no_grad in the guide": (
        "PG404",
        right.VAE,
        (
            "            loc, raw = self.encoder(x)",
            "            with torch.no_grad():\n                loc, raw = self.encoder(x)",
        ),
    ),
    # randomness
    "noise by torch.randn": ("PG501", right.VAE, ("self.encoder(x)", "self.encoder(x + 0.1 * torch.randn_like(x))")),
    "a latent drawn by hand": ("PG501", right.FUNCTIONS, ("decoder(z)", "decoder(z + torch.empty_like(z).normal_())")),
    "noise by NumPy": ("PG502", right.VAE, ("self.encoder(x)", "self.encoder(x * __import__('numpy').random.rand())")),
    "functional dropout always on": ("PG503", right.VAE, ("self.encoder(x)", "self.encoder(nn.functional.dropout(x, 0.5))")),
    "batch norm in the encoder": (
        "PG504",
        right.VAE,
        ("nn.Linear(6, 8), nn.Tanh(),", "nn.Linear(6, 8), nn.BatchNorm1d(8),"),
    ),
    "a seed in the model": (
        "PG506",
        right.VAE,
        ("    def model(self, x):\n", "    def model(self, x):\n        torch.manual_seed(0)\n"),
    ),
    "noise by Python": ("PG502", right.FUNCTIONS, ("decoder(z)", "decoder(z) * (1 + __import__('random').random())")),
    "a Bernoulli drawn by hand": (
        "PG501",
        right.VAE,
        ("self.encoder(x)", "self.encoder(x * torch.bernoulli(torch.full_like(x, 0.5)))"),
    ),
    # devices
    "torch.zeros without a device": ("PG601", right.VAE, ("x.new_zeros(2)", "torch.zeros(2)")),
    "an arange without a device": (
        "PG601",
        right.SEQUENCES.replace(", device=x.device", ""),
    ),
    "a tensor attribute that is no buffer": (
        "PG602",
        right.VAE,
        ("        super().__init__()\n", "        super().__init__()\n        self.offset = torch.ones(6)\n"),
        ("self.encoder(x)", "self.encoder(x - self.offset)"),
    ),
    "through NumPy": ("PG603", right.FUNCTIONS, ("encoder(x)", "encoder(torch.as_tensor(x.numpy().clip(-3, 3)))")),
    "an .item() in the model": ("PG604", right.VAE, ("self.decoder(z)", "self.decoder(z) * float(x.max().item() >= 0)")),
    "layers in a plain list": (
        "PG602",
        right.VAE,
        ("self.decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 6))", "self.layers = [nn.Linear(2, 6)]"),
        ("self.decoder(z)", "self.layers[0](z)"),
    ),
    "a constant made in the model": ("PG601", right.VAE, ("self.decoder(z)", "self.decoder(z) + torch.tensor([1.0] * 6)")),
    "a branch on the data": (
        "PG604",
        right.VAE,
        (
            "            loc, raw = self.encoder(x).chunk(2, -1)\n",
            "            if x.max() > 5:\n                x = x / 5\n            loc, raw = self.encoder(x).chunk(2, -1)\n",
        ),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_caught(name):
    code, source, *replacements = FAULTS[name]
    pair, batch = load_example(changed(source, *replacements), name)
    report = check(pair, batch, select=[code[:3]])
    assert code in report.codes(), f"{report}\n{dict(report.skipped)}"


def test_there_are_many_faults_of_all_groups():
    codes = [fault[0] for fault in FAULTS.values()]
    assert len(FAULTS) >= 40
    assert {code[:3] for code in codes} == {"PG1", "PG2", "PG3", "PG4", "PG5", "PG6"}


@pytest.mark.parametrize("name", right.RIGHT)
def test_a_right_pair_is_left_alone(name):
    pair, batch = load_example(right.RIGHT[name], name)
    report = check(pair, batch, device="cuda")
    assert all(finding.severity == "note" for finding in report.findings), str(report)
    assert set(report.skipped.values()) <= {"looks at fitted pairs only"}
