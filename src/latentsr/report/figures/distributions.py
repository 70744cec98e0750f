"""Values of single images, a violin a method."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing
from latentsr.report.figures.rows import Rows, new_rows
from latentsr.report.figures.style import INK, Mark, axis_label, house_style, marks
from latentsr.report.figures.values import LOSSLESS, NO_VALUE, checked_frame, decimals, finite, number, told

ROW = 0.46  # inches of height
HALF = 0.19  # of a violin, where it is widest
FEW = 5  # values below which points stand for themselves
STEPS = 160  # places at which the density is drawn


def violins(
    frame: pd.DataFrame,
    *,
    title: str = "",
    quantity: str = "",
    unit: str = "",
    better: str = "",
    methods: Sequence[str] | None = None,
    note: str = "",
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
        plan = new_rows([(name, "") for name in names], title=title, note=note, row=ROW)
        looks = marks(names, methods)
        for row, (name, found) in enumerate(zip(names, rows, strict=True)):
            _draw_row(plan, row, found, looks[name], digits)
        if finite(values.to_numpy().ravel()).size:
            plan.axes.set_xlabel(label)
            plan.axes.margins(x=0.05)
        else:
            plan.axes.set_xticks([])
        plan.draw_infinite({row: looks[names[row]] for row, found in enumerate(rows) if np.isposinf(found).any()})
        parts = [f"{name}: {_words(found, digits)}" for name, found in zip(names, rows, strict=True)]
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
        _violin(plan.axes, known, place, look)
    count = ", ".join(filter(None, (f"n = {len(known)}", _left_out(values))))
    plan.write(row, f"mean {number(float(known.mean()), digits)}\n{count}")


def _violin(axes: Axes, values: NDArray[np.float64], place: float, look: Mark) -> None:
    """Density to both sides of the place, cut at the smallest and greatest value; quartiles and median."""
    xs = np.linspace(values.min(), values.max(), STEPS)
    density = gaussian_kde(values)(xs)
    half = HALF * density / density.max()
    axes.fill_between(xs, place - half, place + half, **look.bar)
    low, median, high = np.percentile(values, [25, 50, 75])
    axes.plot([low, high], [place, place], color=INK, linewidth=5.0, solid_capstyle="butt")
    axes.plot([median, median], [place - 0.05, place + 0.05], color="white", linewidth=1.8)


def _left_out(values: NDArray[np.float64]) -> str:
    """Such as "3 lossless, 1 no value": the values that have no place."""
    counts = {LOSSLESS: int(np.isposinf(values).sum()), NO_VALUE: int((np.isnan(values) | np.isneginf(values)).sum())}
    return ", ".join(f"{count} {words}" for words, count in counts.items() if count)


def _words(values: NDArray[np.float64], digits: int) -> str:
    known = finite(values)
    if not known.size:
        return _left_out(values)
    low, median, high = (number(float(value), digits) for value in np.percentile(known, [25, 50, 75]))
    spread = f"mean {number(float(known.mean()), digits)}, median {median}, middle half {low} to {high}, n {len(known)}"
    return ", ".join(filter(None, (spread, _left_out(values))))
