"""``pictures.npz`` of a run: data and their reconstructions, samples, completions, and walks through the latent space.

Named axes: data, latents, steps (of a walk), shape (of a datum).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyrogen.errors import PairError
from pyrogen.saving import replace_file

from .causal_pictures import Causal, causal_pictures

if TYPE_CHECKING:
    from torch import Tensor

    from pyrogen.data import Split
    from pyrogen.pair import Pair

__all__ = ["as_data", "save_pictures", "spread_rows"]

_WALKED_ROWS = 256
"""Data over which a walk looks for the latents that vary most."""

_LEADING = {"traversal": 2, "completions": 2, "known": 0}
"""Leading axes of those arrays that have another number of them than one."""
_MAPS = ("order", "receptive", "receptive_at")
"""Arrays that have no datum's shape."""


def save_pictures(
    pair: Pair, split: Split, directory: str | Path, *, count: int = 20, samples: int = 64, seed: int = 0
) -> dict[str, str]:
    """Write ``pictures.npz``, from which the report draws.

    Args:
        pair: the fitted pair.
        split: the data to reconstruct and to walk from; not those that the pair was fitted to.
        directory: where the file goes.
        count: how many data to reconstruct.
        samples: how many samples to draw.
        seed: seeds the draws; the caller's generators are left as they were.

    Returns:
        What the pair cannot make, with the reasons.
    """
    import numpy as np

    from pyrogen.batch import arguments, index
    from pyrogen.inference import reconstruct, sample, traverse
    from pyrogen.randomness import forked, seed_generators
    from pyrogen.run_directory import fingerprint

    device = next(pair.parameters()).device
    batch = spread_rows(split, _WALKED_ROWS).to(device).fixed()
    some = index(batch, slice(count))
    (inputs, *_), _ = arguments(some)
    makers: dict[str, Callable[[], Tensor]] = {"samples": lambda: sample(pair, batch, samples, mean=None)}
    if pair.has_density and pair.structure(batch).latents:
        makers |= {
            "inputs": lambda: inputs,
            "reconstructions": lambda: reconstruct(pair, some, mean=None),
            "traversal": lambda: traverse(pair, batch),
        }
    arrays, missing = {}, {}
    with forked(device):
        for name, make in makers.items():
            seed_generators(device, seed)
            try:
                arrays[name] = as_data(make(), split.shape, leading=_LEADING.get(name, 1)).cpu().numpy()
            except PairError as error:
                missing[name] = str(error)
        if isinstance(pair, Causal):
            for name, made in causal_pictures(pair, inputs).items():
                data = made if name in _MAPS else as_data(made, split.shape, leading=_LEADING.get(name, 1))
                arrays[name] = data.cpu().numpy()
    if "reconstructions" not in arrays:
        arrays.pop("inputs", None)  # which are there to be compared with them
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with replace_file(directory / "pictures.npz") as temporary:
        np.savez_compressed(temporary, allow_pickle=False, parameters=fingerprint(pair.state_dict()), **arrays)
    return missing


def spread_rows(split: Split, count: int) -> Split:
    """At most so many rows, evenly spread over all of them, in case files are sorted.

    Example:
        >>> from pyrogen.data import load
        >>> rows = load("digits").test
        >>> len(rows), len(spread_rows(rows, 1000))
        (180, 180)
        >>> bool((spread_rows(rows, 3).values == rows[[0, 60, 120]].values).all())
        True
    """
    rows = len(split)
    return split if rows <= count else split[[number * rows // count for number in range(count)]]


def as_data(values: Tensor, shape: Sequence[int], *, leading: int = 1) -> Tensor:
    """What a pair made, in the shape of the data.

    Args:
        values: (leading axes..., event...).
        shape: shape of a datum.
        leading: number of leading axes.

    Returns:
        (leading axes..., shape...).

    Raises:
        PairError: it has not as many values as a datum.
    """
    made = math.prod(values.shape[leading:])
    if made != math.prod(shape):
        raise PairError(f"the observed site has {made} values where a datum has {math.prod(shape)}")
    return values.detach().reshape(*values.shape[:leading], *shape)  # (leading axes..., shape...)
