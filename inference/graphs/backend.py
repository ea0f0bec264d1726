"""From a recorded graph to something fast: the steps of the ladder above the eager run.

- ``"graph"``: the recorded operations, called one after the other. It needs no compiler.
- ``"inductor"``: compiled by torch's inductor (C++ on a CPU; Triton on a GPU).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError
from pyrogen.randomness import forked

from .internals import compile_errors, compiled_with_inductor
from .passes import keep_bernoulli, least_flops, least_seconds, share_exponentials, use_onednn
from .tracing import Graph

__all__ = ["Backend", "CompilerMissing", "Executable", "build", "copied"]

_CLEARLY = 0.97

Backend: TypeAlias = Literal["graph", "inductor"]


class CompilerMissing(ConfigurationError):
    """There is no working compiler for inductor."""


@dataclass
class Executable:
    """A graph made ready to be called with the tensors that `Graph` takes."""

    call: Callable[..., Sequence[Tensor]]
    outputs: tuple[str, ...]
    constants: list[Tensor]
    backend: Backend
    operations: int = 0
    products: int = 0
    """How many matrix products go to oneDNN."""
    seconds: float = 0.0
    """What making it took."""

    @property
    def replaces_buffers(self) -> bool:
        """Whether the run replaces buffers instead of writing into them."""
        return self.outputs[-1].startswith("buffer.")


def build(graph: Graph, example: Sequence[Tensor], backend: Backend) -> Executable:
    """Make a graph ready.

    Args:
        graph: the graph; it is left as it is.
        example: tensors as the calls will bring, in their order; they are not written to.
        backend: the step of the ladder. On a CPU the graph is kept as it was recorded where compiling has not made it
            faster, as may be where convolutions take most of the time.

    Raises:
        CompilerMissing: inductor finds no working C++ compiler.
    """
    start = time.perf_counter()
    module = copy.deepcopy(graph.module)
    on_cpu = all(tensor.device.type == "cpu" for tensor in example)
    products = use_onednn(module, least_flops(torch.get_num_threads())) if on_cpu else 0
    call: Callable[..., Sequence[Tensor]] = module
    operations = graph.operations
    if backend == "inductor":
        uncompiled = copy.deepcopy(module)
        share_exponentials(module)
        keep_bernoulli(module)
        options = {"fallback_random": True}  # the same random numbers as an eager run
        copies = [copied(tensor) for tensor in example]
        try:
            with forked(example[0].device), torch.no_grad():
                call = compiled_with_inductor(module, copies, options)
                call(*copies)
                if on_cpu:
                    plain, compiled = least_seconds(partial(uncompiled, *copies), partial(call, *copies), rounds=7)
                    if plain < _CLEARLY * compiled:
                        call, backend = uncompiled, "graph"
        except Exception as error:
            if not _is_about_the_compiler(error):
                raise
            raise CompilerMissing(
                f"no working C++ compiler for torch's inductor ({type(error).__name__}): install one (Debian and Ubuntu: "
                "`apt-get install g++`; conda: `conda install -c conda-forge cxx-compiler`; macOS: `xcode-select "
                "--install`) or name it in the variable CXX; if there is one, an earlier compilation may have broken off: "
                "empty inductor's cache (TORCHINDUCTOR_CACHE_DIR); or fit with compile='graph', which needs no compiler"
            ) from error
    return Executable(call, graph.outputs, graph.constants, backend, operations, products, time.perf_counter() - start)


def copied(tensor: Tensor) -> Tensor:
    """A copy that lies in memory as the tensor does, which inductor relies on; of an expanded one, the tensor itself."""
    if tensor.is_contiguous():
        return tensor.detach().clone()
    if any(stride == 0 < size - 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        return tensor.detach()  # which nothing can write to
    result = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
    return result.copy_(tensor.detach())


def _is_about_the_compiler(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, compile_errors()) or type(error).__name__ in [e.__name__ for e in compile_errors()]:
            return True
        error = error.__cause__ or error.__context__
    return False
