"""From a matplotlib figure to a drawing: SVG, PNG and PDF with the same bytes every time, and the words beside them."""

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from latentsr.provenance import RESEARCH_USE
from latentsr.report.drawing import Drawing
from latentsr.report.figures.style import (
    INK,
    NOTE_LETTERS,
    SMALL,
    TITLE_LETTERS,
    WIDTH,
    Look,
    house_style,
    wrapped,
)
from latentsr.report.naming import readable

GAP = 0.04  # inches between axes and legend
PAD = 0.06  # inches around axes
LEFT = 0.06  # inches left of titles and notes
SVG_DPI = 72  # of what an SVG cannot hold as lines; its own unit is the point
PNG_DPI = 200  # of printed pages; a sheet laid out to the pixel keeps its own


def new_figure(height: float, *, title: str = "", note: str = "", width: float = WIDTH) -> Figure:
    """An empty figure of this size in inches, with a title and a note that room is kept for beside that height."""
    heading = wrapped(title, TITLE_LETTERS) if title else ""
    remark = wrapped(note, NOTE_LETTERS, lines=4) if note else ""
    head = 0.21 * (heading.count("\n") + 1) + 0.1 if heading else 0.0
    foot = 0.16 * (remark.count("\n") + 1) + 0.1 if remark else 0.0
    figure = Figure(figsize=(width, height + head + foot), layout=ConstrainedLayoutEngine(w_pad=PAD, h_pad=PAD))
    FigureCanvasAgg(figure)
    _keep_free(figure, foot)
    if heading:
        figure.suptitle(heading, x=LEFT / width, ha="left")
    style: Look = {"va": "center", "fontsize": SMALL, "color": INK, "in_layout": False}
    figure.text(LEFT, foot / 2, remark, transform=figure.dpi_scale_trans, **style)
    return figure


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """The legend below the axes and above the note, in two columns; the figure grows by its height."""
    if not handles:
        return
    foot = _layout(figure).get()["rect"][1] * figure.get_figheight()
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
    if isinstance(_layout(figure), ConstrainedLayoutEngine):
        _layout(figure).execute(figure)
        figure.set_layout_engine("none")


def _keep_free(figure: Figure, foot: float) -> None:
    """Keeps the layout off so many inches at the bottom."""
    share = foot / figure.get_figheight()
    _layout(figure).set(rect=(0, share, 1, 1 - share))


def _layout(figure: Figure) -> Any:
    """The layout engine that new_figure gave."""
    return figure.get_layout_engine()


def drawing(figure: Figure, alt: str, *, dpi: float = PNG_DPI) -> Drawing:
    """The drawing of a figure: no date and no version in it, so that the same figure has the same bytes."""
    lay_out(figure)
    svg, png = BytesIO(), BytesIO()
    nameless = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    # Figure.savefig would draw everything twice to lay it out again.
    figure.set_dpi(SVG_DPI)
    FigureCanvasSVG(figure).print_svg(svg, metadata=nameless)
    figure.set_dpi(dpi)
    FigureCanvasAgg(figure).print_png(png, metadata={"Software": None, "Description": RESEARCH_USE})
    words = " ".join(alt.split())
    return Drawing(svg.getvalue().decode(), png.getvalue(), words, partial(pdf_bytes, figure, words, dpi))


def pdf_bytes(figure: Figure, alt: str, dpi: float = PNG_DPI) -> bytes:
    """The PDF of a figure that is laid out: vectors, fonts embedded as TrueType, no date and no version in it.

    Its title is `alt`. `dpi` is of what a PDF cannot hold as vectors.
    """
    pdf = BytesIO()
    told = {"Title": readable(alt), "Subject": RESEARCH_USE} | dict.fromkeys(("Creator", "Producer", "CreationDate"))
    with house_style():
        figure.set_dpi(dpi)
        FigureCanvasPdf(figure).print_pdf(pdf, metadata=told)
    return pdf.getvalue()
