"""``air/air.py``: attend, infer, repeat, with baselines and a plate that draws its own subsample."""

from __future__ import annotations

from types import ModuleType

import torch
from pyro.infer import TraceGraph_ELBO

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal

__all__ = ["AIR"]

_SUBSAMPLED = Refusal(
    "plate 'data' draws a subsample of the batch, and ELBO needs every datum",
    "the guide's plate takes 8 images anew in each run, and an estimate is of each image.",
)
_FINDINGS = {
    "PG301": "its networks join tensors of two dimensions, so that particles run in turn.",
    "PG403": "the encoder's scale underflows on pixels of a thousand, of which the example has none.",
    "PG404": "the baselines' networks are trained by `TraceGraph_ELBO` alone, and not through the log weight.",
}
_CPU = {"PG601": "the example is told its device when it is made (`use_cuda`), and makes tensors there for good."}


def _attempts(module: ModuleType) -> list[Attempt]:
    images = torch.rand(24, 20, 20, generator=torch.Generator().manual_seed(0))
    network = module.AIR(
        num_steps=3,
        x_size=20,
        window_size=8,
        z_what_size=5,
        rnn_hidden_size=24,
        encoder_net=[20],
        decoder_net=[20],
        predict_net=[20],
        bl_predict_net=[20],
    )
    return [
        Attempt(
            Pair.of(network.model, network.guide),
            (images, batch_size),
            change=change,
            code=f"pair, batch = Pair.of(air.model, air.guide), (x, {batch_size})\nobjective = PyroLoss(TraceGraph_ELBO())",
            elbo=TraceGraph_ELBO(),
            programs=(network.model, network.guide),
            batch_size=24,
            refusals=refusals,
            findings=findings,
        )
        for batch_size, change, refusals, findings in (
            (8, "", {"compare": _SUBSAMPLED}, _FINDINGS | _CPU),
            (None, "no subsample inside the guide", {}, _FINDINGS | _CPU),
        )
    ]


AIR = Example("air/air.py", _attempts)
