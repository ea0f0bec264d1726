"""Data of other libraries become the same tensors, and what cannot is refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from pyrogen.data.conversion import as_batch, by_rows
from pyrogen.errors import DataError

COUNTS = np.array([[0, 2, 0], [1, 0, 0], [0, 0, 0], [3, 0, 4]])
X = torch.arange(12.0).reshape(4, 3)
Y = torch.tensor([0, 1, 0, 1])


class Rows(Dataset):
    """Items of any kind, made by a function of their number."""

    def __init__(self, item, count=4):
        self.item, self.count = item, count

    def __len__(self):
        return self.count

    def __getitem__(self, row):
        return self.item(row)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


class Endless(Dataset):
    def __getitem__(self, row):
        return X[0]


READ_ONLY = X.numpy().copy()
READ_ONLY.setflags(write=False)

SAME = {
    "tensor": (X, X),
    "float64 array": (X.double().numpy(), X),
    "float16 array": (X.half().numpy(), X),
    "big-endian array": (X.numpy().astype(">f8"), X),
    "negative strides": (X.flip(0).numpy()[::-1], X),
    "read-only array": (READ_ONLY, X),
    "integers": (Y.numpy(), Y),
    "bytes of pixels": (COUNTS.astype(np.uint8), torch.from_numpy(COUNTS).to(torch.uint8)),
    "unsigned integers": (COUNTS.astype(np.uint16), torch.from_numpy(COUNTS)),
    "truth values": (COUNTS > 0, torch.from_numpy(COUNTS > 0)),
    "tuple": ((X.numpy(), Y), (X, Y)),
    "list": ([X.numpy(), Y.numpy()], (X, Y)),
    "dict": ({"x": X.numpy(), "y": Y}, {"x": X, "y": Y}),
    "series": (pd.Series([1.0, 2.0]), torch.tensor([1.0, 2.0])),
    "frame": (pd.DataFrame({"x": [1.5, 2.0], "n": [3, 4]}), {"x": torch.tensor([1.5, 2.0]), "n": torch.tensor([3, 4])}),
    "frame of nullable integers": (pd.DataFrame({"n": pd.array([3, 4], dtype="Int64")}), {"n": torch.tensor([3, 4])}),
    "CSR": (sparse.csr_matrix(COUNTS.astype(float)), torch.from_numpy(COUNTS).float()),
    "COO array": (sparse.coo_array(COUNTS), torch.from_numpy(COUNTS)),
    "torch's COO": (torch.from_numpy(COUNTS).float().to_sparse(), torch.from_numpy(COUNTS).float()),
    "tensor data set": (TensorDataset(X, Y), (X, Y)),
    "tensor data set of one": (TensorDataset(X), X),
    "subset": (Subset(TensorDataset(X, Y), [2, 0]), (X[[2, 0]], Y[[2, 0]])),
    "data set of tensors": (Rows(lambda row: X[row]), X),
    "data set of pairs": (Rows(lambda row: (X[row], int(Y[row]))), (X, Y)),
    "data set of dicts": (Rows(lambda row: {"x": X[row], "y": Y[row]}), {"x": X, "y": Y}),
    "longer than a batch": (Rows(lambda row: torch.tensor(float(row)), 2500), torch.arange(2500.0)),
    "loader, shuffled": (DataLoader(TensorDataset(X, Y), batch_size=3, shuffle=True), (X, Y)),
    "loader, the rest dropped": (DataLoader(Rows(lambda row: X[row]), batch_size=3, drop_last=True), X),
    "loader with a collate function": (
        DataLoader(
            Rows(lambda row: (X[row], "name")), batch_size=3, collate_fn=lambda items: torch.stack([x for x, _ in items])
        ),
        X,
    ),
    "loader of whole batches": (DataLoader(Rows(lambda row: X[2 * row : 2 * row + 2], 2), batch_size=None), X),
    "loader with a sampler of batches": (DataLoader(Rows(lambda row: X[row]), batch_sampler=[[3, 1], [0]]), X),
}


@pytest.mark.parametrize("name", SAME)
def test_data_become_tensors(name):
    data, expected = SAME[name]
    seen = as_batch(data)
    torch.testing.assert_close(seen, expected, rtol=0, atol=0)


def test_floating_point_arrays_have_the_default_type():
    torch.set_default_dtype(torch.float64)
    try:
        assert as_batch(X.numpy()).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta state")
def test_compressed_rows_of_torch():
    matrix = torch.from_numpy(COUNTS).float()
    assert torch.equal(as_batch(matrix.to_sparse_csr()), matrix)
    count, fetch = by_rows(matrix.to_sparse_csr())
    assert torch.equal(fetch(torch.tensor([3, 1])), matrix[[3, 1]])
    assert count == 4


def test_the_callers_array_is_not_shared():
    array = np.zeros((3, 2), dtype=np.float32)
    as_batch(array).add_(1)
    assert (array == 0).all()


REFUSED = {
    "text": (np.array(["a", "b"]), r"the data: values of type <U1 are no numbers: encode them"),
    "column of text": (pd.DataFrame({"x": [1.0], "s": ["a"]}), r"column 's': values of type .* are no numbers"),
    "category": (pd.DataFrame({"s": pd.Categorical(["a", "b"])}), r"column 's': .* the codes of a category"),
    "missing": (pd.DataFrame({"x": [1.0, np.nan]}), r"column 'x': row 1, counted from 0, misses its value"),
    "missing among integers": (
        pd.DataFrame({"x": pd.array([None, 1], dtype="Int64")}),
        r"column 'x': row 0, counted from 0",
    ),
    "columns without names": (pd.DataFrame(np.zeros((2, 2))), r"a column is called 0: .* frame.to_numpy\(\)"),
    "complex": ((np.zeros(3), np.zeros(3, dtype=complex)), r"part 1: values of type complex128"),
    "a number": (3.0, r"not float"),
    "an iterable": (Stream(), r"may have no end"),
    "loader of an iterable": (DataLoader(Stream()), r"may have no end"),
    "no length": (Endless(), r"Endless has no length: define __len__"),
    "no rows": (Rows(lambda row: X[row], 0), r"the data set is empty: Rows has 0 rows"),
    "items of no numbers": (Rows(lambda row: object()), r"items of a data set do not make a batch of tensors"),
    "text beside tensors": (Rows(lambda row: (X[row], "name")), r"1 of a batch is a (list|tuple), no tensor: leave it out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_data_is_refused(name):
    data, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        as_batch(data)


@pytest.mark.parametrize("name", ["CSR", "COO array", "torch's COO", "data set of pairs", "subset"])
def test_rows_are_those_of_the_whole(name):
    data, expected = SAME[name]
    count, fetch = by_rows(data)
    rows = torch.tensor([1, 0, 1])
    assert count == len(expected[0] if isinstance(expected, tuple) else expected)
    whole = tuple(part[rows] for part in expected) if isinstance(expected, tuple) else expected[rows]
    torch.testing.assert_close(fetch(rows), whole, rtol=0, atol=0)
