"""Independent random streams from one seed.

Splitting, sampling and binarizing each read a stream of their own, so that asking for another validation
fraction, say, doesn't change which pixels of the test set are on. NumPy's generators are used because their
streams are the same on every device and at every thread count.
"""

from __future__ import annotations

import enum

import numpy as np

__all__ = ["Stream", "generator"]


class Stream(enum.IntEnum):
    """What a stream of random numbers is for."""

    PARTITION = 1
    TRAIN = 2
    VALIDATION = 3
    TEST = 4
    SAMPLE = 5
    INSTANCE = 6


def generator(seed: int, stream: Stream) -> np.random.Generator:
    """A new generator of a data set's seed, at least 0, and a stream: equal arguments give equal numbers."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(stream),)))
