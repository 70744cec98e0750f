"""Values by frequency band: a bar for each band and method."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import add_legend, drawing, new_figure
from latentsr.report.figures.style import (
    INK,
    LEGEND_LETTERS,
    SMALL,
    SOFT,
    Look,
    axis_label,
    house_style,
    marks,
    wrapped,
)
from latentsr.report.figures.values import absence, checked_frame, decimals, number, told

ABREAST = 4  # methods whose bars stand side by side; more get a strip each
STRIP = 0.92  # inches of height
ORDER = "from coarse (left) to fine"


def band_bars(
    frame: pd.DataFrame,
    *,
    title: str = "",
    quantity: str = "Subband PSNR",
    unit: str = "dB",
    better: str = "",
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """Bars by frequency band: side by side for up to four methods, else a strip a method with the first's outline.

    Args:
        frame: a row a method, a column a band from coarse to fine; +inf is lossless, NaN no value, both in words.
        title: above the figure.
        quantity: what is measured, with its `unit` and direction at the axis.
        unit: such as "dB".
        better: "higher", "lower", "closer" (to HR) or "".
        methods: all methods of the report in their order, so that each has the same mark in all figures.
        note: a line below the figure.

    Raises:
        InputError: no values, or a method twice
    """
    values = checked_frame(frame)
    label = axis_label(quantity, unit, better)
    with house_style():
        figure = (_abreast if len(values) <= ABREAST else _strips)(values, title, note, label, methods)
        digits = decimals(values.to_numpy().ravel())
        parts = [
            f"{name}: " + ", ".join(f"{band} {number(value, digits)}" for band, value in row.items())
            for name, row in values.iterrows()
        ]
        return drawing(figure, f"Bars by frequency band: {label}. {told(parts)}.")


def _abreast(values: pd.DataFrame, title: str, note: str, label: str, methods: Sequence[str] | None) -> Figure:
    """One axes, the bars of a band side by side."""
    figure = new_figure(2.9, title=title, note=note)
    axes = figure.subplots()
    looks = marks(list(values.index), methods)
    width = 0.84 / len(values)
    for row, (name, found) in enumerate(values.iterrows()):
        places = np.arange(len(found)) + (row - (len(values) - 1) / 2) * width
        _draw(axes, places, found.to_numpy(), width, **looks[name].bar)
    axes.set_ylabel(wrapped(label, 34))
    _finish(axes, values.columns)
    handles = [Patch(label=wrapped(name, LEGEND_LETTERS), **looks[name].bar) for name in values.index]
    add_legend(figure, handles)
    return figure


def _strips(values: pd.DataFrame, title: str, note: str, label: str, methods: Sequence[str] | None) -> Figure:
    """An axes a method, all on one scale; the first method's bars are outlined in all others."""
    figure = new_figure(STRIP * len(values) + 0.6, title=title, note=note)
    strips = figure.subplots(len(values), sharex=True, sharey=True)
    looks = marks(list(values.index), methods)
    first = values.iloc[0].to_numpy()
    for axes, (name, found) in zip(strips, values.iterrows(), strict=True):
        _draw(axes, np.arange(len(found)), found.to_numpy(), 0.8, **looks[name].bar)
        if name != values.index[0]:
            known = np.isfinite(first)
            axes.bar(np.arange(len(first))[known], first[known], 0.8, facecolor="none", edgecolor=INK, linewidth=0.9)
        axes.set_title(wrapped(name, 60, lines=1), fontsize=SMALL, pad=2)
        _finish(axes, values.columns)
    strips[-1].set_xlabel(f"Black outline: {wrapped(values.index[0], 48, lines=1)}", fontsize=SMALL)
    figure.supylabel(label, fontsize=SMALL)
    return figure


def _draw(axes: Axes, places: np.ndarray, values: np.ndarray, width: float, **look: Any) -> None:
    """The bars of one method, and a word where a band has no value."""
    known = np.isfinite(values)
    axes.bar(places[known], values[known], width, **look)
    style: Look = {"rotation": 90, "ha": "center", "fontsize": SMALL - 1.5, "color": SOFT}
    for place, value in zip(places[~known], values[~known], strict=True):
        if value == np.inf:  # above all bars, where more is
            axes.text(place, 1, f"{absence(value)} ", va="top", transform=axes.get_xaxis_transform(), **style)
        else:
            axes.text(place, 0, f" {absence(value)}", va="bottom", **style)


def _finish(axes: Axes, bands: Sequence[str]) -> None:
    axes.axhline(0, color=SOFT, linewidth=1.0)
    axes.set_xticks(range(len(bands)), bands)
    axes.set_xlim(-0.6, len(bands) - 0.4)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
