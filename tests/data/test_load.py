"""Every source is read as it was written, and its rows are dealt to splits that share none."""

from __future__ import annotations

import ast
import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import pyrogen.data
from pyrogen.data import from_arrays, load
from pyrogen.data.idx import read_idx
from pyrogen.data.image_files import read as read_images
from pyrogen.data.loading import FAMILIES, SUFFIXES
from pyrogen.errors import ConfigurationError, DataError

MNIST = os.environ.get("PYROGEN_MNIST")

TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def write_idx(path: Path, array: np.ndarray, zipped: bool = False) -> Path:
    """Write an IDX file, independently of the code that reads it."""
    code = TYPES[array.dtype.str[1:]]
    raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    raw += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    return path


def grey_images(rows: int, first: int = 0) -> np.ndarray:
    """Images of 3x2 pixels that all differ: the first two pixels count them, the last is white."""
    images = np.zeros((rows, 3, 2), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = divmod(np.arange(first, first + rows), 256)
    images[:, 2, 1] = 255
    return images


def write_mnist(folder: Path, train: int = 36, test: int = 5, zipped: bool = False, labels: bool = True) -> Path:
    """The four files; the label of a row is its count modulo 10."""
    end = ".gz" if zipped else ""
    for prefix, images in (("train", grey_images(train)), ("t10k", grey_images(test, 1000))):
        write_idx(folder / f"{prefix}-images-idx3-ubyte{end}", images, zipped)
        if labels:
            marks = (np.arange(len(images)) % 10).astype(np.uint8)
            write_idx(folder / f"{prefix}-labels-idx1-ubyte{end}", marks, zipped)
    return folder


def write_images(folder: Path, mode: str = "L", classes: bool = False, suffix: str = "png") -> Path:
    """Twenty images, 3 high and 2 wide, in one folder or in two classes of ten."""
    for row, pixels in enumerate(grey_images(20)):
        place = folder / f"class-{row // 10}" if classes else folder
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels).convert(mode).save(place / f"{row:02d}.{suffix}")
    return folder


GREY = grey_images(20).reshape(20, -1)
TABLE = np.random.default_rng(0).normal(size=(20, 3))


def npz(folder: Path, **arrays: np.ndarray) -> str:
    np.savez_compressed(folder / "rows.npz", **arrays)
    return f"{folder}/rows.npz"


def npz_with_a_text(folder: Path) -> str:
    path = npz(folder, whatever=TABLE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README", "what this is")
    return path


def csv(folder: Path, text: str) -> str:
    (folder / "rows.csv").write_text(text)
    return f"{folder}/rows.csv"


def csv_of(folder: Path, **options: object) -> str:
    return csv(folder, pandas.DataFrame(TABLE, columns=options.pop("columns", list("abc"))).to_csv(**options))


def npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "rows.npy", array)
    return folder / "rows.npy"


def parquet(folder: Path) -> Path:
    pandas.DataFrame(TABLE, columns=list("abc")).to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


