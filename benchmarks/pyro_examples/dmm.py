"""``dmm.py``: a deep Markov model of sequences of several lengths."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor, nn

from pyrogen.pair import Pair

from .attempt import Attempt, Example, Refusal
from .vae import PICTURES

__all__ = ["DMM"]

_PACKED = Refusal(
    r"does not run on this batch: .*Expected hidden size",
    "a `PackedSequence` has its data interleaved, so that no rows of it can be taken: a mini-batch meets all of it.",
)
_CODE = """
def backwards(x, lengths):  # x (data, time, keys): each sequence from its end; the padding is masked
    place = (lengths[:, None] - 1 - torch.arange(x.shape[1], device=x.device)).remainder(x.shape[1])
    return x.gather(1, place[..., None].expand_as(x))

poly.pad_and_reverse = backwards  # what comes out of the RNN is a tensor, too
pair = Pair.of(dmm.model, dmm.guide, data_plate="z_minibatch")
batch = (x, backwards(x, lengths), mask, lengths)
"""


def _backwards(x: Tensor, lengths: Tensor) -> Tensor:
    place = (lengths[:, None] - 1 - torch.arange(x.shape[1], device=x.device)).remainder(x.shape[1])
    return x.gather(1, place[..., None].expand_as(x))


def _attempts(module: ModuleType) -> list[Attempt]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 6, (48,), generator=generator).sort(descending=True).values
    sequences = (torch.rand(48, 5, 88, generator=generator) < 0.1).float()
    mask = module.poly.get_mini_batch_mask(sequences, lengths)  # (data, time)
    sequences = sequences * mask[..., None]
    packed = nn.utils.rnn.pack_padded_sequence(module.poly.reverse_sequences(sequences, lengths), lengths, batch_first=True)
    network = module.DMM(z_dim=20, emission_dim=20, transition_dim=30, rnn_dim=40)
    programs = network.model, network.guide
    originally = module.poly.pad_and_reverse

    def guide(x: Tensor, backwards: Tensor, mask: Tensor, lengths: Tensor) -> None:
        module.poly.pad_and_reverse = _backwards if isinstance(backwards, Tensor) else originally
        network.guide(x, backwards, mask, lengths)

    return [
        Attempt(
            Pair.of(*programs, data_plate="z_minibatch"),
            (sequences, packed, mask, lengths),
            programs=programs,
            refusals={"fit": _PACKED, "graph": _PACKED},
            findings={
                "PG126": "half of a `PackedSequence` cannot be taken.",
                "PG601": "a `PackedSequence` is no tensor, and does not move with the batch.",
                "PG604": "sequences are turned round one by one, by lengths that the host reads.",
            },
        ),
        Attempt(
            Pair.of(network.model, guide, data_plate="z_minibatch"),
            (sequences, _backwards(sequences, lengths), mask, lengths),
            change="padded sequences in place of packed ones",
            code=_CODE,
        ),
    ]


DMM = Example(
    "dmm.py",
    _attempts,
    PICTURES,
    note="As it stands, `fit` takes all sequences at once (`batch_size=len(x)`) and refuses mini-batches.",
)
