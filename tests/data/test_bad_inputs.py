"""Whatever can't serve as data is refused by name: one table of (input, error)."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

from pyrogen.data import from_arrays, load
from pyrogen.errors import DataError

TABLE = np.arange(60.0).reshape(20, 3)
IMAGES = np.full((20, 3, 2), 7, dtype=np.uint8)


def idx(array: np.ndarray = IMAGES) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def file(name: str, content: bytes | str) -> object:
    """A writer of one file; the source is its path, after `idx:` if it has no suffix."""

    def write(folder: Path) -> str:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path) if path.suffix else f"idx:{path}"

    return write


def two(values: np.ndarray, labels: np.ndarray) -> object:
    """A writer of an IDX file and its labels."""

    def write(folder: Path) -> str:
        file("a", idx(values))(folder)
        file("b", idx(labels))(folder)
        return f"idx:{folder}/a,{folder}/b"

    return write


def npy(array: np.ndarray) -> object:
    def write(folder: Path) -> Path:
        np.save(folder / "rows.npy", array, allow_pickle=array.dtype == object)
        return folder / "rows.npy"

    return write


def npz(**arrays: np.ndarray) -> object:
    def write(folder: Path) -> Path:
        np.savez(folder / "rows.npz", **arrays)
        return folder / "rows.npz"

    return write


def changed(write: object, change: object) -> object:
    """A writer of a file whose bytes are changed afterwards."""

    def write_changed(folder: Path) -> Path:
        path = Path(write(folder))
        path.write_bytes(change(path.read_bytes()))
        return path

    return write_changed


def parquet(**columns: object) -> object:
    def write(folder: Path) -> Path:
        pandas.DataFrame(columns).to_parquet(folder / "rows.parquet")
        return folder / "rows.parquet"

    return write


def images(**content: object) -> object:
    """A writer of a folder; what isn't bytes is an image, and `__` stands for a slash."""

    def write(folder: Path) -> str:
        for name, image in content.items():
            path = folder / "images" / f"{name.replace('__', '/')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image) if isinstance(image, bytes) else image.save(path, **image.info)
        return f"images:{folder}/images"

    return write


def mnist(missing: str = "", **changes: np.ndarray) -> object:
    def write(folder: Path) -> str:
        parts = {
            "train-images-idx3-ubyte": changes.get("images", IMAGES),
            "train-labels-idx1-ubyte": changes.get("labels", np.zeros(20, dtype=np.uint8)),
            "t10k-images-idx3-ubyte": changes.get("test", IMAGES),
            "t10k-labels-idx1-ubyte": np.zeros(20, dtype=np.uint8),
        }
        for name, array in parts.items():
            if name != missing:
                (folder / name).write_bytes(idx(array))
        return f"mnist:{folder}"

    return write


def but(array: np.ndarray, row: int, column: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row, column] = value
    return array


def png(mode: str = "L", size: tuple[int, int] = (2, 3), **info: object) -> Image.Image:
    image = Image.new(mode, size)
    image.info.update(info)
    return image


def png_bytes() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30), dtype=np.uint8)).save(stream, "png")
    return stream.getvalue()


