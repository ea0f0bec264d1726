"""Whether a tensor is the exponential of a network's output, read from autograd's graph."""

from __future__ import annotations

from typing import Any

from torch import Tensor

__all__ = ["exponential_of_a_network"]

_LINEAR = ("Mul", "Div", "Add", "Sub", "Neg", "Split", "Slice", "Select", "Index", "View", "Unsqueeze", "Squeeze", "Expand")
_SHAPE = (
    "Chunk",
    "Transpose",
    "Permute",
    "Clone",
    "Reshape",
    "Alias",
    "Unbind",
    "T",
    "ToCopy",
    "Cat",
    "Stack",
    "UnsafeView",
)
_NETWORK = ("Addmm", "Mm", "Bmm", "Convolution", "Linear", "Addbmm", "Baddbmm", "MkldnnLinear")


def exponential_of_a_network(value: Tensor) -> bool:
    """Tell whether a value is the exponential of a layer's output, with no bounded function in between.

    Args:
        value: any shape, with its autograd graph.

    Example:
        >>> import torch
        >>> raw = torch.nn.Linear(2, 2)(torch.ones(3, 2))
        >>> exponential_of_a_network((raw / 2).exp()), exponential_of_a_network(raw.clamp(-5, 5).exp())
        (True, False)
    """
    return _finds(value.grad_fn, ("Exp",), lambda node: any(_finds(n, _NETWORK, None) for n, _ in node.next_functions))


def _finds(start: Any, kinds: tuple[str, ...], then: Any) -> bool:
    """Whether a node depends on one of some operations through linear ones and changes of shape alone."""
    nodes, seen = [start], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        kind = type(node).__name__.partition("Backward")[0]
        if kind in kinds:
            if then is None or then(node):
                return True
        elif kind in _LINEAR or kind in _SHAPE:
            nodes += [following for following, _ in node.next_functions]
    return False
