"""One row per method: intervals, violins and bars of frequency bands."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import Rows, add_legend, drawing, new_figure, new_rows
from latentsr.report.figures.style import (
    INK,
    LEGEND_LETTERS,
    LOSSLESS,
    NO_VALUE,
    SMALL,
    SOFT,
    Interval,
    Look,
    Mark,
    absence,
    axis_label,
    checked_frame,
    decimals,
    finite,
    house_style,
    intervals_of,
    marks,
    number,
    told,
    wrapped,
)


def intervals(
    rows: Iterable[Sequence[Any]],
    *,
    quantity: str = "",
    unit: str = "",
    better: str = "",
    reference: float | None = None,
    methods: Sequence[str] | None = None,
) -> Drawing:
    """A forest plot: a point and a whisker a row, its numbers beside it; rows without a value in words.

    Lossless rows (+inf) have their mark in a column right of the scale, behind a break of the axis.

    Args:
        rows: `Interval` or (label, centre, low, high, group), in the order of the figure.
        quantity: what is measured, below the axis, with its `unit`.
        unit: such as "dB".
        better: "higher", "lower", "closer" (to HR) or "".
        reference: where a dashed line stands, such as 0 for differences; values then bear their sign.
        methods: all labels of the report in their order, so that each has the same mark in all figures.

    Raises:
        InputError: no rows
    """
    found = intervals_of(rows)
    with house_style():
        plan = new_rows([(row.label, row.group) for row in found])
        looks = marks([row.label for row in found], methods)
        for place, row in zip(plan.places, found, strict=True):
            if row.bounded:
                plan.axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
            if np.isfinite(row.centre):
                plan.axes.plot([row.centre], [place], linestyle="none", **looks[row.label].point)
        if reference is not None:
            plan.axes.axvline(reference, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.0, zorder=0)
        # The numbers beside the rows, or words in a row without a value.
        digits, about = decimals(value for row in found for value in row[1:4]), axis_label(quantity, unit, better)
        for place, row in enumerate(found):
            if np.isfinite(row.centre) or row.centre == np.inf:
                plan.write(place, _words(row, digits, signed=reference is not None))
            else:
                plan.absent(place, number(row.centre, digits))
        if finite(row.centre for row in found).size:
            plan.axes.set_xlabel(about)
        else:
            plan.axes.set_xticks([])
        plan.axes.margins(x=0.06)
        plan.draw_infinite({row: looks[one.label] for row, one in enumerate(found) if one.centre == np.inf})
        parts = [
            f"{', '.join(filter(None, (row.group, row.label)))}: {_words(row, digits, signed=False)}" for row in found
        ]
        return drawing(plan.figure, f"Points with intervals: {about or 'values'}. {told(parts)}.")


def _words(row: Interval, digits: int, *, signed: bool) -> str:
    """Such as "27.85 [27.10, 28.61]", or the value alone where it has no interval."""
    value = number(row.centre, digits, signed=signed)
    ends = f"[{number(row.low, digits, signed=signed)}, {number(row.high, digits, signed=signed)}]"
    return f"{value} {ends}" if row.bounded else value


ROW = 0.46  # inches of height
WIDTH = 0.38  # inches of a violin, where it is widest
FEW = 5  # values below which points stand for themselves
STEPS = 160  # places at which the density is drawn


def violins(
    frame: pd.DataFrame,
    *,
    quantity: str = "",
    unit: str = "",
    better: str = "",
    methods: Sequence[str] | None = None,
) -> Drawing:
    """The distribution of each method's values: density, middle half as a bar, median as a white line.

    The mean stands beside it. With fewer than five values, or where they are all alike, points stand alone. Lossless
    values (+inf) are a mark in a column right of the scale, behind a break, and counted in words. Arguments and errors
    as in `band_bars`; `frame` has a column an image (or patient).
    """
    values = checked_frame(frame)
    names = [str(name) for name in values.index]
    rows = [values.loc[name].to_numpy() for name in names]
    digits = decimals(values.to_numpy().ravel())
    label = axis_label(quantity, unit, better)
    with house_style():
        plan = new_rows([(name, "") for name in names], row=ROW)
        looks = marks(names, methods)
        for row, (name, found) in enumerate(zip(names, rows, strict=True)):
            _draw_row(plan, row, found, looks[name], digits)
        if finite(values.to_numpy().ravel()).size:
            plan.axes.set_xlabel(label)
            plan.axes.margins(x=0.05)
        else:
            plan.axes.set_xticks([])
        plan.draw_infinite({row: looks[names[row]] for row, found in enumerate(rows) if np.isposinf(found).any()})
        parts = [f"{name}: {_spread_words(found, digits)}" for name, found in zip(names, rows, strict=True)]
        return drawing(plan.figure, f"Violins of single values: {label}. {told(parts)}.")


def _draw_row(plan: Rows, row: int, values: NDArray[np.float64], look: Mark, digits: int) -> None:
    """The violin or the points of one method, and the words beside it."""
    known, place = finite(values), plan.places[row]
    if not known.size:
        (plan.write if np.isposinf(values).any() else plan.absent)(row, _left_out(values).replace(", ", "\n"))
        return
    if known.size < FEW or not np.ptp(known):
        plan.axes.plot(known, np.full(len(known), place), linestyle="none", **look.point)
    else:
        # The density ends at the smallest and greatest value; then quartiles and median.
        drawn = plan.axes.violinplot(
            known, [place], orientation="horizontal", widths=WIDTH, points=STEPS, showextrema=False
        )
        drawn["bodies"][0].set(alpha=None, **look.bar)  # type: ignore[index]
        low, median, high = np.percentile(known, [25, 50, 75])
        plan.axes.plot([low, high], [place, place], color=INK, linewidth=5.0, solid_capstyle="butt")
        plan.axes.plot([median, median], [place - 0.05, place + 0.05], color="white", linewidth=1.8)
    count = ", ".join(filter(None, (f"n = {len(known)}", _left_out(values))))
    plan.write(row, f"mean {number(float(known.mean()), digits)}\n{count}")


def _left_out(values: NDArray[np.float64]) -> str:
    """Such as "3 lossless, 1 no value": the values that have no place."""
    counts = {LOSSLESS: int(np.isposinf(values).sum()), NO_VALUE: int((np.isnan(values) | np.isneginf(values)).sum())}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _spread_words(values: NDArray[np.float64], digits: int) -> str:
    known = finite(values)
    if not known.size:
        return _left_out(values)
    low, median, high = (number(float(value), digits) for value in np.percentile(known, [25, 50, 75]))
    spread = f"mean {number(float(known.mean()), digits)}, median {median}, middle half {low} to {high}, n {len(known)}"
    return ", ".join(filter(None, (spread, _left_out(values))))


ABREAST = 4  # methods whose bars stand side by side; more get a strip each
STRIP = 0.92  # inches of height


def band_bars(
    frame: pd.DataFrame,
    *,
    quantity: str = "Subband PSNR",
    unit: str = "dB",
    better: str = "",
    methods: Sequence[str] | None = None,
) -> Drawing:
    """Bars by frequency band: side by side for up to four methods, else a strip a method with the first's outline.

    Args:
        frame: a row a method, a column a band from coarse to fine; +inf is lossless, NaN no value, both in words.
        quantity: what is measured, with its `unit` and direction at the axis.
        unit: such as "dB".
        better: "higher", "lower", "closer" (to HR) or "".
        methods: all methods of the report in their order, so that each has the same mark in all figures.

    Raises:
        InputError: no values, or a method twice
    """
    values = checked_frame(frame)
    label = axis_label(quantity, unit, better)
    with house_style():
        figure = (_abreast if len(values) <= ABREAST else _strips)(values, label, methods)
        digits = decimals(values.to_numpy().ravel())
        parts = [
            f"{name}: " + ", ".join(f"{band} {number(value, digits)}" for band, value in row.items())
            for name, row in values.iterrows()
        ]
        return drawing(figure, f"Bars by frequency band: {label}. {told(parts)}.")


def _abreast(values: pd.DataFrame, label: str, methods: Sequence[str] | None) -> Figure:
    """One axes, the bars of a band side by side."""
    figure = new_figure(2.9)
    axes = figure.subplots()
    looks = marks(list(values.index), methods)
    width = 0.84 / len(values)
    for row, (name, found) in enumerate(values.iterrows()):
        places = np.arange(len(found)) + (row - (len(values) - 1) / 2) * width
        _draw(axes, places, found.to_numpy(), width, **looks[name].bar)
    axes.set_ylabel(wrapped(label, 34))
    _finish_bands(axes, values.columns)
    handles = [Patch(label=wrapped(name, LEGEND_LETTERS), **looks[name].bar) for name in values.index]
    add_legend(figure, handles)
    return figure


def _strips(values: pd.DataFrame, label: str, methods: Sequence[str] | None) -> Figure:
    """An axes a method, all on one scale; the first method's bars are outlined in all others."""
    figure = new_figure(STRIP * len(values) + 0.6)
    strips = figure.subplots(len(values), sharex=True, sharey=True)
    looks = marks(list(values.index), methods)
    first = values.iloc[0].to_numpy()
    for axes, (name, found) in zip(strips, values.iterrows(), strict=True):
        _draw(axes, np.arange(len(found)), found.to_numpy(), 0.8, **looks[name].bar)
        if name != values.index[0]:
            known = np.isfinite(first)
            axes.bar(np.arange(len(first))[known], first[known], 0.8, facecolor="none", edgecolor=INK, linewidth=0.9)
        axes.set_title(wrapped(name, 60, lines=1), fontsize=SMALL, pad=2)
        _finish_bands(axes, values.columns)
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


def _finish_bands(axes: Axes, bands: Sequence[str]) -> None:
    axes.axhline(0, color=SOFT, linewidth=1.0)
    axes.set_xticks(range(len(bands)), bands)
    axes.set_xlim(-0.6, len(bands) - 0.4)
    axes.grid(axis="y")
    axes.tick_params(axis="x", length=0)
