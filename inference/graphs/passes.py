"""Passes over a recorded graph that make it faster and keep float32.

`use_onednn` sends large matrix products to oneDNN. On some processors (AMD's) the BLAS that torch is built with runs at half
its speed. (`torch` itself can be told to use oneDNN by lowering its matrix-product precision, which may cost precision
elsewhere.) From which size on that pays is measured once for each number of threads.

`share_exponentials` computes a Bernoulli log likelihood and its slope from one exponential. The cross entropy of logits,
``softplus(x) - x t``, and its derivative, ``sigmoid(x) - t``, are recorded as two operations with two exponentials and a
`log1p`, a good part of a step where data are wide. With ``e = exp(-|x|)``

``softplus(x) - x t = (1 - t) x + max(-x, 0) + log(1 + e)`` and ``sigmoid(x) = (1 if x >= 0 else e) / (1 + e)``.

As e is at most 1, the logarithm loses less than 6e-8 nats an element in single precision against `log1p`.

`keep_bernoulli` has inductor call torch's own kernel for Bernoulli draws. It would compare uniform numbers with the
probabilities, which on CUDA gives other draws for the same seed than an eager run has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, fx

from .internals import has_onednn_linear, onednn_linear

__all__ = ["keep_bernoulli", "least_flops", "least_seconds", "product_shapes", "share_exponentials", "use_onednn"]

_SIZES = ((32, 784, 64), (128, 784, 400), (512, 784, 400))
_ADVANTAGE = 1.05
_aten = torch.ops.aten


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
        with torch.inference_mode():
            own, other = least_seconds(
                partial(_all, torch.mm, layouts),
                partial(_all, onednn_linear, [(first, second.t(), None) for first, second in layouts]),
                rounds=15,
            )
        if own < _ADVANTAGE * other:
            break
        faster_from = 2.0 * rows * inner * columns
    return faster_from


def _all(product: Callable[..., Tensor], arguments: Iterable[tuple[Tensor | None, ...]]) -> None:
    for given in arguments:
        product(*given)


def least_seconds(*calls: Callable[[], Any], rounds: int) -> list[float]:
    """The least time of each call, all taking turns: another process on the machine can only make one longer."""
    least = [float("inf")] * len(calls)
    for _ in range(rounds):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            least[number] = min(least[number], time.perf_counter() - start)
    return least


def product_shapes(graph: fx.Graph) -> dict[fx.Node, tuple[int, int, int]]:
    """The float32 products on the CPU in a recorded graph, with their sizes (rows, inner, columns)."""
    found = {}
    for node in graph.nodes:
        if node.op != "call_function" or node.target not in (_aten.mm.default, _aten.addmm.default):
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
            weight = graph.call_function(_aten.t.default, (node.args[-1],))
            product = graph.call_function(torch.ops.pyrogen.linear.default, (node.args[-2], weight, bias))
        product.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(product)
        graph.erase_node(node)
        replaced += 1
    module.recompile()
    return replaced


def keep_bernoulli(module: fx.GraphModule) -> None:
    """Write Bernoulli draws in the form that inductor leaves alone, in place."""
    for node in module.graph.find_nodes(op="call_function", target=_aten.bernoulli.default):
        with module.graph.inserting_before(node):
            contiguous: dict[str, Any] = {"memory_format": torch.contiguous_format}
            like = module.graph.call_function(_aten.empty_like.default, (node.args[0],), contiguous)
        node.target, node.args = _aten.bernoulli.Tensor, (like, node.args[0])
    module.recompile()


def share_exponentials(module: fx.GraphModule) -> int:
    """Rewrite the cross entropies whose slope the graph takes too, in float32, and say how many there were."""
    graph, rewritten = module.graph, 0
    for node in list(graph.nodes):
        if node.target is not _aten.binary_cross_entropy_with_logits.default or not _is_plain(node):
            continue
        logits, target = node.args[0], node.args[1]
        slopes = [user for user in logits.users if user.target is _aten.sigmoid.default]
        if not slopes:
            continue
        with graph.inserting_after(logits):
            size = graph.call_function(_aten.abs.default, (logits,))
        with graph.inserting_after(size):
            negated = graph.call_function(_aten.neg.default, (size,))
        with graph.inserting_after(negated):
            small = graph.call_function(_aten.exp.default, (negated,))
        with graph.inserting_after(small):
            total = graph.call_function(_aten.add.Tensor, (small, 1.0))
        with graph.inserting_before(node):
            # (1 - t) x + max(-x, 0) is exact where t is 0 or 1; softplus(x) - x t would round at the size of x.
            other = graph.call_function(_aten.rsub.Scalar, (target, 1.0))
            linear = graph.call_function(_aten.mul.Tensor, (other, logits))
            opposite = graph.call_function(_aten.neg.default, (logits,))
            kink = graph.call_function(_aten.clamp_min.default, (opposite, 0.0))
            straight = graph.call_function(_aten.add.Tensor, (linear, kink))
            loss = graph.call_function(_aten.add.Tensor, (straight, graph.call_function(_aten.log.default, (total,))))
        node.replace_all_uses_with(loss)
        graph.erase_node(node)
        for slope in slopes:
            with graph.inserting_before(slope):
                positive = graph.call_function(_aten.ge.Scalar, (logits, 0.0))
                share = graph.call_function(_aten.where.ScalarSelf, (positive, 1.0, small))
                quotient = graph.call_function(_aten.div.Tensor, (share, total))
            slope.replace_all_uses_with(quotient)
            graph.erase_node(slope)
        rewritten += 1
    module.recompile()
    return rewritten


def _is_plain(node: fx.Node) -> bool:
    """Whether there are no weights and no reduction, and all is float32."""
    value = node.meta.get("val")
    unweighted = all(argument is None for argument in node.args[2:4]) and (len(node.args) < 5 or node.args[4] == 0)
    return bool(isinstance(value, Tensor) and value.dtype == torch.float32 and unweighted and not node.kwargs)
