"""One row per method: intervals, violins, rates and bars of frequency bands; the axes that have such rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from latentsr.errors import InputError
from latentsr.report.blocks import Drawing
from latentsr.report.figures.style import (
    INK,
    LEGEND_LETTERS,
    LINE,
    LOSSLESS,
    NO_VALUE,
    SMALL,
    SOFT,
    Interval,
    Look,
    Mark,
    absence,
    add_legend,
    axis_label,
    checked_frame,
    decimals,
    drawing,
    finite,
    house_style,
    joined,
    marks,
    new_figure,
    number,
    required,
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
    """A forest plot: one point and whisker per row, its numbers beside it; rows without a value in words.

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
    found = required([Interval(*row) for row in rows], "rows")
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
        _finish_axis(plan.axes, (row.centre for row in found), about, margin=0.06)
        plan.draw_infinite({row: looks[one.label] for row, one in enumerate(found) if one.centre == np.inf})
        parts = [
            f"{', '.join(filter(None, (row.group, row.label)))}: {_words(row, digits, signed=False)}" for row in found
        ]
        return drawing(plan.figure, f"Points with intervals: {about or 'values'}. {joined(parts)}.")


def _words(row: Interval, digits: int, *, signed: bool) -> str:
    """Such as "27.85 [27.10, 28.61]", or the value alone where it has no interval."""
    value = number(row.centre, digits, signed=signed)
    ends = f"[{number(row.low, digits, signed=signed)}, {number(row.high, digits, signed=signed)}]"
    return f"{value} {ends}" if row.bounded else value


