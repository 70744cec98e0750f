"""Points of two measures: a regression with its bands, and the perception-distortion plane."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from numpy.typing import ArrayLike

from latentsr.errors import InputError
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import add_legend, drawing, new_figure
from latentsr.report.figures.placement import label_points
from latentsr.report.figures.style import INK, LEGEND_LETTERS, SOFT, Look, house_style, marks, wrapped
from latentsr.report.figures.values import LOSSLESS, NO_VALUE, Point, decimals, number, points_of, told

HEIGHT = 3.9  # inches
LABEL_LETTERS = 22
LABELLED = 6  # points of one name each that are labelled; more get in each other's way
CORNER = 0.2  # share of an axis that is added for the arrow into the best corner
IDENTICAL = "identical to HR"  # what an infinite PSNR means of a result
CONFIDENCE, PREDICTION = "#b9c2cc", "#e6eaef"  # greys: the darker band lies within the lighter
DASHES: tuple[Any, ...] = ((0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))  # of level lines


def regression(
    points: Iterable[Sequence[Any]],
    xs: ArrayLike | None = None,
    bands: Sequence[ArrayLike] | None = None,
    *,
    title: str = "",
    x_label: str = "AE ceiling, PSNR (dB)",
    y_label: str = "SR, PSNR (dB)",
    level: float = 0.95,
    levels: Mapping[str, float] | None = None,
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """Points with their least-squares line, its confidence band and its prediction band.

    Args:
        points: `Point` or (label, x, y, group, low, high); `low` and `high`, an interval of y, may be left out. A point
            without a place on an axis (a lossless ceiling) is named in the note.
        xs: (n,), rising, where the line is given; None draws points alone.
        bands: centre, confidence low, high, prediction low, high, each (n,), such as the
            `stats.regression.Line.predict` of xs.
        title: above the figure.
        x_label: with unit.
        y_label: with unit.
        level: of the bands.
        levels: values of y without an x (measured results of other methods) by name, as lines across.
        methods: all groups of the report in their order, so that each has the same mark in all figures.
        note: a line below the figure.

    Raises:
        InputError: no points, or bands of another length than xs
    """
    found = points_of(points)
    with house_style():
        figure, axes = plane(found, x_label, y_label, title, note)
        handles: list[Any] = draw_points(axes, found, methods)
        if xs is not None:
            handles += draw_bands(axes, np.asarray(xs, dtype=np.float64), bands or (), level)
        handles += draw_levels(axes, levels or {}, methods)
        add_legend(figure, handles)
        axes.autoscale_view()
        axes.autoscale(enable=False)
        _label(figure, axes, found)
        line = "" if xs is None else f" Line with {level:.0%} confidence and prediction bands."
        words = f"{told_points(found)}.{told_levels(levels or {})}"
        return drawing(figure, f"Scatter of {y_label} over {x_label}.{line} {words}")


def perception_distortion(
    points: Iterable[Sequence[Any]],
    *,
    title: str = "",
    x_label: str = "PSNR (dB)",
    y_label: str = "LPIPS",
    x_better: str = "higher",
    y_better: str = "lower",
    floor: float = math.nan,
    methods: Sequence[str] | None = None,
    note: str = "",
) -> Drawing:
    """The perception-distortion plane (Blau and Michaeli 2018): a point a method, and the corner that is best.

    Arguments as in `regression`; `x_better` and `y_better` are "higher" or "lower"; at `floor`, the value of y that the
    truth itself has, lies a dotted line. A point's mark is its label's where it has no group; more than six such points
    are named in a legend and not beside them.
    """
    found = [point._replace(group=point.group or point.label) for point in points_of(points)]
    with house_style():
        labels = f"{x_label}, {x_better} is better", f"{y_label}, {y_better} is better"
        figure, axes = plane(found, *labels, title, note, IDENTICAL)
        handles = draw_points(axes, found, methods)
        grouped = any(point.group != point.label for point in found)
        named = grouped or len(found) <= LABELLED
        if grouped or not named:
            add_legend(figure, handles)
        if math.isfinite(floor):
            axes.axhline(floor, color=SOFT, linestyle=":", linewidth=1.2)
        axes.margins(0.12)
        axes.autoscale_view()
        better = _best_corner(axes, x_better == "higher", y_better == "higher")
        if named:
            _label(figure, axes, found, better)
        return drawing(figure, f"Plane of {labels[0]} and {labels[1]}. {told_points(found, IDENTICAL)}.")


def plane(
    points: Sequence[Point], x_label: str, y_label: str, title: str, note: str, infinite: str = LOSSLESS
) -> tuple[Figure, Axes]:
    """A figure with axes, and a note that names the points without a place; `infinite` is what +inf means there."""
    absent = [f"{_name(p)} ({_reason(p, infinite)})" for p in points if not placed(p)]
    notes = " ".join(filter(None, (note, f"Not drawn: {'; '.join(absent)}." if absent else "")))
    figure = new_figure(HEIGHT, title=title, note=notes)
    axes = figure.subplots()
    axes.set_xlabel(wrapped(x_label, 60))
    axes.set_ylabel(wrapped(y_label, 42))
    axes.grid(axis="both")
    return figure, axes


def placed(point: Point) -> bool:
    """Whether it has a place on both axes."""
    return math.isfinite(point.x) and math.isfinite(point.y)


def _reason(point: Point, infinite: str = LOSSLESS) -> str:
    return infinite if math.inf in (point.x, point.y) else NO_VALUE


def draw_points(axes: Axes, points: Sequence[Point], methods: Sequence[str] | None) -> list[Line2D]:
    """The legend's handles of the points that were drawn, one a group."""
    looks = marks(list(dict.fromkeys(point.group for point in points)), methods)
    handles: dict[str, Line2D] = {}
    for point in filter(placed, points):
        for left, bottom, right, top in _whiskers(point):
            axes.plot([left, right], [bottom, top], color=looks[point.group].colour, linewidth=1.2)
        drawn = axes.plot([point.x], [point.y], linestyle="none", **looks[point.group].point, zorder=3, markersize=7)
        handles.setdefault(point.group, drawn[0])
    for group, handle in handles.items():
        handle.set_label(wrapped(group, LEGEND_LETTERS) if group else "_")
    return [handle for group, handle in handles.items() if group]


