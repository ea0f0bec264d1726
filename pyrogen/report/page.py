"""One self-contained web page about a run: everything inlined, nothing fetched, readable without a network.

The page is filled from `report.html`, which lies beside this file; strings that come from a run's files are
escaped by the template, and a content security policy forbids the page to load or run anything.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pyrogen.errors import DataError
from pyrogen.saving import replace_file

from .comparison_table import COLUMNS
from .records import Array
from .runs import RunFiles
from .sections import PICTURE_NAMES, Picture, pictures
from .wording import binarization, cells, duration, failings, heading, plain

__all__ = ["render"]


def render(directory: str | Path, *, say: Callable[[str], object] | None = None) -> Path:
    r"""Write `report.html`, and the same pictures as PNG and GIF files in `pictures/`, into a run's directory.

    Of `comparison.json`, `history.csv`, `usage.json`, `pictures.npz` and `config.yaml` those that are there are shown; one
    of the first two must be. Files that an earlier call wrote are replaced, each at once. A result that was computed with
    other parameters than those of the run's `checkpoint.pt` is left out; the page says so, and `say` gets each such
    sentence, too.

    Returns:
        The page's path.

    Raises:
        DataError: there is nothing to report, or a file is damaged; names the file.
        ConfigurationError: `config.yaml` is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     _ = (Path(directory) / "history.csv").write_text("step,loss\n0,210.5\n100,98.1\n")
        ...     render(directory).name
        'report.html'
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise DataError(f"{directory} is not a directory: name the directory of a run")
    run = RunFiles.read(directory)
    if run.record is None and run.history is None:
        lacking = f"{directory} holds neither comparison.json nor history.csv: train a pair or save a comparison there first"
        raise DataError(" ".join([*run.notes, lacking]))
    for note in run.notes:
        (say or str)(note)
    drawn = pictures(run)
    page = _fill(directory.resolve().name, run, drawn)

    folder, path = directory / "pictures", directory / "report.html"
    folder.mkdir(exist_ok=True)
    for name in set(PICTURE_NAMES) - set(drawn):
        for kind in ("png", "gif"):  # of an earlier call, which would be taken for one of this run's state
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    made = {folder / f"{name}.{picture.kind}": picture.content for name, picture in drawn.items()}
    for file, content in {**made, path: page.encode("utf-8")}.items():
        with replace_file(file) as temporary:
            temporary.write_bytes(content)
    return path


def _fill(name: str, run: RunFiles, drawn: Mapping[str, Picture]) -> str:
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined

    source = files("pyrogen.report").joinpath("report.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    record = {"rows": []} if run.record is None else run.record
    inlined = {
        key: {"data": base64.b64encode(picture.content).decode("ascii"), "alt": picture.alt, "kind": picture.kind}
        for key, picture in drawn.items()
    }
    return environment.from_string(source).render(
        name=plain(name),
        heading="" if run.record is None else heading(record),
        binarization=None if run.record is None else binarization(record),
        sentences=[plain(sentence) for sentence in record.get("sentences", [])],
        columns=COLUMNS,
        rows=[{**cells(row), "reasons": failings(row)} for row in record["rows"]],
        pictures=inlined,
        training=_training(run.history),
        config=run.config,
        looks=run.looks,
        notes=run.notes,
    )


def _training(history: Mapping[str, Array] | None) -> list[tuple[str, str]]:
    """The few numbers about training that the curve does not show."""
    if history is None or not len(history["step"]):
        return []
    facts = [("steps", f"{history['step'][-1]:,.0f}")]
    for key, words in (("epoch", "epochs"), ("seconds", "seconds"), ("steps_per_second", "steps per second")):
        values = history[key][np.isfinite(history[key])]
        if len(values):
            # The speed of the middle row: the first one pays for warming up.
            value = float(np.median(values)) if key == "steps_per_second" else float(values[-1])
            facts.append((words, f"{value:,.0f}" if key == "epoch" else duration(value)))
    return facts
