"""Points of two measures: regressions, the perception-distortion plane, ceilings, Bland-Altman; and curves."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from latentsr.errors import InputError
from latentsr.report.blocks import Drawing
from latentsr.report.figures.style import (
    DASHES,
    INK,
    LEGEND_LETTERS,
    LOSSLESS,
    NO_VALUE,
    NORMAL,
    SMALL,
    SOFT,
    Look,
    Point,
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
from latentsr.stats.paired import Agreement

HEIGHT = 3.9  # inches
LABEL_LETTERS = 22
LABELLED = 12  # points at most that are labelled; more get in each other's way
CORNER = 0.2  # share of an axis that is added for the arrow into the best corner
X_LABEL, Y_LABEL = "AE ceiling, PSNR (dB)", "SR, PSNR (dB)"
IDENTICAL = "identical to HR"  # what an infinite PSNR means of a result
PREDICTION: Look = {"facecolor": "#e6eaef", "edgecolor": SOFT, "linestyle": ":"}
CONFIDENCE: Look = {"facecolor": "#b9c2cc", "edgecolor": "none"}  # the darker grey: it lies within the other


def regression(
    points: Iterable[Sequence[Any]],
    xs: ArrayLike,
    bands: Sequence[ArrayLike],
    *,
    levels: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
) -> Drawing:
    """Points with their least-squares line, its 95 % confidence band and its 95 % prediction band.

    Args:
        points: `Point` or (label, x, y, group, low, high) in dB; `low` and `high`, an interval of y, may be left out. A
            point without a place on an axis (a lossless ceiling) is named in the note.
        xs: (n,), rising, where the line is given.
        bands: centre, confidence low, high, prediction low, high, each (n,), such as the
            `stats.regression.Line.predict` of xs.
        levels: values of y without an x (measured results of other methods) by name, as lines across.
        methods: all groups of the report in their order, so that each has the same mark in all figures.

    Raises:
        InputError: no points, or bands of another length than xs
    """
    found = required([Point(*point) for point in points], "points")
    with house_style():
        figure, axes = _plane(X_LABEL, Y_LABEL, found, LOSSLESS)
        handles = [*_draw_points(axes, found, methods), *_draw_bands(axes, xs, bands)]
        handles += _draw_levels(axes, levels or {}, methods)
        add_legend(figure, handles)
        axes.autoscale_view()
        axes.autoscale(enable=False)
        # Labels beside their points, on the side of the middle of the axes.
        labelled = [point for point in found if _placed(point) and point.label]
        middle = sum(axes.get_xlim()) / 2
        halo: Look = {"facecolor": "white", "edgecolor": "none", "alpha": 0.55, "pad": 0.6}
        for point in labelled if len(labelled) <= LABELLED else []:
            side: Look = {"xytext": (7, 0), "ha": "left"} if point.x < middle else {"xytext": (-7, 0), "ha": "right"}
            style: Look = {"textcoords": "offset points", "va": "center", "fontsize": SMALL, "color": INK, "bbox": halo}
            style["zorder"] = 2.5  # below the points of methods
            note = axes.annotate(wrapped(point.label, LABEL_LETTERS), (point.x, point.y), **side, **style)
            note.set_in_layout(False)
        about = f"Scatter of {Y_LABEL} over {X_LABEL}. Line with 95% confidence and prediction bands."
        return drawing(figure, f"{about} {_described(found, LOSSLESS, levels)}")


def perception_distortion(
    points: Iterable[Sequence[Any]], *, y_label: str, floor: float = math.nan, methods: Sequence[str] | None = None
) -> Drawing:
    """The perception-distortion plane (Blau and Michaeli 2018): one point per method, and the corner that is best.

    Args:
        points: `Point` or (label, x, y, group, low, high, x_low, x_high); a label is a method's name, x a PSNR in dB.
        y_label: what y measures; lower is better.
        floor: the value of y that the truth itself has, a dotted line; NaN: none.
        methods: all methods of the report in their order.

    Raises:
        InputError: no points
    """
    found = [point._replace(group=point.label) for point in required([Point(*row) for row in points], "points")]
    labels = "PSNR (dB), higher is better", f"{y_label}, lower is better"
    with house_style():
        figure, axes = _plane(*labels, found, IDENTICAL)
        add_legend(figure, _draw_points(axes, found, methods))
        if math.isfinite(floor):
            axes.axhline(floor, color=SOFT, linestyle=":", linewidth=1.2)
        axes.margins(0.12)
        axes.autoscale_view()
        # Room for an arrow into the corner where both measures are best.
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        axes.set_xlim(left, right + CORNER * (right - left))
        axes.set_ylim(bottom - CORNER * (top - bottom), top)
        arrow: Look = {"arrowstyle": "-|>", "color": SOFT, "linewidth": 1.4}
        where: Look = {"xycoords": "axes fraction", "textcoords": "axes fraction", "ha": "right", "va": "bottom"}
        axes.annotate("better", (0.985, 0.015), (0.885, 0.115), arrowprops=arrow, color=SOFT, style="italic", **where)
        return drawing(figure, f"Plane of {labels[0]} and {labels[1]}. {_described(found, IDENTICAL)}")


def _plane(x_label: str, y_label: str, points: Sequence[Point] = (), infinite: str = "") -> tuple[Figure, Axes]:
    """A figure with axes, and a note that names the points without a place; `infinite` is what +inf means there."""
    absent = [f"{_name(point)} ({_reason(point, infinite)})" for point in points if not _placed(point)]
    figure = new_figure(HEIGHT, note=f"Not drawn: {'; '.join(absent)}." if absent else "")
    axes = figure.subplots()
    axes.set_xlabel(wrapped(x_label, 60))
    axes.set_ylabel(wrapped(y_label, 42))
    axes.grid(axis="both")
    return figure, axes


def _placed(point: Point) -> bool:
    """Whether it has a place on both axes."""
    return math.isfinite(point.x) and math.isfinite(point.y)


def _reason(point: Point, infinite: str) -> str:
    return infinite if math.inf in (point.x, point.y) else NO_VALUE


def _name(point: Point) -> str:
    return ", ".join(dict.fromkeys(filter(None, (point.group, point.label))))


def _draw_points(axes: Axes, points: Sequence[Point], methods: Sequence[str] | None) -> list[Any]:
    """Draws the points with their intervals and returns the legend's handles, one per group."""
    looks = marks(list(dict.fromkeys(point.group for point in points)), methods)
    handles: dict[str, Line2D] = {}
    for point in filter(_placed, points):
        look = looks[point.group]
        up = (point.x, point.x), (point.low, point.high)
        across = (point.x_low, point.x_high), (point.y, point.y)
        for whisker in (up, across):
            if np.isfinite(whisker).all():
                axes.plot(*whisker, color=look.colour, linewidth=1.2)
        drawn = axes.plot([point.x], [point.y], linestyle="none", **look.point, zorder=3, markersize=7)
        handles.setdefault(point.group, drawn[0])
    for group, handle in handles.items():
        handle.set_label(wrapped(group, LEGEND_LETTERS) if group else "_")
    return [handle for group, handle in handles.items() if group]


