"""Matrix products by oneDNN where that is faster: a pass over a recorded graph.

On some processors (AMD's) the BLAS that torch is built with runs at half the speed of oneDNN. `torch` can be told to use
oneDNN by lowering its matrix-product precision, which may truly cost precision elsewhere. This pass keeps float32: it sends
large products of a graph to an operator that calls oneDNN. A product has to be large enough to pay for the way
there; where that begins is measured once for each number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, fx

from .internals import has_onednn_linear, onednn_linear

__all__ = ["least_flops", "product_shapes", "use_onednn"]

_SIZES = ((32, 784, 64), (128, 784, 400), (512, 784, 400))
_ADVANTAGE = 1.05


def _register() -> torch.library.Library | None:
    """Make the operator, unless a second copy of this file has made it; it lives as long as what is returned."""
    if hasattr(torch.ops.pyrogen, "linear"):
        return None
    library = torch.library.Library("pyrogen", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")  # type: ignore[no-untyped-call]
    library.impl("linear", onednn_linear, "CPU")  # type: ignore[no-untyped-call]
    library.impl("linear", lambda x, weight, bias: x.new_empty(x.shape[0], weight.shape[0]), "Meta")  # type: ignore[no-untyped-call]
    return library


_LIBRARY = _register()


@cache
def least_flops(threads: int) -> float:
    """Operations from which on a float32 product is faster by oneDNN here, or infinity.

    Args:
        threads: what `torch.get_num_threads` says; the answer is kept for each.
    """
    if not has_onednn_linear():
        return float("inf")
    generator = torch.Generator().manual_seed(0)
    faster_from = float("inf")
    for rows, inner, columns in reversed(_SIZES):
        x = torch.rand(rows, inner, generator=generator, dtype=torch.float32)
        weight = torch.rand(columns, inner, generator=generator, dtype=torch.float32)
        slope = torch.rand(rows, columns, generator=generator, dtype=torch.float32)
        # A layer forward, the gradient of its inputs, and that of its weight.
        layouts = ((x, weight.t()), (slope, weight), (slope.t(), x))
        own, other = _least_seconds(
            partial(_all, torch.mm, layouts),
            partial(_all, onednn_linear, [(first, second.t(), None) for first, second in layouts]),
        )
        if own < _ADVANTAGE * other:
            break
        faster_from = 2.0 * rows * inner * columns
    return faster_from


def _all(product: Callable[..., Tensor], arguments: Iterable[tuple[Tensor | None, ...]]) -> None:
    for given in arguments:
        product(*given)


def _least_seconds(*calls: Callable[[], Any], rounds: int = 15) -> list[float]:
    """The least time of each call, all taking turns: another process on the machine can only make one longer."""
    least = [float("inf")] * len(calls)
    with torch.inference_mode():
        for _ in range(rounds):
            for number, call in enumerate(calls):
                start = time.perf_counter()
                call()
                least[number] = min(least[number], time.perf_counter() - start)
    return least


def product_shapes(graph: fx.Graph) -> dict[fx.Node, tuple[int, int, int]]:
    """The float32 products on the CPU in a recorded graph, with their sizes (rows, inner, columns)."""
    aten = torch.ops.aten
    found = {}
    for node in graph.nodes:
        if node.op != "call_function" or node.target not in (aten.mm.default, aten.addmm.default):
            continue
        first, second = (argument.meta.get("val") for argument in node.args[-2:])
        result = node.meta.get("val")
        known = isinstance(first, Tensor) and isinstance(second, Tensor) and isinstance(result, Tensor)
        if known and result.dtype == torch.float32 and result.device.type == "cpu" and not node.kwargs:
            found[node] = (*first.shape, second.shape[1])
    return found


def use_onednn(module: fx.GraphModule, from_flops: float) -> int:
    """Send the products of a graph that take at least `from_flops` operations to oneDNN, and say how many there were."""
    graph, replaced = module.graph, 0
    for node, (rows, inner, columns) in product_shapes(graph).items():
        bias = node.args[0] if len(node.args) == 3 else None
        plain_bias = bias is None or tuple(bias.meta["val"].shape) == (columns,)  # type: ignore[union-attr]
        if 2.0 * rows * inner * columns < from_flops or not plain_bias:
            continue
        with graph.inserting_before(node):
            weight = graph.call_function(torch.ops.aten.t.default, (node.args[-1],))
            product = graph.call_function(torch.ops.pyrogen.linear.default, (node.args[-2], weight, bias))
        product.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(product)
        graph.erase_node(node)
        replaced += 1
    module.recompile()
    return replaced
