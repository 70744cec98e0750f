"""Images in rows with words, regions, scale bars and a colour bar: cases, mean maps, and the demo's comparison."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray

from latentsr.atomic import replacing
from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Drawing, Images
from latentsr.report.figures.style import (
    PNG_DPI,
    Look,
    decimals,
    drawing,
    house_style,
    joined,
    number,
    render,
    required,
    wrapped,
)

DPI = 160
CELL = 256  # px of an image's width: 154 CSS px, 41 mm in print
LARGE, NORMAL = 9.5, 9.0  # pt, of which one is DPI / 72 px
SCALE = 6.8  # pt of a scale bar's words
LETTERS = 20  # of a line of LARGE words above or below a cell
DARK, FAINT, FRAME = "#111111", "#555555", "#56B4E9"  # the frame's blue differs from greys for all (Okabe and Ito 2008)
COLOURS = "inferno"  # lightness rises evenly, so that grey prints and colour-blind readers keep the order
ROUND_LENGTHS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)  # mm

Image = NDArray[np.floating]


class Region(NamedTuple):
    """A part of an image, in its pixels."""

    top: int
    left: int
    rows: int
    columns: int


@dataclass(frozen=True, eq=False)
class Tile:
    """One image of a sheet, (rows, columns) or (rows, columns, channels), drawn with its own pixels.

    `size` is the field of view (rows, columns) in pixels of the finest image, by default the image's own; the other
    values are in these pixels: `part` is shown alone, in the frame's colour, `frame` is a region framed on the image,
    `spacing` a pixel's width in mm, which gives a scale bar. `limits` are the values of the first and last colour.
    """

    image: Image
    size: tuple[int, int] | None = None
    part: Region | None = None
    frame: Region | None = None
    spacing: float | None = None
    colours: str = "gray"
    limits: tuple[float, float] = (0.0, 1.0)

    def height(self, width: int) -> int:
        """px of height where the tile is so many px wide."""
        rows, columns = self.part[2:] if self.part else self.size or self.image.shape[:2]
        return max(1, round(width * rows / columns))

    def draw(self, axes: Axes) -> None:
        """Draws the image, its frame and its scale bar into bare axes."""
        rows, columns = self.size or self.image.shape[:2]
        image, extent = self.image, (0.0, columns, rows, 0.0)
        if self.part is not None:  # of a coarser image all pixels that reach into the part
            down, across = image.shape[0] / rows, image.shape[1] / columns
            top, bottom = int(self.part.top * down), math.ceil((self.part.top + self.part.rows) * down)
            left, right = int(self.part.left * across), math.ceil((self.part.left + self.part.columns) * across)
            image, extent = image[top:bottom, left:right], (left / across, right / across, bottom / down, top / down)
        # "none" leaves an image's own pixels to the SVG, drawn as squares.
        look: Look = {"cmap": self.colours, "vmin": self.limits[0], "vmax": self.limits[1], "interpolation": "none"}
        axes.imshow(image, extent=extent, aspect="auto", **look)
        if self.part is not None:
            axes.set_xlim(self.part.left, self.part.left + self.part.columns)
            axes.set_ylim(self.part.top + self.part.rows, self.part.top)
            for spine in axes.spines.values():
                spine.set(visible=True, color=FRAME, linewidth=1.4)
        if self.frame is not None:
            corner = self.frame.left, self.frame.top
            for colour, width in (("black", 2.4), (FRAME, 1.2)):
                axes.add_patch(
                    Rectangle(corner, self.frame.columns, self.frame.rows, fill=False, edgecolor=colour, lw=width)
                )
        if self.spacing:  # a white bar in the lower left corner: the greatest round length within a third of the width
            wide = float(np.diff(axes.get_xlim())[0])
            fitting = [mm for mm in ROUND_LENGTHS if mm <= wide * self.spacing / 3]
            length = max(fitting, default=ROUND_LENGTHS[0])
            bar = AnchoredSizeBar(
                axes.transData, length / self.spacing, f"{length:g} mm", "lower left", borderpad=0.7, pad=0, sep=2,
                frameon=False, color="white", size_vertical=4 * wide / axes.bbox.width, label_top=True,
                fontproperties=FontProperties(size=SCALE),
            )  # fmt: skip
            for part in (*bar.size_bar.get_children(), bar.txt_label.get_children()[0]):
                part.set_path_effects([withStroke(linewidth=2, foreground="black")])  # visible on white, too
            axes.add_artist(bar)


class Sheet:
    """A figure that is filled from top to bottom with words and rows of tiles; all lengths are in px.

    Args:
        columns: cells side by side that set the width.
        cell: width of one.
        side: free at the left and right edge, and above.
        gap: between cells.
        labels: width of a column of words left of the cells.

    `top` is where the next words or tiles go.
    """

    def __init__(self, columns: int, cell: int = CELL, *, side: int = 12, gap: int = 14, labels: int = 0) -> None:
        self.cell, self.side, self.gap, self.labels = cell, side, gap, labels
        self.width = 2 * side + labels + columns * (cell + gap) - gap
        self.top = side
        self._words: list[tuple[float, float, str, Look]] = []
        self._axes: list[tuple[tuple[float, float, float, float], Callable[[Axes], None]]] = []

    def write(self, text: str, size: float = NORMAL, *, left: float | None = None, **style: Any) -> None:
        """Words below the last ones, in lines as given, from `left` or the left edge on."""
        left = self.side if left is None else left
        self._words.append((left, self.top, text, {"fontsize": size, "va": "top", "color": DARK, **style}))
        self.top += _height(text, size)

    def row(
        self, tiles: Sequence[Tile | None], *, titles: Sequence[str] = (), notes: Sequence[str] = (), label: str = "",
        width: int | None = None, note_size: float = NORMAL,
    ) -> None:  # fmt: skip
        """A row of tiles, each as wide as a cell or `width`, with titles above, notes below, a label to the left.

        Titles and notes have their lines as given; a place of None stays empty.
        """
        width = width or self.cell
        lefts = [self.side + self.labels + place * (self.cell + self.gap) for place in range(len(tiles))]
        head = self.top + max((_height(title, LARGE) for title in titles), default=0)
        for left, title in zip(lefts, titles, strict=bool(titles)):
            style: Look = {"fontsize": LARGE, "va": "bottom", "color": DARK}
            self._words.append((left, head - 5, title, style))
        self.top = head
        if label:
            self.write(label)
        below = head
        for left, tile in zip(lefts, tiles, strict=True):
            if tile is not None:
                height = tile.height(width)
                self._axes.append(((left, head, width, height), tile.draw))
                below = max(below, head + height)
        for left, note in zip(lefts, notes, strict=bool(notes)):
            self.top = below + 5
            self.write(note, note_size, left=left, color=FAINT)
        self.top = below + max((_height(note, note_size) for note in notes), default=0) + self.gap

    def colour_bar(self, width: int, greatest: float, *, open_ended: bool = False) -> None:
        """The colours from 0 to `greatest`; an open end stands for all that is greater too."""
        ticks = np.linspace(0, greatest, 3)
        words = [f"{tick:.3g}" for tick in ticks]

        def draw(axes: Axes) -> None:
            axes.imshow(np.linspace(0, 1, 256)[None], cmap=COLOURS, aspect="auto", extent=(0, greatest, 0, 1))
            axes.xaxis.set_visible(True)
            axes.set_xticks(ticks, [*words[:-1], words[-1] + " and more" * open_ended])
            axes.tick_params(axis="x", labelsize=NORMAL - 0.5, length=3, colors=DARK)
            left, _, right = axes.get_xticklabels()
            left.set_horizontalalignment("left")  # within the bar, so that no figure's edge cuts them
            right.set_horizontalalignment("right")

        self._axes.append(((self.side, self.top + 4, width, 14), draw))
        self.top += 18 + 42  # the ticks' words

    def figure(self) -> Figure:
        """The figure, as high as what it holds."""
        height = self.top + 10
        figure = Figure(figsize=(self.width / DPI, height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        for left, top, text, style in self._words:
            figure.text(left / self.width, 1 - top / height, text, **style)
        for (left, top, wide, high), draw in self._axes:
            axes = figure.add_axes((left / self.width, 1 - (top + high) / height, wide / self.width, high / height))
            axes.xaxis.set_visible(False)
            axes.yaxis.set_visible(False)
            axes.spines[:].set_visible(False)
            draw(axes)
        return figure


def _height(text: str, size: float) -> int:
    """px of height of lines of words with the space below them; 0 without words."""
    return round(size * DPI / 72 * 1.28) * (text.count("\n") + 1) if text.strip() else 0


def tiles_pdf(images: Images) -> bytes:
    """A page's grid of images as PDF: one column per name, one row per label, each image's note below it."""
    with house_style():
        sheet = Sheet(len(images.columns), 208, labels=136)
        titles = [wrapped(name, 16) for name in images.columns]
        for label, row in zip(images.labels, images.rows, strict=True):
            sheet.row(
                [None if tile is None else Tile(imread(BytesIO(tile.png))) for tile in row],
                titles=titles,
                notes=["" if tile is None else wrapped(tile.note, 18, lines=1) for tile in row],
                label=wrapped(label, 12),
            )
            titles = []  # above the first row alone
        return render(sheet.figure(), f"{images.title}: {', '.join(images.columns)}", PNG_DPI, "pdf")


ABREAST = 6  # images side by side at most; more go on below, in rows as equal as can be
MAPS_ABREAST = 4  # maps side by side: two methods' pairs
MAPPED = "Share of images (%)"


@dataclass(frozen=True, eq=False)
class Panel:
    """One image of a case in the display's [0, 1], (rows, columns); a coarser one is shown over the same field of view.

    `note` is below it, such as its PSNR; `error` a map (rows, columns) of absolute errors, drawn below that, in a
    comparison under `error_title`.
    """

    title: str
    image: Image
    note: str = ""
    error: Image | None = None
    error_title: str = ""


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


def panels(cases: Iterable[Case], *, window: str, greatest: float, unit: str) -> Drawing:
    """The cases below each other: images, the framed part enlarged, and errors on one colour scale for all.

    Args:
        cases: such as the best, the median and the worst image; the last panel of each is the finest, mostly HR.
        window: what black and white stand for, such as "0 to 1 of the stored range".
        greatest: the error at the colour scale's end.
        unit: of the errors, such as "% of the range".

    Raises:
        InputError: no case, a case without panels, an image that is no (rows, columns), a region beyond its image
    """
    found = [_checked(case) for case in required(list(cases), "cases")]
    errors = any(panel.error is not None for case in found for panel in case.panels)
    blocks = []  # of each case: its panels in as few rows as can be
    for case in found:
        abreast = math.ceil(len(case.panels) / math.ceil(len(case.panels) / ABREAST))
        blocks += [(case, start, case.panels[start : start + abreast]) for start in range(0, len(case.panels), abreast)]
    with house_style():
        sheet = Sheet(max(3, *(len(block) for _, _, block in blocks)))
        sheet.write(f"Window: {window}", LARGE, color=FAINT)
        for case, start, block in blocks:
            sheet.top += 8
            title = case.title + " (continued)" * bool(start)
            sheet.write(wrapped(title, 90, lines=1), LARGE + 0.5, weight="bold")
            size = case.panels[-1].image.shape
            # Whole pixels of the sheet for those of a small image.
            width = CELL if size[1] > CELL else CELL // size[1] * size[1]
            sheet.row(
                [Tile(panel.image, size, frame=case.region, spacing=case.spacing) for panel in block],
                titles=[wrapped(panel.title, LETTERS) for panel in block],
                notes=[wrapped(panel.note, LETTERS, lines=2) for panel in block],
                width=width,
            )
            if case.region is not None:
                sheet.row([Tile(panel.image, size, part=case.region) for panel in block], width=width)
            if any(panel.error is not None for panel in block):
                maps = [panel.error for panel in block]
                limits = 0.0, greatest
                sheet.row(
                    [None if error is None else Tile(error, size, colours=COLOURS, limits=limits) for error in maps],
                    width=width,
                )
        if errors:
            sheet.write(f"Absolute error in {unit}")
            sheet.colour_bar(2 * CELL, greatest, open_ended=True)
        sheet.write(RESEARCH_USE, weight="bold")
        parts = []
        for case in found:
            images = [f"{panel.title} ({panel.note})" if panel.note else panel.title for panel in case.panels]
            parts.append(f"{case.title}: {', '.join(images)}")
        scale = f" Error maps reach from 0 to {greatest:.3g} {unit}." if errors else ""
        return drawing(sheet.figure(), f"Images side by side. {joined(parts)}. Window: {window}.{scale}", dpi=DPI)


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


def mean_maps(maps: Iterable[tuple[str, NDArray[np.floating]]], *, greatest: float) -> Drawing:
    """Maps on one shared colour scale from zero, four side by side: where over many images something happens.

    Args:
        maps: (title, (rows, columns)) each, not negative, such as "hallucinated, medvae" and the share of images in
            which a pixel is, in %; NaN stays white.
        greatest: the scale's end, which also stands for all beyond it.

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
    cut = any(np.nanmax(values) > greatest for _, values in found)
    with house_style():
        sheet = Sheet(max(2, min(MAPS_ABREAST, len(found))))
        for start in range(0, len(found), MAPS_ABREAST):
            block = found[start : start + MAPS_ABREAST]
            sheet.row(
                [Tile(values, colours=COLOURS, limits=(0.0, greatest)) for _, values in block],
                titles=[wrapped(name, LETTERS) for name, _ in block],
            )
        sheet.write(MAPPED)
        sheet.colour_bar(2 * CELL, greatest, open_ended=cut)
        digits = decimals([0.0, greatest])
        scale = f"Colours reach from 0 to {greatest:.3g} %" + ", and stand there for more too" * cut
        parts = [f"{name}: mean {number(float(np.nanmean(values)), digits)}" for name, values in found]
        return drawing(sheet.figure(), f"Maps of {MAPPED}. {joined(parts)}. {scale}.", dpi=DPI)


