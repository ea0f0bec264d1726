"""Torch's global random generators: drawing without a trace, and seeding a device.

Only the generators of the CPU and of one CUDA device are touched; those of other devices stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .batch import Batch, device_of

__all__ = ["forked", "seed_generators"]


@contextmanager
def forked(place: torch.device | Batch, seed: int | None = None) -> Iterator[None]:
    """Put torch's generators back on leaving the block, also after an error: nothing drawn inside is seen outside.

    Args:
        place: the device on which the block draws, or a batch on it. The CPU's generator is put back in any case.
        seed: seeds the generators on entering, as `seed_generators` does; they go on from where they are if left out.

    Example:
        >>> with forked(torch.device("cpu"), seed=0):
        ...     inside = torch.rand(3)
        >>> bool((inside == torch.rand(3, generator=torch.Generator().manual_seed(0))).all())
        True
    """
    device = _device(place)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            seed_generators(device, seed)
        yield


def seed_generators(place: torch.device | Batch, seed: int) -> None:
    """Seed the generators of the CPU and of a device, or of a batch's, with any number that `torch.manual_seed` takes."""
    device = _device(place)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def _device(place: torch.device | Batch) -> torch.device:
    return place if isinstance(place, torch.device) else device_of(place)
