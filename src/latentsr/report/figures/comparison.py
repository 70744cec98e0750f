"""The demo's comparison of restored images with the truth, their details and their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from latentsr.atomic import replacing
from latentsr.provenance import RESEARCH_USE
from latentsr.report.figures.style import house_style
from latentsr.report.figures.tiles import COLOURS, FAINT, LARGE, Image, Region, Sheet, Tile

CELL = 288  # px that an image takes, about
SMALL = 7.5  # pt


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
    size = columns[-1].image.shape
    width = max(1, round(CELL / size[1])) * size[1]
    region = Region(detail.top, detail.left, detail.rows, detail.columns)
    bars = [caption.spacing, *[None] * (len(columns) - 1)]
    with house_style():
        sheet = Sheet(len(columns), width, side=32, gap=24)
        sheet.write(caption.heading, LARGE + 1, weight="bold")
        sheet.write(caption.subheading, SMALL, color=FAINT)
        sheet.top += 8
        sheet.row(
            [Tile(one.image, size, frame=region, spacing=bar) for one, bar in zip(columns, bars, strict=True)],
            titles=[one.title for one in columns],
            notes=["\n".join(one.scores) for one in columns],
            note_size=SMALL,
        )
        sheet.write(detail.title, SMALL, color=FAINT)
        sheet.row(
            [
                Tile(one.image, size, part=region, spacing=bar, limits=detail.grey)
                for one, bar in zip(columns, bars, strict=True)
            ],
            width=max(1, width // detail.columns) * detail.columns,
        )
        head = sheet.top
        sheet.row(
            [
                None if one.difference is None else Tile(one.difference, colours=COLOURS, limits=(0.0, greatest))
                for one in columns
            ],
            titles=[caption.bar_title, *(one.difference_title for one in columns[1:])],
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