def _whiskers(point: Point) -> list[tuple[float, float, float, float]]:
    """Those of its two intervals that it has, each (left, bottom, right, top)."""
    both = (point.x, point.low, point.x, point.high), (point.x_low, point.y, point.x_high, point.y)
    return [line for line in both if np.isfinite(line).all()]


def draw_bands(axes: Axes, xs: np.ndarray, bands: Sequence[ArrayLike], level: float) -> list[Any]:
    """The legend's handles of line and bands; NaN bands (two points only) are not drawn."""
    lines = [np.asarray(band, dtype=np.float64) for band in bands]
    if len(lines) != 5 or any(line.shape != xs.shape for line in lines) or xs.ndim != 1:
        shapes = ", ".join(str(line.shape) for line in lines)
        raise InputError(f"bands of shapes {shapes or 'none'}, xs {xs.shape}: expected five of the shape (n,) of xs")
    centre, low, high, new_low, new_high = lines
    handles: list[Any] = [*axes.plot(xs, centre, color=INK, linewidth=1.6, label="least-squares line")]
    looks: tuple[Look, Look] = (
        {"facecolor": PREDICTION, "edgecolor": SOFT, "linestyle": ":"},
        {"facecolor": CONFIDENCE, "edgecolor": "none"},
    )
    edges = ("prediction", new_low, new_high), ("confidence", low, high)
    for rank, ((name, below, above), look) in enumerate(zip(edges, looks, strict=True)):
        if np.isfinite(below).all() and np.isfinite(above).all():
            axes.fill_between(xs, below, above, zorder=0.5 + 0.1 * rank, **look)
            handles.append(Patch(label=f"{level:.0%} {name} band", **look))
    return handles


def draw_levels(axes: Axes, levels: Mapping[str, float], methods: Sequence[str] | None) -> list[Line2D]:
    """The legend's handles of lines across, one a level, each in its method's colour."""
    looks = marks(list(levels), methods)
    handles = []
    for rank, (name, value) in enumerate(levels.items()):
        style: Look = {"color": looks[name].colour, "linewidth": 1.6, "linestyle": DASHES[rank % len(DASHES)]}
        handles.append(axes.axhline(value, label=wrapped(name, LEGEND_LETTERS), zorder=1.5, **style))
    return handles


def told_levels(levels: Mapping[str, float]) -> str:
    """The lines across in words, for an alt text."""
    return "".join(f" {name}: {number(value, 2)} at any ceiling." for name, value in levels.items())


def _label(figure: Figure, axes: Axes, points: Sequence[Point], *taken: Text) -> None:
    """Each point's label beside it."""
    shown = [point for point in points if placed(point)]
    words = [wrapped(point.label, LABEL_LETTERS) for point in shown]
    lines = [line for point in shown for line in _whiskers(point)]
    label_points(figure, axes, [(point.x, point.y) for point in shown], words, taken=taken, lines=lines)


def _best_corner(axes: Axes, right: bool, top: bool) -> Text:
    """The word "better" with an arrow into the corner where both measures are best; limits grow to make room for it."""
    for low, high, grow, upper in (
        (*axes.get_xlim(), axes.set_xlim, right),
        (*axes.get_ylim(), axes.set_ylim, top),
    ):
        room = CORNER * (high - low)
        grow(low - room * (not upper), high + room * upper)
    x, y = (0.985 if right else 0.015), (0.985 if top else 0.015)
    inner = x + (-0.1 if right else 0.1), y + (-0.1 if top else 0.1)
    arrow: Look = {"arrowstyle": "-|>", "color": SOFT, "linewidth": 1.4}
    where: Look = {"xycoords": "axes fraction", "textcoords": "axes fraction"}
    note = axes.annotate("better", (x, y), xytext=inner, arrowprops=arrow, color=SOFT, **where)
    note.set(ha="right" if right else "left", va="top" if top else "bottom", style="italic")
    return note


def _name(point: Point) -> str:
    return ", ".join(dict.fromkeys(filter(None, (point.group, point.label))))


def told_points(points: Sequence[Point], infinite: str = LOSSLESS) -> str:
    """The points in words, for an alt text."""
    across, up = decimals(point.x for point in points), decimals(point.y for point in points)
    parts = []
    for point in points:
        where = (
            f"x {number(point.x, across)}, y {number(point.y, up)}"
            if placed(point)
            else f"{_reason(point, infinite)}, not drawn"
        )
        parts.append(f"{_name(point)}: {where}")
    return told(parts)