# Name, how to write it, all rows as they should come back, the shape of one.
SOURCES = {
    "idx": (lambda folder: f"idx:{write_idx(folder / 'a', grey_images(20))}", GREY / 255, (1, 3, 2)),
    "idx, zipped": (lambda folder: f"idx:{write_idx(folder / 'a', grey_images(20), True)}", GREY / 255, (1, 3, 2)),
    "idx, table": (lambda folder: f"idx:{write_idx(folder / 'a', GREY)}", GREY, (6,)),
    **{
        f"idx, {kind}": (
            lambda folder, kind=kind: f"idx:{write_idx(folder / 'a', (TABLE * 40).astype(kind))}",
            (TABLE * 40).astype(kind),
            (3,),
        )
        for kind in ("i1", "i2", "i4", "f4", "f8")
    },
    "npy": (lambda folder: npy(folder, TABLE), TABLE, (3,)),
    "npy, grey": (lambda folder: npy(folder, grey_images(20)), GREY / 255, (1, 3, 2)),
    "npy, 16 bits": (lambda folder: npy(folder, grey_images(20).astype(np.uint16)), GREY / 65535, (1, 3, 2)),
    "npy, channels": (lambda folder: npy(folder, grey_images(20)[:, None]), GREY / 255, (1, 3, 2)),
    "npy, real images": (lambda folder: npy(folder, grey_images(20) / 2), GREY / 2, (1, 3, 2)),
    "npy, table of bytes": (lambda folder: npy(folder, GREY), GREY, (6,)),
    "npy, binary": (lambda folder: npy(folder, (grey_images(20) > 9).astype(np.uint8)), GREY > 9, (1, 3, 2)),
    "npy, truth values": (lambda folder: npy(folder, grey_images(20) > 9), GREY > 9, (1, 3, 2)),
    "npz, x": (lambda folder: npz(folder, x=TABLE, other=TABLE + 1), TABLE, (3,)),
    "npz, the only one": (lambda folder: npz(folder, whatever=TABLE, y=np.arange(20)), TABLE, (3,)),
    "npz, grey": (lambda folder: npz(folder, train=grey_images(20)), GREY / 255, (1, 3, 2)),
    "npz, with a text": (npz_with_a_text, TABLE, (3,)),
    "csv": (lambda folder: csv_of(folder, index=False), TABLE, (3,)),
    "csv, bytes for order": (
        lambda folder: csv(folder, "\ufeff" + pandas.DataFrame(TABLE).to_csv(index=False, header=False)),
        TABLE,
        (3,),
    ),
    "csv, no names": (lambda folder: csv_of(folder, index=False, header=False), TABLE, (3,)),
    "csv, numbered names": (lambda folder: csv_of(folder, index=False, columns=[0, 1, 2]), TABLE, (3,)),
    "csv, one column": (lambda folder: csv(folder, "\n".join(map(str, range(20)))), np.arange(20)[:, None], (1,)),
    "csv, truth values": (lambda folder: csv(folder, "a,b\n" + "True,1\nFalse,2\n" * 10), [[1, 1], [0, 2]] * 10, (2,)),
    "parquet": (parquet, TABLE, (3,)),
    "images": (lambda folder: f"images:{write_images(folder)}", GREY / 255, (1, 3, 2)),
    "images, in classes": (lambda folder: f"images:{write_images(folder, classes=True)}", GREY / 255, (1, 3, 2)),
    "images, colour": (
        lambda folder: f"images:{write_images(folder, 'RGB')}",
        np.tile(GREY / 255, (1, 3)),
        (3, 3, 2),
    ),
    "images, palette": (
        lambda folder: f"images:{write_images(folder, 'P')}",
        np.tile(GREY / 255, (1, 3)),
        (3, 3, 2),
    ),
    "images, one bit": (lambda folder: f"images:{write_images(folder, '1')}", None, (1, 3, 2)),
    "images, 16 bits": (lambda folder: f"images:{write_images(folder, 'I;16')}", GREY / 65535, (1, 3, 2)),
    "images, JPEG": (lambda folder: f"images:{write_images(folder, suffix='jpg')}", None, (1, 3, 2)),
    "digits": (lambda folder: "digits", None, (1, 8, 8)),
    "synthetic": (lambda folder: "synthetic:gaussian-mixture?n=20", None, (2,)),
}


def in_order(rows: torch.Tensor) -> np.ndarray:
    """Rows sorted, so that two orders of the same rows can be compared."""
    array = rows.double().numpy()
    return array[np.lexsort(array.T[::-1])]


@pytest.mark.parametrize(("write", "expected", "shape"), SOURCES.values(), ids=SOURCES.keys())
def test_all_rows_come_back_once(tmp_path, write, expected, shape):
    data = load(write(tmp_path))
    parts = [data.train, data.validation, data.test]
    together = torch.cat([part.values for part in parts])
    assert data.shape == shape
    assert together.dtype == torch.float32
    assert data.train.dimensions == np.prod(shape)
    assert [part.name for part in parts] == [f"{data.name}/{end}" for end in ("train", "validation", "test")]
    assert data.description.endswith(".")
    if expected is not None:
        wanted = torch.from_numpy(np.asarray(expected, dtype=np.float32))
        # Exactly: one rounding to 32 bits; scaling may round once more.
        np.testing.assert_allclose(in_order(together), in_order(wanted), rtol=2**-23, atol=0)


