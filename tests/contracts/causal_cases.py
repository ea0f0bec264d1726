"""All causal networks, tiny ones, for the contract test in `test_causal_networks.py`.

To add a network, append cases: at most six positions, for all binary images to be enumerated; one with a vector as context
and one with a map, if the network takes them; one with dropout or batch normalization, if it has any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyrogen.nets.causal import (
    MADE,
    NADE,
    CausalLinear,
    CausalNetwork,
    CausalTransformer,
    DiagonalPixelCNN,
    GatedPixelCNN,
    MaskedPixelCNN,
    Order,
    OrderAgnosticMADE,
    PixelRNN,
    WaveNet,
)


@dataclass(frozen=True)
class Case:
    """How to make a network, and what is known about it."""

    make: Callable[[int, int], CausalNetwork]
    """``make(inputs, outputs)``; inputs and outputs are those of any family."""
    blind: bool = False
    """Whether some position doesn't see all positions drawn before it."""
    compiles: bool = False
    """Whether ``sample(compile=True)`` is to be tested: slow, so for one case of each network that can."""


CASES = {
    "linear": Case(lambda i, o: CausalLinear((2, 3), i, o)),
    "linear, context": Case(lambda i, o: CausalLinear((5,), i, o, context=2)),
    "gated": Case(lambda i, o: GatedPixelCNN((2, 3), i, o, features=6, layers=3), compiles=True),
    "gated, dilated": Case(lambda i, o: GatedPixelCNN((2, 3), i, o, features=6, layers=3, first=3, dilations=(2, 1))),
    "gated, context": Case(lambda i, o: GatedPixelCNN((3, 2), i, o, features=6, layers=2, head=3, context=2)),
    "gated, map": Case(lambda i, o: GatedPixelCNN((2, 2), i, o, features=6, layers=2, context=2, context_map=True)),
    "gated, dropout": Case(lambda i, o: GatedPixelCNN((2, 2), i, o, features=6, layers=2, kernel=5, dropout=0.5)),
    "gated, pointwise": Case(lambda i, o: GatedPixelCNN((1, 3), i, o, features=6, layers=3, kernel=1)),
    "masked": Case(lambda i, o: MaskedPixelCNN((2, 3), i, o, features=16, blocks=2)),
    "masked, blind": Case(lambda i, o: MaskedPixelCNN((2, 3), i, o, features=16, blocks=3, first=3), blind=True),
    "masked, context": Case(lambda i, o: MaskedPixelCNN((3, 2), i, o, features=16, blocks=2, kernel=5, context=2)),
    "masked, map": Case(lambda i, o: MaskedPixelCNN((2, 2), i, o, features=16, blocks=2, context=2, context_map=True)),
    "made": Case(lambda i, o: MADE((2, 3), i, o, hidden=(40,))),
    "made, context": Case(lambda i, o: MADE((5,), i, o, hidden=(25, 25), context=2)),
    "made, permuted": Case(lambda i, o: MADE((2, 3), i, o, hidden=(30,), order=Order.random((2, 3), seed=1))),
    "made, diagonal": Case(lambda i, o: MADE((2, 3), i, o, hidden=(30,), order=Order.diagonal((2, 3)))),
    "made, coarse to fine": Case(lambda i, o: MADE((2, 3), i, o, hidden=(30,), order=Order.coarse_to_fine((2, 3)))),
    "made, one of two orders": Case(
        lambda i, o: OrderAgnosticMADE((2, 3), [Order.random((2, 3), k) for k in (1, 2)], i, o, hidden=(30,)).member(1)
    ),
    "pixelrnn, diagonal": Case(lambda i, o: PixelRNN((2, 3), i, o, hidden=4, layers=2, features=12, head=24)),
    "pixelrnn, row": Case(lambda i, o: PixelRNN((2, 3), i, o, "row", hidden=4, layers=2, features=12, head=24)),
    "pixelrnn, context": Case(lambda i, o: PixelRNN((2, 2), i, o, hidden=4, layers=1, features=12, head=24, context=2)),
    "pixelrnn, map": Case(
        lambda i, o: PixelRNN((2, 2), i, o, "row", hidden=4, layers=1, features=12, head=24, context=2, context_map=True)
    ),
    "pixelrnn, dropout": Case(
        lambda i, o: PixelRNN((2, 2), i, o, "row", hidden=4, layers=1, features=12, head=24, dropout=0.5)
    ),
    "wavenet": Case(lambda i, o: WaveNet((5,), i, o, features=4, layers=3)),
    "wavenet, short reach": Case(lambda i, o: WaveNet((6,), i, o, features=4, layers=2, dilations=(1,)), blind=True),
    "wavenet, image": Case(lambda i, o: WaveNet((2, 3), i, o, features=4, layers=2, kernel=3, dilations=(1, 2))),
    "wavenet, context": Case(lambda i, o: WaveNet((5,), i, o, features=4, layers=3, context=2)),
    "wavenet, map": Case(lambda i, o: WaveNet((5,), i, o, features=4, layers=3, context=2, context_map=True)),
    "wavenet, dropout": Case(lambda i, o: WaveNet((5,), i, o, features=4, layers=3, dropout=0.5)),
    "transformer": Case(lambda i, o: CausalTransformer((2, 3), i, o, width=8, layers=2, heads=2)),
    "transformer, sequence": Case(lambda i, o: CausalTransformer((5,), i, o, width=8, layers=1, heads=1), compiles=True),
    "transformer, context": Case(lambda i, o: CausalTransformer((5,), i, o, width=8, layers=1, heads=2, context=2)),
    "transformer, map": Case(
        lambda i, o: CausalTransformer((2, 2), i, o, width=8, layers=1, heads=2, context=2, context_map=True)
    ),
    "transformer, dropout": Case(lambda i, o: CausalTransformer((5,), i, o, width=8, layers=2, heads=2, dropout=0.5)),
    "diagonal pixelcnn": Case(lambda i, o: DiagonalPixelCNN((2, 3), i, o, features=8, layers=2)),
    "diagonal pixelcnn, steep": Case(lambda i, o: DiagonalPixelCNN((2, 3), i, o, slope=2, features=8, layers=2, context=2)),
    "diagonal pixelcnn, map": Case(
        lambda i, o: DiagonalPixelCNN((2, 2), i, o, features=8, layers=1, context=2, context_map=True)
    ),
    "nade": Case(lambda i, o: NADE((2, 3), i, o, hidden=12, context=2)),
    "nade, diagonal": Case(lambda i, o: NADE((2, 3), i, o, hidden=12, order=Order.diagonal((2, 3)))),
}
