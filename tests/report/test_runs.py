"""What is damaged is refused by an error that names the file and says what to do."""

import copy
import json

import numpy as np
import pytest

from pyrogen.errors import ConfigurationError, DataError
from pyrogen.report import load_config, load_history, load_pictures, load_record


def test_what_was_saved_comes_back(run_directory, record):
    loaded = load_record(run_directory)
    assert loaded["rows"] == record["rows"]
    assert np.isnan(loaded["estimates"][2]["khat"][2])
    history = load_history(run_directory)
    assert history["loss"].tolist() == [50, 40, 35]
    np.testing.assert_array_equal(history["validation"], [np.nan, -42, -43.5])
    assert load_pictures(run_directory)["traversal"].shape == (2, 5, 1, 8, 8)
    assert "steps: 300" in load_config(run_directory)


@pytest.mark.parametrize(
    ("load", "name", "error"),
    [
        (load_record, "comparison.json", DataError),
        (load_history, "history.csv", DataError),
        (load_pictures, "pictures.npz", DataError),
        (load_config, "config.yaml", ConfigurationError),
    ],
)
def test_a_missing_or_garbled_file_is_named(tmp_path, load, name, error):
    with pytest.raises(error, match=name):
        load(tmp_path)
    (tmp_path / name).write_bytes(b"\xff\xfe\x00garbage: [")
    with pytest.raises(error, match=name):
        load(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(error, match=name):
        load(tmp_path)


def put(*path_and_value):
    """A change to a record: sets the last value at the path of the others."""
    *path, last, value = path_and_value

    def change(record):
        for step in path:
            record = record[step]
        record[last] = value

    return change


DAMAGE = [
    (put("version", 2), "version 2"),
    (put("data", []), "'data' is not a mapping"),
    (put("rows", {}), "'rows' is not a list"),
    (put("sentences", "one"), "'sentences' is not a list"),
    (put("rows", 0, "ELBO"), r"rows\[0\] is not a mapping"),
    (put("rows", 0, "name", 3), r"rows\[0\] is not a mapping with a 'name'"),
    (put("rows", 1, "kind", "sideways"), r"rows\[1\]: kind is 'sideways', not one of lower"),
    (put("rows", 1, "error", "small"), r"rows\[1\]: error is 'small', not a number"),
    (put("rows", 1, "warnings", "many"), r"rows\[1\]: 'warnings' is not a list"),
    (put("rows", 1, {"name": "IWAE", "kind": "lower"}), r"rows\[1\] has no 'nats'"),
    (put("estimates", 0, "name", "other"), "same order"),
    (put("estimates", 0, None), "same order"),
    (put("estimates", 2, "khat", ["high"]), r"estimates\[2\].khat is not a list of numbers"),
    (put("estimates", 2, "ess", 3), r"estimates\[2\].ess is not a list of numbers"),
    (put("estimates", 1, "curve", []), "curve is not a mapping"),
    (put("estimates", 1, "curve", "error", [0.1]), "different lengths"),
    (put("estimates", 1, "curve", "bound", None), "different lengths"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGE)
def test_a_damaged_record_is_refused_by_place(tmp_path, record, change, message):
    damaged = copy.deepcopy(record)
    change(damaged)
    (tmp_path / "comparison.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match=message) as raised:
        load_record(tmp_path)
    assert "comparison.json" in str(raised.value)
    assert "save" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"), [("[1]", "expected a mapping"), ("[" * 100_000, "not valid JSON"), ("{}", "no 'rows'")]
)
def test_json_that_is_no_record_is_refused(tmp_path, text, message):
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(DataError, match=message):
        load_record(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the header is"),
        ("a,b\n1,2\n", "line 1: the header is"),
        ("step,loss\n1,2\n3\n", "line 3: 1 fields under a header of 2"),
        ("step,loss\n1,two\n", "line 2: .*two"),
    ],
)
def test_a_damaged_history_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_history(tmp_path)


def test_columns_that_a_history_lacks_are_not_measured(tmp_path):
    (tmp_path / "history.csv").write_text("step,loss\n1,nan\n2,inf\n")
    history = load_history(tmp_path)
    assert np.isnan(history["validation"]).tolist() == [True, True]
    assert history["loss"].tolist()[1] == float("inf")


def test_pictures_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "pictures.npz", samples=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match=r"pictures\.npz is not an archive of numeric arrays"):
        load_pictures(tmp_path)


@pytest.mark.parametrize(
    "write", [lambda file: np.save(file, np.zeros(3)), lambda file: np.savez(file, samples=np.array(["a"]))]
)
def test_arrays_that_are_no_pictures_are_refused(tmp_path, write):
    with (tmp_path / "pictures.npz").open("wb") as file:
        write(file)
    with pytest.raises(DataError, match=r"pictures\.npz"):
        load_pictures(tmp_path)


@pytest.mark.parametrize("cut", [0.3, 0.9])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_that_was_cut_or_garbled_is_refused(tmp_path, save, cut):
    path = tmp_path / "pictures.npz"
    save(path, samples=np.random.default_rng(0).random((4, 9)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(DataError, match=r"pictures\.npz"):
        load_pictures(tmp_path)
    place = int(0.5 * len(whole))
    path.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
    with pytest.raises(DataError, match=r"pictures\.npz"):
        load_pictures(tmp_path)


def test_a_configuration_must_be_a_mapping(tmp_path):
    (tmp_path / "config.yaml").write_text("- 1\n")
    with pytest.raises(ConfigurationError, match="holds list, not a mapping"):
        load_config(tmp_path)
