"""Images in rows with words, regions, scale bars and a colour bar: the one layout of all figures that show images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
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

from latentsr.report.blocks import Images
from latentsr.report.figures.export import PNG_DPI, render
from latentsr.report.figures.style import Look, house_style, wrapped

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
        if self.spacing:
            _add_scale_bar(axes, self.spacing)


def _add_scale_bar(axes: Axes, spacing: float) -> None:
    """A white bar in the lower left corner: the greatest round number of mm within a third of the axes' width."""
    left, right = axes.get_xlim()
    length = max((mm for mm in ROUND_LENGTHS if mm <= (right - left) * spacing / 3), default=ROUND_LENGTHS[0])
    thickness = 4 * (right - left) / axes.bbox.width  # 4 px
    bar = AnchoredSizeBar(
        axes.transData, length / spacing, f"{length:g} mm", "lower left", borderpad=0.7, pad=0, sep=2, frameon=False,
        color="white", size_vertical=thickness, label_top=True, fontproperties=FontProperties(size=SCALE),
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
