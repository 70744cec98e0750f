"""The look of all figures: sizes, colours, marks, values with intervals and their words; and a figure as a drawing."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE
from latentsr.report.blocks import Drawing, readable

Look = dict[str, Any]  # what matplotlib takes by keyword

WIDTH = 5.2  # inches, 500 CSS px: on a phone of 390 px the smallest words still are 8 px high
SMALL, NORMAL = 9.0, 10.0  # pt
INK, SOFT, LINE = "#1b1f24", "#545d68", "#d5dae0"
NOTE_LETTERS, LEGEND_LETTERS = 76, 25  # letters a line: over the whole width, and in one of two columns

# Words become outlines: matplotlib's own DejaVu Sans looks the same in every browser, and no other font's width lets
# labels run into each other. What a page loses thereby, words to search and to read aloud, its alt text and tables
# say. Names are no formulas: a "$" in one stays one. With a fixed salt the same figure has the same bytes.
LOOK: Any = {
    "svg.fonttype": "path",
    "svg.hashsalt": "latentsr",
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3, matplotlib's default
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": NORMAL,
    "axes.titlesize": NORMAL,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": NORMAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.8,
    "lines.linewidth": 1.5,
    "lines.markersize": 6.0,
}

# Okabe and Ito 2008, Color Universal Design, without the yellow, which is invisible on white paper. Neighbours differ
# in lightness. Seven colours, twelve markers and hatches, five dashes: methods that share one differ in another.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#000000", "#CC79A7")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "p", "*")
HATCHES = (
    "", "///", "---", "\\\\\\", "|||", "xxx", "+++", "//////", "///---", "||||||", "xxx---", "------",
)  # fmt: skip  # lines only: dots and rings make an SVG ten times larger
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.2, 1.4)), (0, (6, 2, 1.2, 2)), (0, (3, 1.5)))
TINT = 0.55  # share of white in a bar's face, so that its hatch is seen


@dataclass(frozen=True)
class Mark:
    """How one method is drawn: colour and marker in points, colour and dash in lines, tint and hatch in bars."""

    colour: str
    marker: str
    hatch: str
    dash: Any

    @property
    def tint(self) -> tuple[float, ...]:
        """The bar's face: the colour, lightened."""
        return tuple(channel + (1 - channel) * TINT for channel in to_rgb(self.colour))

    @property
    def bar(self) -> Look:
        """What matplotlib's bars take."""
        return {"facecolor": self.tint, "edgecolor": self.colour, "hatch": self.hatch, "linewidth": 1.0}

    @property
    def point(self) -> Look:
        """What matplotlib's plot takes for single points."""
        return {"color": self.colour, "marker": self.marker, "markeredgecolor": INK, "markeredgewidth": 0.6}

    @property
    def line(self) -> Look:
        """What matplotlib's plot takes for a line with points."""
        return {**self.point, "linestyle": self.dash, "markersize": 5.0}


def mark(number: int) -> Mark:
    """The mark of the method of this number, from 0: twelve differ in marker and hatch alone."""
    return Mark(*(table[number % len(table)] for table in (COLOURS, MARKERS, HATCHES, DASHES)))


def marks(names: Sequence[str], methods: Sequence[str] | None = None) -> dict[str, Mark]:
    """A mark for each name, given in the order of `methods`: all that a report has, so that each keeps its mark."""
    order = list(dict.fromkeys([*(methods or ()), *names]))
    return {name: mark(order.index(name)) for name in names}


@contextmanager
def house_style() -> Iterator[None]:
    """matplotlib's own defaults with LOOK on top, whatever a user's matplotlibrc says; undone at the end."""
    with rc_context():
        rcdefaults()
        rcParams.update(LOOK)
        yield


