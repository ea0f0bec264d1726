"""A call whose kernels are captured once and launched together: a CUDA graph.

Where tensors are small, the host takes longer to launch kernels one by one than the device to run them. A captured call
reads and writes the very memory that it was captured with, and draws from the device's generator as it would otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .backend import copied

__all__ = ["CudaGraph", "capturable"]

_PLAIN = (Tensor, torch.nn.Parameter)


def capturable(tensors: Sequence[Tensor]) -> bool:
    """Whether all lie on a GPU: a number from the host would be captured as it is."""
    return torch.cuda.is_available() and all(t.device.type == "cuda" and type(t) in _PLAIN for t in tensors)


class CudaGraph:
    """A captured call; kernels and libraries have to be warm.

    Args:
        call: what is captured; it may write to the tensors.
        tensors: what it is called with.
        given: places of those that are others at each call; the rest has to stay where it lies.

    Raises:
        RuntimeError: something in the call can't be captured: it waits for the device, or copies from the host.
    """

    def __init__(self, call: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor], given: range) -> None:
        self.given = given
        self._tensors = [copied(tensor) if i in given else tensor for i, tensor in enumerate(tensors)]
        self._places = [tensor.data_ptr() for tensor in self._tensors]
        self._graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self._graph):
            self._values = call(*self._tensors)

    def holds(self, tensors: Sequence[Tensor]) -> bool:
        """Whether all but the given ones lie where they lay at the capture."""
        return all(
            place == tensor.data_ptr()
            for i, (place, tensor) in enumerate(zip(self._places, tensors, strict=True))
            if i not in self.given
        )

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Launch all, on the given ones among the tensors; what comes back is the caller's own."""
        for i in self.given:
            self._tensors[i].copy_(tensors[i])
        self._graph.replay()
        return [value.clone() for value in self._values]
