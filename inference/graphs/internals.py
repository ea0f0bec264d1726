"""The private names of torch and Pyro that the compiled engine leans on, and nothing else; a test looks for each of them.

- Pyro reads scalars back to the host in its objectives (``Tensor.item``, a warning about NaN) and skips such reads where
  ``torch._C._get_tracing_state()`` is true. While a pair is recorded, Pyro's own code (and no one else's) sees a
  tracing state and gets tensors in place of numbers.
- ``torch._is_all_true`` is asked by torch's distributions about their arguments and samples, by those, too, that were made
  while validation was on.
- torch's compiler is called through ``torch._inductor.standalone_compile``, without the guards that `torch.compile`
  checks at each call.
- ``torch._fused_adam_`` and ``torch._fused_adamw_`` are the kernels behind ``torch.optim.Adam(fused=True)``.
- ``torch.ops.mkldnn._linear_pointwise`` is a matrix product by oneDNN, whatever torch was built to use.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyro
import pyro.util
import torch
from pyro.ops.provenance import detach_provenance
from torch import Tensor, fx
from torch.overrides import TorchFunctionMode

__all__ = [
    "compile_errors",
    "compiled_with_inductor",
    "fused_adam",
    "has_onednn_linear",
    "mark_as_stepped",
    "onednn_linear",
    "plain",
    "quiet_pyro",
]


def plain(tensor: Tensor) -> Tensor:
    """A tensor without Pyro's provenance and without its gradient: a tensor subclass would turn into a constant."""
    return detach_provenance(tensor).detach()


@contextmanager
def quiet_pyro() -> Iterator[None]:
    """Keep Pyro's own code from reading values back to the host, and its validation off."""
    tracing, isnan = torch._C._get_tracing_state, pyro.util.torch_isnan

    def seen_by_pyro() -> Any:
        return True if _called_by_pyro() else tracing()

    torch._C._get_tracing_state = seen_by_pyro
    pyro.util.torch_isnan = lambda value: False  # type: ignore[assignment]
    try:
        with pyro.validation_enabled(False), _NumbersStayTensors():
            yield
    finally:
        torch._C._get_tracing_state = tracing
        pyro.util.torch_isnan = isnan


class _NumbersStayTensors(TorchFunctionMode):
    """Gives Pyro's own code a detached tensor where it asks for a number."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.item and _called_by_pyro():
            return args[0].detach()
        if func is torch._is_all_true:  # asked by distributions that validate whatever the setting of today
            return True
        if func is torch.nn.functional.one_hot and len(args) == 2 and not kwargs:  # which reads the largest of its values
            classes = torch.arange(args[1], device=args[0].device)
            return (args[0].unsqueeze(-1) == classes).to(args[0].dtype)
        return func(*args, **(kwargs or {}))


def _called_by_pyro() -> bool:
    """Whether the function that called this file's is one of Pyro's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in (__name__, "torch.overrides"):
        frame = frame.f_back
    return bool(frame.f_globals.get("__name__", "").partition(".")[0] == "pyro")


def compiled_with_inductor(
    module: fx.GraphModule, example: Sequence[Tensor], options: dict[str, Any]
) -> Callable[..., Sequence[Tensor]]:
    """A callable of the same tensors that runs a graph compiled by inductor for their shapes.

    Args:
        module: the graph; it may be changed.
        example: tensors of the shapes, dtypes and devices that calls will have.
        options: settings of `torch._inductor.config`.
    """
    import torch._inductor

    for node in module.graph.nodes:
        node.meta.clear()  # made by several fake modes, which inductor refuses to mix
    if hasattr(torch._inductor, "standalone_compile"):
        # It warns where the artifact cannot be saved, which nobody asked for.
        log = logging.getLogger("torch._inductor.standalone_compile")
        level = log.level
        log.setLevel(logging.ERROR)
        try:
            artifact = torch._inductor.standalone_compile(
                module, list(example), dynamic_shapes="from_example_inputs", options={"config_patches": options}
            )
        finally:
            log.setLevel(level)
        # The artifact's own call is one Python frame around this function.
        return getattr(artifact, "_compiled_fn", artifact)
    return torch.compile(module, fullgraph=True, dynamic=False, options=options)


def compile_errors() -> tuple[type[Exception], ...]:
    """What inductor raises where no working C++ compiler is at hand."""
    from torch._inductor import exc

    names = ("InvalidCxxCompiler", "CppCompileError")
    return tuple(getattr(exc, name) for name in names if hasattr(exc, name))


def fused_adam(decoupled: bool) -> Callable[..., None]:
    """The in-place kernel of Adam, or of AdamW where the weight decay is decoupled."""
    return torch._fused_adamw_ if decoupled else torch._fused_adam_


def mark_as_stepped(optimizer: torch.optim.Optimizer) -> None:
    """Tell learning rate schedulers that the optimizer is stepped, though not by its own ``step``."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def has_onednn_linear() -> bool:
    """Whether this build of torch has oneDNN's matrix product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``x @ weight.T + bias`` by oneDNN: x (rows, in), weight (out, in), bias (out,)."""
    # A part of a wider matrix as weight, or rows and columns both apart, would take oneDNN a thousand times as long.
    if not (weight.is_contiguous() or weight.t().is_contiguous()):
        weight = weight.contiguous()
    if 1 not in x.stride():
        x = x.contiguous()
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")  # type: ignore[no-any-return]