TALL = 0.46  # inches of height of a row with a violin or two bars
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
    as in `band_bars`; `frame` has one column per image (or patient).
    """
    values = checked_frame(frame)
    rows = {str(name): row.to_numpy() for name, row in values.iterrows()}
    digits, label = decimals(values.to_numpy().ravel()), axis_label(quantity, unit, better)
    infinite, parts = {}, []
    with house_style():
        plan = new_rows([(name, "") for name in rows], row=TALL)
        looks = marks(list(rows), methods)
        for row, (name, found) in enumerate(rows.items()):
            known, infinities = finite(found), int(np.isposinf(found).sum())
            counts = {LOSSLESS: infinities, NO_VALUE: len(found) - len(known) - infinities}
            left_out = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
            if np.isposinf(found).any():
                infinite[row] = looks[name]
            if not known.size:
                write = plan.write if row in infinite else plan.absent
                write(row, left_out.replace(", ", "\n"))
                parts.append(f"{name}: {left_out}")
                continue
            mean = number(float(known.mean()), digits)
            quartiles = np.percentile(known, [25, 50, 75])
            if known.size < FEW or not np.ptp(known):
                plan.axes.plot(known, np.full(len(known), plan.places[row]), linestyle="none", **looks[name].point)
            else:
                place = plan.places[row]
                drawn = plan.axes.violinplot(
                    known, [place], orientation="horizontal", widths=WIDTH, points=STEPS, showextrema=False
                )
                drawn["bodies"][0].set(alpha=None, **looks[name].bar)  # type: ignore[index]
                plan.axes.plot(quartiles[[0, 2]], [place, place], color=INK, linewidth=5.0, solid_capstyle="butt")
                middle = [place - 0.05, place + 0.05]
                plan.axes.plot(quartiles[[1, 1]], middle, color="white", linewidth=1.8)
            plan.write(row, f"mean {mean}\n" + ", ".join(filter(None, (f"n = {len(known)}", left_out))))
            low, median, high = (number(float(value), digits) for value in quartiles)
            spread = f"mean {mean}, median {median}, middle half {low} to {high}, n {len(known)}"
            parts.append(f"{name}: " + ", ".join(filter(None, (spread, left_out))))
        _finish_axis(plan.axes, values.to_numpy().ravel(), label, margin=0.05)
        plan.draw_infinite(infinite)
        return drawing(plan.figure, f"Violins of single values: {label}. {joined(parts)}.")


def _finish_axis(axes: Axes, values: Iterable[float], label: str, margin: float) -> None:
    """Words below the axis and room at its ends; no ticks where no value has a place."""
    if finite(values).size:
        axes.set_xlabel(label)
    else:
        axes.set_xticks([])
    axes.margins(x=margin)


PIXELS = "Share of pixels (%), lower is better"
BAR = 0.17  # inches of height of one of a row's two bars
# Distinct in grey by lightness and hatch: the invented dark and plain, the lost light and hatched.
RATES: dict[str, Look] = {
    "hallucinated": {"facecolor": "#D55E00", "edgecolor": INK, "linewidth": 0.8},
    "lost": {"facecolor": "#cfe6f5", "edgecolor": INK, "linewidth": 0.8, "hatch": "////"},
}


def rates(hallucinated: Iterable[Sequence[Any]], lost: Iterable[Sequence[Any]]) -> Drawing:
    """Two bars per row: invented pixels above, lost pixels below, with whiskers and numbers.

    Args:
        hallucinated: `Interval` or (label, centre, low, high, group), in %.
        lost: the same rows, in the same order. One of both may be empty: then only the other is drawn.

    Raises:
        InputError: no rows, or other rows in the second than in the first
    """
    given = zip(RATES, (list(hallucinated), list(lost)), strict=True)
    sides = {name: [Interval(*row) for row in rows] for name, rows in given if rows}
    first, *others = ([(row.label, row.group) for row in rows] for rows in required(list(sides.values()), "rows"))
    if others and others[0] != first:
        raise InputError("hallucinated and lost have other rows: give both for the same methods in the same order")
    shifts = (-BAR / 2 - 0.01, BAR / 2 + 0.01) if others else (0.0,)
    values = [row for rows in sides.values() for row in rows]
    digits = decimals(value for row in values for value in row[1:4])
    parts = [[", ".join(filter(None, (group, label))) + ": "] for label, group in first]
    with house_style():
        plan = new_rows(first, row=TALL)
        for (name, rows), shift in zip(sides.items(), shifts, strict=True):
            for place, row in enumerate(rows):
                if np.isfinite(row.centre):
                    middle = plan.places[place] + shift
                    plan.axes.barh(middle, row.centre, height=BAR, **RATES[name])
                    if row.bounded:
                        reach = [[row.centre - row.low], [row.high - row.centre]]
                        plan.axes.errorbar(row.centre, middle, xerr=reach, color=INK, linewidth=1.2, capsize=2.0)
                    plan.write(place, _words(row, digits, signed=False), shift=shift)
                else:
                    plan.absent(place, number(row.centre, digits), shift=shift)
                parts[place].append(f"{name} {number(row.centre, digits)}")
        _finish_axis(plan.axes, (row.centre for row in values), PIXELS, margin=0.05)
        add_legend(plan.figure, [Patch(label=name, **RATES[name]) for name in sides])
        return drawing(
            plan.figure, f"Bars of {PIXELS}. {joined([head + ', '.join(shares) for head, *shares in parts])}."
        )


ABREAST = 4  # methods whose bars stand side by side; more get a strip each
STRIP = 0.92  # inches of height


def band_bars(frame: pd.DataFrame, *, better: str = "", methods: Sequence[str] | None = None) -> Drawing:
    """Subband PSNR by frequency band: bars side by side for up to four methods, else one strip per method.

    Each strip has the outline of the first method's bars.

    Args:
        frame: one row per method, one column per band from coarse to fine, in dB; +inf is lossless, NaN no value, both
            in words.
        better: "higher", "lower", "closer" (to HR) or "".
        methods: all methods of the report in their order, so that each has the same mark in all figures.

    Raises:
        InputError: no values, or a method twice
    """
    values = checked_frame(frame)
    label = axis_label("Subband PSNR", "dB", better)
    looks, first = marks(list(values.index), methods), values.index[0]
    with house_style():
        if len(values) <= ABREAST:
            figure = new_figure(2.9)
            axes = figure.subplots()
            width = 0.84 / len(values)
            for row, (name, found) in enumerate(values.iterrows()):
                places = np.arange(len(found)) + (row - (len(values) - 1) / 2) * width
                _draw(axes, places, found.to_numpy(), width, **looks[name].bar)
            axes.set_ylabel(wrapped(label, 34))
            _finish_bands(axes, values.columns)
            add_legend(figure, [Patch(label=wrapped(name, LEGEND_LETTERS), **looks[name].bar) for name in values.index])
        else:
            figure = new_figure(STRIP * len(values) + 0.6)
            strips = figure.subplots(len(values), sharex=True, sharey=True)
            places, outline = np.arange(values.shape[1]), values.iloc[0].where(np.isfinite).to_numpy()
            for axes, (name, found) in zip(strips, values.iterrows(), strict=True):
                _draw(axes, places, found.to_numpy(), 0.8, **looks[name].bar)
                if name != first:
                    axes.bar(places, outline, 0.8, facecolor="none", edgecolor=INK, linewidth=0.9)
                axes.set_title(wrapped(name, 60, lines=1), fontsize=SMALL, pad=2)
                _finish_bands(axes, values.columns)
            strips[-1].set_xlabel(f"Black outline: {wrapped(first, 48, lines=1)}", fontsize=SMALL)
            figure.supylabel(label, fontsize=SMALL)
        digits = decimals(values.to_numpy().ravel())
        parts = [
            f"{name}: " + ", ".join(f"{band} {number(value, digits)}" for band, value in row.items())
            for name, row in values.iterrows()
        ]
        return drawing(figure, f"Bars by frequency band: {label}. {joined(parts)}.")


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


NAME_LETTERS, HEADING_LETTERS = 20, 40
ROW, LINE_HEIGHT, HEADING = 0.25, 0.15, 0.28  # inches of height
AROUND = 0.62  # inches for the axis below and its words
COLUMN = 0.16  # of the scale's width: the column of infinite values to the right of it
BEYOND = "#f1f3f5"  # of that column


@dataclass(frozen=True, eq=False)
class Rows:
    """Axes with y in inches from the top: the middle of each row, and its height."""

    figure: Figure
    axes: Axes
    places: tuple[float, ...]
    heights: tuple[float, ...]

    def write(self, row: int, text: str, *, shift: float = 0.0) -> None:
        """Words to the right of a row, outside the axes; `shift` inches lower."""
        where = self.axes.get_yaxis_transform()
        self.axes.text(1.03, self.places[row] + shift, text, transform=where, va="center", fontsize=SMALL)

    def absent(self, row: int, text: str, *, shift: float = 0.0) -> None:
        """Words in a row in place of a mark; `shift` inches lower."""
        where = self.axes.get_yaxis_transform()
        style: Look = {"va": "center", "fontsize": SMALL, "color": SOFT, "style": "italic"}
        self.axes.text(0.03, self.places[row] + shift, text, transform=where, **style)

    def draw_infinite(self, rows: Mapping[int, Mark]) -> None:
        """Marks in these rows for values of +inf, in a column right of the scale, behind a break of its axis.

        To be called last: the scale's limits and ticks are final then. Without rows nothing changes.
        """
        if not rows:
            return
        self.axes.autoscale_view()
        low, high = self.axes.get_xlim()
        end = high + COLUMN * (high - low)
        middle, where = (high + end) / 2, self.axes.get_xaxis_transform()
        self.axes.set_xticks([tick for tick in self.axes.get_xticks() if low <= tick <= high])
        self.axes.set_xlim(low, end)
        self.axes.axvspan(high, end, facecolor=BEYOND, edgecolor="none", zorder=0.2)
        slashes: Look = {"marker": [(-1, -1.5), (1, 1.5)], "linestyle": "none", "color": SOFT, "clip_on": False}
        self.axes.plot([high - 0.01 * (end - low), high + 0.01 * (end - low)], [0, 0], transform=where, **slashes)
        label: Look = {"xytext": (0, -7), "textcoords": "offset points", "ha": "center", "va": "top", "fontsize": SMALL}
        self.axes.annotate("\N{INFINITY}", (middle, 0), xycoords=where, **label)
        for row, look in rows.items():
            self.axes.plot([middle], [self.places[row]], linestyle="none", **look.point)


def new_rows(names: Sequence[tuple[str, str]], *, row: float = ROW) -> Rows:
    """Axes with a row for each (label, group); where the group changes, a row with its name stands before."""
    places, heights, headings, below, last = [], [], [], 0.0, ""
    for label, group in names:
        if group != last and group:
            words = wrapped(group, HEADING_LETTERS)
            headings.append((below + 0.06, words))
            below += HEADING + LINE_HEIGHT * words.count("\n")
        last = group
        height = row + LINE_HEIGHT * max(0, wrapped(label, NAME_LETTERS).count("\n") - (row > 2 * ROW - 0.1))
        places.append(below + height / 2)
        heights.append(height)
        below += height
    figure = new_figure(below + AROUND)
    axes = figure.subplots()
    axes.set_ylim(below, 0)
    axes.set_yticks(places, [wrapped(label, NAME_LETTERS) for label, _ in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    for top, words in headings:
        where = axes.get_yaxis_transform()
        axes.axhline(top - 0.04, color=LINE, linewidth=0.7)
        patch: Look = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        axes.text(0.015, top, words, transform=where, va="top", weight="bold", fontsize=SMALL, bbox=patch)
    return Rows(figure, axes, tuple(places), tuple(heights))
