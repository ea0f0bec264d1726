"""Data from openml.org: the fetching is scikit-learn's; what it returns or raises is imitated, without a network."""

from __future__ import annotations

from http.client import IncompleteRead
from urllib.error import URLError

import numpy as np
import pandas
import pytest
from sklearn.utils import Bunch

from pyrogen.data import load
from pyrogen.errors import DataError

TABLE = np.random.default_rng(0).normal(size=(20, 3))


def fetch(monkeypatch, result):
    calls = []

    def fetch_openml(name, **options):
        calls.append((name, options["version"]))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch_openml)
    return calls


def found(target):
    return Bunch(data=pandas.DataFrame(TABLE, columns=list("abc")), target=target)


def test_rows_and_target(monkeypatch):
    target = pandas.Series(["dog", "cat"] * 10, dtype="category")
    calls = fetch(monkeypatch, found(target))
    data = load("openml:pets", labels=True)
    assert data.name == "pets"
    by_value = {value: 1 - row % 2 for row, value in enumerate(TABLE.astype(np.float32)[:, 0].tolist())}
    assert data.train.labels.tolist() == [by_value[value] for value in data.train.values[:, 0].tolist()]
    assert load("openml:pets@3").train.labels is None
    assert calls == [("pets", "active"), ("pets", 3)]


def test_offline(monkeypatch):
    fetch(monkeypatch, URLError("no route"))
    with pytest.raises(DataError, match=r"openml:pets: can't be fetched.*no route.*needs the network"):
        load("openml:pets")


def test_cut_off(monkeypatch):
    fetch(monkeypatch, IncompleteRead(b""))
    with pytest.raises(DataError, match="needs the network"):
        load("openml:pets")


def test_unknown(monkeypatch):
    fetch(monkeypatch, ValueError("No known OpenML dataset"))
    with pytest.raises(DataError, match=r"openml:pest: can't be used.*check its name"):
        load("openml:pest")


@pytest.mark.parametrize("target", [None, pandas.DataFrame({"a": [1] * 20, "b": [2] * 20})])
def test_no_single_target(monkeypatch, target):
    fetch(monkeypatch, found(target))
    with pytest.raises(DataError, match="openml:pets: there are no labels"):
        load("openml:pets", labels=True)
