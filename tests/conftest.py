"""What all tests share: one thread, for many small tensors gain nothing from more, and a busy machine loses much."""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyro
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _a_parameter_store_of_its_own() -> Iterator[None]:
    """What one test trains with Pyro's SVI is not taken over by the pairs of the next."""
    with pyro.get_param_store().scope():
        yield
