"""``cvae/cvae.py``: a conditional VAE that fills in the missing quarters of an image."""

from __future__ import annotations

from types import ModuleType

from pyrogen.pair import Pair

from .attempt import Attempt, Example
from .made_up_data import grey_images
from .vae import GREY

__all__ = ["CVAE"]


def _attempts(module: ModuleType) -> list[Attempt]:
    from baseline import BaselineNet  # beside the example

    grey = grey_images(64)
    seen = grey.clone()
    seen[:, :14, :] = -1.0
    seen[:, :, :14] = -1.0  # one quarter is left
    network = module.CVAE(50, 100, 100, BaselineNet(50, 50))
    programs = network.model, network.guide
    binary = [(pixels >= 0).float() * (pixels > 0.5).float() - (pixels < 0).float() for pixels in (seen, grey)]
    findings = {
        "PG301": "`loc[(xs == -1).view(-1, 784)]` has no room for particles, so that they run in turn.",
        "PG404": "the baseline network is trained beforehand, and runs under `torch.no_grad`.",
        "PG605": "how many pixels a mask picks is known on the host alone: a GPU waits there.",
    }
    return [
        Attempt(
            Pair.of(*programs),
            (seen, grey),
            programs=programs,
            refusals={"compare": GREY},
            findings={"PG205": GREY.why, **findings},
        ),
        Attempt(
            Pair.of(*programs),
            (binary[0], binary[1]),
            change="binary pixels",
            code="pair, batch = Pair.of(cvae_net.model, cvae_net.guide), (binary(x), binary(y))  # missing pixels stay -1",
            programs=programs,
            findings=findings,
        ),
    ]


CVAE = Example(
    "cvae/cvae.py",
    _attempts,
    note="Its plate has no size (`pyro.plate('data')`), and takes that of what it holds.",
)
