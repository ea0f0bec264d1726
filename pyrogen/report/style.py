"""What all pictures share: colours that colour-blind readers can tell apart, letters, how a figure is made.

matplotlib is imported inside functions only, and only through its object-oriented interface: no figure made
here is known to pyplot, and no setting outlives the function that drew it.
"""

from __future__ import annotations

import functools
import io
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "GREY",
    "MARKERS",
    "PALETTE",
    "VERMILION",
    "Look",
    "canvas",
    "caption",
    "entry",
    "legend",
    "logarithmic",
    "looks",
    "panels",
    "png",
    "styled",
]

P = ParamSpec("P")

# Okabe and Ito's palette without its yellow, which is too pale for a line on white.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
BLACK, GREY = "#222222", "#767676"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = {"lower": "^", "upper": "v", "consistent": "o", "exact": "D"}
"""By the kind of an estimate; those of bounds point to where the truth lies, if the value is drawn upwards."""

_DOTS_PER_INCH = 150
_LETTER = 0.083  # inches of a digit of a tick's label
_LETTERS = 13.3  # of a legend, on an inch
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


# When the colours are used up they begin again with another dash.
_DASHES = (("-", "o"), ("--", "s"), ("-.", "D"), (":", "^"))
_OTHERS = [Look(color, dash, point) for dash, point in _DASHES for color in PALETTE]


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw with these settings, and put the reader's own back afterwards."""

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(_SETTINGS):
            return draw(*args, **kwargs)

    return drawn


def canvas(width: float, height: float) -> Figure:
    """An empty white figure, in inches, that draws to memory; its layout makes room for what is put beside the axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A canvas with one plot, or an array of them, by the options of matplotlib's `subplots`."""
    figure = canvas(width, height)
    return figure, figure.subplots(rows, columns, **options)


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file, the same for the same figure."""
    buffer = io.BytesIO()
    settings: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.08, "facecolor": "white"}
    settings["metadata"] = {"Software": None}  # matplotlib's version would make the bytes differ
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes, which is no reason to stop a report.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, **settings)
    return buffer.getvalue()


def looks(rows: Sequence[Mapping[str, Any]]) -> list[Look]:
    """A colour, a dash and a point for each of a record's `rows`, the same in all pictures; black for what is exact."""
    others = itertools.cycle(_OTHERS)
    return [Look(BLACK, "--", "D") if row["kind"] == "exact" else next(others) for row in rows]


def caption(axes: Axes, title: str, x: str = "", y: str = "", grid: str = "y") -> None:
    """Write above a plot, at its left, what it shows, name its axes, and draw the grid of those in `grid`."""
    axes.set_title(title, loc="left", pad=8)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in ("x", "y"):
        axes.grid(visible=axis in grid, axis=axis)


def entry(words: str, **look: Any) -> Any:
    """A line or a marker for `legend`, which lies in no plot."""
    from matplotlib.lines import Line2D

    return Line2D([], [], label=words, **look)


def logarithmic(axes: Axes, values: Iterable[float] = ()) -> None:
    """Make the x-axis logarithmic, ticked at the values given or at round ones, without labels over each other.

    Call it when everything is drawn and the margins are set. matplotlib's own labels of an axis below a decade are formulas
    (which are not set here), and too many.
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    choices = [
        [10.0**power for power in powers],
        [digit * 10.0**power for power in powers for digit in (1, 2, 5)],
        MaxNLocator(4).tick_values(low, high),
    ]
    found = [[value for value in ticks if low <= value <= high] for ticks in ([sorted(set(values))] if values else choices)]
    inches = axes.get_position().width * axes.figure.bbox.width / _DOTS_PER_INCH
    width = inches / math.log(high / low)  # of a factor of e

    def fit(ticks: Sequence[float]) -> bool:
        pairs = itertools.pairwise(ticks)
        return all(width * math.log(b / a) >= _LETTER * (len(_short(a)) + len(_short(b)) + 2) / 2 for a, b in pairs)

    ticks = next((ticks for ticks in found if len(ticks) > 2), found[-1])
    shown = next(ticks[::every] for every in range(1, len(ticks) + 2) if fit(ticks[::every]))
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    """A positive number for an axis: 1,000, or 3×10⁷.

    Example:
        >>> _short(20_000.0), _short(3e7), _short(1e-5)
        ('20,000', '3×10⁷', '10⁻⁵')
    """
    if 1e-3 <= value < 1e5:
        return f"{value:,.6g}"
    digits, power = f"{value:.3e}".split("e")
    mantissa = "" if float(digits) == 1 else f"{float(digits):g}×"
    return f"{mantissa}10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def legend(figure: Figure, handles: Sequence[Any], columns: int = 3) -> None:
    """Put a legend of labelled artists below all plots, at most `columns` side by side, fewer where names are long."""
    if not handles:
        return
    lengths = [len(handle.get_label()) + 7 for handle in handles]
    for number in range(min(columns, len(handles)), 0, -1):
        rows = math.ceil(len(lengths) / number)
        # matplotlib fills column after column; each is as wide as its longest label.
        if sum(max(lengths[top : top + rows]) for top in range(0, len(lengths), rows)) <= _LETTERS * figure.get_figwidth():
            break
    # The figure grows by the legend, or many estimators would press the plot flat.
    figure.set_figheight(figure.get_figheight() + 0.1 + 0.19 * rows)
    figure.legend(handles=list(handles), loc="outside lower left", ncols=number, handlelength=2.2)
