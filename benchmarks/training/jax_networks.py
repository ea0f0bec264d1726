"""pyrogen's networks as plain functions of JAX arrays, with the parameters that the torch modules have.

Images have the layout (images, height, width, channels), which XLA's convolutions on the CPU like best; what is flat has the
order that the torch modules give it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pyrogen.nets import ConvDecoder, ConvEncoder

__all__ = ["translated"]

Function = Callable[[Any, Any], Any]
"""From the parameters and the input to the output."""


def translated(module: nn.Module) -> tuple[Any, Function]:
    """The parameters of a network as a tree of arrays, and the network as a function of them and of its input.

    Raises:
        NotImplementedError: the module has a layer that is not known here.
    """
    import jax
    import jax.numpy as jnp

    def array(tensor: torch.Tensor) -> Any:
        return jnp.asarray(tensor.detach().contiguous().numpy())

    if isinstance(module, ConvEncoder):
        first, convolve = translated(module.convolutions)
        second, dense = translated(module.dense)
        channels, height, width = module.shape

        def encode(parameters: Any, x: Any) -> Any:
            images = x.reshape(-1, channels, height, width).transpose(0, 2, 3, 1)
            features = convolve(parameters[0], images).transpose(0, 3, 1, 2)
            return dense(parameters[1], features.reshape(*x.shape[:-1], -1))

        return [first, second], encode
    if isinstance(module, ConvDecoder):
        first, dense = translated(module.dense)
        second, convolve = translated(module.convolutions)
        inner = module.inner

        def decode(parameters: Any, z: Any) -> Any:
            features = dense(parameters[0], z).reshape(-1, *inner).transpose(0, 2, 3, 1)
            return convolve(parameters[1], features).transpose(0, 3, 1, 2).reshape(*z.shape[:-1], -1)

        return [first, second], decode
    if isinstance(module, nn.Sequential):
        parts = [translated(part) for part in module]

        def chain(parameters: Any, x: Any) -> Any:
            for parameter, (_, function) in zip(parameters, parts, strict=True):
                x = function(parameter, x)
            return x

        return [parameter for parameter, _ in parts], chain
    if isinstance(module, nn.Linear):
        return [array(module.weight.mT), array(module.bias)], lambda p, x: x @ p[0] + p[1]
    if isinstance(module, nn.ReLU | nn.Tanh):
        activation = jax.nn.relu if isinstance(module, nn.ReLU) else jnp.tanh
        return [], lambda p, x: activation(x)
    layout = ("NHWC", "HWIO", "NHWC")
    if isinstance(module, nn.Conv2d):
        padding = [(int(side), int(side)) for side in module.padding]
        kernel = array(module.weight.permute(2, 3, 1, 0))
        stride = module.stride

        def convolution(p: Any, x: Any) -> Any:
            return jax.lax.conv_general_dilated(x, p[0], stride, padding, dimension_numbers=layout) + p[1]

        return [kernel, array(module.bias)], convolution
    if isinstance(module, nn.ConvTranspose2d):
        sides = zip(module.kernel_size, module.padding, module.output_padding, strict=True)
        around = [(size - 1 - int(side), size - 1 - int(side) + extra) for size, side, extra in sides]
        kernel = array(module.weight.flip(2, 3).permute(2, 3, 0, 1))
        dilation = module.stride

        def transposed(p: Any, x: Any) -> Any:
            options = {"lhs_dilation": dilation, "dimension_numbers": layout}
            return jax.lax.conv_general_dilated(x, p[0], (1, 1), around, **options) + p[1]

        return [kernel, array(module.bias)], transposed
    raise NotImplementedError(f"{type(module).__name__} has no translation to JAX here")
