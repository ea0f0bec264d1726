"""The line of the user's code: what counts as the program, as a library, and as the code that asked for a run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pyrogen
from pyrogen.programs.source_lines import CALLERS, WATCHERS, line_of_error, program_line

PACKAGE = Path(pyrogen.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODES = {"TorchFunctionMode", "TorchDispatchMode"}


def classes(file):
    return [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]


def bases(node):
    return {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}


@pytest.mark.parametrize("path", [*CALLERS, *WATCHERS])
def test_the_modules_that_are_named_exist(path):
    """A module that is renamed or moved would otherwise count as another kind in silence."""
    assert Path(path).is_dir() if path.endswith("/") else Path(path).is_file()


def test_every_mode_is_a_watcher():
    modes = [file for file in FILES if any(bases(node) & MODES for node in classes(file))]
    assert len(modes) >= 2
    assert [file for file in modes if not str(file).startswith(WATCHERS)] == []


def test_every_module_that_runs_a_program_is_a_caller():
    """It calls ``pair.model``, ``pair.guide`` or what it has taken for one of them."""
    runs = ("pair.model(*", "pair.guide(*", "program(*args")
    found = {file for file in FILES if any(call in file.read_text() for call in runs)}
    assert len(found) >= 3
    assert [file for file in sorted(found) if not str(file).startswith(CALLERS)] == []


def calls(file, called):
    """A function, as if it stood in a file, that calls another."""
    space = {"called": called}
    exec(compile("def through():\n    return called()\n", str(file), "exec"), space)
    return space["through"]


@pytest.mark.parametrize("path", [*CALLERS, *WATCHERS])
def test_a_watcher_is_looked_past_and_a_caller_ends_the_search(path):
    file = Path(path) / "some_module.py" if path.endswith("/") else path
    user = calls("/home/user/mine.py", calls(file, program_line))
    assert user() == ("/home/user/mine.py:2" if path in WATCHERS else None)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("/home/user/checks/mine.py", "/home/user/checks/mine.py:2"),
        (PACKAGE / "pair.py", None),
        (PACKAGE / "checks_of_mine.py", None),
        (Path(pyrogen.__file__).parents[1] / "pyrogen_mine" / "pair.py", "pyrogen_mine/pair.py:2"),
        (Path(ast.__file__), None),
    ],
)
def test_libraries_are_looked_past(file, line, monkeypatch):
    monkeypatch.chdir(Path(pyrogen.__file__).parents[1])
    asked = calls(PACKAGE / "programs" / "run.py", calls(file, program_line))
    assert asked() == line


def test_the_line_of_an_error_is_the_innermost_of_the_program():
    program = calls("/home/user/model.py", calls(WATCHERS[0] + "mode.py", calls(PACKAGE / "batch.py", "".index)))
    run = calls("/home/user/script.py", calls(PACKAGE / "programs" / "run.py", program))
    with pytest.raises(TypeError) as caught:
        run()
    assert line_of_error(caught.value) == "/home/user/model.py:2"
    with pytest.raises(TypeError) as caught:
        calls("/home/user/script.py", calls(PACKAGE / "programs" / "run.py", "".index))()
    assert line_of_error(caught.value) is None
