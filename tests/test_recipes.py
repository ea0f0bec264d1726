"""CONTRIBUTING's recipes, followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
SECTIONS = [section.partition("\n") for section in re.split(r"^#{2,3} ", PAGE, flags=re.MULTILINE)]
RECIPES = {title: text for title, _, text in SECTIONS if "```sh\n" in text}
KINDS = ["prior", "encoder", "likelihood", "model", "gradient estimator", "objective of two phases", "estimator", "check"]


def blocks(text, language):
    """(path, code) of each code block; its first line names the file."""
    return re.findall(rf"```{language}\n(?:#|---) (\S+)\n(.*?)```", text, re.DOTALL)


def new_files(text):
    return {path for path, _ in blocks(text, "python")}


def commands(text):
    return re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1].splitlines()


def changed(source, change):
    """A source after a change: the old lines of each hunk, which must occur once, become its new ones."""
    for hunk in change.split("@@\n"):
        old, new = ("".join(line[1:] for line in hunk.splitlines(keepends=True) if line[0] in kind) for kind in (" -", " +"))
        assert source.count(old) == 1, f"these lines occur {source.count(old)} times, not once:\n{old}"
        source = source.replace(old, new)
    return source


def run(command, folder):
    """What a command prints; it must succeed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTEST_ADDOPTS": ""}
    done = subprocess.run(["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository in which all recipes have been followed, up to their last commands."""
    copy = tmp_path_factory.mktemp("repository")
    for name in ("pyrogen", "models", "inference", "tests", "docs"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for wing in ("models", "inference"):
        (copy / "pyrogen" / wing).symlink_to(copy / wing)  # where an import in this folder looks for it
    for text in RECIPES.values():
        for path, code in blocks(text, "python"):
            (copy / path).write_text(code)
        for path, change in blocks(text, "diff"):
            (copy / path).write_text(changed((copy / path).read_text(), change))
        for command in commands(text)[:-1]:
            run(command, copy)
    where = run(
        "python -c 'import pyrogen.models, pyrogen.inference as i; print(pyrogen.models.__file__, i.__file__)'", copy
    )
    assert where.count(str(copy)) == 2
    return copy


def selection(text):
    """The files and the words by which a recipe's last command selects its tests."""
    files, words = re.fullmatch(r'python -m pytest (.+?)(?: -k "(.+)")?', commands(text)[-1]).groups()
    return files.split(), words or Path(files).stem


@pytest.fixture(scope="module")
def passed(repository):
    """Names of the tests that the recipes' last commands run: all in one process, for their imports take longest."""
    files, words = zip(*map(selection, RECIPES.values()), strict=True)
    command = f'python -m pytest -rp {" ".join(sorted(set(chain(*files))))} -k "{" or ".join(words)}"'
    return re.findall(r"^PASSED (.+)$", run(command, repository), re.MULTILINE)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_works(title, passed):
    """What it adds is under the contract of its kind, and holds."""
    files, words = selection(RECIPES[title])
    own = words.split(" or ")[0].lower()
    assert [name for name in passed if name.startswith(tuple(files)) and own in name.lower()]


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_names_every_file(title):
    text = RECIPES[title]
    listed = dict(re.findall(r"`(\S+?)`( \(new\))?", re.search(r"^Files: (.*?)\.\n\n", text, re.MULTILINE | re.DOTALL)[1]))
    written = {path for command in commands(text) for path in re.findall(r" > (\S+)", command)}
    assert set(listed) == new_files(text) | {path for path, _ in blocks(text, "diff")} | written
    assert {path for path, mark in listed.items() if mark} == new_files(text)
    assert all((ROOT / path).parent.is_dir() and not (ROOT / path).exists() for path in new_files(text))


def test_there_is_a_recipe_for_each_kind():
    assert {title.split(" ", 1)[1] for title in RECIPES} == set(KINDS)


def test_the_recipes_have_the_houses_style(repository):
    files = " ".join({path for text in RECIPES.values() for kind in ("python", "diff") for path, _ in blocks(text, kind)})
    run(f"python -m ruff check {files}; python -m ruff format --diff {files}", repository)


def test_every_path_on_the_page_exists():
    new = set().union(*map(new_files, RECIPES.values()))
    named = set(re.findall(r"`((?:pyrogen|models|inference|tests|docs|benchmarks)/[\w/.]*)`", PAGE)) - new
    assert len(named) > 30
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(("change", "count"), [(" a\n+b\n", 2), ("-c\n", 0)])
def test_a_change_that_does_not_fit_is_seen(change, count):
    assert changed("a\nc\n", " a\n+b\n@@\n-c\n+d\n") == "a\nb\nd\n"
    with pytest.raises(AssertionError, match=f"occur {count} times"):
        changed("a\na\n", change)
