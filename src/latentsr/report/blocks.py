"""What a report is made of: a page of sections of text, tables and drawings, their numbers and titles.

Records only: `report/page.py` turns them into HTML and into Markdown. All words are plain text, none is markup: dataset
and method names come from users and are escaped where they are written.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Any, ClassVar
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latentsr.errors import InputError
from latentsr.provenance import RESEARCH_USE

_ROOT = re.compile(r"<svg\b[^>]*>")
_SIDES = re.compile(r'\s(width|height)="([\d.]+)pt"')
PIXELS_PER_POINT = 4 / 3  # CSS pixels


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG (for the page), as PNG (for slides) and as PDF (for papers), each made when it is asked for.

    `render` makes the file of a format, "svg", "png" or "pdf". `alt` says in a sentence what the figure shows, for
    readers who do not see it.
    """

    alt: str
    render: Callable[[str], bytes] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a drawing has no text alternative; say in `alt` what it shows")

    @cached_property
    def svg(self) -> str:
        """The SVG's text."""
        return self.render("svg").decode()

    @cached_property
    def png(self) -> bytes:
        """The PNG's bytes."""
        return self.render("png")

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the SVG in CSS pixels."""
        sides = dict(_SIDES.findall(_root(self.svg).group()))
        if sides.keys() != {"width", "height"}:
            raise InputError("a drawing's SVG has no width and height in pt; draw it with report.figures")
        return float(sides["width"]) * PIXELS_PER_POINT, float(sides["height"]) * PIXELS_PER_POINT


def _root(svg: str) -> re.Match[str]:
    """The start tag of the SVG's root element."""
    root = _ROOT.search(svg)
    if root is None:
        raise InputError("a drawing's text has no <svg> element; draw it with report.figures")
    return root


def standalone_svg(svg: str, alt: str, note: str) -> str:
    """The SVG as a file of its own, with `alt` as its title and `note` as its description."""
    end = _root(svg).end()
    return f"{svg[:end]}\n<title>{escape(alt)}</title>\n<desc>{escape(note)}</desc>{svg[end:]}"


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a PNG file's bytes."""
    return _opened(data).size


def bare_png(data: bytes, description: str = "") -> bytes:
    """The same pixels, bit for bit, without text, dates and other metadata, but for a `description` where given."""
    image, text, file = _opened(data), PngInfo(), BytesIO()
    if description:
        text.add_text("Description", description.encode("latin-1", errors="replace"))
    try:
        image.save(file, format="PNG", pnginfo=text)
    except OSError as error:
        raise InputError(f"a PNG file of {len(data)} bytes is not complete ({error}); write it anew") from error
    return file.getvalue()


def _opened(data: bytes) -> Image.Image:
    """The PNG's header; its pixels are read when they are asked for."""
    try:
        return Image.open(BytesIO(data), formats=("PNG",))
    except OSError as error:  # unidentified or cut off
        raise InputError(
            f"a picture's bytes are no PNG file: they begin with {data[:8]!r}; encode it as PNG"
        ) from error


# A value as tables hold it: "27.79 ± 1.66", "+0.4 [0.1, 0.7]", "< 0.001", "12 %", "1e-3", "4x32x32", "1.2 GFLOP".
_UNIT = re.compile(r"(?<![A-Za-z])(dB|mm|ms|s|min|h|e|x|to|[kMGT]i?B|[kMGT]|[MGT]FLOP)(?![A-Za-z])")
_VALUE = re.compile(r"[-+\u2212±~<>≤≥=(\[\s]*\d[^A-Za-z]*")
_NO_VALUE = frozenset({"", "-", "–", "—", "n/a", "nan", "inf", "+inf", "∞", "lossless", "none"})
_SAME_SHAPE = 0.02  # by how much two images' proportions may differ: an LR image of odd size is rounded


@dataclass(frozen=True)
class Text:
    """Paragraphs, and below them a list of `items`."""

    paragraphs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row; a column of numbers is set to the right.

    `strong` are the cells to set in bold, as (row, column) counted from 0, such as the best of a column.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    strong: frozenset[tuple[int, int]] = frozenset()

    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        _check_lengths(self.title, "cells", self.rows, len(self.columns))

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column whether it holds numbers: at least one, and beside them only marks for "no value"."""
        numeric = []
        for column in range(len(self.columns)):
            cells = [row[column].strip() for row in self.rows]
            values = [cell for cell in cells if cell.lower() not in _NO_VALUE]
            numeric.append(bool(values) and all(_VALUE.fullmatch(_UNIT.sub("", value)) for value in values))
        return tuple(numeric)


Columns = Mapping[str, Callable[[Any], str]]  # by a column's head, the cell of a record


def tabulate(
    title: str, columns: Columns, records: Iterable[Any], note: str = "", strong: Iterable[tuple[int, int]] = ()
) -> Table | None:
    """The table of one row per record, whose cells are what the columns' functions return; None without records."""
    rows = tuple(tuple(cell(record) for cell in columns.values()) for record in records)
    return Table(title, tuple(columns), rows, note, frozenset(strong)) if rows else None


