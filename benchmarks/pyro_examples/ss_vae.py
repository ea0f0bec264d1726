"""``vae/ss_vae_M2.py``: a semi-supervised VAE, which Pyro trains by summing over the labels that are not known."""

from __future__ import annotations

from types import ModuleType

from pyro.infer import TraceEnum_ELBO, config_enumerate

from pyrogen.pair import Pair

from .attempt import Attempt, Example
from .made_up_data import grey_images, one_hot
from .vae import PICTURES

__all__ = ["SS_VAE"]

_CODE = """
guide = config_enumerate(ss_vae.guide, "parallel", expand=True)  # as in the example
pair, batch = Pair.of(ss_vae.model, guide), {batch}
objective = PyroLoss(TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False))
"""
_CLASSIFIER = "data with labels leave the classifier untrained; the example takes turns with data that have none."


def _attempts(module: ModuleType) -> list[Attempt]:
    images = (grey_images(64) > 0.5).float().reshape(64, 784)
    network = module.SSVAE(hidden_layers=[100], config_enum="parallel")
    guide = config_enumerate(network.guide, "parallel", expand=True)
    return [
        Attempt(
            Pair.of(network.model, guide),
            batch,
            change=f"binary pixels, {which} labels",
            code=_CODE.format(batch=code),
            elbo=TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False),
            programs=(network.model, guide),
            findings=findings,
        )
        for batch, which, code, findings in (
            ((images, one_hot(64, 10)), "with", "((x > 0.5).float(), y)", {"PG404": _CLASSIFIER}),
            (images, "without", "(x > 0.5).float()", {}),
        )
    ]


SS_VAE = Example(
    "vae/ss_vae_M2.py",
    _attempts,
    PICTURES,
    note="Its plate has no size (`pyro.plate('data')`), and takes that of what it holds.",
)
