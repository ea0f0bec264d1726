"""A CUDA device simulated on the CPU: which tensors would be on it, what would mix devices, when the host would wait for it.

Numbers are computed on the CPU as usual, so that a run goes on after a fault and shows all of them. Two modes watch it:

- `_FunctionCalls` sees the torch functions that a program calls. It answers ``x.device`` with ``cuda:0`` for a tensor that
  would be there, takes ``device="cuda:0"`` itself, and records copies to the host.
- `_Operations` sees the operations below, those of autograd and of the optimizer included. A result is where its operands
  are, as on a GPU. An operation on two devices is recorded; a tensor without dimensions on the CPU may meet any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogen.programs.source_lines import program_line

from .device_record import DeviceMix, Origin, SimulatedCuda

__all__ = ["simulate"]

DEVICE = torch.device("cuda", 0)
_ANSWERS: dict[Any, Any] = {
    vars(torch._C.TensorBase)["device"].__get__: DEVICE,
    vars(torch._C.TensorBase)["is_cuda"].__get__: True,
    vars(torch._C.TensorBase)["is_cpu"].__get__: False,
    Tensor.get_device: 0,
}
_COPIES: set[Any] = {Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__repr__, Tensor.__format__}
_REFUSED: set[Any] = {Tensor.numpy, Tensor.__array__}
_READS = {"_local_scalar_dense", "equal", "_linalg_check_errors"}
_SHAPES = {"nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount"}
_SPOKEN = {"__bool__": "bool() or `if`", "__float__": "float()", "__int__": "int()", "__index__": "int()"}


@contextmanager
def simulate(device: SimulatedCuda) -> Iterator[None]:
    """Run what is inside as if on the device."""
    with _Operations(device), _FunctionCalls(device):
        yield


class _FunctionCalls(TorchFunctionMode):
    """Watches the torch functions that a program calls."""

    def __init__(self, device: SimulatedCuda) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device, kwargs, name = self.device, dict(kwargs or {}), getattr(func, "__name__", "")
        first = args[0] if args and isinstance(args[0], Tensor) else None
        held = first is not None and device.has(first)
        if name in ("__get__", "get_device"):
            return _ANSWERS[func] if held and func in _ANSWERS else func(*args, **kwargs)
        if held and func in _COPIES:
            device.read(f"{name}()", refused=func in _REFUSED)
            return self._quietly(func, *args, **kwargs)
        target, args = self._target(func, args, kwargs)
        if target is None:
            return self._call(func, name, args, kwargs)
        result = first if func in (Tensor.cuda, Tensor.cpu) else self._call(func, name, args, kwargs)
        if not isinstance(result, Tensor) or (held and target):
            return result
        if not target and held and func in (Tensor.cpu, Tensor.to):
            device.read(f"{name}()" if func is Tensor.cpu else "to('cpu')")
        if any(isinstance(value, Tensor) for value in args):
            result = self._quietly(torch.clone, result)
        device.place([result], None if target else Origin(program_line()))
        return result

    def _call(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        """Call a function, with its name known to the operations that it runs."""
        device, before = self.device, (self.device.call, self.device.inside, self.device.checked)
        # What torch's own functions make inside is made on the right device.
        device.call = name
        device.inside = before[1] or any(device.has(tensor) for tensor in _tensors((args, kwargs)))
        # Torch checks the range of what one_hot encodes on the CPU alone.
        device.checked = before[2] or (func is one_hot and kwargs.get("num_classes", *args[1:2] or (-1,)) > 0)
        try:
            return func(*args, **kwargs)
        finally:
            device.call, device.inside, device.checked = before

    def _quietly(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        before, self.device.quiet = self.device.quiet, True
        try:
            return func(*args, **kwargs)
        finally:
            self.device.quiet = before

    def _target(self, func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[bool | None, Any]:
        """Whether a call asks for the device (True), the CPU (False) or neither, and its arguments without that."""
        if func in (Tensor.cuda, Tensor.cpu):
            return func is Tensor.cuda, args
        if func in (Tensor.to, Tensor.type_as) and len(args) > 1 and isinstance(args[1], Tensor):
            return self.device.has(args[1]), args
        if func is Tensor.to and len(args) > 1 and isinstance(args[1], str | torch.device | int):
            return _is_cuda(args[1]), (args[0], "cpu", *args[2:])
        where = kwargs.get("device")
        if where is None:
            return None, args
        if _is_cuda(where):
            kwargs["device"] = "cpu"
        return _is_cuda(where), args


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches the operations that run."""

    def __init__(self, device: SimulatedCuda) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise torch would load its compiler, which is slow

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        device, kwargs = self.device, kwargs or {}
        if device.quiet:
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        operands = list(_tensors((args, kwargs)))
        if name.startswith("lift"):  # a tensor made of numbers
            self.device.place(operands, None if device.inside else Origin(program_line()))
        origins = [device.origin_in_use(tensor) for tensor in operands]
        if None in origins:
            self._inspect(name, args, kwargs, operands, origins)
        result = func(*args, **kwargs)
        results = list(_tensors(result))
        self._compare((str(func), *(tuple(tensor.shape) for tensor in results)))
        if name in ("copy_", "_resize_output_"):
            return result  # where its first operand was
        if None in origins or (device.inside and not operands):
            device.place(results)
        else:
            origin = origins[0] if origins else Origin(program_line())
            known = {tensor.untyped_storage()._cdata for tensor in operands}
            device.place((t for t in results if t.untyped_storage()._cdata not in known), origin)
        return result

    def _compare(self, seen: tuple[Any, ...]) -> None:
        device = self.device
        place = len(device.operations)
        device.operations.append(seen)
        if device.expected is None or device.first_difference is not None:
            return
        if place >= len(device.expected) or device.expected[place] != seen:
            device.first_difference = str(seen[0]), program_line()

    def _inspect(self, name: str, args: Any, kwargs: Any, operands: list[Tensor], origins: list[Origin | None]) -> None:
        """Record what the host waits for and where two devices meet."""
        device = self.device
        call = _SPOKEN.get(device.call, f"{device.call or name}()")
        masks = [t for t, o in zip(operands, origins, strict=True) if o is None and t.dtype in (torch.bool, torch.uint8)]
        if name in _READS or (name == "copy_" and origins[0] is not None):
            device.read(call)
        elif name in _SHAPES or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            device.read(call, shapes=True)
        elif name == "index" and any(mask is not operands[0] for mask in masks):
            device.read("indexing with a mask", shapes=True)
        elif name.startswith(("index_put", "_index_put")) and masks and args[2].numel() > 1:
            device.read("assigning to a mask", shapes=True)
        if name == "copy_":
            return
        free = name.startswith(("index_put", "_index_put")) or name == "index"
        for place, (tensor, origin) in enumerate(zip(operands, origins, strict=True)):
            scalar = tensor.dim() == 0 and name not in ("cat", "stack")
            if origin is None or scalar or (free and place > 0 and origins[0] is None):
                continue
            device.mixes.append(DeviceMix(device.call or name, program_line(), origin, tuple(tensor.shape)))


def _is_cuda(where: Any) -> bool:
    return isinstance(where, int) or torch.device(where).type == "cuda"


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(tuple(values.values()))
