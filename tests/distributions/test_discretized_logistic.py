"""The discretized logistic at its extremes, against arithmetic of 60 digits."""

from __future__ import annotations

import mpmath
import pytest
import torch

from pyrogen.distributions import DiscretizedLogistic, UnitGrid
from pyrogen.errors import ConfigurationError

LOCS = [-1e6, -3.0, 0.0, 0.5, 0.5019607843137255, 1.0, 2.0, 1e6]
SCALES = [1e-4, 1e-3, 0.05, 1.0, 1e3]


def reference(index, loc, scale, bins):
    """Log mass of a bin, by the definition, with so many digits that the difference keeps some."""
    # A mass may be as small as exp(-1e10): enough digits for the difference of two such sigmoids.
    with mpmath.workdps(60):
        last = bins - 1

        def edge(offset):
            return ((mpmath.mpf(index) + offset) / last - mpmath.mpf(loc)) / mpmath.mpf(scale)

        def below(t):
            return 1 / (1 + mpmath.exp(-t))

        half = mpmath.mpf(1) / 2
        if index == 0:
            return float(mpmath.log(below(edge(half))))
        if index == last:
            return float(mpmath.log(below(-edge(-half))))
        low, high = edge(-half), edge(half)
        if low > 0:  # by symmetry, the tail where sigmoids are small
            low, high = -high, -low
        return float(mpmath.log(below(high) - below(low)))


@pytest.mark.parametrize("bins", [2, 256])
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("loc", LOCS)
def test_log_prob_is_exact_in_the_tails(loc, scale, bins):
    distribution = DiscretizedLogistic(
        torch.tensor(loc, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64), bins=bins
    )
    indices = sorted({0, 1, bins // 2, bins - 2, bins - 1})
    values = torch.tensor(indices, dtype=torch.float64) / (bins - 1)
    expected = torch.tensor([reference(i, loc, scale, bins) for i in indices], dtype=torch.float64)
    assert torch.allclose(distribution.log_prob(values), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_log_prob_and_its_gradients_are_finite_everywhere(dtype):
    locs, scales = torch.meshgrid(torch.tensor(LOCS, dtype=dtype), torch.tensor(SCALES, dtype=dtype), indexing="ij")
    loc, scale = locs.clone().requires_grad_(), scales.clone().requires_grad_()
    distribution = DiscretizedLogistic(loc, scale)
    log_prob = distribution.log_prob(distribution.enumerate_support())
    assert log_prob.isfinite().all()
    assert (log_prob <= 0).all()
    for gradient in torch.autograd.grad(log_prob.sum(), (loc, scale)):
        assert gradient.isfinite().all()


def test_float32_keeps_the_digits_of_float64():
    locs, scales = torch.meshgrid(torch.tensor([-1.0, 0.2, 3.0]), torch.tensor([0.01, 1.0, 1e3]), indexing="ij")
    single, double = DiscretizedLogistic(locs, scales), DiscretizedLogistic(locs.double(), scales.double())
    of_single = single.log_prob(single.enumerate_support()).double()
    of_double = double.log_prob(double.enumerate_support())
    assert torch.allclose(of_single, of_double, rtol=1e-5, atol=1e-4)


def test_gradients_are_those_of_finite_differences():
    loc = torch.tensor([-0.1, 0.3, 1.2], dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([0.02, 0.1, 2.0], dtype=torch.float64, requires_grad=True)

    def log_probs(loc, scale):
        distribution = DiscretizedLogistic(loc, scale, bins=7)
        return distribution.log_prob(distribution.enumerate_support())

    assert torch.autograd.gradcheck(log_probs, (loc, scale))


def test_the_support_is_the_grid_of_8_bit_pixels():
    grid = UnitGrid(256)
    pixels = torch.arange(256, dtype=torch.uint8)
    assert grid.check(pixels / 255).all()
    assert grid.check(pixels.double() / 255).all()
    assert grid.check((pixels / 255).half()).all()
    assert not grid.check((pixels / 255).bfloat16()).all()  # it cannot tell one bin from the next
    assert not grid.check((pixels[1:-1] + 0.05) / 255).any()
    assert not grid.check((pixels + 0.5) / 256).all()
    assert not grid.check(pixels / 127.5 - 1).all()
    assert not grid.check(pixels[3:] * 1.0).any()
    assert grid.check(torch.tensor([0, 1, 2])).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"bins": 1}, ConfigurationError),
        ({"bins": 2.5}, ConfigurationError),
        ({"bins": True}, ConfigurationError),
        ({"scale": -1.0}, ValueError),
        ({"scale": 0.0}, ValueError),
        ({"loc": float("nan")}, ValueError),
    ],
)
def test_bad_arguments_are_refused(arguments, error):
    good = {"loc": torch.tensor(0.5), "scale": torch.tensor(0.1), "bins": 4}
    bad = {**good, **{k: v if k == "bins" else torch.tensor(v) for k, v in arguments.items()}}
    with pytest.raises(error):
        DiscretizedLogistic(**bad, validate_args=True)
