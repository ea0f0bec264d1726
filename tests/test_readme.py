"""What the README shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = ["compiled.md", "monte-carlo.md"]
SMALLER = {"epochs=20": "epochs=1, progress=False", "IWAE(50)": "IWAE(5)", "5000": "100"}


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_pair_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = blocks(README)[0]
    for large, small in SMALLER.items():
        assert large in code
        code = code.replace(large, small)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "ELBO" in capsys.readouterr().out
    assert {"checkpoint.pt", "comparison.json", "comparison.nc"} <= {f.name for f in (tmp_path / "runs/mine").iterdir()}


PAGES_BLOCKS = [code for page in PAGES for code in blocks((ROOT / "docs" / page).read_text())]


@pytest.mark.parametrize("code", [*blocks(README)[1:], *PAGES_BLOCKS])
def test_the_other_blocks_run(code):
    exec(compile(code, "a page", "exec"), {"__name__": "page"})


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
