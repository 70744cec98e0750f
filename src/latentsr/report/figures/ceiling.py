"""AE ceiling and result in one plane of two equal measures: models as points, or patients as clouds."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import add_legend, drawing, new_figure
from latentsr.report.figures.scatter import (
    HEIGHT,
    IDENTICAL,
    draw_bands,
    draw_levels,
    draw_points,
    placed,
    plane,
    told_levels,
    told_points,
)
from latentsr.report.figures.style import LEGEND_LETTERS, SOFT, house_style, marks, wrapped
from latentsr.report.figures.values import decimals, finite, number, points_of, required

X_LABEL, Y_LABEL = "AE ceiling, PSNR (dB)", "SR, PSNR (dB)"
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
    note: str = "",
) -> Drawing:
    """A point a model at its ceiling and its result, with the line where both are equal; names are in the legend.

    Not beside the points: of models in alike latents these lie close, and their whiskers cross.

    Args:
        points: `Point` or (label, x, y, group, low, high, x_low, x_high) in dB; a label is a method's name.
        xs: (n,), rising, where a least-squares line is given; None: there is none.
        bands: as in `regression`; where they are wider than the points' range they are cut, not the points squeezed.
        levels: results without a ceiling (bicubic, models in lossless latents) by name, as lines across.
        methods: all methods of the report in their order.
        note: a line below the figure.

    Raises:
        InputError: no points, or bands of another length than xs
    """
    found = [point._replace(group=point.label) for point in points_of(points)]
    levels = {name: value for name, value in (levels or {}).items() if np.isfinite(value)}
    shown = [point for point in found if placed(point)]
    with house_style():
        figure, axes = plane(found, X_LABEL, Y_LABEL, "", note, IDENTICAL)
        handles: list[Any] = draw_points(axes, found, methods)
        if xs is not None:
            handles += draw_bands(axes, np.asarray(xs, dtype=np.float64), bands or (), 0.95)
        _look_at(
            axes,
            [value for point in shown for value in (point.x, point.x_low, point.x_high)],
            [*(value for point in shown for value in (point.y, point.low, point.high)), *levels.values()],
        )
        handles += [*_diagonal(axes), *draw_levels(axes, levels, methods)]
        add_legend(figure, handles)
        words = f"{told_points(found, IDENTICAL)}.{told_levels(levels)}"
        return drawing(figure, f"Scatter of {Y_LABEL} over {X_LABEL}. {words}")


def ceiling_patients(
    results: Mapping[str, tuple[ArrayLike, ArrayLike]], *, methods: Sequence[str] | None = None, note: str = ""
) -> Drawing:
    """A point a patient and method: the patient's mean ceiling and mean result, and the line where both are equal.

    Args:
        results: by method (ceilings, results), each (patients,) in dB; pairs that are not both finite are left out.
        methods: all methods of the report in their order.
        note: a line below the figure.

    Raises:
        InputError: no patient under any method
    """
    pairs = {name: np.asarray(values, dtype=np.float64) for name, values in results.items()}
    pairs = {name: values[:, np.isfinite(values).all(axis=0)] for name, values in pairs.items()}
    required([name for name, values in pairs.items() if values.size], "patients")
    looks = marks(list(pairs), methods)
    with house_style():
        figure = new_figure(HEIGHT, note=note)
        axes = figure.subplots()
        axes.set_xlabel(X_LABEL)
        axes.set_ylabel(Y_LABEL)
        axes.grid(axis="both")
        handles: list[Line2D] = []
        for name, (x, y) in pairs.items():
            handles += axes.plot(x, y, linestyle="none", markersize=6, alpha=0.8, **looks[name].point)
            handles[-1].set_label(wrapped(name, LEGEND_LETTERS))
        _look_at(axes, *(np.concatenate([values[side] for values in pairs.values()]) for side in (0, 1)))
        add_legend(figure, [*handles, *_diagonal(axes)])
        return drawing(figure, f"Scatter of {Y_LABEL} over {X_LABEL}, a point a patient. {_told(pairs)}")


def _look_at(axes: Axes, across: Iterable[float], up: Iterable[float]) -> None:
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


def _told(pairs: Mapping[str, np.ndarray]) -> str:
    parts = []
    for name, (x, y) in pairs.items():
        if x.size:
            means = (number(float(values.mean()), decimals(values)) for values in (x, y))
            parts.append(f"{name}: {x.size} patients, means x {', y '.join(means)}")
    return "; ".join(parts) + "."
