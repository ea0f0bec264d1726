"""Snapshots: a module's parameters, buffers, modes and attributes, and all generators of random numbers, put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

__all__ = ["Snapshot", "preserved", "preserved_generators"]


class Snapshot:
    """All that a module and Pyro's store hold at a time.

    `restore` puts tensors, gradients, modes and attributes back, and drops what was added since.
    """

    def __init__(self, module: nn.Module) -> None:
        self.store = pyro.get_param_store().get_state()
        self.attributes = [_Attributes(part) for part in module.modules()]
        self.tensors = [_TensorState(tensor) for tensor in (*module.parameters(), *module.buffers())]

    def restore(self, *, thorough: bool = True) -> None:
        """Put everything back.

        Args:
            thorough: compare all values, and not only those of tensors whose version counter has moved.
        """
        for attributes in self.attributes:
            attributes.restore()
        for state in self.tensors:
            state.restore(thorough=thorough)
        store = pyro.get_param_store()
        if store.get_state()["params"].keys() != self.store["params"].keys():
            store.clear()
            store.set_state(self.store)


@contextmanager
def preserved(module: nn.Module, *, seed: int | None = None) -> Iterator[None]:
    """Put a module and all generators back afterwards.

    Args:
        module: the module, with all its submodules.
        seed: seeds torch's, NumPy's and Python's generators inside, if given.
    """
    snapshot = Snapshot(module)
    with preserved_generators(seed=seed):
        try:
            yield
        finally:
            snapshot.restore()


@contextmanager
def preserved_generators(*, seed: int | None = None) -> Iterator[None]:
    """Put torch's, NumPy's and Python's generators back afterwards; with a seed, seed them inside."""
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


class _TensorState:
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
                elif not torch.equal(tensor, self.values):  # a copy would raise the version that autograd checks
                    tensor.copy_(self.values)
            self.version, self.pointer = tensor._version, tensor.data_ptr()
        if self.grad is not None and self.grad_values is not None and thorough:
            with torch.no_grad():
                self.grad.copy_(self.grad_values)
        if tensor.is_leaf:
            tensor.requires_grad_(self.requires)
            tensor.grad = self.grad


class _Attributes:
    """A module's attributes, and the contents of its dicts, lists and sets."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.contents = [(kept, _copy(kept)) for kept in self.attributes.values() if isinstance(kept, dict | list | set)]

    def restore(self) -> None:
        own = vars(self.module)
        for name in [name for name in own if name not in self.attributes]:
            del own[name]
        for name, value in self.attributes.items():
            if name not in own or own[name] is not value:
                own[name] = value
        for kept, copy in self.contents:
            if isinstance(kept, MutableMapping):
                if list(kept) != list(copy) or any(kept[key] is not copy[key] for key in copy):
                    kept.clear()
                    kept.update(copy)
            elif isinstance(kept, list):
                kept[:] = copy
            else:
                kept.clear()
                kept.update(copy)


def _copy(kept: Any) -> Any:
    return dict(kept) if isinstance(kept, dict) else type(kept)(kept) if isinstance(kept, set) else list(kept)
