"""Words beside points: each where it covers least of the other words, the points and the border."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from numpy.typing import NDArray

from latentsr.report.figures import export
from latentsr.report.figures.style import INK, SMALL, SOFT, Look

_Offset = tuple[float, float, str, str]

# (across, up) in pt from the point, with the side of the words that is turned to it, the best place first.
_NEAR: tuple[_Offset, ...] = (
    (7, 0, "left", "center"),
    (-7, 0, "right", "center"),
    (0, 7, "center", "bottom"),
    (0, -7, "center", "top"),
)
_EDGE: tuple[_Offset, ...] = (
    (6, 6, "left", "bottom"),
    (6, -6, "left", "top"),
    (-6, 6, "right", "bottom"),
    (-6, -6, "right", "top"),
)
# Farther off, eight directions in three distances.
_FAR = tuple((k * x, k * y, across, up) for k in (2.5, 4.0, 6.0) for x, y, across, up in _EDGE + _NEAR)
PLACES = _NEAR + _EDGE + _FAR
CLEAR = 1.5  # px around words
MARKER = 6.0  # px around a point that words keep clear of
STROKE = 1.0  # px on each side of a line that they keep clear of
OUTSIDE = 50.0  # how much worse a pixel beyond the border is than one on other words

FAR = 12  # pt beyond which a line leads from the words to their point
SIDES = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}

Boxes = NDArray[np.float64]  # (n, 4): left, bottom, right, top in px


def label_points(
    figure: Figure,
    axes: Axes,
    points: Sequence[tuple[float, float]],
    words: Sequence[str],
    *,
    taken: Sequence[Text] = (),
    lines: Sequence[tuple[float, float, float, float]] = (),
) -> list[Annotation]:
    """The words that were set beside points, given in data coordinates; the axes' limits must be final.

    `taken` are other words on the axes, `lines` upright and level lines, (left, bottom, right, top) in data
    coordinates, to keep clear of.
    """
    if not points:
        return []
    export.lay_out(figure)
    centres = axes.transData.transform(np.asarray(points, dtype=np.float64))
    others = [np.array(Text.get_window_extent(text).extents) for text in taken]
    ends = [axes.transData.transform(np.reshape(line, (2, 2))) for line in lines]
    others += [np.concatenate([np.min(both, axis=0) - STROKE, np.max(both, axis=0) + STROKE]) for both in ends]
    boxes = np.stack([*np.concatenate([centres - MARKER, centres + MARKER], axis=1), *others])
    border = np.array(axes.bbox.extents)
    placed = []
    for point, centre, text in zip(points, centres, words, strict=True):
        if text.strip():
            note = axes.annotate(text, point, xytext=(0, 0), textcoords="offset points", fontsize=SMALL)
            size = np.array(Text.get_window_extent(note).size) + 2 * CLEAR
            candidates = [_box(centre, size, place, figure.dpi) for place in PLACES]
            costs = [_cost(box, boxes, border) + 0.01 * rank for rank, box in enumerate(candidates)]
            best = int(np.argmin(costs))
            note.remove()
            placed.append(_annotation(axes, point, text, PLACES[best]))
            boxes = np.concatenate([boxes, candidates[best][None]])
    return placed


def _annotation(axes: Axes, point: tuple[float, float], text: str, place: _Offset) -> Annotation:
    """The words at their place, with a line to the point where they stand far from it."""
    across, up, ha, va = place
    line: Look = {"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
    far: Look = {"arrowprops": line} if np.hypot(across, up) > FAR else {}
    halo: Look = {"facecolor": "white", "edgecolor": "none", "alpha": 0.55, "pad": 0.6}
    style: Look = {"color": INK, "ha": ha, "va": va, "bbox": halo}
    note = axes.annotate(text, point, xytext=(across, up), textcoords="offset points", fontsize=SMALL, **style, **far)
    note.set_in_layout(False)
    return note


def _box(centre: Boxes, size: Boxes, place: _Offset, dpi: float) -> Boxes:
    """The box (4,) in px that words of this size fill beside a point."""
    across, up, ha, va = place
    corner = centre + np.array([across, up]) * dpi / 72
    corner = corner - size * np.array([SIDES[ha], SIDES[va]])
    return np.concatenate([corner, corner + size])


def _cost(box: Boxes, taken: Boxes, border: Boxes) -> float:
    """Pixels of the box that lie on others, and beyond the border."""
    sides = np.minimum(box[2:], taken[:, 2:]) - np.maximum(box[:2], taken[:, :2])
    inside = np.clip(np.minimum(box[2:], border[2:]) - np.maximum(box[:2], border[:2]), 0, None)
    beyond = np.prod(box[2:] - box[:2]) - np.prod(inside)
    return float(np.prod(np.clip(sides, 0, None), axis=1).sum() + OUTSIDE * beyond)
