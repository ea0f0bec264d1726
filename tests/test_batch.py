"""Batches."""

from collections import namedtuple

import pytest
import torch

from pyrogen.batch import arguments, device_of, index, length, map_tensors, signature
from pyrogen.errors import DataError

X, Y = torch.arange(12.0).reshape(4, 3), torch.arange(4)
Labelled = namedtuple("Labelled", ["x", "y"])
FORMS = {
    "tensor": (X, (X,), {}),
    "tuple": ((X, Y), (X, Y), {}),
    "list": ([X, Y], (X, Y), {}),
    "named tuple": (Labelled(X, Y), (X, Y), {}),
    "dict": ({"y": Y, "x": X}, (), {"x": X, "y": Y}),
    "with a flag": ((X, True), (X, True), {}),
}
every_form = pytest.mark.parametrize(("batch", "args", "kwargs"), FORMS.values(), ids=FORMS)


@every_form
def test_a_batch_reaches_a_program_as_svi_would_pass_it(batch, args, kwargs):
    seen = arguments(batch)
    assert len(seen[0]) == len(args)
    assert all(one is other for one, other in zip(seen[0], args, strict=True))
    assert seen[1].keys() == kwargs.keys()
    assert all(seen[1][name] is value for name, value in kwargs.items())
    assert length(batch) == 4
    assert device_of(batch) == torch.device("cpu")


@every_form
@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([1, 2]), torch.tensor([False, True, True, False])])
def test_rows_are_taken_from_every_tensor(batch, args, kwargs, rows):
    part = index(batch, rows)
    for whole, taken in zip([*args, *kwargs.values()], [*arguments(part)[0], *(part[n] for n in kwargs)], strict=True):
        assert torch.equal(taken, whole[1:3]) if isinstance(whole, torch.Tensor) else taken is whole
    assert isinstance(part, dict) == isinstance(batch, dict)


@every_form
def test_a_signature_tells_kinds_of_batches_apart_but_not_sizes(batch, args, kwargs):
    assert hash(signature(batch)) == hash(signature(index(batch, slice(2))))
    assert signature(batch) == signature(index(batch, slice(2)))
    others = [map_tensors(batch, change) for change in (torch.Tensor.bool, torch.Tensor.double, lambda t: t.unsqueeze(-1))]
    assert len({signature(other) for other in (batch, *others)}) == 4
    assert signature((X, Y)) != signature({"x": X, "y": Y})
    assert signature({"y": Y, "x": X}) == signature({"x": X, "y": Y})


def loader():
    raise AssertionError("a data loader was run through")
    yield X


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (X[:0], "the batch is empty: it has 0 rows"),
        ((X[:0], Y[:0]), "the batch is empty"),
        (X[0, 0], "holds a scalar tensor: every tensor of a batch has the data as its leading dimension"),
        ((X, Y[:3]), r"disagree in their leading dimension: \[3, 4\]; each must have one row per datum"),
        ({"x": X, "y": Y[:1]}, r"disagree in their leading dimension: \[1, 4\]"),
        ((), "must be a tensor or a tuple or dict of tensors, and this one holds none: tuple"),
        ([1.0, 2.0], "this one holds none: list"),
        ({"x": "a.png"}, "this one holds none: dict"),
        (X.numpy(), "not ndarray: turn an array into a tensor with torch.as_tensor"),
        (loader(), "not generator: .* hand over a data loader's batches one by one"),
        ("data.csv", "not str"),
        (None, "not NoneType"),
        (3, "not int"),
    ],
)
def test_what_is_no_batch_is_refused(batch, message):
    with pytest.raises(DataError, match=message):
        length(batch)
    if not isinstance(batch, (torch.Tensor, tuple, list, dict)):
        for use in (arguments, signature, device_of, lambda batch: index(batch, slice(1))):
            with pytest.raises(DataError, match=message):
                use(batch)
