"""Bland-Altman: differences over means, with the bias, the limits of agreement, and how sure each of them is."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from latentsr.errors import InputError
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing, new_figure
from latentsr.report.figures.style import INK, SMALL, SOFT, house_style, marks, wrapped
from latentsr.report.figures.values import decimals, number
from latentsr.stats.agreement import Agreement

HEIGHT = 3.6  # inches
BANDS = "#cfd6de"  # of the intervals
LETTERS = 22  # a line of the words beside the lines


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
        agreement: what `stats.agreement.bland_altman` gives; without limits (fewer than two units) only the bias.
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
        for name, value, low, high in _lines(agreement):
            _line(axes, name, value, low, high, digits)
        axes.set_xlabel(wrapped(f"Mean of {first} and {second}: {measured}", 56))
        axes.set_ylabel(wrapped(f"{first} minus {second}", 40))
        axes.margins(x=0.04, y=0.12)
        axes.grid(axis="both")
        return drawing(figure, _told(agreement, f"{first} minus {second}, {measured}", digits))


def _lines(found: Agreement) -> list[tuple[str, float, float, float]]:
    """Name, value and interval of the three lines; those without a value are left out."""
    lines = [
        ("upper limit", found.upper, found.upper_low, found.upper_high),
        ("bias", found.bias, found.bias_low, found.bias_high),
        ("lower limit", found.lower, found.lower_low, found.lower_high),
    ]
    return [line for line in lines if math.isfinite(line[1])]


def _line(axes: Axes, name: str, value: float, low: float, high: float, digits: int) -> None:
    """A line over the whole width, its interval as a band, and its number to the right."""
    axes.axhline(value, color=INK, linewidth=1.5, linestyle="-" if name == "bias" else (0, (5, 3)))
    words = f"{name}\n{number(value, digits, signed=True)}"
    if np.isfinite([low, high]).all():
        axes.axhspan(low, high, facecolor=BANDS, edgecolor="none", alpha=0.6, zorder=0.5)
        words += f"\n[{number(low, digits, signed=True)}, {number(high, digits, signed=True)}]"
    axes.text(1.02, value, words, transform=axes.get_yaxis_transform(), va="center", fontsize=SMALL)


def _told(found: Agreement, about: str, digits: int) -> str:
    parts = [
        f"{name} {number(value, digits, signed=True)}"
        + (f" [{number(low, digits, signed=True)}, {number(high, digits, signed=True)}]" if math.isfinite(low) else "")
        for name, value, low, high in _lines(found)
    ]
    return f"Bland-Altman plot of {found.n} differences, {about}: {', '.join(parts)}."