WIDE = 288  # px that an image takes, about
SMALL = 7.5  # pt


@dataclass(frozen=True)
class Caption:
    """The words around a comparison: heading, a line below it, lines beside the colour bar, and a footer.

    The footer always says that the images are for research only.
    """

    heading: str
    subheading: str = ""
    bar_title: str = ""
    notes: tuple[str, ...] = ()
    footer: str = ""


def comparison(case: Case, caption: Caption, *, grey: tuple[float, float], greatest: float) -> Figure:
    """The figure: a row of images with their notes, a row of the region, a row of errors on one colour scale.

    The last panel's image is the finest and sets the size. The case's title is that of the row of its region (without
    one the whole), which has the display's `grey` from black to white. `greatest` is the error at the colour scale's
    end; the first panel has none, its place holds the colour bar.
    """
    size = case.panels[-1].image.shape
    region = case.region or Region(0, 0, *size)
    width = max(1, round(WIDE / size[1])) * size[1]
    bars = [case.spacing, *[None] * (len(case.panels) - 1)]
    with house_style():
        sheet = Sheet(len(case.panels), width, side=32, gap=24)
        sheet.write(caption.heading, LARGE + 1, weight="bold")
        sheet.write(caption.subheading, SMALL, color=FAINT)
        sheet.top += 8
        sheet.row(
            [Tile(one.image, size, frame=region, spacing=bar) for one, bar in zip(case.panels, bars, strict=True)],
            titles=[one.title for one in case.panels],
            notes=[one.note for one in case.panels],
            note_size=SMALL,
        )
        sheet.write(case.title, SMALL, color=FAINT)
        sheet.row(
            [
                Tile(one.image, size, part=region, spacing=bar, limits=grey)
                for one, bar in zip(case.panels, bars, strict=True)
            ],
            width=max(1, width // region.columns) * region.columns,
        )
        head = sheet.top
        sheet.row(
            [
                None if one.error is None else Tile(one.error, colours=COLOURS, limits=(0.0, greatest))
                for one in case.panels
            ],
            titles=[caption.bar_title, *(one.error_title for one in case.panels[1:])],
        )
        bottom, sheet.top = sheet.top, head + 27  # below the bar's title
        sheet.colour_bar(width, greatest)
        sheet.write("\n".join(caption.notes), SMALL, color=FAINT)
        sheet.top = bottom
        sheet.write(RESEARCH_USE, SMALL, left=sheet.width - sheet.side, weight="bold", ha="right")
        sheet.top = bottom
        sheet.write(caption.footer, SMALL, color=FAINT)
        return sheet.figure()


def save(figure: Figure, path: Path, *, text: dict[str, str] | None = None) -> None:
    """Writes a figure as PNG, whole or not at all; the same figure gives the same bytes. `text` goes into the file."""
    about = {"Software": None, "Description": RESEARCH_USE, **(text or {})}
    with replacing(path) as part:
        figure.savefig(part, format="png", metadata=about)
