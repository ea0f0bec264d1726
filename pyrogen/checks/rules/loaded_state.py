"""PG123: the state that was loaded belongs to another pair."""

from __future__ import annotations

from ..probed import Probed

__all__ = ["LoadedState"]

_BAD = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        width = pyro.param("width", torch.ones(2), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(encoder(x), width).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
state = Pair.of(model, guide).initialise(batch).state_dict()
state["pyro_params.scale"] = state.pop("pyro_params.width")
pair.load_state_dict(state)
"""

_MENDED = """\
def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(decoder(z), 1.0).to_event(1), obs=x)

def guide(x):
    with pyro.plate("data", len(x)):
        width = pyro.param("width", torch.ones(2), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(encoder(x), width).to_event(1))

encoder, decoder = nn.Linear(3, 2), nn.Linear(2, 3)
pair, batch = Pair.of(model, guide), torch.randn(8, 3)
state = Pair.of(model, guide).initialise(batch).state_dict()
pair.load_state_dict(state)
"""


class LoadedState(Probed):
    """The state that was loaded belongs to another pair."""

    code = "PG123"
    title = "the state that was loaded belongs to another pair"
    group = "structure"
    severity = "error"
    why = "Parameters that no statement names would be lost in silence, and those that are missing would start anew."
    remedy = "Load the state of a pair with the same pyro.param statements"
    bad = _BAD
    mended = _MENDED
