"""Small batches of the shapes and types that the examples' own data have."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["grey_images", "one_hot"]


def grey_images(rows: int, seed: int = 0) -> Tensor:
    """Soft strokes on black, in [0, 1]: (rows, 28, 28)."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(rows, 2, 1, 1, generator=generator) * 16 + 6
    width = torch.rand(rows, 2, 1, 1, generator=generator) * 30 + 6
    axis = torch.arange(28.0)
    across = (axis[None, :, None] - centre[:, 0]) ** 2 / width[:, 0]
    down = (axis[None, None, :] - centre[:, 1]) ** 2 / width[:, 1]
    return torch.exp(-(across + down)).clamp(0.0, 1.0)  # (rows, 28, 28)


def one_hot(rows: int, classes: int, seed: int = 0) -> Tensor:
    """Labels in turn: (rows, classes)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.one_hot(torch.randint(classes, (rows,), generator=generator), classes).float()