def _draw_bands(axes: Axes, given_xs: ArrayLike, bands: Sequence[ArrayLike]) -> list[Any]:
    """Draws line and bands and returns the legend's handles; NaN bands (two points only) are not drawn."""
    xs, lines = np.asarray(given_xs, dtype=np.float64), [np.asarray(band, dtype=np.float64) for band in bands]
    if len(lines) != 5 or any(line.shape != xs.shape for line in lines) or xs.ndim != 1:
        shapes = ", ".join(str(line.shape) for line in lines)
        raise InputError(f"bands of shapes {shapes or 'none'}, xs {xs.shape}: expected five of the shape (n,) of xs")
    centre, low, high, new_low, new_high = lines
    handles: list[Any] = axes.plot(xs, centre, color=INK, linewidth=1.6, label="least-squares line")
    edges = ("prediction", new_low, new_high, PREDICTION, 0.5), ("confidence", low, high, CONFIDENCE, 0.6)
    for name, below, above, look, order in edges:
        if np.isfinite([below, above]).all():
            axes.fill_between(xs, below, above, zorder=order, **look)
            handles.append(Patch(label=f"95% {name} band", **look))
    return handles


def _draw_levels(axes: Axes, levels: Mapping[str, float], methods: Sequence[str] | None) -> list[Any]:
    """Draws lines across, each in its method's colour and none solid, and returns the legend's handles."""
    looks, handles = marks(list(levels), methods), []
    for rank, (name, value) in enumerate(levels.items()):
        dash = DASHES[1 + rank % (len(DASHES) - 1)]
        style: Look = {"color": looks[name].colour, "linewidth": 1.6, "linestyle": dash, "zorder": 1.5}
        handles.append(axes.axhline(value, label=wrapped(name, LEGEND_LETTERS), **style))
    return handles


