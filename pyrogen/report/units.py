"""Whether the latents are used: the rate of every unit, and which units are active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrogen.active_units import is_active
from pyrogen.errors import DataError

from .records import Array, column
from .style import BLUE, GREY, caption, legend, panels, styled
from .wording import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["latents", "latents_in_words"]


@styled
def latents(usage: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the rate of every unit of the latents, the largest first; bars of units that are not active are grey.

    Args:
        usage: what `load_usage` returns; for each latent `site`, `rates` (units,) in nats, `error`, and `variances`
            (units,) of the posterior means as a share of the prior's, or `None`.

    Raises:
        DataError: there is no latent to draw.
    """
    from matplotlib.patches import Patch

    if not usage:
        raise DataError("there are no latents to draw: the pair is fully visible")
    figure, grid = panels(7.5, 0.4 + 1.9 * len(usage), len(usage), squeeze=False)
    for axes, used in zip(grid.flat, usage, strict=True):
        rates, active = _units(used)
        descending = np.argsort(-rates)
        colours = [BLUE if active[place] else GREY for place in descending]
        axes.bar(np.arange(1, len(rates) + 1), rates[descending], color=colours, width=0.8)
        axes.set_xlim(0.3, max(len(rates), 10) + 0.7)
        axes.set_ylim(0, max(1.08 * float(rates.max()), 0.05))
        caption(axes, _words(used), y="nats per datum")
    axes.set_xlabel("unit, the one of the largest rate first")
    legend(figure, [Patch(color=BLUE, label="active"), Patch(color=GREY, label="not active, or not known to be")])
    return figure


def latents_in_words(usage: Sequence[Mapping[str, Any]]) -> str:
    """The same in a sentence for each latent.

    Example:
        >>> latents_in_words([{"site": "z", "rates": [1.5, 0.0], "error": 0.1, "variances": [0.7, 0.0]}])
        'z: rate 1.50 ± 0.10 nats, 1 of 2 units active.'
    """
    return " ".join(f"{_words(used)}." for used in usage)


def _words(used: Mapping[str, Any]) -> str:
    rates, active = _units(used)
    words = f"{label(used['site'])}: rate {rates.sum():.2f} ± {float(used['error']):.2f} nats"
    return words if used["variances"] is None else f"{words}, {int(active.sum())} of {len(active)} units active"


def _units(used: Mapping[str, Any]) -> tuple[Array, Array]:
    rates = column(used["rates"])
    known = used["variances"] is not None and len(used["variances"]) == len(rates)
    active = is_active(column(used["variances"])) if known else np.zeros(len(rates))
    return rates, active.astype(np.float64)
