"""What a position sees: the gradient of its parameters with respect to all values."""

from __future__ import annotations

import torch
from torch import Tensor

from .network import CausalNetwork

__all__ = ["receptive_field"]


def receptive_field(
    network: CausalNetwork, position: int, x: Tensor | None = None, context: Tensor | None = None, count: int = 16
) -> Tensor:
    """How much the parameters at a position depend on the values at every position.

    It is the magnitude of the gradient of a random combination of the parameters, averaged over data and summed over the
    numbers read at a position. Where it is zero at a position drawn before, the network is blind to it.

    Args:
        network: the network; it is run in evaluation mode.
        position: number of the position, counted row by row.
        x: encoded values, shape (N, inputs, *grid); random numbers if left out.
        context: shape (N, *context_shape); random numbers if left out and needed.
        count: number of random data if `x` is left out.

    Returns:
        shape (*grid), not negative.

    Example:
        >>> from pyrogen.nets.causal import CausalLinear
        >>> (receptive_field(CausalLinear((2, 3)), 4) > 0).int()
        tensor([[1, 1, 1],
                [1, 0, 0]], dtype=torch.int32)
    """
    example = network.example
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(example)

    x = random(count, network.inputs, *network.grid) if x is None else x.detach().to(example)
    if context is None and network.context_shape is not None:
        context = random(len(x), *network.context_shape)
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            parameters: Tensor = network(x, context).flatten(2)[..., position]  # (N, outputs)
            (gradient,) = torch.autograd.grad(parameters, x, random(*parameters.shape), allow_unused=True)
    finally:
        for module in training:
            module.training = True
    return torch.zeros_like(x[0, 0]) if gradient is None else gradient.abs().sum(1).mean(0)
