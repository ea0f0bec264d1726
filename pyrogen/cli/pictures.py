"""``pictures.npz`` of a run: data and their reconstructions, samples, and walks through the latent space.

Of a fully visible pair, also completions of half data, the order of drawing, and what a pixel sees.

Named axes: data, completions, latents, steps (of a walk), shape (of a datum), fields (receptive ones), grid (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrogen.errors import PairError
from pyrogen.saving import replace_file

from .options import spread_rows

if TYPE_CHECKING:
    from torch import Tensor

    from pyrogen.data import Split
    from pyrogen.pair import Pair

__all__ = ["as_data", "save_pictures"]

_WALKED_ROWS = 256
"""Data over which a walk looks for the latents that vary most."""

_LEADING = {"traversal": 2, "completions": 2, "known": 0}
"""Leading axes of those arrays that have another number of them than one."""
_COMPLETED = 6
"""Data that are completed, each `_COMPLETIONS` times."""
_COMPLETIONS = 8


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
        distribution = getattr(pair, "distribution", None)  # makes the one that all data of a fully visible pair come from
        if distribution is not None:
            drawn, maps = _causal_pictures(distribution(), inputs)
            for name, made in drawn.items():
                maps[name] = as_data(made, split.shape, leading=_LEADING.get(name, 1))
            arrays |= {name: made.cpu().numpy() for name, made in maps.items()}
    if "reconstructions" not in arrays:
        arrays.pop("inputs", None)  # which are there to be compared with them
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with replace_file(directory / "pictures.npz") as temporary:
        np.savez_compressed(temporary, allow_pickle=False, parameters=fingerprint(pair.state_dict()), **arrays)
    return missing


def as_data(values: Tensor, shape: Sequence[int], *, leading: int = 1) -> Tensor:
    """What a pair made, (leading axes..., event...), in the shape of the data: (leading axes..., shape...).

    Raises:
        PairError: it has not as many values as a datum.
    """
    made = math.prod(values.shape[leading:])
    if made != math.prod(shape):
        raise PairError(f"the observed site has {made} values where a datum has {math.prod(shape)}")
    return values.detach().reshape(*values.shape[:leading], *shape)


def _causal_pictures(found: Any, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What only an `Autoregressive` distribution can show of data (data, event): arrays of data, and maps of an image.

    ``completed`` (data, event), ``known`` (event,), true for the upper half of an image or the first half of a sequence, and
    ``completions`` (data, completions, event); ``order`` (grid), the step at which each pixel is drawn, ``receptive``
    (fields, grid) and ``receptive_at`` (fields, 2), the pixels whose fields these are.
    """
    import torch

    from pyrogen.nets.causal import receptive_field

    network, family, grid = found.network, found.family, found.network.grid
    some = x[:_COMPLETED]
    known = torch.zeros(family.channels, *grid, dtype=torch.bool, device=x.device)
    known[:, : (grid[0] + 1) // 2] = True
    repeated = some.unsqueeze(1).expand(-1, _COMPLETIONS, -1)
    completions = found.complete(repeated, known.flatten(), progress=False)
    drawn = {"completed": some, "known": known.flatten(), "completions": completions}
    if len(grid) != 2:
        return drawn, {}
    order = torch.empty(network.positions)
    for step, group in enumerate(network.groups):
        order[list(group)] = step
    height, width = grid
    at = [(height // 2, width // 2), (height // 2, width - 1), (height - 1, width // 2)]
    values = family.encode(some.reshape(-1, family.channels, *grid).to(network.example))
    fields = torch.stack([receptive_field(network, row * width + column, values) for row, column in at])
    return drawn, {"order": order.reshape(grid), "receptive": fields, "receptive_at": torch.tensor(at)}