def broken_png() -> bytes:
    """A PNG image of 2x2 pixels whose second half has no kind."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(bytes(6))
    header = part(b"IHDR", struct.pack(">2I5B", 2, 2, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + part(b"IDAT", pixels[:4]) + part(b"\0\0\0\0", pixels[4:])


PACKED = gzip.compress(idx())
STRUCTURED = np.zeros(5, dtype=[("a", float)])
RAGGED = np.array([[1, 2], [3]] * 10, dtype=object)
LABELS = {"labels": True}

# The writer of the input, the options of `load`, and what the message has to say: file, index, remedy.
BAD_INPUTS = {
    # Files and folders
    "no file": (lambda folder: folder / "no.npy", {}, r"no.npy: no such file: check the path"),
    "no IDX file": (lambda folder: f"idx:{folder}/no", {}, r"no: no such file"),
    "no folder": (lambda folder: f"mnist:{folder}/no", {}, r"no: no such folder: check the path"),
    "no image folder": (lambda folder: f"images:{folder}/no", {}, r"no: no such folder"),
    "folder for a file": (lambda folder: f"idx:{folder}", {}, r"a folder where a file was expected"),
    "file for a folder": (lambda folder: f"images:{file('a.npy', 'b')(folder)}", {}, r"a file where a folder was"),
    "empty IDX": (file("a", b""), {}, r"a: an empty file: fetch"),
    "empty npy": (file("a.npy", b""), {}, r"a.npy: an empty file"),
    "empty npz": (file("a.npz", b""), {}, r"a.npz: an empty file"),
    "empty csv": (file("a.csv", b""), {}, r"a.csv: an empty file"),
    "empty parquet": (file("a.parquet", b""), {}, r"a.parquet: an empty file"),
    # IDX
    "IDX too short": (file("a", b"\0\0\x08"), {}, r"a: 3 bytes are too few"),
    "wrong magic": (file("a", b"\1" + idx()[1:]), {}, r"a: not an IDX file: its magic number is 0x01000803"),
    "wrong type": (file("a", b"\0\0\x0a\3" + idx()[4:]), {}, r"not an IDX file.*0x00000a03.*0x08, 0x09"),
    "ends in header": (file("a", idx()[:9]), {}, r"a: the file ends within its header, at byte 9 of 16"),
    "truncated": (file("a", idx()[:-5]), {}, r"a: the file ends too early, at byte 131 of 136 .*\(20, 3, 2\).*again"),
    "too long": (file("a", idx() + b"123"), {}, r"a: bytes too many for shape \(20, 3, 2\)"),
    "truncated gzip": (file("a", PACKED[:-9]), {}, r"a: the gzip file ends too early, at byte \d+: fetch it again"),
    "corrupt gzip": (file("a", PACKED[:12] + b"\xff" * 9 + PACKED[21:]), {}, r"a: a damaged gzip file .*fetch"),
    "wrong checksum": (file("a", PACKED[:-8] + bytes(8)), {}, r"a: a damaged gzip file .*CRC"),
    "wrong gzip method": (file("a", b"\x1f\x8b\x07" + PACKED[3:]), {}, r"a: a damaged gzip file"),
    "zero IDX rows": (file("a", idx(IMAGES[:0])), {}, r"a: no rows: its shape is \(0, 3, 2\)"),
    "IDX of one axis": (file("a", idx(IMAGES[:, 0, 0])), {}, r"a: an array of shape \(20,\): save \(rows"),
    "IDX labels short": (two(IMAGES, IMAGES[1:, 0, 0]), LABELS, r"a: labels of shape \(19,\) for 20 rows"),
    "IDX labels wide": (two(IMAGES, IMAGES[:, 0]), LABELS, r"a: labels of shape \(20, 2\) for 20 rows"),
    "no IDX labels": (file("a", idx()), LABELS, r"a: there are no labels: load it with labels=False"),
    # MNIST
    "MNIST without a file": (mnist("t10k-images-idx3-ubyte"), {}, r"t10k-images-idx3-ubyte: no such file.*holds"),
    "MNIST without labels": (mnist("train-labels-idx1-ubyte"), LABELS, r"train-labels-idx1-ubyte: no such file"),
    "MNIST labels short": (
        mnist(labels=np.zeros(9, dtype=np.uint8)),
        LABELS,
        r"train-images-idx3-ubyte: labels of shape \(9,\) for 20 rows",
    ),
    "MNIST flat": (mnist(images=IMAGES[:, 0]), {}, r"train-images.*shape \(20, 2\): images are \(rows, height"),
    "MNIST test flat": (mnist(test=IMAGES[:, 0]), {}, r"t10k-images.*shape \(20, 2\): images are"),
    "MNIST test smaller": (mnist(test=IMAGES[:, :2]), {}, r"t10k.*shape \(2, 2\), but those of .*train.* \(3, 2\)"),
    "MNIST too small": (mnist(images=IMAGES[:1]), {}, r"train-images.*: 1 rows are too few: 0 for test and 1 for"),
    # npy
    "not npy": (file("a.npy", b"something"), {}, r"a.npy: not a NumPy array, or a damaged one .*write it again"),
    "npy truncated": (changed(npy(TABLE), lambda raw: raw[:-7]), {}, r"rows.npy: not a NumPy array, or a damaged"),
    "npy in its header": (changed(npy(TABLE), lambda raw: raw[:20]), {}, r"rows.npy: not a NumPy array, or"),
    "npy of objects": (npy(RAGGED), {}, r"rows.npy: an array of Python objects isn't loaded: save numbers"),
    "npy of text": (npy(np.array([["a", "b"]] * 9)), {}, r"rows.npy: values of type <U1: save integers or real"),
    "npy complex": (npy(TABLE * 1j), {}, r"rows.npy: values of type complex128"),
    "npy of dates": (npy(TABLE.astype("M8[D]")), {}, r"rows.npy: values of type datetime64"),
    "npy structured": (npy(STRUCTURED), {}, r"rows.npy: values of type \[\('a', '<f8'\)\]"),
    "npy of one axis": (npy(TABLE[0]), {}, r"rows.npy: an array of shape \(3,\): save \(rows, columns\)"),
    "npy of no axis": (npy(np.array(1.0)), {}, r"rows.npy: an array of shape \(\)"),
    "npy without rows": (npy(TABLE[:0]), {}, r"rows.npy: no rows: its shape is \(0, 3\)"),
    "npy without columns": (npy(TABLE[:, :0]), {}, r"rows.npy: no values in a row: its shape is \(20, 0\)"),
    "NaN": (npy(but(TABLE, 4, 2, np.nan)), {}, r"rows.npy: row 4, column 2, counted from 0, is nan: .*and 1 aren't"),
    "infinite": (npy(but(TABLE, 0, 1, -np.inf)), {}, r"row 0, column 1, counted from 0, is -inf"),
    "too great": (npy(but(TABLE, 7, 0, 1e39)), {}, r"row 7, column 0, counted from 0, is 1e\+39.*finite in 32 bits"),
    "NaN in an image": (
        npy(but(TABLE.reshape(20, 3, 1), 3, 1, np.nan)),
        {},
        r"rows.npy: row 3, column 1, counted from 0, is nan",
    ),
    "no npy labels": (npy(TABLE), LABELS, r"rows.npy: there are no labels"),
    "too few rows": (npy(TABLE[:2]), {}, r"rows.npy: 2 rows are too few: 1 for test and 1 for validation"),
    "too much held out": (npy(TABLE), {"test": 0.5, "validation": 0.99}, r"20 rows are too few: 10 .* and 10"),
    "unknown range": (npy(IMAGES.astype(np.int32)), {}, r"rows.npy: images of type int32.*pass scale="),
    "less than nothing": (npy(-IMAGES.astype(np.int8)), {}, r"rows.npy: images of type int8"),
    # Binarizing
    "binarize above": (
        npy(but(TABLE * 0, 5, 1, 1.5)),
        {"binarize": "threshold"},
        r"rows.npy: row 5, column 1, counted from 0, is 1.5: only values in \[0, 1\] can be binarized; pass the scale=",
    ),
    "binarize below": (npy(but(TABLE * 0, 6, 0, -1)), {"binarize": "static"}, r"row 6, column 0, .*is -1: only"),
    "binarize scaled": (npy(TABLE), {"binarize": "dynamic", "scale": 58}, r"row 19, column 2, .*is 1.01724: only"),
    "binarize test": (
        npz(train=TABLE * 0, test=but(TABLE * 0, 2, 1, 9)),
        {"binarize": "dynamic"},
        r"rows.npz\[test\]: row 2, column 1, counted from 0, is 9: only",
    ),
    # npz
    "not npz": (file("a.npz", b"something"), {}, r"a.npz: not an .npz file, or a damaged one .*write it again"),
    "npz truncated": (changed(npz(x=TABLE), lambda raw: raw[:-30]), {}, r"rows.npz: not an .npz file, or a damaged"),
    "npz damaged": (
        changed(npz(x=TABLE), lambda raw: raw.replace(np.float64(33).tobytes(), bytes(8))),
        {},
        r"rows.npz: not an .npz file, or a damaged one .*CRC",
    ),
    "npz of objects": (npz(x=RAGGED), {}, r"rows.npz\[x\]: an array of Python objects isn't loaded"),
    "npz of several": (npz(a=TABLE, b=TABLE), {}, r"rows.npz: no array is called x, train.* are \['a', 'b'\]; rename"),
    "npz of none": (npz(), {}, r"rows.npz: no array is called x, train"),
    "npz of the same": (npz(x=TABLE, train=TABLE), {}, r"rows.npz: the arrays \['x', 'train'\] mean the same"),
    "npz labels short": (npz(x=TABLE, y=TABLE[1:, 0]), LABELS, r"rows.npz\[x\]: labels of shape \(19,\) for 20"),
    "npz labels missing": (npz(x=TABLE), LABELS, r"rows.npz\[x\]: there are no labels"),
    "npz test labels missing": (
        npz(x=TABLE, test=TABLE, y=TABLE[:, 0]),
        LABELS,
        r"rows.npz\[test\]: there are no labels",
    ),
    "npz test wider": (npz(x=TABLE, test=TABLE[:, :2]), {}, r"\[test\]: test rows of shape \(2,\), but .*\(3,\)"),
    "npz test NaN": (npz(x=TABLE, test=but(TABLE, 1, 0, np.nan)), {}, r"\[test\]: row 1, column 0, .*is nan"),
    "npz without test rows": (npz(x=TABLE, test=TABLE[:0]), {}, r"rows.npz\[test\]: no rows"),
    "labels that aren't integers": (
        npz(x=TABLE, y=TABLE[:, 0] + 0.5),
        LABELS,
        r"rows.npz\[x\]: the label of row 0, counted from 0, is 0.5: labels are integers or names",
    ),
    "labels that are NaN": (npz(x=TABLE, y=but(TABLE, 3, 0, np.nan)[:, 0]), LABELS, r"label of row 3, .*is nan"),
    "labels that are infinite": (npz(x=TABLE, y=but(TABLE, 3, 0, np.inf)[:, 0]), LABELS, r"label of row 3, .*is inf"),
    "labels that are dates": (npz(x=TABLE, y=TABLE[:, 0].astype("M8[D]")), LABELS, r"labels of type datetime64"),
    # Tables
    "csv without rows": (file("a.csv", "a,b\n"), {}, r"a.csv: no rows: its shape is \(0, 2\)"),
    "csv of blank lines": (file("a.csv", "\n\n"), {}, r"a.csv: not a table"),
    "csv of text": (
        file("a.csv", "a,b\n1,2\n3,four\n"),
        {},
        r"a.csv: column 'b' isn't numeric: row 1, counted from 0, is 'four'; leave the column out",
    ),
    "csv of text after a missing cell": (file("a.csv", 'a\n1\n""\nfour\n'), {}, r"'a' isn't numeric: row 2, .*'four'"),
    "csv without a cell": (
        file("a.csv", "a,b\n1,2\n3,\n"),
        {},
        r"a.csv: row 1, column 1 \('b'\), counted from 0, is nan: .*fill in or leave out",
    ),
    "csv ragged": (file("a.csv", "a,b\n1,2\n3\n"), {}, r"a.csv: row 1, column 1 \('b'\), .*is nan"),
    "csv with a long line": (file("a.csv", "a,b\n1,2\n3,4,5\n"), {}, r"a.csv: not a table.*line 3, saw 3"),
    "csv with long lines": (file("a.csv", "a,b\n1,2,3\n4,5,6\n"), {}, r"a.csv: lines have more cells than there are"),
    "csv with row numbers": (
        file("a.csv", ",a,b\n0,1,2\n1,3,4\n"),
        {},
        r"a.csv: column 0, counted from 0, has no name.*index=False",
    ),
    "csv without names or a cell": (file("a.csv", "1,NA\n3,4\n"), {}, r"a.csv: row 0, column 1 \('1'\), .*is nan"),
    "csv in another encoding": (file("a.csv", "a,b\n1,2\n".encode("utf-16")), {}, r"a.csv: not a table.*repair"),
    "csv without labels": (file("a.csv", "a,b\n1,2\n"), LABELS, r"a.csv: there are no labels: call their column"),
    "csv of two labels": (file("a.csv", "a,y,Label\n1,2,3\n"), LABELS, r"a.csv: the columns \['y', 'Label'\] could"),
    "csv of labels alone": (file("a.csv", "y\n1\n2\n"), LABELS, r"a.csv: no values in a row"),
    "csv without a label": (
        file("a.csv", "a,y\n1,cat\n2,\n3,dog\n"),
        LABELS,
        r"a.csv: the label of row 1, counted from 0, is nan: labels are integers or names",
    ),
    "not parquet": (file("a.parquet", b"something"), {}, r"a.parquet: not a Parquet file, or a damaged one"),
    "parquet truncated": (changed(parquet(a=[1.0] * 9), lambda raw: raw[:-9]), {}, r"rows.parquet: not a Parquet"),
    "parquet of text": (parquet(a=["b"] * 9), {}, r"rows.parquet: column 'a' isn't numeric: row 0, .*is 'b'"),
    "parquet of lists": (parquet(a=[[1, 2]] * 9), {}, r"rows.parquet: column 'a' isn't numeric"),
    "parquet without a cell": (parquet(a=[1, None] * 9), {}, r"rows.parquet: row 1, column 0 \('a'\), .*is nan"),
    "parquet without an integer": (
        parquet(a=pandas.array([1, None, 3], dtype="Int64")),
        {},
        r"rows.parquet: row 1, column 0 \('a'\), .*is nan",
    ),
    "parquet without rows": (parquet(a=np.zeros(0)), {}, r"rows.parquet: no rows"),
    # Images
    "no images": (lambda folder: f"images:{folder}", {}, r"no images, here or in subfolders: .*.png, .jpg"),
    "images of two sizes": (
        images(a=png(), b=png(size=(3, 3))),
        {},
        r"b.png: an image of shape \(1, 3, 3\) .*, but .*a.png has shape \(1, 3, 2\)",
    ),
    "images of two kinds": (images(a=png(), b=png("RGB")), {}, r"b.png: an image of shape \(3, 3, 2\)"),
    "images of two depths": (images(a=png(), b=png("I;16")), {}, r"b.png: .* type uint16, but .*a.png .*type uint8"),
    "images transparent": (images(a=png("RGBA")), {}, r"a.png: pixels of kind RGBA, or transparent: save it as"),
    "images with a transparent colour": (images(a=png(transparency=0)), {}, r"a.png: pixels of kind L, or transp"),
    "images of text": (images(a=b"something"), {}, r"a.png: not an image, or a damaged one .*take it out"),
    "images truncated": (images(a=png_bytes()[:-300]), {}, r"a.png: not an image, or a damaged one"),
    "images with a broken part": (images(a=broken_png()), {}, r"a.png: not an image, or a damaged one .*broken PNG"),
    "images here and in classes": (images(a=png(), b__c=png()), {}, r"images both in the folder and in its subfolder b"),
    "images without labels": (images(a=png(), b=png(), c=png()), LABELS, r"images: there are no labels"),
    # Synthetic
    "too few draws": (lambda folder: "synthetic:rings?n=2", {}, r"synthetic:rings: 2 rows are too few"),
    "no components": (lambda folder: "synthetic:linear-gaussian", LABELS, r"synthetic:linear-gaussian: there are no"),
}


@pytest.mark.parametrize(("write", "options", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys())
def test_bad_inputs_are_refused_by_name(tmp_path, write, options, message):
    source = write(tmp_path)
    with pytest.raises(DataError, match=message):
        load(source, **options)


BAD_ARRAYS = {
    "ragged": (([[1, 2], [3]],), {}, "arrays, train: not an array: .*rows of one length"),
    "test of one axis": ((TABLE, TABLE[0]), {}, r"arrays, test: an array of shape \(3,\)"),
    "no test labels": ((TABLE, TABLE), {"train_labels": np.zeros(20)}, "arrays, test: there are no labels"),
    "labels missing": (
        (TABLE,),
        {"train_labels": np.array(["a", None] * 10, dtype=object)},
        "arrays, train: the label of row 1, counted from 0, is None",
    ),
    "labels short": ((TABLE,), {"train_labels": np.zeros(3)}, r"arrays, train: labels of shape \(3,\) for 20"),
    "test rows NaN": ((TABLE, but(TABLE, 0, 0, np.nan)), {"name": "mine"}, "mine, test: row 0, column 0"),
}


@pytest.mark.parametrize(("arrays", "options", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_bad_arrays_are_refused_by_name(arrays, options, message):
    with pytest.raises(DataError, match=message):
        from_arrays(*arrays, **options)


def test_nothing_is_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    array = np.array([[Trap()]], dtype=object)
    np.save(tmp_path / "trap.npy", array, allow_pickle=True)
    with zipfile.ZipFile(tmp_path / "trap.npz", "w") as archive:
        archive.write(tmp_path / "trap.npy", "x.npy")
    for name in ("trap.npy", "trap.npz"):
        with pytest.raises(DataError, match="Python objects"):
            load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
