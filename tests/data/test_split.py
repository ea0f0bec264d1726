"""A split: which rows a batch holds, and that its draws are what they are said to be."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pyrogen.data import Split, from_arrays
from pyrogen.data.binarize import BINARIZATIONS
from pyrogen.errors import DataError

ROWS, DIMENSIONS = 60, 5

INDICES = {
    "all": slice(None),
    "first": slice(7),
    "step": slice(2, 50, 3),
    "backwards": slice(30, 4, -2),
    "one": 11,
    "last": -1,
    "numpy number": np.int64(3),
    "list": [5, 1, 1, -2],
    "empty list": [],
    "tensor": torch.tensor([9, 0, 9, -1]),
    "tensor of one": torch.tensor(7),
    "small integers": torch.tensor([9, 0, 59], dtype=torch.uint8),
    "array": np.array([4, 2]),
    "truth values": torch.arange(ROWS) % 4 == 1,
}


def grey(binarize: str = "none", seed: int = 0, labels: bool = True) -> Split:
    """Sixty test rows whose label is their number."""
    values = np.random.default_rng(7).random((ROWS, DIMENSIONS))
    numbers = np.arange(ROWS)
    data = from_arrays(
        values,
        values,
        train_labels=numbers if labels else None,
        test_labels=numbers,
        binarize=binarize,
        seed=seed,
    )
    return data.test


def expected_rows(index: object) -> list[int]:
    """What NumPy selects, with a number as a list of one."""
    plain = index.numpy() if isinstance(index, torch.Tensor) else index
    if isinstance(plain, slice):
        return list(range(ROWS))[plain]
    plain = np.atleast_1d(plain)
    return np.arange(ROWS)[plain if plain.dtype == np.bool_ else plain.astype(int)].tolist()


@pytest.mark.parametrize("binarize", BINARIZATIONS)
@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_a_part_is_those_rows_in_all_its_tensors(binarize, index):
    split = grey(binarize)
    part = split[index]
    rows = expected_rows(index)
    assert len(part) == len(rows)
    assert part.labels.tolist() == rows
    assert torch.equal(part.values, split.values[rows])
    values, labels = part.fixed()
    assert torch.equal(values, split.fixed()[0][rows])
    assert labels.tolist() == rows
    assert (part.shape, part.name, part.seed, part.binarize) == (
        split.shape,
        split.name,
        split.seed,
        split.binarize,
    )


@pytest.mark.parametrize("binarize", BINARIZATIONS)
def test_fixed_is_the_same_after_nested_slicing_and_moving(binarize):
    split = grey(binarize)
    whole = split.fixed()[0]
    assert torch.equal(split.fixed()[0], whole)
    assert torch.equal(split[10:][::2][[3, 1]].to("cpu")[1].fixed()[0], whole[[12]])


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_draws_depend_on_the_seed_and_differ_between_splits(binarize):
    assert torch.equal(grey(binarize, seed=3).fixed()[0], grey(binarize, seed=3).fixed()[0])
    assert not torch.equal(grey(binarize, seed=3).fixed()[0], grey(binarize, seed=4).fixed()[0])
    half = np.full((ROWS, DIMENSIONS), 0.5)
    data = from_arrays(half, half, binarize=binarize, validation=0.5)
    parts = [data.train.fixed()[:30], data.validation.fixed()[:30], data.test.fixed()[:30]]
    assert not any(torch.equal(parts[i], parts[j]) for i, j in [(0, 1), (0, 2), (1, 2)])


def test_threshold_is_above_one_half():
    values = np.array([[0.0, 0.5, np.nextafter(0.5, 1, dtype=np.float32), 1.0]] * 3)
    assert from_arrays(values, binarize="threshold").test.fixed().tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("kind", ["dynamic training", "dynamic evaluation", "static"])
def test_draws_are_bernoulli(kind):
    probabilities = np.array([0.0, 0.001, 0.3, 0.5, 0.97, 1.0])
    rows = 20_000
    data = from_arrays(
        np.tile(probabilities, (3, 1)),
        np.tile(probabilities, (rows, 1)),
        binarize="static" if kind == "static" else "dynamic",
    )
    torch.manual_seed(0)
    batch = data.test.draw() if kind == "dynamic training" else data.test.fixed()
    assert set(batch.unique().tolist()) == {0.0, 1.0}
    error = np.sqrt(probabilities * (1 - probabilities) / rows)
    # Five standard errors, and exactly for the probabilities 0 and 1.
    assert (np.abs(batch.double().mean(0).numpy() - probabilities) <= 5 * error).all()
    # Values of a row are independent of each other and of those of the next row.
    noise = (batch.double().numpy() - probabilities)[:, 1:-1] / np.sqrt(probabilities * (1 - probabilities))[1:-1]
    within = (noise[:, 1] * noise[:, 2]).mean()
    between = (noise[:-1, 2] * noise[1:, 2]).mean()
    assert max(abs(within), abs(between)) < 5 / math.sqrt(rows - 1)


def test_dynamic_batches_are_fresh_and_follow_the_default_generator():
    split = grey("dynamic")
    index = torch.arange(30)
    torch.manual_seed(5)
    first, second = split.draw(index)[0], split.draw(index)[0]
    assert not torch.equal(first, second)
    torch.manual_seed(5)
    assert torch.equal(split.draw(index)[0], first)


@pytest.mark.parametrize("binarize", ["none", "threshold", "static"])
def test_other_batches_are_the_rows_themselves(binarize):
    split = grey(binarize)
    index = torch.tensor([8, 3, 3])
    values, labels = split.draw(index)
    assert torch.equal(values, split.fixed()[0][index])
    assert labels.tolist() == [8, 3, 3]
    assert torch.equal(split.draw()[0], split.fixed()[0])
    assert split.draw()[1].tolist() == list(range(ROWS))


def test_batches_without_labels_are_tensors():
    split = grey("dynamic", labels=False)
    assert split.labels is None
    assert split.draw().shape == split.fixed().shape == (ROWS, DIMENSIONS)
    assert split.draw().dtype == split.fixed().dtype == torch.float32


def test_evaluation_leaves_the_generators_alone():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global state is what is watched
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    grey("dynamic").fixed()
    grey("static").fixed()
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("binarize", BINARIZATIONS)
def test_a_batch_reads_no_value_on_the_host(binarize):
    # On the meta device there are no values to read; with fake tensors, reading one raises, and so do two devices.
    split = grey(binarize)
    meta = split.to("meta")
    assert meta.draw(torch.zeros(4, dtype=torch.long, device="meta"))[0].shape == (4, DIMENSIONS)
    with FakeTensorMode(allow_non_fake_inputs=True):
        cuda = split.to("cuda:0")
        values, labels = cuda.draw(torch.randint(ROWS, (4,), device="cuda:0"))
        assert values.device == labels.device == torch.device("cuda:0")
        assert values.shape == (4, DIMENSIONS)
        assert cuda.fixed()[0].device == torch.device("cuda:0")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("binarize", BINARIZATIONS)
def test_on_a_real_device(binarize):
    split = grey(binarize)
    cuda = split.to("cuda")
    assert torch.equal(cuda[::-1].fixed()[0].cpu(), split[::-1].fixed()[0])
    index = torch.tensor([3, 1], device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        values, labels = cuda.draw(index)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert labels.tolist() == [3, 1]
    assert values.shape == (2, DIMENSIONS)


def test_describe_is_ready_for_json():
    description = grey("static", seed=9)[:10].describe()
    assert json.loads(json.dumps(description)) == {
        "name": "arrays/test",
        "rows": 10,
        "dimensions": DIMENSIONS,
        "binarize": "static",
        "seed": 9,
    }


def test_a_split_shows_what_it_is_and_not_its_values():
    assert repr(grey("dynamic")) == (
        "Split('arrays/test', 60 rows of (5,), labelled, binarize='dynamic', seed=0, device='cpu')"
    )


BAD_INDICES = {
    "too great": (ROWS, "row 60 of 60"),
    "too small": (-ROWS - 1, "row -61 of 60"),
    "real numbers": ([0.5], "pass integers"),
    "too great in a list": ([0, ROWS], "out of bounds"),
}


@pytest.mark.parametrize(("index", "message"), BAD_INDICES.values(), ids=BAD_INDICES.keys())
def test_bad_indices(index, message):
    with pytest.raises(IndexError, match=message):
        grey()[index]


def test_iteration_ends():
    assert [split.labels.item() for split in grey()] == list(range(ROWS))


BAD_SPLITS = {
    "not flattened": ({"values": torch.zeros(3, 2, 2)}, "aren't flattened"),
    "another shape": ({"values": torch.zeros(3, 5)}, "aren't flattened"),
    "labels": ({"labels": torch.zeros(2)}, r"labels of shape \(2,\) for 3 rows"),
    "no evaluation": ({"binarize": "dynamic"}, "evaluation of shape None"),
    "evaluation unwanted": ({"evaluation": torch.zeros(3, 4)}, "evaluation of shape"),
    "evaluation short": ({"binarize": "dynamic", "evaluation": torch.zeros(2, 4)}, "evaluation of shape"),
}


@pytest.mark.parametrize(("change", "message"), BAD_SPLITS.values(), ids=BAD_SPLITS.keys())
def test_bad_splits(change, message):
    good = {"values": torch.zeros(3, 4), "labels": None, "shape": (1, 2, 2), "name": "bad/train"}
    Split(**good)
    with pytest.raises(DataError, match=message):
        Split(**(good | change))
