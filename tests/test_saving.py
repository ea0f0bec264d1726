"""A file is replaced at once or not at all."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from pyrogen.saving import replace_file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    return path


def names(path):
    return sorted(each.name for each in path.parent.iterdir())


def test_the_old_file_stands_until_the_block_ends(file):
    with replace_file(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert names(file) == ["file.txt"]


def test_a_new_file_is_made_with_the_rights_of_any_other(file):
    made = file.with_name("made.txt")
    with replace_file(str(made)) as temporary:
        temporary.write_text("new")
    assert made.read_text() == "new"
    assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE(file.stat().st_mode)


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("written", [False, True])
def test_after_an_error_the_old_file_is_as_it_was(file, kind, written):
    def write(temporary):
        if written:
            temporary.write_text("half")
        raise kind

    with pytest.raises(kind), replace_file(file) as temporary:
        write(temporary)
    assert file.read_text() == "old"
    assert names(file) == ["file.txt"]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_a_disk_that_refuses_leaves_the_old_file(file, monkeypatch, name):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, name, full)
    with pytest.raises(OSError, match="no space"), replace_file(file) as temporary:
        temporary.write_text("new")
    assert file.read_text() == "old"
    assert names(file) == ["file.txt"]


def test_it_is_on_the_disk_before_it_is_renamed(file, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor):
        calls.append(("fsync", os.fstat(descriptor).st_ino))
        fsync(descriptor)

    def renamed(source, target):
        calls.append(("replace", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    with replace_file(file) as temporary:
        temporary.write_text("new")
    assert calls == [("fsync", file.stat().st_ino), ("replace", file.stat().st_ino)]


def test_a_block_that_writes_nothing_is_an_error(file):
    with pytest.raises(FileNotFoundError), replace_file(file):
        pass
    assert file.read_text() == "old"


def test_the_name_ends_as_the_file_does(tmp_path):
    path = tmp_path / "arrays.npz"
    with replace_file(path) as temporary:
        np.savez(temporary, x=np.arange(3))  # which puts .npz behind any other name
    with np.load(path) as arrays:
        assert arrays["x"].tolist() == [0, 1, 2]
    assert names(path) == ["arrays.npz"]


def test_two_at_a_time_do_not_meet(file):
    with replace_file(file) as first, replace_file(file) as second:
        first.write_text("first")
        second.write_text("second")
    assert file.read_text() == "first"  # the outer block ends last
