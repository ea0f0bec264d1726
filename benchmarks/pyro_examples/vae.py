"""``vae/vae.py`` and ``vae/vae_comparison.py``: a VAE of grey pixels, as a module and as a plain object."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal
from .made_up_data import grey_images

__all__ = ["GREY", "PICTURES", "VAE", "VAE_COMPARISON"]

GREY = Refusal(
    r"observes a value outside the support of Bernoulli .* Binarize the data",
    "a Bernoulli likelihood of grey pixels is no density of them: it does not integrate to one, so that log p(x) means "
    "nothing. The example turns Pyro's validation off to score them (`validate_args=False`).",
)
PICTURES = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.utils", "visdom")


def _attempts(network: Any, findings: Mapping[str, str]) -> list[Attempt]:
    grey = grey_images(64)
    programs = network.model, network.guide
    return [
        Attempt(
            Pair.of(*programs),
            grey,
            programs=programs,
            refusals={"compare": GREY},
            findings={"PG205": GREY.why, **findings},
        ),
        Attempt(
            Pair.of(*programs),
            (grey > 0.5).float(),
            change="binary pixels",
            code="pair, batch = Pair.of(vae.model, vae.guide), (x > 0.5).float()",
            programs=programs,
            findings=findings,
        ),
    ]


def _vae(module: ModuleType) -> list[Attempt]:
    return _attempts(module.VAE(), {})


def _vae_comparison(module: ModuleType) -> list[Attempt]:
    made_on_cpu = {"PG601": "the prior's `torch.zeros` and `torch.ones` name no device: on a GPU the example stops there."}
    return _attempts(module.PyroVAEImpl(Namespace(jit=False), None, None), made_on_cpu)


VAE = Example("vae/vae.py", _vae, PICTURES)
VAE_COMPARISON = Example("vae/vae_comparison.py", _vae_comparison, PICTURES)
