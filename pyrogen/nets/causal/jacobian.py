"""The Jacobian of a causal network: whether it is causal, and the receptive field of a position."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyrogen.errors import ConfigurationError

from .network import CausalNetwork, evaluation

__all__ = ["check_causal", "receptive_field"]

# Named axes: see `pyrogen.nets.causal.network`.


def check_causal(network: CausalNetwork, cuts: int = 64) -> None:
    """Refuse a network whose outputs depend on values that are sampled at the same time or later.

    At several groups, the gradient of a random combination of the outputs up to the group with respect to the inputs from it
    on must be zero: the `log_prob` of another network is no log probability.

    Args:
        network: is run on one datum of random numbers, in evaluation mode.
        cuts: number of groups to test, spread over all.

    Raises:
        ConfigurationError: the network is not causal; names a position and one sampled too late for it.

    Example:
        >>> from pyrogen.nets.causal import CausalLinear
        >>> check_causal(CausalLinear((3, 3)))
    """
    groups, random = network.groups, _normal(network)
    if sorted(position for group in groups for position in group) != list(range(network.positions)):
        raise ConfigurationError(f"the groups of {type(network).__name__} don't hold every position once")
    rank = torch.empty(network.positions, dtype=torch.long)
    for index, group in enumerate(groups):
        rank[list(group)] = index
    rank = rank.to(network.example.device)
    context = None if network.context_shape is None else random(1, *network.context_shape)
    with evaluation(network), torch.enable_grad():
        x = random(1, network.inputs, *network.grid).requires_grad_()
        outputs = network(x, context).flatten(2)  # (1, outputs, positions)
        for cut in torch.linspace(0, len(groups) - 1, min(cuts, len(groups))).round().long().tolist():
            weight = random(*outputs.shape) * (rank <= cut)
            (gradient,) = torch.autograd.grad(outputs, x, weight, retain_graph=True, allow_unused=True)
            if gradient is None:
                return
            late = (gradient.flatten(2).abs().amax((0, 1)) > 0) & (rank >= cut)  # (positions,)
            if bool(late.any()):
                position = int(late.nonzero()[0])
                raise ConfigurationError(
                    f"{type(network).__name__} is not causal: outputs at positions drawn up to step {cut} depend on the "
                    f"value at position {position}, which is drawn at step {int(rank[position])}; mask the layer that "
                    "lets it through"
                )


def receptive_field(
    network: CausalNetwork, position: int, x: Tensor | None = None, context: Tensor | None = None, count: int = 16
) -> Tensor:
    """How much the parameters at a position depend on the values at every position, shape (*grid).

    It is the magnitude of the gradient of a random combination of the parameters, averaged over data and summed over the
    inputs of a position. A zero at an earlier position is a blind spot.

    Args:
        network: is run in evaluation mode.
        position: number of the position, in raster order.
        x: encoded values, shape (N, inputs, *grid); `count` random data if left out.
        context: shape (N, *context_shape); random numbers if left out and needed.
        count: number of random data.

    Example:
        >>> from pyrogen.nets.causal import CausalLinear
        >>> (receptive_field(CausalLinear((2, 3)), 4) > 0).int()
        tensor([[1, 1, 1],
                [1, 0, 0]], dtype=torch.int32)
    """
    random = _normal(network)
    x = random(count, network.inputs, *network.grid) if x is None else x.detach().to(network.example)
    if context is None and network.context_shape is not None:
        context = random(len(x), *network.context_shape)
    with evaluation(network), torch.enable_grad():
        x = x.clone().requires_grad_()
        parameters: Tensor = network(x, context).flatten(2)[..., position]  # (N, outputs)
        (gradient,) = torch.autograd.grad(parameters, x, random(*parameters.shape), allow_unused=True)
    return torch.zeros_like(x[0, 0]) if gradient is None else gradient.abs().sum(1).mean(0)


def _normal(network: CausalNetwork) -> Callable[..., Tensor]:
    """A generator of standard normal tensors of the network's dtype and device, with a fixed seed."""
    example, generator = network.example, torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(shape, generator=generator).to(example)