def _described(points: Sequence[Point], infinite: str, levels: Mapping[str, float] | None = None) -> str:
    """Points and lines across in words, for an alt text."""
    x_digits, y_digits = decimals(point.x for point in points), decimals(point.y for point in points)
    parts = []
    for point in points:
        where = f"{_reason(point, infinite)}, not drawn"
        if _placed(point):
            where = f"x {number(point.x, x_digits)}, y {number(point.y, y_digits)}"
        parts.append(f"{_name(point)}: {where}")
    across = [f" {name}: {number(value, 2)} at any ceiling." for name, value in (levels or {}).items()]
    return f"{joined(parts)}.{''.join(across)}"


DIAGONAL = "result = ceiling"
ROOM = 0.08  # share of an axis that is left free around what is drawn
HIGHER = 1.0  # how many times its height an axis may grow so that the diagonal is seen


def ceiling_models(
    points: Iterable[Sequence[Any]],
    xs: ArrayLike | None = None,
    bands: Sequence[ArrayLike] | None = None,
    *,
    levels: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
) -> Drawing:
    """One point per model at its ceiling and its result, with the line where both are equal; names are in the legend.

    Not beside the points: of models in alike latents these lie close, and their whiskers cross.

    Args:
        points: `Point` or (label, x, y, group, low, high, x_low, x_high) in dB; a label is a method's name.
        xs: (n,), rising, where a least-squares line is given; None: there is none.
        bands: as in `regression`; where they are wider than the points' range they are cut, not the points squeezed.
        levels: results without a ceiling (bicubic, models in lossless latents) by name, as lines across.
        methods: all methods of the report in their order.

    Raises:
        InputError: no points, or bands of another length than xs
    """
    found = [point._replace(group=point.label) for point in required([Point(*row) for row in points], "points")]
    levels = {name: value for name, value in (levels or {}).items() if np.isfinite(value)}
    shown = [point for point in found if _placed(point)]
    with house_style():
        figure, axes = _plane(X_LABEL, Y_LABEL, found, IDENTICAL)
        handles = _draw_points(axes, found, methods)
        if xs is not None:
            handles += _draw_bands(axes, xs, bands or ())
        _set_limits(
            axes,
            [value for point in shown for value in (point.x, point.x_low, point.x_high)],
            [*(value for point in shown for value in (point.y, point.low, point.high)), *levels.values()],
        )
        handles += [*_diagonal(axes), *_draw_levels(axes, levels, methods)]
        add_legend(figure, handles)
        return drawing(figure, f"Scatter of {Y_LABEL} over {X_LABEL}. {_described(found, IDENTICAL, levels)}")


def ceiling_patients(
    results: Mapping[str, tuple[ArrayLike, ArrayLike]], *, methods: Sequence[str] | None = None
) -> Drawing:
    """One point per patient and method: the patient's mean ceiling and mean result, and the line where both are equal.

    Args:
        results: by method (ceilings, results), each (patients,) in dB; pairs that are not both finite are left out.
        methods: all methods of the report in their order.

    Raises:
        InputError: no patient under any method
    """
    pairs = {name: np.asarray(values, dtype=np.float64) for name, values in results.items()}
    pairs = {name: values[:, np.isfinite(values).all(axis=0)] for name, values in pairs.items()}
    required([name for name, values in pairs.items() if values.size], "patients")
    looks = marks(list(pairs), methods)
    with house_style():
        figure, axes = _plane(X_LABEL, Y_LABEL)
        handles: list[Line2D] = []
        parts = []
        for name, (x, y) in pairs.items():
            look = looks[name].point
            label = wrapped(name, LEGEND_LETTERS)
            handles += axes.plot(x, y, linestyle="none", markersize=6, alpha=0.8, label=label, **look)
            if x.size:
                means = [number(float(values.mean()), decimals(values)) for values in (x, y)]
                parts.append(f"{name}: {x.size} patients, means x {', y '.join(means)}")
        _set_limits(axes, *np.concatenate(list(pairs.values()), axis=1))
        add_legend(figure, [*handles, *_diagonal(axes)])
        return drawing(figure, f"Scatter of {Y_LABEL} over {X_LABEL}, a point a patient. {'; '.join(parts)}.")


