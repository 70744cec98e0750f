"""Values with intervals, a row each: a forest of points, and bars."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing
from latentsr.report.figures.rows import Rows, new_rows
from latentsr.report.figures.style import INK, SOFT, axis_label, house_style, marks
from latentsr.report.figures.values import Interval, decimals, finite, intervals_of, number, told

BAR = 0.72  # share of a row's height


def intervals(
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    quantity: str = "",
    unit: str = "",
    better: str = "",
    reference: float | None = None,
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """A forest plot: a point and a whisker a row, its numbers beside it; rows without a value in words.

    Lossless rows (+inf) have their mark in a column right of the scale, behind a break of the axis.

    Args:
        rows: `Interval` or (label, centre, low, high, group), in the order of the figure.
        title: above the figure.
        quantity: what is measured, below the axis, with its `unit`.
        unit: such as "dB".
        better: "higher", "lower", "closer" (to HR) or "".
        reference: where a dashed line stands, such as 0 for differences; values then bear their sign.
        methods: all labels of the report in their order, so that each has the same mark in all figures.
        note: a line below the figure.

    Raises:
        InputError: no rows
    """
    found = intervals_of(rows)
    with house_style():
        plan = new_rows([(row.label, row.group) for row in found], title=title, note=note)
        looks = marks([row.label for row in found], methods)
        for place, row in zip(plan.places, found, strict=True):
            if row.bounded:
                plan.axes.plot([row.low, row.high], [place, place], color=INK, linewidth=1.4, solid_capstyle="butt")
            if np.isfinite(row.centre):
                plan.axes.plot([row.centre], [place], linestyle="none", **looks[row.label].point)
        if reference is not None:
            plan.axes.axvline(reference, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.0, zorder=0)
        _finish(plan, found, axis_label(quantity, unit, better), signed=reference is not None)
        plan.axes.margins(x=0.06)
        plan.draw_infinite({row: looks[one.label] for row, one in enumerate(found) if one.centre == np.inf})
        return drawing(plan.figure, _told(found, "Points with intervals", title, quantity, unit, better))


def bars(
    rows: Iterable[Sequence[Any]],
    *,
    title: str = "",
    quantity: str = "",
    unit: str = "",
    better: str = "",
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """Bars from zero with whiskers, a row each, the numbers beside them; arguments are those of `intervals`.

    For values whose zero means nothing, such as PSNR, `intervals` shows more.
    """
    found = intervals_of(rows)
    with house_style():
        plan = new_rows([(row.label, row.group) for row in found], title=title, note=note)
        looks = marks([row.label for row in found], methods)
        for place, row in zip(plan.places, found, strict=True):
            if np.isfinite(row.centre):
                plan.axes.barh(place, row.centre, height=BAR * 0.25, **looks[row.label].bar)
            if row.bounded:
                reach = [[row.centre - row.low], [row.high - row.centre]]
                plan.axes.errorbar(row.centre, place, xerr=reach, color=INK, linewidth=1.4, capsize=2.5)
        plan.axes.axvline(0, color=SOFT, linewidth=1.0)
        _finish(plan, found, axis_label(quantity, unit, better), signed=False)
        plan.draw_infinite({row: looks[one.label] for row, one in enumerate(found) if one.centre == np.inf})
        return drawing(plan.figure, _told(found, "Bars with intervals", title, quantity, unit, better))


def _finish(plan: Rows, rows: Sequence[Interval], label: str, *, signed: bool) -> None:
    """The numbers beside the rows, "lossless" for +inf, words in a row without a value, and the axis' label."""
    digits = decimals(value for row in rows for value in row[1:4])
    for place, row in enumerate(rows):
        if np.isfinite(row.centre) or row.centre == np.inf:
            plan.write(place, _words(row, digits, signed=signed))
        else:
            plan.absent(place, number(row.centre, digits))
    if finite(row.centre for row in rows).size:
        plan.axes.set_xlabel(label)
    else:
        plan.axes.set_xticks([])


def _words(row: Interval, digits: int, *, signed: bool) -> str:
    """Such as "27.85 [27.10, 28.61]", or the value alone where it has no interval."""
    value = number(row.centre, digits, signed=signed)
    ends = f"[{number(row.low, digits, signed=signed)}, {number(row.high, digits, signed=signed)}]"
    return f"{value} {ends}" if row.bounded else value


def _told(rows: Sequence[Interval], kind: str, title: str, quantity: str, unit: str, better: str) -> str:
    """The figure in words."""
    digits = decimals(value for row in rows for value in row[1:4])
    parts = [f"{', '.join(filter(None, (row.group, row.label)))}: {_words(row, digits, signed=False)}" for row in rows]
    about = axis_label(quantity, unit, better) or title or "values"
    return f"{kind}: {about}. {told(parts)}."
