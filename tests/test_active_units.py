"""Which units of a latent are active."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyrogen.active_units import ACTIVE_SHARE, is_active


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_a_unit_is_active_by_its_share_of_the_priors_variance(make):
    variance, prior = make([0.0, 0.009, 0.011, 1.0, 1.0]), make([1.0, 1.0, 1.0, 99.0, 101.0])
    assert is_active(variance, prior).tolist() == [False, False, True, True, False]
    assert is_active(variance).tolist() == [False, False, True, True, True]


def test_the_scale_of_a_latent_does_not_matter():
    torch.manual_seed(0)
    variance, prior = 0.02 * torch.rand(100).double(), 1.0
    for scale in (1e-3, 1e3):
        assert torch.equal(is_active(scale**2 * variance, scale**2 * prior), is_active(variance, prior))
    assert 0 < int(is_active(variance).sum()) < 100
    assert ACTIVE_SHARE == 0.01
