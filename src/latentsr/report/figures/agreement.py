"""Bland-Altman: differences over means, with the bias, the limits of agreement, and how sure each of them is."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from latentsr.errors import InputError
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing, lay_out, new_figure
from latentsr.report.figures.style import INK, NORMAL, SOFT, decimals, finite, house_style, marks, number, wrapped
from latentsr.stats.agreement import Agreement

PANEL = 2.2  # inches, the height of a row of panels
HEAD = 0.8  # inches, for the labels
IN_A_ROW, LETTERS = 3, (48, 22, 14)  # panels, and letters of a title's line in rows of one, two and three
BANDS = "#cfd6de"  # of the intervals
REACH = 1.0  # spans of points and lines that the axes grow on each side for intervals; wider ones are cut


def bland_altman(
    agreements: Mapping[str, Agreement],
    *,
    title: str = "",
    quantity: str = "mean intensity",
    unit: str = "",
    second: str = "HR",
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """Bland-Altman plots on one pair of axes, a panel a method: points, bias, limits and bands for their intervals.

    Args:
        agreements: by method, what `stats.agreement.bland_altman` gives; without limits (fewer than two units) only the
            bias. Of few units the intervals are far wider than the points: they are cut.
        title: above the figure.
        quantity: what was measured twice, with its `unit`.
        unit: such as "% of the range".
        second: name of what was subtracted from each method.
        methods: all methods of the report in their order, so that each has the same mark in all figures.
        note: a line below the figure.

    Raises:
        InputError: a method without a unit, or no method
    """
    if not agreements or not all(found.n for found in agreements.values()):
        raise InputError("no pair of values to compare: a Bland-Altman plot needs at least one for each method")
    measured = f"{quantity} ({unit})" if unit else quantity
    rows = math.ceil(len(agreements) / IN_A_ROW)
    columns = math.ceil(len(agreements) / rows)
    with house_style():
        figure = new_figure(HEAD + rows * PANEL, title=title, note=note)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        looks = marks(list(agreements), methods)
        for axes, (name, found) in zip(panels.flat, agreements.items(), strict=False):
            _panel(axes, found)
            axes.plot(found.means, found.differences, linestyle="none", markersize=4, alpha=0.75, **looks[name].point)
            axes.set_title(wrapped(name, LETTERS[columns - 1]))
        for place in range(len(agreements), panels.size):
            panels.flat[place].set_axis_off()
            panels.flat[place - columns].tick_params(labelbottom=True)
        panels[0, 0].set_ylim(*_limits(list(agreements.values())))
        figure.supxlabel(wrapped(f"Mean of the method and {second}: {measured}", 64), fontsize=NORMAL)
        difference = wrapped(f"Method minus {second}", 32) + f"\n({wrapped(unit, 32)})" * bool(unit)
        figure.supylabel(difference, fontsize=NORMAL)
        lay_out(figure)
        return drawing(figure, " ".join(_described(name, found, second) for name, found in agreements.items()))


def _panel(axes: Axes, found: Agreement) -> None:
    """The lines, over the whole width, and their intervals as bands."""
    axes.axhline(0, color=SOFT, linewidth=0.8)
    for name, value, low, high in _lines(found):
        axes.axhline(value, color=INK, linewidth=1.5, linestyle="-" if name == "bias" else (0, (5, 3)))
        if np.isfinite([low, high]).all():
            axes.axhspan(low, high, facecolor=BANDS, edgecolor="none", alpha=0.6, zorder=0.5)
    axes.margins(x=0.04)
    axes.grid(axis="both")


def _lines(found: Agreement) -> list[tuple[str, float, float, float]]:
    """Name, value and interval of the three lines; those without a value are left out."""
    lines = [
        ("upper limit", found.upper, found.upper_low, found.upper_high),
        ("bias", found.bias, found.bias_low, found.bias_high),
        ("lower limit", found.lower, found.lower_low, found.lower_high),
    ]
    return [line for line in lines if math.isfinite(line[1])]


def _limits(agreements: Sequence[Agreement]) -> tuple[float, float]:
    """Where the axes end: around points, lines and zero, and the intervals as far as they do not squeeze these."""
    shown = finite([0.0] + [x for one in agreements for x in (*one.differences, one.lower, one.bias, one.upper)])
    low, high = float(shown.min()), float(shown.max())
    span = (high - low) or 1.0
    ends = finite([x for one in agreements for x in (one.lower_low, one.upper_high, one.bias_low, one.bias_high)])
    low = max(min(low, *ends), low - REACH * span) if ends.size else low
    high = min(max(high, *ends), high + REACH * span) if ends.size else high
    room = 0.1 * ((high - low) or 1.0)
    return low - room, high + room


def _described(name: str, found: Agreement, second: str) -> str:
    digits = decimals([*found.differences, found.lower, found.upper])
    parts = [
        f"{line} {number(value, digits, signed=True)}"
        + (f" [{number(low, digits, signed=True)}, {number(high, digits, signed=True)}]" if math.isfinite(low) else "")
        for line, value, low, high in _lines(found)
    ]
    return f"{name} minus {second}, {found.n} differences: {', '.join(parts)}."
