"""The receptive field: how much the prediction of a pixel depends on every other pixel.

Pixels that were drawn before and yet have no influence at all lie in its blind spot or out of its reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pyrogen.errors import DataError

from .layout import bare
from .style import BLACK, VERMILION, canvas, legend, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["receptive_field"]

_DECADES = 4  # of influence, from the strongest pixel down; less is drawn as the least
_LATER = "#e9e9e9"


@styled
def receptive_field(
    fields: ArrayLike, order: ArrayLike, at: ArrayLike, names: Sequence[str] | None = None, columns: int = 4
) -> Figure:
    """Draw how much a pixel's prediction depends on each other pixel, and to which earlier ones it is blind.

    Args:
        fields: the mean magnitude of the gradient of the prediction with respect to every pixel, shape `(m, H, W)`.
        order: the step at which each pixel is drawn, shape `(H, W)`, or `(m, H, W)`.
        at: row and column of the predicted pixel of each field, shape `(m, 2)`.
        names: what stands above each field; the pixel's row and column if left out.
        columns: at most so many side by side.

    Returns:
        The figure: influence from dark (strong) to pale on a logarithmic scale, later pixels in grey, earlier ones
        without any influence in red.

    Raises:
        DataError: if the shapes don't fit one another.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch, Rectangle

    influence, places = np.asarray(fields, np.float64), np.asarray(at, np.int64)
    if influence.ndim != 3 or places.shape != (len(influence), 2) or not influence.size:
        raise DataError(
            f"fields of shape {influence.shape} and places of shape {places.shape}: they must be (m, H, W) and (m, 2)"
        )
    ranks = np.asarray(order, np.float64)
    if ranks.shape not in (influence.shape, influence.shape[1:]):
        raise DataError(f"the order has shape {ranks.shape}: it must be that of a field, {influence.shape[1:]}")
    if not ((places >= 0) & (places < influence.shape[1:])).all():
        raise DataError(f"a predicted pixel lies outside a field of shape {influence.shape[1:]}: {places.tolist()}")
    ranks = np.broadcast_to(ranks, influence.shape)
    count, across = len(influence), min(columns, len(influence))
    down = -(-count // across)
    side = min(7.5 / max(across, 2), 3.4)
    figure = canvas(side * across, side * down * influence.shape[1] / influence.shape[2] + 0.4 * down)
    panels = figure.subplots(down, across, squeeze=False).flatten()
    blind_anywhere = False
    for number, axes in enumerate(panels):
        bare(axes)
        axes.set_xticks([])
        axes.set_yticks([])
        if number >= count:
            continue
        field, rank, (row, column) = influence[number], ranks[number], places[number]
        earlier = rank < rank[row, column]
        strongest = field.max() if field.max() > 0 else 1.0
        depth = np.log10(np.where(field > 0, field / strongest, 1.0)) / _DECADES  # 0 for the strongest, -1 a long way down
        shade = np.ma.masked_where(field <= 0, np.clip(depth, -1, 0))
        axes.imshow(np.ones_like(field), cmap=ListedColormap([_LATER]))
        blind = earlier & (field <= 0)
        blind_anywhere |= bool(blind.any())
        axes.imshow(np.ma.masked_where(~blind, blind), cmap=ListedColormap([VERMILION]))
        axes.imshow(shade, cmap="YlGnBu", vmin=-1.25, vmax=0)
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=BLACK, lw=1.6, clip_on=False))
        axes.set_title(f"pixel ({row}, {column})" if names is None else names[number], loc="left", pad=6)
    handles = [
        Rectangle((0, 0), 1, 1, fill=False, edgecolor=BLACK, label="the pixel that is predicted"),
        Patch(color="#225ea8", label="strong influence"),
        Patch(color="#c7e9b4", label=f"weak (to {10**-_DECADES:.0e} of the strongest)"),
        Patch(color=_LATER, label="drawn later"),
    ]
    if blind_anywhere:
        handles.append(Patch(color=VERMILION, label="blind to: drawn earlier, without influence"))
    legend(figure, handles, columns=2)
    return figure
