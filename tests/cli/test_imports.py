"""Help is there at once: what is heavy is imported when a command runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pyrogen

HEAVY = ("torch", "pyro", "arviz", "sklearn", "matplotlib", "pandas", "jinja2")


def modules_after(code: str) -> set[str]:
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('modules', *sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(found.stdout.rpartition("modules ")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import pyrogen; pyrogen.__version__; assert 'Pair' in dir(pyrogen)",
        "import pyrogen.report",
        *(
            f"from pyrogen.cli import main\ntry: main({words})\nexcept SystemExit as end: assert end.code == 0"
            for words in (["--help"], ["--version"], *([name, "--help"] for name in ("fit", "compare", "models")), [])
        ),
        "from pyrogen.cli import main\nassert main(['fit', 'vae', '--batchsize', '3']) == 2",
    ],
)
def test_nothing_heavy_is_imported_for_it(code: str) -> None:
    assert modules_after(code).isdisjoint(HEAVY)


def test_the_check_would_see_it() -> None:
    assert "torch" in modules_after("from pyrogen import Pair; assert Pair.__module__ == 'pyrogen.pair'")


def test_the_package_knows_its_names() -> None:
    from pyrogen import Pair
    from pyrogen.pair import Pair as Same

    assert Pair is Same
    assert set(pyrogen.__all__) <= set(dir(pyrogen))
    with pytest.raises(AttributeError, match="no attribute 'Pear'"):
        _ = pyrogen.Pear  # type: ignore[attr-defined]


def test_python_dash_m_is_the_same_program() -> None:
    done = subprocess.run([sys.executable, "-m", "pyrogen", "fti"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("pyrogen: error: no command is called 'fti'")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    program = subprocess.Popen([sys.executable, "-m", "pyrogen", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert program.stdout is not None
    program.stdout.close()
    _, errors = program.communicate()
    assert (program.returncode, errors) == (141, b"")


def test_choices_that_help_repeats_are_those_of_the_library() -> None:
    """Their types can't be imported where help is made."""
    from jsonargparse import ArgumentParser

    from pyrogen.cli import fit
    from pyrogen.data.binarize import BINARIZATIONS
    from pyrogen.inference.objectives.gradients import GRADIENTS

    parser = ArgumentParser()
    fit.add_arguments(parser)
    text = parser.format_help()
    assert f"{{{','.join(BINARIZATIONS)}}}" in text
    assert [name for name in GRADIENTS if f"'{name}'" not in text] == []


def test_objectives_and_estimators_of_the_library_have_names() -> None:
    from pyrogen import inference
    from pyrogen.cli.factories import make_estimators, make_objective

    assert [
        type(made).__name__ for made in make_estimators(["elbo", "iwae:5", "is:9", "importance-sampling:9", "exact"])
    ] == [
        "ELBO",
        "IWAE",
        "ImportanceSampling",
        "ImportanceSampling",
        "Exact",
    ]
    assert isinstance(make_objective("renyi:0.5:7"), inference.Renyi)
    assert make_objective("renyi:0.5:7").name == inference.Renyi(0.5, 7).name
    assert make_objective("pyrogen.inference:IWAE:7", "doubly-reparameterized").gradient.name == "doubly-reparameterized"