@pytest.mark.parametrize("validation", [None, 0.25, 0.0])
@pytest.mark.parametrize("rows", [3, 10, 97, 1000])
def test_rows_are_dealt_once(rows, validation):
    data = from_arrays(np.arange(rows)[:, None], validation=validation, test_fraction=0.2, seed=rows)
    dealt = [set(part.values[:, 0].tolist()) for part in (data.train, data.validation, data.test) if part]
    assert sum(map(len, dealt)) == rows
    assert set.union(*dealt) == set(range(rows))
    assert len(data.test) == max(1, round(0.2 * rows))
    held = max(1, round((0.1 if validation is None else validation) * (rows - len(data.test))))
    assert data.validation is None if validation == 0.0 else len(data.validation) == held


def test_test_rows_of_the_source_never_train():
    data = from_arrays(np.arange(50)[:, None], np.arange(50, 60)[:, None])
    assert data.test.values[:, 0].tolist() == list(range(50, 60))  # in the source's own order
    assert set(data.train.values[:, 0].tolist()) | set(data.validation.values[:, 0].tolist()) == set(range(50))


def test_the_seed_decides_and_validation_leaves_the_test_rows_alone():
    rows = np.arange(100)[:, None]
    first, again, other = (from_arrays(rows, seed=seed) for seed in (1, 1, 2))
    for part in ("train", "validation", "test"):
        assert torch.equal(getattr(first, part).values, getattr(again, part).values)
        assert not torch.equal(getattr(first, part).values, getattr(other, part).values)
    for validation in (0.0, 0.5):
        assert torch.equal(from_arrays(rows, seed=1, validation=validation).test.values, first.test.values)
    # Rows that lie together in a sorted file don't stay together.
    assert first.train.values[:, 0].tolist() != sorted(first.train.values[:, 0].tolist())


@pytest.mark.parametrize("zipped", [False, True])
def test_mnist_keeps_its_test_set_and_holds_out_a_twelfth(tmp_path, zipped):
    data = load(f"mnist:{write_mnist(tmp_path, zipped=zipped)}", labels=True)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [33, 3, 5]
    assert torch.equal(data.test.values, torch.from_numpy(grey_images(5, 1000).reshape(5, -1) / np.float32(255)))
    assert data.test.labels.tolist() == [0, 1, 2, 3, 4]
    for part in (data.train, data.validation):
        numbers = (part.values[:, 0] * 255 * 256 + part.values[:, 1] * 255).round().long()
        assert torch.equal(part.labels, numbers % 10)


def test_mnist_without_labels_reads_no_labels(tmp_path):
    data = load(f"mnist:{write_mnist(tmp_path, labels=False)}")
    assert data.train.labels is None


@pytest.mark.parametrize("classes", [False, True])
def test_images_come_in_the_order_of_their_paths(tmp_path, classes):
    rows = read_images(str(write_images(tmp_path, classes=classes)), labels=False, seed=0).train.values
    assert rows[:, 0, 0, 1].tolist() == list(range(20))


def test_idx_arrays_are_plain_arrays(tmp_path):
    array = (TABLE * 1000).astype("i2")
    read = read_idx(write_idx(tmp_path / "a.gz", array, zipped=True))
    assert (read == array).all()
    assert read.dtype.isnative
    read[0] = 0
    # The labels' file isn't opened unless labels are asked for.
    assert load(f"idx:{tmp_path}/a.gz,{tmp_path}/missing").name == "a"


