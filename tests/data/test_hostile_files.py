"""Files that claim what cannot be, and files damaged at random: refused by name, before memory is taken for them."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tracemalloc
import zipfile

import numpy as np
import pandas
import pytest
from PIL import Image

from pyrogen.data import load
from pyrogen.errors import PyrogenError

TABLE = np.arange(60.0).reshape(20, 3)
MEBIBYTE = 2**20


def idx(*shape, body=b""):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + body


def npy(header):
    text = header.encode() + b" " * (63 - (10 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz(content=None, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        whole = io.BytesIO()
        np.save(whole, TABLE)
        file.writestr("x.npy", whole.getvalue() if content is None else content)
    return bytearray(buffer.getvalue())


def changed(content, *places):
    """A file with 16-bit numbers put at some places, of which negative ones count from the central directory."""
    start = content.index(b"PK\x01\x02")
    for place, number in places:
        at = place if place >= 0 else start - place
        content[at : at + 2] = number.to_bytes(2, "little")
    return bytes(content)


def garbled(content):
    """A file whose packed bytes are others."""
    at = 30 + len("x.npy") + 12
    content[at : at + 8] = bytes(255 - byte for byte in content[at : at + 8])
    return bytes(content)


HOSTILE = {
    "more axes than arrays have": ("a.idx", idx(*[1] * 70, body=b"\1"), "70 axes, and an array has at most 32"),
    "IDX larger than the machine": ("a.idx", idx(2**32 - 1, 2**20), "claims 4,503,599,626,321,920 bytes, and this machine"),
    "IDX larger than the machine, packed": ("a.idx", gzip.compress(idx(2**32 - 1, 2**20)), "claims 4,503,599,626,321,920"),
    "a bomb": ("a.idx", gzip.compress(idx(20, 3) + bytes(400 * MEBIBYTE), 6), r"bytes too many for shape \(20, 3\)"),
    "more than can be packed": (
        "a.idx",
        gzip.compress(idx(2**30) + bytes(1000)),
        "ends too early, at byte 1008 of 1073741832",
    ),
    "npy of terabytes": (
        "a.npy",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"),
        "claims 8,000,000,000,000 bytes",
    ),
    "npy of more than it holds": (
        "a.npy",
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000,), }"),
        "8,000,000 bytes for shape",
    ),
    "npy with an open bracket": ("a.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,"), "not a NumPy array"),
    "npz with an unknown compression": ("a.npz", changed(npz(), (8, 77), (-10, 77)), "not an .npz file, or a damaged one"),
    "npz with damaged LZMA": ("a.npz", garbled(npz(method=zipfile.ZIP_LZMA)), "damaged one"),
    "npz of terabytes": (
        "a.npz",
        bytes(npz(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"))),
        "claims 8,000,000,000,000 bytes",
    ),
    "npz marked encrypted": ("a.npz", changed(npz(), (6, 1)), r"a.npz\[x\]: encrypted: save it without a password"),
    "npz marked encrypted in its directory": ("a.npz", changed(npz(), (-8, 1)), "encrypted"),
}


def read(path):
    return load(f"idx:{path}" if path.suffix == ".idx" else str(path))


@pytest.mark.parametrize(("name", "content", "message"), HOSTILE.values(), ids=HOSTILE)
def test_what_cannot_be_is_refused_before_memory_is_taken(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(PyrogenError, match=message):
            read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 16 * MEBIBYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", ["idx:", "mnist:", "images:", ""])
def test_a_path_that_is_too_long_is_no_file(source):
    with pytest.raises(PyrogenError, match=r"no such (file|folder)"):
        load(f"{source}/{'a' * 5000}.npy")


def whole_files():
    image, table, parquet, arrays, packed = (io.BytesIO() for _ in range(5))
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(image, "png")
    pandas.DataFrame(TABLE, columns=["a", "b", "c"]).to_csv(table, index=False)
    pandas.DataFrame(TABLE, columns=["a", "b", "c"]).to_parquet(parquet)
    np.savez(arrays, x=TABLE)
    np.savez_compressed(packed, x=TABLE, y=np.arange(20))
    one = io.BytesIO()
    np.save(one, TABLE)
    images = idx(20, 3, 2, body=bytes(range(120)))
    return {
        "plain.idx": images,
        "packed.idx": gzip.compress(images, mtime=0),
        "rows.npy": one.getvalue(),
        "rows.npz": arrays.getvalue(),
        "packed.npz": packed.getvalue(),
        "lzma.npz": bytes(npz(method=zipfile.ZIP_LZMA)),
        "rows.csv": table.getvalue(),
        "rows.parquet": parquet.getvalue(),
        "image.png": image.getvalue(),
    }


def damaged(content, generator):
    """A file with some bytes flipped, its end cut off, or a part of it repeated."""
    content, kind = bytearray(content), generator.randrange(3)
    first, last = sorted(generator.randrange(len(content) + 1) for _ in range(2))
    if kind == 0:
        for _ in range(generator.randint(1, 6)):
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    elif kind == 1:
        del content[first:]
    else:
        content[last:last] = content[first:last]
    return bytes(content)


@pytest.mark.filterwarnings("ignore")  # of the libraries that read
@pytest.mark.parametrize("name", whole_files())
def test_damaged_files_are_read_or_refused_by_name(tmp_path, name):
    content, generator = whole_files()[name], random.Random(name)
    folder = tmp_path / "folder"
    folder.mkdir()
    path = (folder if name.endswith("png") else tmp_path) / name
    path.write_bytes(content)
    source = f"images:{folder}" if name.endswith("png") else f"idx:{path}" if path.suffix == ".idx" else str(path)
    if name.endswith("png"):
        for number in range(8):
            (folder / f"{number}.png").write_bytes(content)
    load(source)
    refused, unnamed = 0, []
    tracemalloc.start()
    try:
        for _ in range(150):
            path.write_bytes(damaged(content, generator))
            try:
                load(source)
            except PyrogenError as error:
                refused += 1
                unnamed += [] if str(tmp_path) in str(error) else [str(error)]
        assert tracemalloc.get_traced_memory()[1] < 64 * MEBIBYTE
    finally:
        tracemalloc.stop()
    assert refused > 20
    assert unnamed == []
