"""The walls of the house: who may import whom."""

from __future__ import annotations

import ast
import importlib
import types
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


MODULES = {name for name, _ in modules()}


def imports(name, file):
    """Dotted names of all modules that a file imports, relative ones resolved."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            inside = {f"{target}.{alias.name}" for alias in node.names} & MODULES  # modules, imported by their names
            yield from inside
            if len(inside) < len(node.names):
                yield target


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


PATH_OF_THE_DATA = ["graphs", "weights", "estimators", "objectives", "studies", "training"]
"""Folders of `inference/`: each may import those before it; what evaluates a pair asks nothing of what has trained it."""


def backwards(name, imported):
    """Whether a module of `inference/` imports from a folder that comes after its own."""
    parts = [module.split(".")[2:3] for module in (name, imported) if module.startswith("pyrogen.inference.")]
    places = [PATH_OF_THE_DATA.index(part[0]) for part in parts if part and part[0] in PATH_OF_THE_DATA]
    return len(places) == 2 and places[1] > places[0]


def circles(graph):
    """Sets of modules that import each other, directly or not; `graph` maps a module to those that it imports."""
    reached = {}
    for name in graph:
        reached[name], open_ = set(), [name]
        while open_:
            for other in graph.get(open_.pop(), ()):
                if other not in reached[name]:
                    reached[name].add(other)
                    open_.append(other)
    return {frozenset({name, *(o for o in reached[name] if name in reached[o])}) for name in graph if name in reached[name]}


def import_graph():
    return {name: {i for i in imports(name, file) if i in MODULES and i != name} for name, file in modules()}


def test_no_circle_of_any_kind():
    """Imports for type checkers alone, and those inside functions, count as well."""
    assert not circles(import_graph())


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_inference_imports_along_the_path_of_the_data():
    found = [f"{name} imports {i}" for name, file in modules() for i in imports(name, file) if backwards(name, i)]
    assert not found, "\n".join(found)
    assert backwards("pyrogen.inference.estimators.exact", "pyrogen.inference.training.fitting")
    assert backwards("pyrogen.inference.studies.comparison", "pyrogen.inference.training.fitting")
    assert not backwards("pyrogen.inference.training.fitting", "pyrogen.inference.estimators.exact")


def test_inference_holds_folders_only():
    assert [file.name for file in FOLDERS["pyrogen.inference"].glob("*.py")] == ["__init__.py"]
    folders = {folder.name for folder in FOLDERS["pyrogen.inference"].iterdir() if folder.name != "__pycache__"}
    assert folders - {"__init__.py"} == set(PATH_OF_THE_DATA)


def test_no_public_name_hides_a_module():
    hidden = []
    for name in sorted(MODULES):
        package, _, last = name.rpartition(".")
        found = getattr(importlib.import_module(package), last, None) if package in MODULES else None
        if found is not None and not isinstance(found, types.ModuleType):
            hidden.append(name)
    assert not hidden


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
        ("pyrogen.models.vae", "pyrogen.inference.objectives.elbo"),
        ("pyrogen.models.parts.part", "pyrogen.inference.objectives.elbo"),
        ("pyrogen.inference.training.fitting", "pyrogen.models"),
        ("pyrogen.data.load", "pyrogen.models"),
        ("pyrogen.nets.mlp", "pyro"),
        ("pyrogen.nets.mlp", "pyrogen.pair"),
        ("pyrogen.report.page", "torch"),
        ("pyrogen.inference.training.fitting", "models.vae"),
        ("pyrogen.inference.training.fitting", "pyrogen.cli"),
    ],
)
def test_a_breach_is_seen(name, imported):
    assert list(violations(name, imported))


def test_every_module_is_looked_at():
    assert {"pyrogen.pair", "pyrogen.models.vae", "pyrogen.inference.weights.terms", "pyrogen.cli"} <= MODULES
    assert list(imports("pyrogen.models.vae", ROOT / "models" / "vae.py")).count("pyrogen.models.parts") == 1
