"""A recorded graph as a picture, in the language of Graphviz."""

from __future__ import annotations

import torch
from torch import fx

from .tracing import Graph

__all__ = ["dot"]

_DRAWS = ("normal", "bernoulli", "uniform", "rand", "multinomial", "poisson", "gamma", "dropout", "exponential")
_VIEWS = ("detach", "view", "_unsafe_view", "expand", "t", "alias", "unsqueeze", "squeeze", "lift_fresh_copy", "clone")
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward", "linear")


def dot(graph: Graph) -> str:
    """The operations of a graph and what flows between them, for ``dot -Tsvg``.

    Views are left out. State and inputs are boxes, random draws are red, products and convolutions blue, outputs green.

    Args:
        graph: a recorded graph, as `CompiledSVI.graphs` has them.

    Returns:
        A directed graph in the DOT language.

    Example:
        >>> from functools import partial
        >>> from pyrogen.inference import ELBO, compiled_svi
        >>> from pyrogen.models import LinearGaussianVAE
        >>> x = torch.zeros(8, 4)
        >>> adam = partial(torch.optim.Adam, lr=1e-3)
        >>> step = compiled_svi(LinearGaussianVAE((4,), latent=2), ELBO(), adam, x, compile="graph")
        >>> loss = step(x)
        >>> dot(step.graphs[0]).startswith("digraph")
        True
    """
    lines = ["digraph {", "  rankdir=TB; node [fontname=Helvetica, fontsize=10, style=filled, fillcolor=white];"]
    shown: dict[fx.Node, fx.Node] = {}
    for node in graph.module.graph.nodes:
        if node.op == "output":
            for name, value in zip(graph.outputs, node.args[0], strict=True):
                lines.append(f'  "{name}" [shape=box, fillcolor="#d5f0d5"]; "{shown[value].name}" -> "{name}";')
            continue
        sources = node.all_input_nodes
        if _name(node) in _VIEWS and len(sources) == 1:  # drawn as what it is a view of
            shown[node] = shown[sources[0]]
            continue
        shown[node] = node
        if node.op == "placeholder" and not node.users:
            continue
        label, style = _look(node)
        lines.append(f'  "{node.name}" [label="{label}", {style}];')
        lines.extend(f'  "{shown[source].name}" -> "{node.name}";' for source in sources)
    return "\n".join([*lines, "}"])


def _name(node: fx.Node) -> str:
    return str(getattr(getattr(node.target, "overloadpacket", node.target), "__name__", node.target))


def _look(node: fx.Node) -> tuple[str, str]:
    """Label and style of a node."""
    value = node.meta.get("val")
    shape = "x".join(map(str, value.shape)) if isinstance(value, torch.Tensor) else ""
    if node.op != "call_function":
        return f"{node.meta.get('name', 'constant')}\\n{shape}", 'shape=box, fillcolor="#eeeeee"'
    name = _name(node)
    plain = name.rstrip("_")
    drawn = any(plain.startswith(draw) for draw in _DRAWS)
    colour = "#f6cfcf" if drawn else "#cfe0f6" if plain in _PRODUCTS else "white"
    return f"{name}\\n{shape}", f'shape=ellipse, fillcolor="{colour}"'
