"""Images side by side: cases with errors and details, laid out to the pixel."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.drawing import Drawing
from latentsr.report.figures.export import drawing
from latentsr.report.figures.style import Look, house_style, required, told, wrapped

DPI = 160
LARGE, NORMAL, SMALL_TEXT = 9.5, 7.5, 6.8  # pt, of which one is DPI / 72 px
READ = 9.0  # pt, where a page is read on a phone
DARK, FAINT, FRAME = "#111111", "#555555", "#56B4E9"  # the frame's blue is told apart by all (Okabe and Ito 2008)
ROUND_LENGTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # mm
COLOURS = "inferno"  # lightness rises evenly, so that grey prints and colour-blind readers keep the order

Place = tuple[int, int, int, int]  # left, top, width, height in px


@dataclass
class Sheet:
    """A figure whose places are given in px from the top left corner."""

    width: int
    height: int
    figure: Figure = field(init=False)

    def __post_init__(self) -> None:
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Bare axes at a place."""
        bottom = self.height - top - height
        box = (left / self.width, bottom / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(box)
        axes.xaxis.set_visible(False)
        axes.yaxis.set_visible(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return axes

    def write(self, left: float, top: float, text: str, size: float = NORMAL, **style: Any) -> None:
        """Text whose top left corner is at a place, unless `style` says otherwise."""
        place = left / self.width, 1 - top / self.height
        self.figure.text(*place, text, fontsize=size, **{"va": "top", "color": DARK, **style})

    def colour_bar(
        self, left: float, top: float, width: float, title: str, greatest: float, *, open_ended: bool
    ) -> None:
        """The colours from 0 to `greatest` under their title; an open end stands for all that is greater too."""
        self.write(left, top, title, READ)
        axes = self.axes(left, top + 27, width, 14)
        axes.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, aspect="auto", extent=(0, greatest, 0, 1))
        axes.xaxis.set_visible(True)
        ticks = np.linspace(0, greatest, 3)
        words = [f"{tick:.3g}" for tick in ticks]
        axes.set_xticks(ticks, [*words[:-1], words[-1] + " and more" * open_ended])
        left_label, _, right_label = axes.get_xticklabels()
        left_label.set_horizontalalignment("left")  # within the bar, so that no figure's edge cuts them
        right_label.set_horizontalalignment("right")
        axes.tick_params(axis="x", labelsize=READ - 0.5, length=3, colors=DARK)


def add_scale_bar(axes: Axes, spacing: float) -> None:
    """A white bar in the lower left corner: the greatest round number of mm within a third of the axes' width.

    `spacing` is the size in mm of a unit of the axes.
    """
    left, right = axes.get_xlim()
    length = max((mm for mm in ROUND_LENGTHS if mm <= (right - left) * spacing / 3), default=ROUND_LENGTHS[0])
    thickness = 4 * (right - left) / axes.bbox.width  # 4 px
    bar = AnchoredSizeBar(
        axes.transData, length / spacing, f"{length:g} mm", "lower left", borderpad=0.7, pad=0, sep=2, frameon=False,
        color="white", size_vertical=thickness, label_top=True, fontproperties=FontProperties(size=SMALL_TEXT),
    )  # fmt: skip
    for part in (*bar.size_bar.get_children(), bar.txt_label.get_children()[0]):
        part.set_path_effects([withStroke(linewidth=2, foreground="black")])  # visible on white, too
    axes.add_artist(bar)


Image = NDArray[np.floating]

ABREAST = 6  # images side by side at most; more go on below, in rows as equal as can be
CELL = 256  # px of an image's width: 154 CSS px, 41 mm in print
GAP, SIDE = 14, 12  # px between images, and left and right of all
LINE = 27  # px of height of a line of words
TITLE, WORDS, TINY = 10.5, 9.5, 9.0  # pt
LETTERS = 20  # a title's line
# "none" leaves an image's own pixels to the SVG, drawn as squares.
GREY: Look = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0, "interpolation": "none", "aspect": "auto"}


