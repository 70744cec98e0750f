"""Bland-Altman: differences over means, with the bias, the limits of agreement, and how sure each of them is."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Text
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing, lay_out, new_figure
from latentsr.report.figures.style import INK, SMALL, SOFT, house_style, marks, wrapped
from latentsr.report.figures.values import decimals, finite, number
from latentsr.stats.agreement import Agreement

HEIGHT = 3.6  # inches
BANDS = "#cfd6de"  # of the intervals
REACH = 1.0  # spans of points and lines that the axes grow on each side for intervals; wider ones are cut
CLEAR = 3.0  # px between the words of two lines


def bland_altman(
    agreement: Agreement,
    *,
    title: str = "",
    quantity: str = "mean intensity",
    unit: str = "",
    first: str = "SR",
    second: str = "HR",
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """The Bland-Altman plot: a point a unit, lines at bias and limits of agreement, bands for their intervals.

    Args:
        agreement: what `stats.agreement.bland_altman` gives; without limits (fewer than two units) only the bias. Of
            few units the intervals are far wider than the points: they are cut, and stand in words beside the lines.
        title: above the figure.
        quantity: what was measured twice, with its `unit`.
        unit: such as "% of the range".
        first: name of a, from which
        second: name of b was subtracted.
        methods: all methods of the report in their order, so that `first` has the same mark in all figures.
        note: a line below the figure.

    Raises:
        InputError: no unit
    """
    if not agreement.n:
        raise InputError("no pair of values to compare: a Bland-Altman plot needs at least one")
    measured = f"{quantity} ({unit})" if unit else quantity
    digits = decimals([*agreement.differences, agreement.lower, agreement.upper])
    with house_style():
        figure = new_figure(HEIGHT, title=title, note=note)
        axes = figure.subplots()
        look = marks([first], methods)[first]
        axes.plot(agreement.means, agreement.differences, linestyle="none", markersize=5, alpha=0.75, **look.point)
        axes.axhline(0, color=SOFT, linewidth=0.8)
        words = [_line(axes, *line, digits) for line in _lines(agreement)]
        axes.set_xlabel(wrapped(f"Mean of {first} and {second}: {measured}", 56))
        axes.set_ylabel(wrapped(f"{first} minus {second}", 32) + f"\n({wrapped(unit, 32)})" * bool(unit))
        axes.margins(x=0.04)
        axes.set_ylim(*_limits(agreement))
        axes.grid(axis="both")
        lay_out(figure)
        _keep_apart(axes, words)
        return drawing(figure, _told(agreement, f"{first} minus {second}, {measured}", digits))


def _lines(found: Agreement) -> list[tuple[str, float, float, float]]:
    """Name, value and interval of the three lines; those without a value are left out."""
    lines = [
        ("upper limit", found.upper, found.upper_low, found.upper_high),
        ("bias", found.bias, found.bias_low, found.bias_high),
        ("lower limit", found.lower, found.lower_low, found.lower_high),
    ]
    return [line for line in lines if math.isfinite(line[1])]


def _limits(found: Agreement) -> tuple[float, float]:
    """Where the axes end: around points, lines and zero, and the intervals as far as they do not squeeze these."""
    shown = finite([0.0, *found.differences, found.lower, found.bias, found.upper])
    low, high = float(shown.min()), float(shown.max())
    span = (high - low) or 1.0
    ends = finite([found.lower_low, found.upper_high, found.bias_low, found.bias_high])
    low = max(min(low, *ends), low - REACH * span) if ends.size else low
    high = min(max(high, *ends), high + REACH * span) if ends.size else high
    room = 0.1 * ((high - low) or 1.0)
    return low - room, high + room


def _keep_apart(axes: Axes, words: Sequence[Text]) -> None:
    """Moves words that would lie on each other, the middle ones least; the figure must be laid out."""
    boxes = [Text.get_window_extent(text) for text in words]
    centres = np.array([(box.y0 + box.y1) / 2 for box in boxes])
    apart = spread(centres, np.array([box.height + CLEAR for box in boxes]), axes.bbox.y0, axes.bbox.y1)
    for text, place in zip(words, axes.transData.inverted().transform(np.stack([apart, apart], axis=1)), strict=True):
        text.set_y(float(place[1]))


def spread(centres: NDArray[np.float64], heights: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Centres (n,), given from top to bottom, moved until boxes of these heights lie apart, within low and high."""
    places = centres.astype(np.float64)
    middle = len(places) // 2
    for upper in range(middle, 0, -1):
        places[upper - 1] = max(places[upper - 1], places[upper] + (heights[upper] + heights[upper - 1]) / 2)
    for lower in range(middle + 1, len(places)):
        places[lower] = min(places[lower], places[lower - 1] - (heights[lower] + heights[lower - 1]) / 2)
    over, under = places[0] + heights[0] / 2 - high, low - (places[-1] - heights[-1] / 2)
    return places - max(over, 0.0) if over > 0 else places + max(under, 0.0)


def _line(axes: Axes, name: str, value: float, low: float, high: float, digits: int) -> Text:
    """The words of a line: it goes over the whole width, its interval is a band, its number stands to the right."""
    axes.axhline(value, color=INK, linewidth=1.5, linestyle="-" if name == "bias" else (0, (5, 3)))
    words = f"{name}\n{number(value, digits, signed=True)}"
    if np.isfinite([low, high]).all():
        axes.axhspan(low, high, facecolor=BANDS, edgecolor="none", alpha=0.6, zorder=0.5)
        words += f"\n[{number(low, digits, signed=True)}, {number(high, digits, signed=True)}]"
    return axes.text(1.02, value, words, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)


def _told(found: Agreement, about: str, digits: int) -> str:
    parts = [
        f"{name} {number(value, digits, signed=True)}"
        + (f" [{number(low, digits, signed=True)}, {number(high, digits, signed=True)}]" if math.isfinite(low) else "")
        for name, value, low, high in _lines(found)
    ]
    return f"Bland-Altman plot of {found.n} differences, {about}: {', '.join(parts)}."