def _set_limits(axes: Axes, across: Iterable[float], up: Iterable[float]) -> None:
    """Sets the limits around these values; upwards to the diagonal where that does not squeeze them."""
    for values, limit in ((finite(across), axes.set_xlim), (finite(up), axes.set_ylim)):
        if values.size:
            room = ROOM * float(np.ptp(values)) or 0.5
            limit(float(values.min()) - room, float(values.max()) + room)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    wanted = left + 0.4 * (right - left)
    if top < wanted <= top + HIGHER * (top - bottom):
        axes.set_ylim(bottom, wanted)


def _diagonal(axes: Axes) -> list[Line2D]:
    """The handle of the line where result and ceiling are equal, if it crosses the axes."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    low, high = max(left, bottom), min(right, top)
    if low >= high:
        return []
    return axes.plot([low, high], [low, high], color=SOFT, linewidth=1.2, label=DIAGONAL, zorder=1)


PANEL = 2.2  # inches, the height of a row of panels
HEAD = 0.8  # inches, for the labels
IN_A_ROW, LETTERS = 3, (48, 22, 14)  # panels, and letters of a title's line in rows of one, two and three
BANDS = "#cfd6de"  # of the intervals
REACH = 1.0  # spans of points and lines that the axes grow on each side for intervals; wider ones are cut


def bland_altman(agreements: Mapping[str, Agreement], *, unit: str, methods: Sequence[str] | None = None) -> Drawing:
    """Bland-Altman plots on one pair of axes, one panel per method: points, bias, limits and bands for their intervals.

    Args:
        agreements: by method, what `stats.agreement.bland_altman` gives; without limits (fewer than two units) only the
            bias. Of few units the intervals are far wider than the points: they are cut.
        unit: of the mean intensity, such as "% of the range".
        methods: all methods of the report in their order, so that each has the same mark in all figures.

    Raises:
        InputError: a method without a unit, or no method
    """
    if not agreements or not all(found.n for found in agreements.values()):
        raise InputError("no pair of values to compare: a Bland-Altman plot needs at least one for each method")
    rows = math.ceil(len(agreements) / IN_A_ROW)
    columns = math.ceil(len(agreements) / rows)
    with house_style():
        figure = new_figure(HEAD + rows * PANEL)
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        looks, parts = marks(list(agreements), methods), []
        for axes, (name, found) in zip(panels.flat, agreements.items(), strict=False):
            # Bias and limits over the whole width, their intervals as bands.
            axes.axhline(0, color=SOFT, linewidth=0.8)
            digits, words = decimals([*found.differences, found.lower, found.upper]), []
            for line, *values, dash in (
                ("upper limit", found.upper, found.upper_low, found.upper_high, (0, (5, 3))),
                ("bias", found.bias, found.bias_low, found.bias_high, "-"),
                ("lower limit", found.lower, found.lower_low, found.lower_high, (0, (5, 3))),
            ):
                value, low, high = (number(end, digits, signed=True) for end in values)
                if math.isfinite(values[0]):
                    axes.axhline(values[0], color=INK, linewidth=1.5, linestyle=dash)
                    words.append(f"{line} {value}")
                if np.isfinite(values).all():
                    axes.axhspan(*values[1:], facecolor=BANDS, edgecolor="none", alpha=0.6, zorder=0.5)
                    words[-1] += f" [{low}, {high}]"
            parts.append(f"{name} minus HR, {found.n} differences: {', '.join(words)}.")
            axes.margins(x=0.04)
            axes.grid(axis="both")
            axes.plot(found.means, found.differences, linestyle="none", markersize=4, alpha=0.75, **looks[name].point)
            axes.set_title(wrapped(name, LETTERS[columns - 1]))
        for place in range(len(agreements), panels.size):
            panels.flat[place].set_axis_off()
            panels.flat[place - columns].tick_params(labelbottom=True)
        panels[0, 0].set_ylim(*_limits(list(agreements.values())))
        figure.supxlabel(wrapped(f"Mean of the method and HR: mean intensity ({unit})", 64), fontsize=NORMAL)
        figure.supylabel(f"Method minus HR\n({wrapped(unit, 32)})", fontsize=NORMAL)
        return drawing(figure, " ".join(parts))


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


AXES = 2.5  # inches of height
REFERENCE: Look = {"color": "#8b949e", "linewidth": 4.5, "zorder": 1}  # wide and grey: one method's colour is black
POWER = "log10 power"


def spectra(frame: pd.DataFrame, *, reference: str | None = None, methods: Sequence[str] | None = None) -> Drawing:
    """Radial spectra as curves; given a `reference`, a second axes with each method's difference to it.

    `frame` has one column per ring from the centre to the corner of the spectrum; the row of the reference, such as HR,
    is a wide grey line without marks. Other arguments and errors as in `band_bars`; InputError, too, without that row.
    """
    values = checked_frame(frame)
    panels = {POWER: values}
    if reference is not None:
        if reference not in values.index:
            raise InputError(f"no row '{reference}' among {', '.join(values.index)}; name one of these as reference")
        panels[wrapped(f"minus {reference}", 20)] = values - values.loc[reference]
    rings = [str(ring + 1) for ring in range(values.shape[1])]
    words = "Ring of the spectrum: 1 coarse, last one fine"
    return _curves(panels, words, rings, f"Radial spectra, {POWER}", methods, reference)


def latent_curves(frame: pd.DataFrame, *, methods: Sequence[str] | None = None) -> Drawing:
    """Latent fidelity over scales as curves; arguments and errors as in `band_bars`.

    `frame` has one column per scale (side of the pooled latent, such as 64, 32, ..., 1), fine to coarse.
    """
    values = checked_frame(frame)
    label = axis_label("Cosine of SR and HR latent", better="higher")
    words = "Side of the pooled latent: fine (left) to coarse"
    return _curves({wrapped(label, 34): values}, words, list(values.columns), label, methods)


def _curves(
    panels: dict[str, pd.DataFrame], x_label: str, steps: Sequence[str], about: str, methods: Sequence[str] | None,
    reference: str | None = None,
) -> Drawing:  # fmt: skip
    """Axes below each other, each under its label of y, with one legend; `about` begins the alt text."""
    values = next(iter(panels.values()))
    names = [name for name in values.index if name != reference]
    given = marks(names, None if methods is None else [name for name in methods if name != reference])
    looks = {name: REFERENCE if name == reference else given[name].line for name in values.index}
    # A note that names the methods with values that no curve can show.
    absent = {
        "Lossless, above the axis": values.index[np.isposinf(values).any(axis=1)],
        "Without a value somewhere": values.index[(values.isna() | np.isneginf(values)).any(axis=1)],
    }
    note = " ".join(f"{words}: {', '.join(found)}." for words, found in absent.items() if len(found))
    with house_style():
        figure = new_figure(AXES * (1 + 0.7 * (len(panels) - 1)) + 0.4, note=note)
        all_axes = figure.subplots(len(panels), sharex=True, height_ratios=[1, 0.7][: len(panels)], squeeze=False)
        for axes, (label, found) in zip(all_axes.flat, panels.items(), strict=True):
            shown = found.where(np.isfinite(found))
            for name, row in shown.iterrows():
                axes.plot(np.arange(len(row)), row.to_numpy(), **looks[name])
            axes.grid(axis="both")
            axes.set_ylabel(label)
            if shown.min().min() < 0 < shown.max().max():
                axes.axhline(0, color=SOFT, linewidth=0.8, zorder=0)
        axes.set_xticks(range(len(steps)), steps)
        axes.set_xlabel(x_label)
        add_legend(
            figure, [Line2D([], [], label=wrapped(name, LEGEND_LETTERS), **look) for name, look in looks.items()]
        )
        digits, (first, last) = decimals(values.to_numpy().ravel()), values.columns[[0, -1]]
        parts = [
            f"{name}: {number(row[first], digits)} at {first}, {number(row[last], digits)} at {last}"
            for name, row in values.iterrows()
        ]
        return drawing(figure, f"Curves over {values.shape[1]} steps: {about}. {joined(parts)}.")