class Region(NamedTuple):
    """A part of an image, in its pixels."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class Panel:
    """One image of a case in the display's [0, 1], (rows, columns); a coarser one is shown over the same field of view.

    `note` is a line below it, such as its PSNR; `error` a map (rows, columns) of absolute errors, drawn below.
    """

    title: str
    image: Image
    note: str = ""
    error: Image | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A row of a figure: the panels of one image under the title that says why it was chosen.

    `region` is framed, and shown enlarged below. `spacing` is the pixels' size in mm of the last panel's image, which
    sets the field of view; without it there is no scale bar.
    """

    title: str
    panels: tuple[Panel, ...]
    region: Region | None = None
    spacing: float | None = None


def panels(cases: Iterable[Case], *, window: str = "", greatest: float | None = None, unit: str = "") -> Drawing:
    """The cases below each other: images, the framed part enlarged, and errors on one colour scale for all.

    Args:
        cases: such as the best, the median and the worst image; the last panel of each is the finest, mostly HR.
        window: what black and white stand for, such as "0 to 1 of the stored range".
        greatest: the error at the colour scale's end; if None, the 99.5th percentile of all errors.
        unit: of the errors, such as "% of the range".

    Raises:
        InputError: no case, a case without panels, an image that is no (rows, columns), a region beyond its image
    """
    found = [_checked(case) for case in required(list(cases), "cases")]
    end = _greatest(found) if greatest is None else greatest
    with house_style():
        blocks = [(case, block) for case in found for block in _rows(case.panels)]
        top = 14 + LINE * bool(window) + 8
        widest = max(len(block) for _, block in blocks)
        width = 2 * SIDE + max(widest, 3) * (CELL + GAP) - GAP
        tops = list(np.cumsum([top, *(_height(case, block) for case, block in blocks)]))
        foot = 2 * LINE + 32 if any(panel.error is not None for case in found for panel in case.panels) else 0
        sheet = Sheet(width, int(tops[-1]) + foot + LINE + 10)
        sheet.write(SIDE, 14, f"Window: {window}" if window else "", WORDS, color=FAINT)
        for (case, block), at in zip(blocks, tops[:-1], strict=True):
            _draw(sheet, case, block, int(at), end)
        if foot:
            words = f"Absolute error{f' in {unit}' if unit else ''}"
            sheet.colour_bar(SIDE, int(tops[-1]), 2 * CELL + GAP, words, end, open_ended=True)
        sheet.write(SIDE, sheet.height - LINE - 4, RESEARCH_USE, TINY, weight="bold")
        return drawing(sheet.figure, _told(found, window, end, unit), dpi=DPI)


def _rows(panels: Sequence[Panel]) -> list[Sequence[Panel]]:
    """The panels in as few rows as can be, none of more than ABREAST, the first ones the longer."""
    rows = math.ceil(len(panels) / ABREAST)
    abreast = math.ceil(len(panels) / rows)
    return [panels[start : start + abreast] for start in range(0, len(panels), abreast)]


def _checked(case: Case) -> Case:
    if not case.panels:
        raise InputError(f"case '{case.title}' came without panels: expected at least one image")
    for panel in case.panels:
        for image in (panel.image, panel.error):
            if image is not None and (np.ndim(image) != 2 or not np.size(image)):
                raise InputError(f"'{panel.title}' has shape {np.shape(image)}: expected an image (rows, columns)")
    rows, columns = case.panels[-1].image.shape
    if case.region is not None:
        top, left, high, wide = case.region
        if min(top, left) < 0 or min(high, wide) < 1 or top + high > rows or left + wide > columns:
            raise InputError(f"{case.region} lies beyond the image of {rows} x {columns} px; give a part of it")
    return case


def _greatest(cases: Sequence[Case]) -> float:
    """The end of the errors' colour scale: their 99.5th percentile, so that one pixel does not darken all."""
    errors = [np.ravel(panel.error) for case in cases for panel in case.panels if panel.error is not None]
    known = np.concatenate([error[np.isfinite(error)] for error in errors]) if errors else np.zeros(0)
    return float(np.percentile(known, 99.5)) or 1.0 if known.size else 1.0


def _size(case: Case) -> tuple[int, int]:
    """Width and height in px of an image on the sheet: whole pixels of its own where it is small."""
    rows, columns = case.panels[-1].image.shape
    factor = CELL / columns if columns > CELL else CELL // columns
    return round(columns * factor), round(rows * factor)


def _title_lines(panels: Sequence[Panel]) -> int:
    return max(wrapped(panel.title, LETTERS).count("\n") + 1 for panel in panels)


