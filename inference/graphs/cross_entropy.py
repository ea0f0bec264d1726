"""A Bernoulli log likelihood and its slope from one exponential: a pass over a recorded graph.

The cross entropy of logits, ``softplus(x) - x t``, and its derivative, ``sigmoid(x) - t``, are recorded as two operations
with two exponentials and a `log1p`, a good part of a step where data are wide. With ``e = exp(-|x|)``

``softplus(x) - x t = (1 - t) x + max(-x, 0) + log(1 + e)`` and ``sigmoid(x) = (1 if x >= 0 else e) / (1 + e)``.

As e is at most 1, the logarithm loses less than 6e-8 nats an element in single precision against `log1p`.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

__all__ = ["share_exponentials"]

_aten = torch.ops.aten


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
