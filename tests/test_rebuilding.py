"""How objects are made again: their arguments as plain values, and what cannot be written down by name."""

from __future__ import annotations

import copy
import inspect
import sys
import types

import pytest
import torch
import yaml
from torch import nn

from pyrogen.errors import ConfigurationError
from pyrogen.models import VAE, Part, StandardNormal
from pyrogen.registry.rebuilding import Rebuildable, rebuild, recipe


class Base(Rebuildable):
    def __init__(self, size: int, *, name: str = "base"):
        self.size, self.name = size, name


class Derived(Base):
    def __init__(self, *sizes: int, shape=(2, 3), inner=None, make=None, **options):
        super().__init__(3, **options)
        self.shape, self.inner, self.make = shape, inner, make


class Bare(Derived):
    pass


def again(made):
    """The object, made again from what a file would hold."""
    return rebuild(yaml.safe_load(yaml.safe_dump(recipe(made))))


def test_an_object_comes_back_with_its_arguments_of_their_types():
    made = again(Bare(shape=(4, 5), inner=Base(7), make=Base, name="x"))
    assert (type(made), made.shape, made.name, made.size, made.make) == (Bare, (4, 5), "x", 3, Base)
    assert (type(made.inner), made.inner.size) == (Base, 7)
    assert again(Bare(shape=[4, 5])).shape == [4, 5]
    assert again(Bare(inner={"a": [None, 1.5, True, Base(2)]})).inner["a"][3].size == 2


def test_an_argument_is_kept_as_it_was_given():
    given = [1, 2]
    made = Bare(shape=given)
    given.append(3)
    assert recipe(made)["init_args"]["shape"] == [1, 2]
    assert recipe(copy.deepcopy(made)) == recipe(made)


def test_constructors_keep_their_signatures_and_errors():
    assert list(inspect.signature(VAE).parameters)[:2] == ["shape", "latent"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'sise'"):
        Base(sise=3)


MISSING = {
    "network": (lambda: Bare(inner=nn.Linear(2, 3)), "inner is a Linear"),
    "tensor": (lambda: Bare(inner=[torch.zeros(2)]), "inner is a Tensor"),
    "lambda": (lambda: Bare(make=lambda: 1), "make is <lambda>, which no module holds under its name"),
    "by position": (lambda: Bare(1, 2), "sizes is given by position alone"),
    "in a part": (lambda: Bare(inner=Bare(inner=nn.ReLU())), "inner is a Bare, and its inner is a ReLU"),
    "data": (lambda: Bare(inner=list(range(2000))), "inner is a list"),
    "shared": (lambda: (lambda base: Bare(inner=[base, Base(1, name="y"), base]))(Base(1)), "shares an object with another"),
    "no record": (lambda: nn.Linear(2, 3), "class Linear does not note it"),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_cannot_be_written_down_is_named(case):
    make, words = MISSING[case]
    with pytest.raises(ConfigurationError, match=words):
        again(make())


def test_a_class_that_no_import_finds_is_named(tmp_path, monkeypatch):
    class Local(Base):
        pass

    with pytest.raises(ConfigurationError, match="Local is defined in a function, a notebook"):
        again(Local(1))
    script = tmp_path / "script.py"
    main = types.ModuleType("__main__")
    main.__file__ = str(script)
    Own = type("Own", (Base,), {"__module__": "__main__"})
    main.Own = Own
    monkeypatch.setitem(sys.modules, "__main__", main)
    body = f"from {__name__} import Base\nclass Own(Base):\n    pass\n"
    script.write_text(body)
    with pytest.raises(ConfigurationError, match="script without an if __name__"):
        again(Own(1))  # importing it would run it once more
    main.__file__ = str(tmp_path / "guarded.py")
    (tmp_path / "guarded.py").write_text(body + "if __name__ == '__main__':\n    raise SystemExit\n")
    assert again(Own(5)).size == 5
    assert recipe(Own(5))["class_path"] == f"{tmp_path}/guarded.py:Own"


def test_code_that_has_changed_is_named():
    with pytest.raises(ConfigurationError, match=r"does not take these arguments any more: .*'age'"):
        rebuild({"class_path": f"{__name__}:Base", "init_args": {"age": 3}})


def test_parts_of_models_come_back():
    assert again(VAE((4,), latent=2, prior="mixture:components=3")).prior.locs.shape == (3, 2)
    vae = VAE((4,), latent=2, prior=StandardNormal(2), activation=nn.ELU)
    made = again(vae)
    assert isinstance(made.prior, Part)
    assert [type(layer) for layer in made.encoder.net] == [type(layer) for layer in vae.encoder.net]
    made.load_state_dict(vae.state_dict())
