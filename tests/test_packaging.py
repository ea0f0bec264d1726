"""What is installed: every package, typed, with its data, and without side effects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_listed():
    """`find` with a pattern would silently drop the wings from the wheel, so packages are listed by hand."""
    found = {"pyrogen"}
    for package, folder in (("pyrogen", "pyrogen"), ("pyrogen.models", "models"), ("pyrogen.inference", "inference")):
        for file in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *file.parent.relative_to(ROOT / folder).parts]))
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_torch_is_a_range_here_and_pinned_in_the_constraints():
    assert "torch>=2.6" in PROJECT["project"]["dependencies"]
    constraints = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in constraints
    assert all("==" in line and "://" not in line for line in constraints)


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout


def test_importing_changes_no_global_state():
    code = """
import torch, pyro
import pyro.distributions as dist
def state():
    return (torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.get_rng_state().tolist(),
            torch.get_num_threads(), pyro.settings.get(), dist.is_validation_enabled(),
            len(pyro.get_param_store()), torch.is_grad_enabled())
before = state()
import pyrogen, pyrogen.models, pyrogen.inference, pyrogen.data, pyrogen.report
from pyrogen import Pair
assert state() == before
import sys
print([m for m in ("matplotlib", "arviz", "sklearn", "pandas", "jinja2", "tensorboard") if m in sys.modules])
"""
    assert run(code).strip() == "[]"


def test_the_installed_package_is_typed_and_whole():
    code = """
import importlib.resources as r
print((r.files("pyrogen") / "py.typed").is_file(), (r.files("pyrogen.report") / "report.html").is_file())
"""
    assert run(code).split() == ["True", "True"]
