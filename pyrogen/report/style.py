"""What all pictures share: colours that colour-blind readers can tell apart, letters, how a figure is made.

matplotlib is imported inside functions only, and only through its object-oriented interface: no figure made
here is known to pyplot, and no setting outlives the function that drew it.
"""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

from .wording import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "GREY",
    "VERMILION",
    "Look",
    "canvas",
    "caption",
    "label",
    "legend",
    "looks",
    "png",
    "styled",
]

P = ParamSpec("P")

# Okabe and Ito's palette without its yellow, which is too pale for a line on white.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK, GREY = "#222222", "#767676"
_PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
_DASHES = ("-", "--", "-.", ":")
_POINTS = ("o", "s", "D", "^")

_DOTS_PER_INCH = 150
_LONGEST_LABEL = 30
_LETTERS = 100  # of a legend, side by side in a figure as wide as the page
# Every setting that would show, so that a reader's own matplotlibrc changes nothing.
_SETTINGS = {
    "axes.edgecolor": GREY,
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": BLACK,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "axes.unicode_minus": True,
    "errorbar.capsize": 2.5,
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "image.interpolation": "nearest",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "text.color": BLACK,
    "text.parse_math": False,  # a name with dollars in it is a name, not a formula
    "text.usetex": False,
    "xtick.color": GREY,
    "xtick.labelcolor": BLACK,
    "xtick.labelsize": 9,
    "ytick.color": GREY,
    "ytick.labelcolor": BLACK,
    "ytick.labelsize": 9,
}


class Look(NamedTuple):
    """How one estimator is drawn."""

    color: str
    dash: str
    point: str


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Makes a drawing function use the house style, and puts the reader's own settings back afterwards.

    Args:
        draw: a function that returns a figure.

    Returns:
        The same function in the house style.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return drawn


def canvas(width: float, height: float) -> Figure:
    """Makes an empty white figure that draws to memory.

    Args:
        width: in inches.
        height: in inches.

    Returns:
        The figure; its layout makes room for whatever is put beside the axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Writes a figure as a PNG file in memory, the same bytes for the same figure.

    Args:
        figure: any of those that `pyrogen.report.plots` draws.

    Returns:
        The file's bytes.
    """
    buffer = io.BytesIO()
    settings: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08, "facecolor": "white"}
    metadata = {"Software": None}  # matplotlib's version would make the bytes differ
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which is no reason to stop a report.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata=metadata, **settings)
    return buffer.getvalue()


def label(name: object) -> str:
    """Writes a name so that matplotlib shows it as it stands and it fits beside a plot.

    Args:
        name: an estimator's name, from a file.

    Returns:
        The name on one line, shortened in the middle where it is long.

    Example:
        >>> label("_hidden"), len(label("x" * 100))
        (' _hidden', 30)
    """
    words = plain(name)
    if len(words) > _LONGEST_LABEL:
        words = f"{words[: _LONGEST_LABEL - 9]}…{words[-8:]}"
    # matplotlib leaves names with a leading underscore out of its legends.
    return f" {words}" if words.startswith("_") else words


def looks(rows: Sequence[Mapping[str, Any]]) -> list[Look]:
    """Gives every estimator a colour, a dash and a point, the same in all pictures of one record.

    Args:
        rows: a record's `rows`.

    Returns:
        For each row, its look; black for what is exact.
    """
    result: list[Look] = []
    others = 0
    for row in rows:
        if row["kind"] == "exact":
            result.append(Look(BLACK, "--", "D"))
            continue
        # When the colours are used up they begin again with another dash.
        turn = others // len(_PALETTE) % len(_DASHES)
        result.append(Look(_PALETTE[others % len(_PALETTE)], _DASHES[turn], _POINTS[turn]))
        others += 1
    return result


def caption(axes: Axes, text: str) -> None:
    """Writes what a plot shows above it, at its left.

    Args:
        axes: where to write.
        text: a few words.
    """
    axes.set_title(text, loc="left", pad=8)


def legend(figure: Figure, handles: Sequence[Any], columns: int = 3) -> None:
    """Puts a legend below all plots of a figure, where it hides no data.

    Args:
        figure: where to put it.
        handles: labelled artists.
        columns: at most so many side by side; fewer where names are long.
    """
    if not handles:
        return
    lengths = [len(handle.get_label()) + 7 for handle in handles]
    columns = min(columns, len(handles))
    # matplotlib fills column after column; each is as wide as its longest label.
    while columns > 1 and sum(max(part) for part in _columns(lengths, columns)) > _LETTERS:
        columns -= 1
    # The figure grows by the legend, or many estimators would press the plot flat.
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.19 * math.ceil(len(handles) / columns))
    figure.legend(handles=list(handles), loc="outside lower left", ncols=columns, handlelength=2.2)


def _columns(lengths: list[int], columns: int) -> list[list[int]]:
    rows = math.ceil(len(lengths) / columns)
    return [lengths[top : top + rows] for top in range(0, len(lengths), rows)]
