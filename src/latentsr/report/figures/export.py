"""From a matplotlib figure to a drawing with the same bytes every time; axes whose rows are methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Drawing, readable
from latentsr.report.figures.style import (
    INK,
    LINE,
    NOTE_LETTERS,
    SMALL,
    SOFT,
    WIDTH,
    Look,
    Mark,
    house_style,
    wrapped,
)

GAP = 0.04  # inches between axes and legend
PAD = 0.06  # inches around axes
LEFT = 0.06  # inches left of notes
SVG_DPI = 72  # of what an SVG cannot hold as lines; its own unit is the point
PNG_DPI = 200  # of printed pages; a sheet laid out to the pixel keeps its own


def new_figure(height: float, *, note: str = "") -> Figure:
    """An empty figure of this height in inches and the common width; a note below adds to the height."""
    remark = wrapped(note, NOTE_LETTERS, lines=4) if note else ""
    foot = 0.16 * (remark.count("\n") + 1) + 0.1 if remark else 0.0
    figure = Figure(figsize=(WIDTH, height + foot), layout=ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD))
    FigureCanvasAgg(figure)
    _keep_free(figure, foot)
    style: Look = {"va": "center", "fontsize": SMALL, "color": INK, "in_layout": False}
    figure.text(LEFT, foot / 2, remark, transform=figure.dpi_scale_trans, **style)
    return figure


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """The legend below the axes and above the note, in two columns; the figure grows by its height."""
    if not handles:
        return
    engine: Any = figure.get_layout_engine()
    foot = engine.get()["rect"][1] * figure.get_figheight()
    legend = figure.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, foot), bbox_transform=figure.dpi_scale_trans,
        ncols=2 if len(handles) > 1 else 1, handlelength=3.2,
    )  # fmt: skip
    legend.set_in_layout(False)
    height = legend.get_window_extent().height / figure.dpi + GAP
    figure.set_figheight(figure.get_figheight() + height)
    _keep_free(figure, foot + height)


def lay_out(figure: Figure) -> None:
    """Gives the axes their places, once: what was laid out stays, the same in SVG and PNG."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _keep_free(figure: Figure, foot: float) -> None:
    """Keeps the layout off so many inches at the bottom."""
    share = foot / figure.get_figheight()
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, share, 1, 1 - share))


def drawing(figure: Figure, alt: str, *, dpi: float = PNG_DPI) -> Drawing:
    """The drawing of a figure: no date and no version in it, so that the same figure has the same bytes.

    `dpi` is of the PNG, and of what SVG and PDF cannot hold as vectors.
    """
    lay_out(figure)
    words = " ".join(alt.split())
    return Drawing(words, partial(render, figure, words, dpi))


def render(figure: Figure, alt: str, dpi: float, form: str) -> bytes:
    """The file of a figure that is laid out, as "svg", "png" or "pdf"; `alt` is the PDF's title.

    Fonts are outlines in SVG, and embedded as TrueType in PDF.
    """
    file = BytesIO()
    with house_style():
        # Figure.savefig would draw everything twice to lay it out again.
        figure.set_dpi(SVG_DPI if form == "svg" else dpi)
        if form == "svg":
            nameless = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            FigureCanvasSVG(figure).print_svg(file, metadata=nameless)
        elif form == "png":
            FigureCanvasAgg(figure).print_png(file, metadata={"Software": None, "Description": RESEARCH_USE})
        else:
            undated = dict.fromkeys(("Creator", "Producer", "CreationDate"))
            facts = {"Title": readable(alt), "Subject": RESEARCH_USE} | undated
            FigureCanvasPdf(figure).print_pdf(file, metadata=facts)
    return file.getvalue()


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
