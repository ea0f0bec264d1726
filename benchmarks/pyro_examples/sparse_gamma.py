"""``sparse_gamma_def.py``: a deep exponential family whose weights all images share, under its three guides."""

from __future__ import annotations

from types import ModuleType

import torch
from pyro.infer import TraceMeanField_ELBO
from pyro.infer.autoguide import AutoDiagonalNormal, init_to_feasible

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal

__all__ = ["SPARSE_GAMMA"]

_SHARED = Refusal(
    r"'w_top' lies outside plate 'data', so that all data share it",
    "all images share the weights, so that there is one log p of all images and none of each.",
)
_FINDINGS = {
    "PG601": "the gamma priors' arguments stay on the CPU, and are expanded there.",
    "PG602": "the model is no `nn.Module`, and its tensors `alpha_z`, `beta_z`, `alpha_w`, `beta_w` do not move with it.",
}
_WHOLE = {"PG126": "the autoguide has parameters for each of these data."}
_GUIDES = {
    "custom guide": "model.guide",
    "easy guide": "MyEasyGuide(model.model)",
    "auto guide": "AutoDiagonalNormal(model.model, init_loc_fn=init_to_feasible)",
}


def _attempts(module: ModuleType) -> list[Attempt]:
    pixels = 64
    images = torch.poisson(torch.full((20, pixels), 3.0), generator=torch.Generator().manual_seed(0))
    attempts = []
    for name, code in _GUIDES.items():
        family = module.SparseGammaDEF()
        family.top_width, family.mid_width, family.bottom_width, family.image_size = 10, 8, 6, pixels
        guide = {
            "custom guide": lambda family=family: family.guide,
            "easy guide": lambda family=family: module.MyEasyGuide(family.model),
            "auto guide": lambda family=family: AutoDiagonalNormal(family.model, init_loc_fn=init_to_feasible),
        }[name]()
        attempts.append(
            Attempt(
                Pair.of(family.model, guide),
                images,
                variant=name,
                code=f"pair, batch = Pair.of(model.model, {code}), x\nobjective = PyroLoss(TraceMeanField_ELBO())",
                elbo=TraceMeanField_ELBO(),
                programs=(family.model, guide),
                refusals={"compare": _SHARED},
                findings=_FINDINGS | (_WHOLE if name == "auto guide" else {}),
            )
        )
    return attempts


SPARSE_GAMMA = Example(
    "sparse_gamma_def.py", _attempts, ("torchvision", "torchvision.datasets", "torchvision.transforms", "wget")
)