def wrapped(text: str, letters: int, lines: int = 3) -> str:
    """The text on at most `lines` lines of at most so many letters, cut by an ellipsis where it is longer.

    It breaks at spaces and after "_", "-", "/" and "+", which names of methods have, elsewhere only where it must.
    """
    rows = [""]
    for piece in re.findall(r"[^\s_/+-]*[\s_/+-]+|[^\s_/+-]+", " ".join(text.split())):
        while len((rows[-1] + piece).rstrip()) > letters:
            if not rows[-1]:
                rows[-1], piece = piece[:letters], piece[letters:]
            rows.append("")
        rows[-1] += piece
    shown = [row.rstrip() for row in rows if row.strip()]
    if len(shown) > lines:
        shown = [*shown[: lines - 1], shown[lines - 1][: letters - 1].rstrip() + "…"]
    return "\n".join(shown) or " "


def axis_label(quantity: str, unit: str = "", better: str = "") -> str:
    """Such as "PSNR (dB), higher is better": the words below an axis; `better` is higher, lower, closer or empty."""
    directions = {"higher": "higher is better", "lower": "lower is better", "closer": "closer to HR is better"}
    named = f"{quantity} ({unit})" if quantity and unit else quantity or unit
    return ", ".join(part for part in (named, directions.get(better, "")) if part)


NAN = math.nan
LOSSLESS, NO_VALUE = "lossless", "no value"
LISTED = 12  # values that an alt text lists before it only counts the rest


class Interval(NamedTuple):
    """A row of a figure: a value and its interval, in the figure's unit; `group` is the heading that it stands under.

    +inf is a lossless result (the PSNR of identical images), NaN no value; without an interval both ends are NaN.
    """

    label: str
    centre: float
    low: float = NAN
    high: float = NAN
    group: str = ""

    @property
    def bounded(self) -> bool:
        """Whether centre and both ends can be drawn."""
        return bool(np.isfinite([self.centre, self.low, self.high]).all())


class Point(NamedTuple):
    """A point of a plane; `group` decides its mark, `label` stands beside it.

    `low` and `high` are an interval of y, `x_low` and `x_high` one of x; NaN where there is none.
    """

    label: str
    x: float
    y: float
    group: str = ""
    low: float = NAN
    high: float = NAN
    x_low: float = NAN
    x_high: float = NAN


def checked_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as floats, names as text; InputError where it is empty or a method stands in it twice."""
    if frame.empty:
        raise InputError("a figure came without values: expected a frame with one row per method")
    found = frame.astype(np.float64)
    found.index, found.columns = found.index.map(str), found.columns.map(str)
    if not found.index.is_unique:
        twice = ", ".join(sorted(set(found.index[found.index.duplicated()])))
        raise InputError(f"twice in one figure: {twice}; average the rows, or draw one figure per dataset")
    return found


def required(items: list[Any], noun: str) -> list[Any]:
    """The items; InputError where there are none."""
    if not items:
        raise InputError(f"a figure came without {noun}: expected at least one")
    return items


def finite(values: Iterable[float]) -> NDArray[np.float64]:
    """Those of the values that are numbers, (n,)."""
    found = np.asarray(list(values), dtype=np.float64)
    return found[np.isfinite(found)]


def absence(value: float) -> str:
    """The word for a value without a place on an axis: "lossless" for +inf, else "no value"."""
    return LOSSLESS if value == math.inf else NO_VALUE


def decimals(values: Iterable[float]) -> int:
    """Digits after the point with which these values differ: three significant digits of their span."""
    shown = finite(values)
    span = float(np.ptp(shown)) if shown.size else 0.0
    span = span or float(np.abs(shown).max(initial=0.0)) / 10 or 1.0
    return int(np.clip(2 - math.floor(math.log10(span)), 0, 6))


def number(value: float, digits: int, *, signed: bool = False) -> str:
    """The value in words: its digits with a true minus, or why it has none."""
    if not math.isfinite(value):
        return absence(value)
    rounded = round(value, digits) + 0.0  # no minus before a zero
    text = f"{rounded:+.{digits}f}" if signed and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def joined(parts: Sequence[str]) -> str:
    """The parts as one text, the first LISTED of them, and how many more there are."""
    rest = len(parts) - LISTED
    return "; ".join(parts[:LISTED]) + (f"; and {rest} more" if rest > 0 else "")


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
