"""Draws inside `forked` leave no trace outside, on the CPU and on a CUDA device."""

from __future__ import annotations

import pytest
import torch

from pyrogen.randomness import forked, seed_generators

CUDA = pytest.param(
    torch.device("cuda"),
    marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)
devices = pytest.mark.parametrize("device", [torch.device("cpu"), CUDA])


def draw(device):
    """Numbers from the generators of the CPU and of a device."""
    return [torch.rand(4, device=place).tolist() for place in ("cpu", device)]


def after_seed(device, seed=3):
    seed_generators(device, seed)
    return draw(device)


@devices
@pytest.mark.parametrize("seed", [None, 7])
def test_draws_outside_are_those_of_a_run_without_the_block(device, seed):
    seed_generators(device, 3)
    expected = [draw(device), draw(device)]
    seed_generators(device, 3)
    found = [draw(device)]
    with forked(device, seed):
        draw(device)
    found.append(draw(device))
    assert found == expected


@devices
def test_the_generators_go_on_inside_unless_they_are_seeded(device):
    following = after_seed(device)
    seed_generators(device, 3)
    with forked(device):
        assert draw(device) == following
    with forked(device, 7):
        seeded = draw(device)
    assert seeded != following
    assert seeded == after_seed(device, 7)
    assert draw(device) != seeded


@devices
def test_a_seed_is_that_of_torch(device):
    ours = after_seed(device)
    torch.manual_seed(3)
    assert draw(device) == ours


@devices
def test_generators_are_put_back_after_an_error(device):
    expected = after_seed(device)
    seed_generators(device, 3)
    with pytest.raises(ZeroDivisionError), forked(device, 7):
        draw(device).append(1 / 0)
    assert draw(device) == expected


@devices
@pytest.mark.parametrize("pack", [lambda x: x, lambda x: (x, x), lambda x: {"x": x}], ids=["tensor", "tuple", "dict"])
def test_a_batch_stands_for_its_device(device, pack):
    batch = pack(torch.zeros(2, device=device))
    expected = after_seed(device)
    seed_generators(batch, 3)
    with forked(batch, 7):
        inside = draw(device)
    assert draw(device) == expected
    assert inside == after_seed(device, 7)


def test_the_cpu_alone_is_forked_for_tensors_without_a_generator():
    with forked(torch.device("meta"), 3):
        inside = torch.rand(4).tolist()
    assert inside == after_seed(torch.device("cpu"))[0]