def _note_height(panels: Sequence[Panel]) -> int:
    """px of height of the notes below images."""
    return max(LINE * (wrapped(panel.note, LETTERS, lines=2).count("\n") + 1) * bool(panel.note) for panel in panels)


def _height(case: Case, block: Sequence[Panel]) -> int:
    """px of height of one block of a case."""
    width, height = _size(case)
    enlarged = 0 if case.region is None else round(width * case.region.rows / case.region.columns) + GAP
    errors = height + GAP if any(panel.error is not None for panel in block) else 0
    return LINE * (1 + _title_lines(block)) + height + GAP // 2 + _note_height(block) + enlarged + errors + LINE


def _draw(sheet: Sheet, case: Case, block: Sequence[Panel], top: int, greatest: float) -> None:
    """One block of a case: its title, then columns of image, enlarged part and error."""
    width, height = _size(case)
    follows = "" if block[0] is case.panels[0] else " (continued)"
    sheet.write(SIDE, top, wrapped(case.title + follows, 90, lines=1), WORDS + 0.5, weight="bold")
    head = top + LINE * (1 + _title_lines(block))
    notes = _note_height(block)
    for number, panel in enumerate(block):
        left = SIDE + number * (CELL + GAP)
        sheet.write(left, head - 5, wrapped(panel.title, LETTERS), WORDS, va="bottom")
        _image(sheet, case, panel, (left, head, width, height))
        sheet.write(left, head + height + 4, wrapped(panel.note, LETTERS, lines=2), TINY, color=FAINT)
        below = head + height + notes + GAP // 2
        if case.region is not None:
            tall = round(width * case.region.rows / case.region.columns)
            _enlarged(sheet, case, panel, case.region, (left, below, width, tall))
            below += tall + GAP
        if panel.error is not None:
            axes = sheet.axes(left, below, width, height)
            axes.imshow(panel.error, cmap=COLOURS, vmin=0, vmax=greatest, interpolation="none", aspect="auto")


def _image(sheet: Sheet, case: Case, panel: Panel, place: Place) -> None:
    """The image with the region's frame and the scale bar."""
    axes = _grey(sheet, case, panel, place)
    if case.region is not None:
        top, left, rows, columns = case.region
        axes.add_patch(Rectangle((left, top), columns, rows, fill=False, edgecolor="black", linewidth=2.4))
        axes.add_patch(Rectangle((left, top), columns, rows, fill=False, edgecolor=FRAME, linewidth=1.2))
    if case.spacing:
        add_scale_bar(axes, case.spacing)


def _enlarged(sheet: Sheet, case: Case, panel: Panel, region: Region, place: Place) -> None:
    """The region's part of the image, in the frame's colour; of a coarser image all pixels that reach into it."""
    shape, (rows, columns) = panel.image.shape, case.panels[-1].image.shape
    down, across = shape[0] / rows, shape[1] / columns
    top, bottom = int(region.top * down), math.ceil((region.top + region.rows) * down)
    left, right = int(region.left * across), math.ceil((region.left + region.columns) * across)
    axes = sheet.axes(*place)
    extent = left / across, right / across, bottom / down, top / down
    axes.imshow(panel.image[top:bottom, left:right], extent=extent, **GREY)
    axes.set_xlim(region.left, region.left + region.columns)
    axes.set_ylim(region.top + region.rows, region.top)
    for spine in axes.spines.values():
        spine.set(visible=True, color=FRAME, linewidth=1.4)


def _grey(sheet: Sheet, case: Case, panel: Panel, place: Place) -> Axes:
    """Axes with the image in grey; their coordinates are the pixels of the case's finest image."""
    rows, columns = case.panels[-1].image.shape
    axes = sheet.axes(*place)
    axes.imshow(panel.image, extent=(0, columns, rows, 0), **GREY)
    return axes


def _told(cases: Sequence[Case], window: str, greatest: float, unit: str) -> str:
    parts = [
        f"{case.title}: " + ", ".join(f"{p.title} {f'({p.note})' if p.note else ''}".strip() for p in case.panels)
        for case in cases
    ]
    shown = f" Window: {window}." if window else ""
    errors = any(panel.error is not None for case in cases for panel in case.panels)
    scale = f" Error maps reach from 0 to {greatest:.3g} {unit}".rstrip() + "." if errors else ""
    return f"Images side by side. {told(parts)}.{shown}{scale}"