@dataclass(frozen=True)
class Picture:
    """A drawing with its title and caption."""

    title: str
    drawing: Drawing
    caption: str = ""

    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Tile:
    """One image of a grid: PNG bytes, and a note below it such as its PSNR."""

    png: bytes
    note: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return png_size(self.png)


@dataclass(frozen=True)
class Images:
    """A grid of images: `columns` name what is shown (truth, a method, its error), `labels` the rows, one an image.

    None leaves a place empty.
    """

    title: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    rows: tuple[tuple[Tile | None, ...], ...]
    caption: str = ""

    kind: ClassVar[str] = "images"

    def __post_init__(self) -> None:
        _check_lengths(self.title, "images", self.rows, len(self.columns))
        if len(self.labels) != len(self.rows):
            raise InputError(f"'{self.title}' has {len(self.rows)} rows but {len(self.labels)} labels; give each one")

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """All images that are there, row by row."""
        return tuple(tile for row in self.rows for tile in row if tile is not None)


@dataclass(frozen=True)
class View:
    """PNG images of one field of view, one for each name of a slider; `label` says what is seen."""

    label: str
    images: tuple[bytes, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the finest image."""
        return max(png_size(image) for image in self.images)


@dataclass(frozen=True)
class Slider:
    """Two PNG images of one field of view, one uncovered from under the other, without loss and pixel for pixel.

    Any two of `names` (LR, methods, HR) can be chosen, and any of `views`; the first of these is shown first, with the
    names at the places `shown`, left and right.
    """

    title: str
    names: tuple[str, ...]
    views: tuple[View, ...]
    shown: tuple[int, int] = (0, 1)
    caption: str = ""

    kind: ClassVar[str] = "slider"

    def __post_init__(self) -> None:
        _check_lengths(self.title, "images", tuple(view.images for view in self.views), len(self.names))
        for view in self.views:
            width, height = view.size
            for other_width, other_height in map(png_size, view.images):
                if abs(width * other_height / (height * other_width) - 1) > _SAME_SHAPE:
                    sizes = f"{width}x{height} and {other_width}x{other_height}"
                    raise InputError(
                        f"'{self.title}': images of {sizes} px show no common field of view; crop them alike"
                    )


Block = Text | Table | Picture | Images | Slider


@dataclass(frozen=True)
class Section:
    """A titled part of a page; `note` is a remark that stands before its blocks; `folded` opens on a click."""

    title: str
    blocks: tuple[Block, ...] = ()
    note: str = ""
    folded: bool = False

    @classmethod
    def of(cls, title: str, *blocks: Block | None) -> "Section":
        """The section of those blocks that are not None."""
        return cls(title, tuple(block for block in blocks if block is not None))


@dataclass(frozen=True)
class Page:
    """A report: the verdict first (its first sentence stands out), then warnings, sections, and the facts at the end.

    `warnings` are what a reader must know before believing the rest. `details` follow them, sentences that bear the
    verdict out; on a phone they are folded away. `facts` are versions, hashes and the command,
    in the order in which they are given. `note` stands at the top and at the end.
    """

    title: str
    subtitle: str = ""
    verdict: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    note: str = RESEARCH_USE


def _check_lengths(title: str, noun: str, rows: tuple[tuple[object, ...], ...], expected: int) -> None:
    for number, row in enumerate(rows):
        if len(row) != expected:
            raise InputError(f"'{title}': row {number} has {len(row)} {noun}, the columns are {expected}")


# Control characters, surrogates, and the bidirectional overrides, which would turn the words that follow a name.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def numbered(page: Page) -> Iterator[tuple[Section, list[tuple[str, Block]]]]:
    """Each section with its blocks and their names: "Table 1", "Figure 1", counted through the page; text has none."""
    counts = {"Table": 0, "Figure": 0}
    for section in page.sections:
        named: list[tuple[str, Block]] = []
        for block in section.blocks:
            noun = {"text": "", "table": "Table"}.get(block.kind, "Figure")
            if noun:
                counts[noun] += 1
            named.append((f"{noun} {counts[noun]}" if noun else "", block))
        yield section, named


def readable(text: str) -> str:
    """The text with what a page cannot hold shown as U+FFFD: control characters, half characters, turned writing."""
    return _UNREADABLE.sub("\ufffd", text)


def titled(block: Table | Picture | Images | Slider) -> str:
    """The block's title, ending like a sentence where a caption follows it."""
    follows = getattr(block, "caption", "")
    return block.title if not follows or block.title.endswith((".", "?", "!", ":")) else f"{block.title}."
