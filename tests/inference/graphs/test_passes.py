"""The Bernoulli likelihood and its slope from one exponential: the same numbers, also far outside."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx

from pyrogen.inference.graphs.passes import keep_bernoulli, share_exponentials


def loss_and_slope(x, t):
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
        (slope,) = torch.autograd.grad(loss.sum(), x)
    return loss.detach(), slope


def inputs(dtype=torch.float32):
    x = torch.cat([torch.linspace(-30, 30, 601), torch.tensor([-200.0, 0.0, -0.0, 200.0])]).to(dtype)
    return x, (torch.arange(len(x)) % 2).to(dtype)


def test_rewritten_graph_computes_the_same():
    x, t = inputs()
    module = make_fx(loss_and_slope)(x, t)
    assert share_exponentials(module) == 1
    assert "sigmoid" not in module.code
    assert "binary_cross_entropy" not in module.code
    exact_loss, exact_slope = loss_and_slope(*inputs(torch.float64))
    loss, slope = module(x, t)
    spacing = torch.finfo(torch.float32).eps
    assert ((loss - exact_loss).abs() <= 2 * spacing * exact_loss.clamp(min=1)).all()
    assert ((slope - exact_slope).abs() <= 2 * spacing).all()


@pytest.mark.parametrize(
    "function",
    [
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
        lambda x, t: (F.binary_cross_entropy_with_logits(x, t, reduction="sum"), x.sigmoid()),
        lambda x, t: (F.binary_cross_entropy_with_logits(x, t, weight=t, reduction="none"), x.sigmoid()),
        lambda x, t: (F.binary_cross_entropy_with_logits(x.double(), t, reduction="none"), x.double().sigmoid()),
    ],
    ids=["without its slope", "summed", "weighted", "in double precision"],
)
def test_other_uses_are_left_alone(function):
    assert share_exponentials(make_fx(function)(*inputs())) == 0


def test_bernoulli_draws_are_those_of_an_eager_run():
    """As inductor would decompose them, on CUDA they are others for the same seed."""

    def draw(p):
        return torch.bernoulli(p), torch.bernoulli(p.t()) + torch.bernoulli(p).t()

    p = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    module = make_fx(draw)(p)
    assert "bernoulli.default" in module.code
    keep_bernoulli(module)
    assert "bernoulli.default" not in module.code
    torch.manual_seed(1)
    expected = draw(p)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(module(p), expected, strict=True))
