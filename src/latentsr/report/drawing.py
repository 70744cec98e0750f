"""A drawing as vector and as pixels, and PNG bytes without anything but their pixels."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from latentsr.errors import InputError

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
