"""The page stands on its own, says everything, lets nothing hostile through and is never half written."""

import base64
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import pyrogen
from pyrogen.errors import ConfigurationError, DataError
from pyrogen.report import render, sections
from pyrogen.report.runs import LOOKS
from pyrogen.report.sections import PICTURE_NAMES

DRAWN = ("reconstructions", "samples", "completions", "generation", "receptive", "traversal")
UNENCODED = b"a picture"
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Reads a page: its tags, its links, its words; and refuses tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.ids, self.images, self.words, self.open = [], [], [], [], [], []
        self.feed(text)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "srcset", "data")]
        self.ids += [attributes["id"]] if "id" in attributes else []
        if tag == "img":
            self.images.append(attributes)
        assert not any(name.startswith("on") for name in attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def read(directory):
    return Page(render(directory).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, whole_run):
    """A directory with a run's files, its page and its pictures: to be looked at, not changed."""
    directory = Path(shutil.copytree(whole_run, tmp_path_factory.mktemp("rendered") / "run"))
    assert render(directory) == directory / "report.html"
    return directory


@pytest.fixture
def rendered_before(tmp_path, rendered, monkeypatch):
    """A copy to be changed and rendered again, whose pictures are drawn and not encoded, which takes most of the time."""
    monkeypatch.setattr(sections, "png", lambda figure: UNENCODED)
    return Path(shutil.copytree(rendered, tmp_path / "run"))


def test_the_page_says_everything(rendered, record):
    page = Page((rendered / "report.html").read_text(encoding="utf-8"))
    assert page.ids == [
        "evidence",
        "bounds",
        "weights",
        "cost",
        "sandwich",
        "gaps",
        "posteriors",
        "calibration",
        "latents",
        "training",
        "reconstructions",
        "samples",
        "completions",
        "generation",
        "receptive",
        "traversal",
        "configuration",
    ]
    for words in (
        record["sentences"][0],
        "digits/test: 6 data of 64 dimensions, binarization: dynamic, seed 3",
        "Binarization: dynamic",
        "-31.234 ± 0.021",
        "-30.1000 ± 0.0020 !",
        "the worst k-hat is 0.93",
        "1.8 M",
        "lower bound",
        "effective sample size",
        "seed: 3",
    ):
        assert words in page.text
    assert len(page.images) == len(PICTURE_NAMES)
    assert all(len(image["alt"]) > 20 for image in page.images)
    alts = " ".join(image["alt"] for image in page.images)
    assert "PSIS: 2 of 6 above 0.7, 2 not computable" in alts
    assert "best validation bound is -42.00 at step 200" in alts
    assert "PSIS (consistent, not to be trusted as it stands): -30.1000 ± 0.0020" in alts
    assert "IWAE goes from -31.20 ± 0.20 with 1 to -30.400 ± 0.020 with 10" in alts


def test_the_page_refers_to_nothing_outside(rendered):
    text = (rendered / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    for link in page.links:
        assert link.startswith(("data:image/png;base64,", "data:image/gif;base64,")) or link.removeprefix("#") in page.ids
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_the_pictures_are_those_of_the_page(rendered):
    page = Page((rendered / "report.html").read_text(encoding="utf-8"))
    files = [path.read_bytes() for path in (rendered / "pictures").iterdir()]
    inlined = [base64.b64decode(image["src"].partition(",")[2]) for image in page.images]
    assert sorted(inlined) == sorted(files)
    assert all(content.startswith((b"\x89PNG", b"GIF8")) for content in files)
    names = {path.name for path in (rendered / "pictures").iterdir()}
    assert names == {f"{name}.gif" if name == "generation" else f"{name}.png" for name in PICTURE_NAMES}


@pytest.mark.parametrize(
    ("absent", "missing"),
    [
        (["comparison.json"], {"evidence", "bounds", "weights", "cost"}),
        (["history.csv"], {"training"}),
        (["usage.json"], {"latents"}),
        *(([f"{name}.json"], {name}) for name in LOOKS),
        (["pictures.npz"], set(DRAWN)),
        (["config.yaml"], {"configuration"}),
        (
            ["history.csv", "pictures.npz", "config.yaml"],
            {"training", *DRAWN, "configuration"},
        ),
    ],
)
def test_what_is_not_there_is_left_out(rendered_before, absent, missing):
    everything = set(Page((rendered_before / "report.html").read_text(encoding="utf-8")).ids)
    for name in absent:
        (rendered_before / name).unlink()
    page = read(rendered_before)
    assert set(page.ids) == everything - missing
    # Pictures of an earlier call are gone too.
    assert len(list((rendered_before / "pictures").iterdir())) == len(page.images)


def test_empty_files_leave_their_sections_out(run_directory, record):
    record.update(rows=[], estimates=[], sentences=[])
    (run_directory / "comparison.json").write_text(json.dumps(record))
    (run_directory / "history.csv").write_text("step,loss\n")
    (run_directory / "usage.json").write_text("[]")
    for name in LOOKS:
        (run_directory / f"{name}.json").unlink()
    np.savez(run_directory / "pictures.npz", inputs=np.zeros((0, 1, 8, 8)), samples=np.zeros((0, 2)))
    page = read(run_directory)
    assert page.ids == ["evidence", "configuration"]
    assert "The comparison holds no estimates." in page.text
    assert page.images == []


def test_inputs_without_reconstructions_are_left_out(rendered_before):
    np.savez(rendered_before / "pictures.npz", inputs=np.zeros((2, 1, 8, 8)))
    assert "reconstructions" not in read(rendered_before).ids


HOSTILE = "</pre></td>\"'><script>alert(1)</script><img src=https://example.org/x onerror=alert(1)>{{ 7 * 7 }}"


def test_hostile_strings_are_shown_and_not_obeyed(tmp_path, record):
    directory = tmp_path / "<script>run"
    directory.mkdir()
    record["data"].update(name=HOSTILE, binarize=HOSTILE, seed=HOSTILE, dimensions=HOSTILE, rows=HOSTILE)
    record["sentences"] = [HOSTILE]
    for row, estimate in zip(record["rows"], record["estimates"], strict=True):
        row["name"] = estimate["name"] = HOSTILE
        row["warnings"] = [HOSTILE]
    (directory / "comparison.json").write_text(json.dumps(record))
    (directory / "config.yaml").write_text(f"name: {json.dumps(HOSTILE)}\n")
    text = render(directory).read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert len(page.images) == 4
    assert not any("example.org" in link for link in page.links)
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "{{ 7 * 7 }}" in page.text
    assert "<script>" not in text


def test_an_estimate_without_numbers_is_still_reported(tmp_path, record):
    nothing = {key: None for key in record["rows"][0] if key not in ("name", "kind", "warnings")}
    rows = [{**row, **nothing} for row in record["rows"]]
    rows.append({"name": "bare", "kind": "upper", "nats": float("nan")})
    (tmp_path / "comparison.json").write_text(json.dumps({"rows": rows}))
    page = read(tmp_path)
    assert page.ids == ["evidence"]
    assert page.text.count("not a number !") == len(rows)
    assert "Binarization: none" in page.text


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({}, DataError, "neither comparison.json nor history.csv"),
        ({"config.yaml": "a: 1"}, DataError, "neither comparison.json nor history.csv"),
        ({"comparison.json": "{"}, DataError, "comparison.json is not valid JSON"),
        ({"history.csv": "x"}, DataError, "history.csv, line 1"),
        ({"history.csv": "step,loss\n1,2\n", "config.yaml": "["}, ConfigurationError, "config.yaml"),
        ({"history.csv": "step,loss\n1,2\n", "pictures.npz": "x"}, DataError, "pictures.npz"),
    ],
)
def test_damaged_runs_are_refused(tmp_path, files, error, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        render(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_directory_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a directory"):
        render(tmp_path / "nowhere")


def test_the_page_is_the_same_every_time(run_directory, rendered):
    assert render(run_directory).read_bytes() == (rendered / "report.html").read_bytes()


def test_a_page_is_replaced_at_once_or_not_at_all(rendered_before, monkeypatch):
    before = (rendered_before / "report.html").read_bytes()
    (rendered_before / "config.yaml").unlink()

    replace = os.replace

    def full(source, target):
        if Path(target).name == "report.html":
            raise OSError("no space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        render(rendered_before)
    assert (rendered_before / "report.html").read_bytes() == before
    assert not [path for path in rendered_before.rglob(".*") if path.is_file()]


ALONE = """
import sys, types
for name in ("torch", "pyro", "matplotlib.pyplot"):
    sys.modules[name] = None  # importing it raises
package = types.ModuleType("pyrogen")
package.__path__ = [sys.argv[1]]
sys.modules["pyrogen"] = package  # the report must not lean on what the package itself imports
import pyrogen.report
lazy = {"matplotlib", "jinja2", "yaml", "rich"} & set(sys.modules)
assert not lazy, lazy
pyrogen.report.render(sys.argv[2])
pyrogen.report.print_table(pyrogen.report.load_record(sys.argv[2]))
"""


def test_the_report_needs_no_model_and_imports_lazily(run_directory):
    package = Path(pyrogen.__file__).parent
    command = [sys.executable, "-W", "error", "-c", ALONE, str(package), str(run_directory)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "PSIS" in done.stdout
