"""What was invented and what was lost: the shares of pixels, and where in the image."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.patches import Patch
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.report.drawing import Drawing
from latentsr.report.figures.cases import COLOURS, DARK, DPI, Sheet
from latentsr.report.figures.export import Rows, add_legend, drawing, new_rows
from latentsr.report.figures.style import (
    Interval,
    Look,
    decimals,
    finite,
    house_style,
    intervals_of,
    number,
    required,
    told,
    wrapped,
)

PIXELS, IMAGES = "Share of pixels (%)", "Share of images (%)"
ROW, BAR = 0.46, 0.17  # inches of height: a row with two bars
# Told apart in grey by lightness and hatch: the invented dark and plain, the lost light and hatched.
INVENTED: Look = {"facecolor": "#D55E00", "edgecolor": DARK, "linewidth": 0.8}
LOST: Look = {"facecolor": "#cfe6f5", "edgecolor": DARK, "linewidth": 0.8, "hatch": "////"}

ABREAST, CELL = 4, 256  # maps side by side (two methods' pairs), and the px that one takes
GAP, SIDE, LINE, COLOUR_BAR = 14, 12, 27, 14  # px


def rates(
    hallucinated: Iterable[Sequence[Any]],
    lost: Iterable[Sequence[Any]],
) -> Drawing:
    """Two bars a row: what was invented above, what was lost below, with whiskers and numbers.

    Args:
        hallucinated: `Interval` or (label, centre, low, high, group), in %.
        lost: the same rows, in the same order. One of both may be empty: then only the other is drawn.

    Raises:
        InputError: no rows, or other rows in the second than in the first
    """
    sides = [side for side in _sides(hallucinated, lost) if side.rows]
    names = [(row.label, row.group) for row in sides[0].rows]
    digits = decimals(value for side in sides for row in side.rows for value in row[1:4])
    with house_style():
        plan = new_rows(names, row=ROW)
        for row in range(len(names)):
            for side in sides:
                _bar(plan, row, side.shift if len(sides) > 1 else 0.0, side.rows[row], side.look, digits)
        if finite(row.centre for side in sides for row in side.rows).size:
            plan.axes.set_xlabel(f"{PIXELS}, lower is better")
        else:
            plan.axes.set_xticks([])
        add_legend(plan.figure, [Patch(label=side.name, **side.look) for side in sides])
        parts = [
            f"{', '.join(filter(None, (group, label)))}: "
            + ", ".join(f"{side.name} {number(side.rows[row].centre, digits)}" for side in sides)
            for row, (label, group) in enumerate(names)
        ]
        return drawing(plan.figure, f"Bars of {PIXELS}, lower is better. {told(parts)}.")


class _Side(NamedTuple):
    """One of the two bars of each row: its name, how it looks, how far it lies off the row's middle, its values."""

    name: str
    look: Look
    shift: float
    rows: list[Interval]


def _sides(hallucinated: Iterable[Sequence[Any]], lost: Iterable[Sequence[Any]]) -> list[_Side]:
    given = [list(rows) for rows in (hallucinated, lost)]
    found = [intervals_of(rows) if rows or not any(given) else [] for rows in given]
    first, second = ([(row.label, row.group) for row in rows] for rows in found)
    if first and second and first != second:
        raise InputError("hallucinated and lost have other rows: give both for the same methods in the same order")
    off = BAR / 2 + 0.01
    return [_Side("hallucinated", INVENTED, -off, found[0]), _Side("lost", LOST, off, found[1])]


def _bar(plan: Rows, row: int, shift: float, value: Interval, look: Look, digits: int) -> None:
    """One bar of a row with whisker and number, or the word why there is none."""
    place = plan.places[row] + shift
    if not np.isfinite(value.centre):
        plan.absent(row, number(value.centre, digits), shift=shift)
        return
    plan.axes.barh(place, value.centre, height=BAR, **look)
    words = number(value.centre, digits)
    if value.bounded:
        reach = [[value.centre - value.low], [value.high - value.centre]]
        plan.axes.errorbar(value.centre, place, xerr=reach, color=DARK, linewidth=1.2, capsize=2.0)
        words += f" [{number(value.low, digits)}, {number(value.high, digits)}]"
    plan.write(row, words, shift=shift)


def mean_maps(
    maps: Iterable[tuple[str, NDArray[np.floating]]],
    *,
    greatest: float | None = None,
) -> Drawing:
    """Maps on one shared colour scale from zero, four side by side: where over many images something happens.

    Args:
        maps: (title, (rows, columns)) each, not negative, such as "hallucinated, medvae" and the share of images in
            which a pixel is; NaN stays white.
        greatest: the scale's end, which also stands for all beyond it; if None, the greatest value of all maps.

    Raises:
        InputError: no map, one that is no (rows, columns), maps of several sizes, negative or infinite values
    """
    found = required([(str(name), np.asarray(values, dtype=np.float64)) for name, values in maps], "maps")
    shape = found[0][1].shape
    for name, values in found:
        if values.ndim != 2 or not values.size or values.shape != shape:
            raise InputError(f"map '{name}' has shape {values.shape}: expected (rows, columns), all of one size")
        if np.isinf(values).any() or (values < 0).any() or np.isnan(values).all():
            raise InputError(f"map '{name}' has negative, infinite or no values: expected shares or magnitudes")
    known = finite(np.concatenate([values.ravel() for _, values in found]))
    end = greatest or float(known.max(initial=0.0)) or 1.0
    cut = bool(known.size and known.max() > end)
    rows, columns = shape
    height = round(rows * CELL / columns)
    with house_style():
        lines = max(wrapped(name, 20).count("\n") + 1 for name, _ in found)
        top, step = 12, LINE * lines + height + GAP
        across, down = min(ABREAST, len(found)), (len(found) + ABREAST - 1) // ABREAST
        sheet = Sheet(2 * SIDE + max(across, 2) * (CELL + GAP) - GAP, top + step * down + 3 * LINE + COLOUR_BAR)
        for number_, (name, values) in enumerate(found):
            left, head = SIDE + number_ % ABREAST * (CELL + GAP), top + number_ // ABREAST * step
            sheet.write(left, head + LINE * lines - 5, wrapped(name, 20), 9.0, va="bottom")
            axes = sheet.axes(left, head + LINE * lines, CELL, height)
            axes.imshow(values, cmap=COLOURS, vmin=0, vmax=end, interpolation="none", aspect="auto")
        sheet.colour_bar(SIDE, top + step * down, 2 * CELL + GAP, IMAGES, end, open_ended=cut)
        digits = decimals([0.0, end])
        scale = f"Colours reach from 0 to {end:.3g} %" + ", and stand there for more too" * cut
        parts = [f"{name}: mean {number(float(np.nanmean(values)), digits)}" for name, values in found]
        return drawing(sheet.figure, f"Maps of {IMAGES}. {told(parts)}. {scale}.", dpi=DPI)
