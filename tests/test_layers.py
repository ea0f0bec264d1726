"""The walls of the house: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"pyrogen": ROOT / "pyrogen", "pyrogen.models": ROOT / "models", "pyrogen.inference": ROOT / "inference"}


def modules():
    """(dotted name, file) of every module of the package."""
    for package, folder in FOLDERS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [package, *file.relative_to(folder).with_suffix("").parts]
            yield ".".join(part for part in parts if part != "__init__"), file


def imports(name, file):
    """Dotted names of all modules that a file imports, relative ones resolved."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def violations(name, imported):
    """Why a module must not import another."""
    area = next((a for a in ("pyrogen.cli", "pyrogen.models", "pyrogen.inference") if name.startswith(a)), "core")
    wings = [w for w in ("pyrogen.models", "pyrogen.inference") if imported.startswith(w)]
    if imported.split(".")[0] in ("models", "inference"):
        yield "a second copy of a wing would be loaded"
    if wings and area == "core" and not name.endswith("__main__"):
        yield "the core knows neither wing"
    if wings and area.startswith("pyrogen.") and area != "pyrogen.cli" and area not in wings:
        yield "the wings do not know each other"
    if name.startswith("pyrogen.nets") and imported.split(".")[0] == "pyro":
        yield "nets know no Pyro"
    if (
        name.startswith("pyrogen.nets")
        and imported.startswith("pyrogen")
        and not imported.startswith(("pyrogen.nets", "pyrogen.errors"))
    ):
        yield "nets know nothing of pyrogen but its errors"
    if name.startswith("pyrogen.report") and (
        imported.split(".")[0] in ("torch", "pyro") or imported.startswith("pyrogen.pair")
    ):
        yield "the report touches no live model"
    if imported.startswith("pyrogen.cli") and area != "pyrogen.cli" and not name.endswith("__main__"):
        yield "only the command line knows the command line"


def test_walls():
    found = [
        f"{name} imports {imported}: {why}"
        for name, file in modules()
        for imported in imports(name, file)
        for why in violations(name, imported)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("pyrogen.models.vae", "pyrogen.inference.elbo"),
        ("pyrogen.inference.fit", "pyrogen.models"),
        ("pyrogen.data.load", "pyrogen.models"),
        ("pyrogen.nets.mlp", "pyro"),
        ("pyrogen.nets.mlp", "pyrogen.pair"),
        ("pyrogen.report.page", "torch"),
        ("pyrogen.inference.fit", "models.vae"),
        ("pyrogen.inference.fit", "pyrogen.cli"),
    ],
)
def test_a_breach_is_seen(name, imported):
    assert list(violations(name, imported))


def test_every_module_is_looked_at():
    names = [name for name, _ in modules()]
    assert {"pyrogen.pair", "pyrogen.models.vae", "pyrogen.inference.weights", "pyrogen.cli"} <= set(names)
    assert list(imports("pyrogen.models.vae", ROOT / "models" / "vae.py")).count("pyrogen.models.likelihoods") == 1