def labelled_sources(folder: Path) -> dict[str, str]:
    """Twenty rows whose label is 1 for the last ten."""
    marks = (np.arange(20) >= 10).astype(np.int64)
    frame = pandas.DataFrame({"a": np.arange(20), "target": marks})
    frame.to_parquet(folder / "rows.parquet")
    (folder / "numbers.csv").write_text(frame.rename(columns={"target": "Label"}).to_csv(index=False))
    (folder / "names.csv").write_text("y,a\n" + "\n".join(f"{'yes' if row >= 10 else 'no'},{row}" for row in range(20)))
    images = folder / "images"
    images.mkdir()
    write_idx(folder / "a", np.arange(20).astype(np.uint8)[:, None])
    write_idx(folder / "b", marks.astype(np.uint8))
    return {
        "idx": f"idx:{folder}/a,{folder}/b",
        "npz": npz(folder, x=np.arange(20)[:, None], labels=marks),
        "parquet": f"{folder}/rows.parquet",
        "csv": f"{folder}/numbers.csv",
        "csv, names": f"{folder}/names.csv",
        "images": f"images:{write_images(images, classes=True)}",
    }


@pytest.mark.parametrize("kind", ["idx", "npz", "parquet", "csv", "csv, names", "images"])
def test_labels_stay_with_their_rows(tmp_path, kind):
    source = labelled_sources(tmp_path)[kind]
    data = load(source, labels=True)
    for part in (data.train, data.validation, data.test):
        number = part.values[:, 1] * 255 if kind == "images" else part.values[:, 0]
        assert part.labels.dtype == torch.int64
        assert part.labels.tolist() == (number.round() >= 10).long().tolist()
    plain = load(source, labels=False) if kind != "csv, names" else None
    assert plain is None or plain.train.labels is None


def test_a_label_column_is_a_value_unless_labels_are_asked_for(tmp_path):
    source = labelled_sources(tmp_path)["csv"]
    assert load(source).shape == (2,)
    assert load(source, labels=True).shape == (1,)


def test_npz_with_its_own_test_rows_and_class_names(tmp_path):
    names = np.array(["10", "9"])
    source = npz(tmp_path, x_train=TABLE, x_test=TABLE[:2], y_train=names[[0, 1] * 10], y_test=names[[1, 1]])
    data = load(source, labels=True)
    assert data.test.labels.tolist() == [9, 9]
    assert sorted(set(data.train.labels.tolist())) == [9, 10]
    source = npz(tmp_path, train=TABLE, test=TABLE[:2], labels=np.array(["b", "c"] * 10), test_labels=["c", "a"])
    data = load(source, labels=True)
    assert data.test.labels.tolist() == [2, 0]
    assert set(data.train.labels.tolist()) == {1, 2}


@pytest.mark.parametrize("scale", [None, 16, 32])
def test_digits_are_divided_by_their_greatest_integer(scale):
    values = load("digits", scale=scale).train.values
    assert values.max() == 16 / (scale or 16)
    assert values.min() == 0


def test_integers_of_unknown_range_need_a_scale(tmp_path):
    source = npy(tmp_path, grey_images(20).astype(np.int64))
    with pytest.raises(DataError, match=r"rows.npy: images of type int64.*pass scale="):
        load(source)
    assert load(source, scale=255).train.values.max() == 1


def test_arrays_may_be_tensors_and_are_copied():
    rows = torch.arange(20.0)[:, None].requires_grad_()
    data = from_arrays(rows, train_labels=torch.arange(20))
    assert torch.equal(data.train.values[:, 0].long(), data.train.labels)
    data.train.values.zero_()
    assert rows.detach().sum() == 190
    test = np.ones((4, 1), dtype=np.float32)
    from_arrays(rows, test).test.values.zero_()
    assert test.sum() == 4


def test_the_suffix_may_be_in_capitals_and_the_source_a_path_of_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    npy(tmp_path, TABLE).rename(tmp_path / "ROWS.NPY")
    assert load("~/ROWS.NPY").name == load(Path("~/ROWS.NPY")).name == "ROWS"
    (tmp_path / "pictures").mkdir()
    write_images(tmp_path / "pictures")
    assert load("images:~/pictures").name == "pictures"


def test_a_data_set_moves_as_a_whole():
    data = load("synthetic:rings?n=30", labels=True).to("meta")
    assert {part.values.device.type for part in (data.train, data.validation, data.test)} == {"meta"}
    assert load("digits", validation=0.0).to("meta").validation is None


