"""The comparison of restored images with the truth, their details and their errors, laid out to the pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.provenance import RESEARCH_USE
from latentsr.report.figures.cases import COLOURS, DARK, FAINT, FRAME, LARGE, SMALL_TEXT, Place, Sheet, add_scale_bar

Image = NDArray[np.floating]

CELL = 288  # px that an image takes, about
GAP, SIDE = 24, 32  # px between images, and beside the outer ones
HEAD, TITLE, SCORES, LABEL, FOOT = 84, 34, 58, 30, 52  # px of height


@dataclass(frozen=True, eq=False)
class Column:
    """One image of a comparison, in the display's [0, 1]; a coarser one is shown over the same field of view.

    `scores` are lines below it; `difference` is a map (rows, columns) shown below that, under its own title.
    """

    title: str
    image: Image
    scores: tuple[str, ...] = ()
    difference: Image | None = None
    difference_title: str = ""


@dataclass(frozen=True)
class Detail:
    """The part that is shown enlarged, in pixels of the finest image, and the display's [0, 1] that its grey spans."""

    top: int
    left: int
    rows: int
    columns: int
    title: str
    grey: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class Caption:
    """The words around a comparison: heading, a line below it, lines beside the colour bar, and a footer.

    The footer always says that the images are for research only. `spacing` is that of the finest image in mm.
    """

    heading: str
    subheading: str = ""
    bar_title: str = ""
    notes: tuple[str, ...] = ()
    footer: str = ""
    spacing: float | None = None


def comparison(columns: Sequence[Column], detail: Detail, caption: Caption, *, greatest: float) -> Figure:
    """The figure: a row of images with their scores, a row of the detail, a row of differences on one colour scale.

    The last column's image is the finest and sets the size. `greatest` is the difference at the colour scale's end;
    the first column has none, its place holds the colour bar.
    """
    rows, across = columns[-1].image.shape
    factor = max(1, round(CELL / across))
    width, height = across * factor, rows * factor
    zoomed = max(1, width // detail.columns) * detail.columns, max(1, width // detail.columns) * detail.rows
    # Where the rows of images, details and differences begin, and where the last one ends, px from the top.
    images = HEAD + TITLE
    details = images + height + SCORES + LABEL
    differences = details + zoomed[1] + GAP + TITLE
    tops = images, details, differences, differences + height
    sheet = Sheet(2 * SIDE + len(columns) * (width + GAP) - GAP, tops[-1] + FOOT)
    for number, column in enumerate(columns):
        left = SIDE + number * (width + GAP)
        whole = _show_image(sheet, column, (left, tops[0], width, height), detail, (across, rows))
        # The detail's part of the image, in the frame's colour.
        axes = _show_grey(sheet, column.image, ((left, tops[1], *zoomed)), ((across, rows)), detail.grey)
        axes.set_xlim(detail.left, detail.left + detail.columns)
        axes.set_ylim(detail.top + detail.rows, detail.top)
        for spine in axes.spines.values():
            spine.set(visible=True, color=FRAME, linewidth=1.6)
        if caption.spacing and number == 0:
            add_scale_bar(whole, caption.spacing)
            add_scale_bar(axes, caption.spacing)
        if column.difference is not None:
            sheet.write(left, tops[2] - TITLE + 6, column.difference_title, LARGE)
            axes = sheet.axes(left, tops[2], width, height)
            axes.imshow(column.difference, cmap=COLOURS, vmin=0, vmax=greatest, interpolation="nearest", aspect="auto")
    sheet.write(SIDE, 18, caption.heading, LARGE + 1, weight="bold")
    sheet.write(SIDE, 50, caption.subheading, color=FAINT)
    sheet.write(SIDE, tops[1] - LABEL + 4, detail.title, color=FAINT)
    sheet.write(SIDE, tops[-1] + 18, caption.footer, color=FAINT)
    sheet.write(sheet.width - SIDE, tops[-1] + 18, RESEARCH_USE, weight="bold", ha="right")
    _show_bar(sheet, caption, (SIDE, tops[2], width), greatest)
    return sheet.figure


def save(figure: Figure, path: Path, *, text: dict[str, str] | None = None) -> None:
    """Writes a figure as PNG, whole or not at all; the same figure gives the same bytes. `text` goes into the file."""
    about = {"Software": None, "Description": RESEARCH_USE, **(text or {})}
    with replacing(path) as part:
        figure.savefig(part, format="png", metadata=about)


def _show_image(sheet: Sheet, column: Column, place: Place, detail: Detail, field_of_view: tuple[int, int]) -> Axes:
    """The image under its title, with the detail's frame on it and the scores below."""
    left, top, _, height = place
    sheet.write(left, top - TITLE + 6, column.title, LARGE)
    axes = _show_grey(sheet, column.image, place, field_of_view, (0.0, 1.0))
    corner = detail.left, detail.top
    axes.add_patch(Rectangle(corner, detail.columns, detail.rows, fill=False, edgecolor=FRAME, linewidth=1.2))
    for line, text in enumerate(column.scores):
        sheet.write(left, top + height + 7 + 22 * line, text)
    return axes


def _show_grey(
    sheet: Sheet, image: Image, place: Place, field_of_view: tuple[int, int], grey: tuple[float, float]
) -> Axes:
    """Axes with the image, pixel by pixel; their coordinates are the finest image's pixels, whatever its own are."""
    axes = sheet.axes(*place)
    extent = (0, field_of_view[0], field_of_view[1], 0)
    axes.imshow(image, cmap="gray", vmin=grey[0], vmax=grey[1], interpolation="nearest", aspect="auto", extent=extent)
    return axes


def _show_bar(sheet: Sheet, caption: Caption, place: tuple[int, int, int], greatest: float) -> None:
    """The colour bar with its title, and the notes below it."""
    left, top, width = place
    sheet.write(left, top - TITLE + 6, caption.bar_title, LARGE)
    axes = sheet.axes(left + 1, top + 4, width - 12, 22)
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, aspect="auto", extent=(0, greatest, 0, 1))
    axes.xaxis.set_visible(True)
    axes.set_xticks(np.linspace(0, greatest, 3), [f"{tick:.3g}" for tick in np.linspace(0, greatest, 3)])
    axes.tick_params(axis="x", labelsize=SMALL_TEXT, length=3, colors=DARK)
    for line, note in enumerate(caption.notes):
        sheet.write(left, top + 66 + 22 * line, note, color=FAINT)
