"""What the pages show runs as it stands, and their links and tables are right."""

from __future__ import annotations

import pydoc
import re
from pathlib import Path

import pytest

from pyrogen.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").glob("*.md"))
SMALLER = {"epochs=20": "epochs=1, progress=False", "IWAE(50)": "IWAE(5)", "5000": "100"}
SMALLER_COMMANDS = {
    "mnist:FOLDER": "digits",
    "--epochs 20": "--epochs 1",
    "--compile": "--compile graph",
    "iwae:50 is:5000 ais:1000": "iwae:5 is:100 ais:5 --rows 3",
    "examine runs/mnist": "examine runs/mnist --what calibration --simulations 50",
    "examples/": f"{ROOT}/examples/",
}


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run(code, name):
    exec(compile(code, name, "exec"), {"__name__": "page"})


def test_the_pair_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(README)[0]
    for large, small in SMALLER.items():
        assert large in code
        code = code.replace(large, small)
    run(code, "README.md")
    assert "ELBO" in capsys.readouterr().out
    assert {"checkpoint.pt", "comparison.json", "comparison.nc"} <= {f.name for f in (tmp_path / "runs/mine").iterdir()}


def test_the_commands_of_the_readme_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [line for line in README.splitlines() if line.startswith("pyrogen ")]
    for large, small in SMALLER_COMMANDS.items():
        assert any(large in line for line in commands)
        commands = [line.replace(large, small) for line in commands]
    for line in commands:
        assert main(line.split()[1:]) == 0, line


@pytest.mark.parametrize("code", blocks(README)[1:])
def test_the_other_blocks_run(code):
    run(code, "README.md")


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text())], ids=lambda page: page.name)
def test_a_page_runs_from_top_to_bottom(page):
    run("\n".join(blocks(page.read_text())), page.name)


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    assert [link for link in sorted(links) if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} - {"index.md"}
    assert [page for page in sorted(pages) if f"({page})" not in index] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES], ids=lambda page: page.name)
def test_files_and_modules_that_a_page_names_exist(page):
    text = page.read_text()
    files = re.findall(r"`((?:pyrogen|models|inference|tests|docs|benchmarks|examples)/[\w/.-]+)", text)
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert [name for name in re.findall(r"\bpyrogen(?:\.\w+)+", text) if pydoc.locate(name) is None] == []


def named_folders(text):
    return {folder.rstrip("/") for folder in re.findall(r"^\|[^|]*`([\w/]+/)`", text, re.MULTILINE)}


def test_the_tables_of_folders_are_the_tree():
    assert named_folders(README) == {file.parent.name for file in ROOT.glob("[!.]*/*.py")} | {"docs"}
    files = [
        file
        for pattern in ("*/__init__.py", "pyrogen/*/__init__.py", "inference/*/__init__.py")
        for file in ROOT.glob(pattern)
    ]
    packages = {file.parent.relative_to(ROOT).as_posix() for file in files}
    assert named_folders((ROOT / "CONTRIBUTING.md").read_text()) == packages
