"""A linear layer with a block triangular weight matrix, stored without most of its zeros.

With inputs and outputs sorted by rank, the mask of an autoregressive layer is a staircase. The matrix is cut into strips of
rows, each stored up to the last column that its last row sees, and masked above the staircase: half a full matrix.

Named axes: ``rows`` (outputs), ``columns`` (inputs).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrogen.errors import ConfigurationError

from ..sizes import positive_size

__all__ = ["TriangularLinear"]


class TriangularLinear(nn.Module):
    r"""A linear layer whose row i sees the first :math:`v_i` inputs, :math:`v_1 \le v_2 \le \dots`:

    .. math::
        y_i = b_i + \sum_{j < v_i} W_{ij} x_j.

    Args:
        in_features: number of inputs.
        visible: how many inputs each row sees, in ascending order, shape (rows,).
        strips: how many strips to cut the rows into, at most; rows that see the same inputs stay together.

    Raises:
        ConfigurationError: `visible` does not ascend between 0 and `in_features`.

    Example:
        >>> layer = TriangularLinear(4, [0, 1, 2, 4], strips=2)
        >>> layer(torch.zeros(5, 4)).shape, sum(weight.numel() for weight in layer.weights)
        (torch.Size([5, 4]), 10)
    """

    def __init__(self, in_features: int, visible: Sequence[int], bias: bool = True, strips: int = 8) -> None:
        super().__init__()
        self.in_features, self.visible = in_features, tuple(visible)
        ascending = list(self.visible) == sorted(self.visible)
        if not self.visible or not ascending or not 0 <= self.visible[0] <= self.visible[-1] <= in_features:
            raise ConfigurationError(f"visible must ascend between 0 and {in_features}, one number for each row")
        self.cuts = _cuts(self.visible, positive_size("strips", strips))
        self.weights = nn.ParameterList()
        for start, end in self._strips():
            width = self.visible[end - 1]
            self.weights.append(nn.Parameter(torch.empty(end - start, width)))
            seen = torch.arange(width) < torch.tensor(self.visible[start:end])[:, None]  # (rows, columns)
            self.register_buffer(f"mask{start}", seen.to(torch.get_default_dtype()), persistent=False)
        self.bias = nn.Parameter(torch.empty(len(self.visible))) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw parameters as `torch.nn.Linear` does."""
        bound = max(1, self.in_features) ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """All rows, (..., columns) to (..., rows)."""
        parts = []
        for (start, end), weight in zip(self._strips(), self.weights, strict=True):
            bias = None if self.bias is None else self.bias[start:end]
            mask: Tensor = getattr(self, f"mask{start}")
            parts.append(F.linear(x[..., : weight.shape[1]], weight * mask, bias))  # (..., rows of the strip)
        return torch.cat(parts, -1)  # (..., rows)

    def rows(self, x: Tensor, rows: slice) -> Tensor:
        """Some rows alone, (..., columns) to (..., rows); all must see the same inputs, and others may hold anything."""
        start, end = rows.start, rows.stop
        width = self.visible[start]
        strip = max(number for number, cut in enumerate(self.cuts[:-1]) if cut <= start)
        weight = self.weights[strip][start - self.cuts[strip] : end - self.cuts[strip], :width]
        return F.linear(x[..., :width], weight, None if self.bias is None else self.bias[start:end])

    def extra_repr(self) -> str:
        """See `torch.nn.Module.extra_repr`."""
        return f"in_features={self.in_features}, out_features={len(self.visible)}, strips={len(self.cuts) - 1}"

    def _strips(self) -> list[tuple[int, int]]:
        return list(zip(self.cuts[:-1], self.cuts[1:], strict=True))


def _cuts(visible: tuple[int, ...], strips: int) -> tuple[int, ...]:
    """Where strips start and end: about the same number of rows each, and between rows that see different inputs."""
    rows = len(visible)
    free = [row for row in range(1, rows) if visible[row] > visible[row - 1]]
    even = [rows * strip / strips for strip in range(1, strips) if free]
    return tuple(sorted({0, rows, *(min(free, key=lambda row: abs(row - cut)) for cut in even)}))