def test_heavy_libraries_are_imported_when_needed_and_pyro_never():
    for path in Path(pyrogen.data.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"pandas", "sklearn", "PIL", "pyarrow", "pyro"}, path


def test_every_source_is_documented():
    for name in FAMILIES:
        assert f"`{name}" in load.__doc__
    for suffix in SUFFIXES:
        assert f"`FILE{suffix}`" in load.__doc__


BAD_OPTIONS = {
    "unknown source": (("nothing",), "unknown source 'nothing'.*digits; mnist:DIRECTORY.*FILE.parquet"),
    "unknown family": (("mnits:folder",), "unknown source 'mnits:folder'"),
    "unknown suffix": ((Path("rows.txt"),), "unknown source 'rows.txt'"),
    "digits nowhere": (("digits:here",), "digits:here.*no location"),
    "mnist nowhere": (("mnist",), "write mnist:DIRECTORY"),
    "images nowhere": (("images:",), "write images:DIRECTORY"),
    "idx nowhere": (("idx",), "write idx:FILE"),
    "idx of three": (("idx:a,b,c",), "write idx:FILE"),
    "openml unnamed": (("openml:",), "write openml:NAME"),
    "openml version": (("openml:iris@first",), "version 'first' isn't a number"),
    "binarize": (("digits", {"binarize": "bernoulli"}), "binarize='bernoulli'.*none, threshold, static, dynamic"),
    "validation": (("digits", {"validation": 1.0}), "validation=1.0"),
    "validation below": (("digits", {"validation": -0.1}), "validation=-0.1"),
    "test": (("digits", {"test": 0.0}), "test=0.0"),
    "test above": (("digits", {"test": 1.0}), "test=1.0"),
    "scale": (("digits", {"scale": 0}), "scale=0"),
    "scale infinite": (("digits", {"scale": float("inf")}), "scale=inf"),
    "seed": (("digits", {"seed": -1}), "seed=-1"),
    "distribution": (("synthetic:moons",), "synthetic:moons.*rings.n=2000,k=3,noise=0.1"),
    "option": (("synthetic:rings?d=3",), "no option 'd': its options are n=2000,k=3,noise=0.1"),
    "option not integer": (("synthetic:rings?k=1.5",), "'k=1.5': k is an integer"),
    "option not number": (("synthetic:rings?noise",), "'noise': noise is a number"),
    "no rows": (("synthetic:rings?n=0",), "n=0"),
    "no rings": (("synthetic:rings?k=0",), "k is at least 1"),
    "no noise": (("synthetic:rings?noise=0",), "noise is positive"),
    "no component": (("synthetic:gaussian-mixture?k=0",), "at least 1"),
    "spread": (("synthetic:gaussian-mixture?spread=nan",), "spread is finite"),
    "no bit": (("synthetic:bernoulli-mixture?d=0",), "at least 1"),
    "no latent": (("synthetic:linear-gaussian?latent=0",), "at least 1"),
    "scaled density": (("synthetic:rings", {"scale": 2}), "scale=2 would change the known density"),
    "binarized density": (("synthetic:rings", {"binarize": "static"}), "binarize='static' would change"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
def test_bad_options(arguments, message):
    source, options = (*arguments, {})[:2]
    with pytest.raises(ConfigurationError, match=message):
        load(source, **options)


@pytest.mark.skipif(MNIST is None, reason="PYROGEN_MNIST names the folder of MNIST's files")
def test_the_real_mnist():
    data = load(f"mnist:{MNIST}", labels=True, binarize="dynamic")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [55_000, 5_000, 10_000]
    assert data.shape == (1, 28, 28)
    # The facts that everybody knows: the mean pixel, the first labels of the test set, how often each digit occurs.
    values = torch.cat([data.train.values, data.validation.values])
    assert abs(values.mean(dtype=torch.float64).item() - 0.130660) < 1e-5
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert torch.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    labels = torch.cat([data.train.labels, data.validation.labels])
    assert torch.bincount(labels)[:3].tolist() == [5923, 6742, 5958]
    images, _ = data.test[:500].fixed()
    assert torch.equal(images, data.test.fixed()[0][:500])
