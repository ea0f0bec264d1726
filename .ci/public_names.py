"""Import every public name of the installed package."""

import importlib
import pkgutil

import pyrogen

modules = ["pyrogen", *(m.name for m in pkgutil.walk_packages(pyrogen.__path__, "pyrogen."))]
names = 0
for module in modules:
    if module.endswith("__main__"):
        continue
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", ()):
        getattr(loaded, name)
        names += 1
assert {"pyrogen.models.vae", "pyrogen.inference.training.fitting", "pyrogen.data.load"} & set(modules) >= {
    "pyrogen.models.vae",
    "pyrogen.inference.training.fitting",
}
print(f"{names} public names of {len(modules)} modules import from {pyrogen.__path__[0]}")
