"""Leaving things as they were: a pair's parameters, buffers, modes and contents, and all generators of random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

__all__ = ["Keeper", "preserved", "preserved_generators"]


class Keeper:
    """Remembers all that a module holds, and puts it back.

    What was made since is dropped; tensors, gradients, modes and attributes are as they were, and so is Pyro's store.
    """

    def __init__(self, module: nn.Module) -> None:
        self.store = pyro.get_param_store().get_state()
        self.shelves = [_Shelf(part) for part in module.modules()]
        self.tensors = [_Held(tensor) for tensor in (*module.parameters(), *module.buffers())]

    def restore(self, *, thorough: bool = True) -> None:
        """Put everything back.

        Args:
            thorough: copy all values back, and not only those of tensors that say they were written to.
        """
        for shelf in self.shelves:
            shelf.restore()
        for held in self.tensors:
            held.restore(thorough=thorough)
        store = pyro.get_param_store()
        if store.get_state()["params"].keys() != self.store["params"].keys():
            store.clear()
            store.set_state(self.store)


@contextmanager
def preserved(module: nn.Module, *, seed: int | None = None) -> Iterator[None]:
    """Put a module and all generators back afterwards.

    Args:
        module: everything below it counts, too.
        seed: seeds torch's, numpy's and Python's generators meanwhile, if given.
    """
    keeper = Keeper(module)
    with preserved_generators(seed=seed):
        try:
            yield
        finally:
            keeper.restore()


@contextmanager
def preserved_generators(*, seed: int | None = None) -> Iterator[None]:
    """Put torch's, numpy's and Python's generators back afterwards; with a seed, seed them meanwhile."""
    python = random.getstate()
    numpy = np.random.get_state()  # noqa: NPY002 the legacy generator is the one that programs share
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(devices=devices):
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
                torch.default_generator.manual_seed(seed)
                for device in devices:
                    with torch.cuda.device(device):
                        torch.cuda.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


class _Held:
    """A tensor's values, its gradient, and whether it requires one."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor, self.version, self.pointer = tensor, tensor._version, tensor.data_ptr()
        self.values = tensor.detach().clone()
        self.requires, self.grad = tensor.requires_grad, tensor.grad
        self.grad_values = None if tensor.grad is None else tensor.grad.detach().clone()

    def restore(self, *, thorough: bool) -> None:
        tensor = self.tensor
        if thorough or tensor._version != self.version or tensor.data_ptr() != self.pointer:
            with torch.no_grad():
                if tensor.data_ptr() != self.pointer:
                    tensor.data = self.values.clone()
                elif not torch.equal(tensor, self.values):  # one that is as it was stays untouched, for autograd's sake
                    tensor.copy_(self.values)
            self.version, self.pointer = tensor._version, tensor.data_ptr()
        if self.grad is not None and self.grad_values is not None and thorough:
            with torch.no_grad():
                self.grad.copy_(self.grad_values)
        if tensor.is_leaf:
            tensor.requires_grad_(self.requires)
            tensor.grad = self.grad


class _Shelf:
    """What a module holds: its attributes, and what its dicts, lists and sets hold."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.contents = [(box, _copy(box)) for box in self.attributes.values() if isinstance(box, dict | list | set)]

    def restore(self) -> None:
        own = vars(self.module)
        for name in [name for name in own if name not in self.attributes]:
            del own[name]
        for name, value in self.attributes.items():
            if name not in own or own[name] is not value:
                own[name] = value
        for box, copy in self.contents:
            if isinstance(box, MutableMapping):
                if list(box) != list(copy) or any(box[key] is not copy[key] for key in copy):
                    box.clear()
                    box.update(copy)
            elif isinstance(box, list):
                box[:] = copy
            else:
                box.clear()
                box.update(copy)


def _copy(box: Any) -> Any:
    return dict(box) if isinstance(box, dict) else type(box)(box) if isinstance(box, set) else list(box)
