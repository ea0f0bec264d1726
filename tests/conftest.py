"""What all tests share: one thread, for many small tensors gain nothing from more, and a busy machine loses much."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

torch.set_num_threads(1)
