"""Whether a network is causal, by its gradients."""

from __future__ import annotations

import torch

from pyrogen.errors import ConfigurationError

from .network import CausalNetwork

__all__ = ["check_causal"]


def check_causal(network: CausalNetwork, frontiers: int = 64) -> None:
    """Refuse a network whose outputs depend on values that are drawn at the same time or later.

    For a cut after each of several frontiers, the gradient of a random combination of all outputs before the cut with
    respect to the inputs at and after it must be zero. A network that is not causal has a `log_prob` that is no log
    probability.

    Args:
        network: the network; it is run on one datum of random numbers, in evaluation mode.
        frontiers: number of cuts looked at, spread over all frontiers.

    Raises:
        ConfigurationError: the network is not causal; names a position and one drawn too late for it.

    Example:
        >>> from pyrogen.nets.causal import CausalLinear
        >>> check_causal(CausalLinear((3, 3)))
    """
    groups = network.frontiers
    if sorted(position for group in groups for position in group) != list(range(network.positions)):
        raise ConfigurationError(f"the frontiers of {type(network).__name__} don't hold every position once")
    example = network.example
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(example)

    rank = torch.empty(network.positions, dtype=torch.long)
    for index, group in enumerate(groups):
        rank[list(group)] = index
    rank = rank.to(example.device)
    context = None if network.context_shape is None else random(1, *network.context_shape)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.enable_grad():
            x = random(1, network.inputs, *network.grid).requires_grad_()
            outputs = network(x, context).flatten(2)  # (1, outputs, positions)
            cuts = torch.linspace(0, len(groups) - 1, min(frontiers, len(groups))).round().long().tolist()
            for cut in cuts:
                weight = random(*outputs.shape) * (rank <= cut)
                (gradient,) = torch.autograd.grad(outputs, x, weight, retain_graph=True, allow_unused=True)
                if gradient is None:
                    return
                late = (gradient.flatten(2).abs().amax((0, 1)) > 0) & (rank >= cut)
                if bool(late.any()):
                    position = int(late.nonzero()[0])
                    raise ConfigurationError(
                        f"{type(network).__name__} is not causal: outputs at positions drawn up to step {cut} depend on the "
                        f"value at position {position}, which is drawn at step {int(rank[position])}; mask the layer that "
                        "lets it through"
                    )
    finally:
        for module, training in modes:
            module.training = training
