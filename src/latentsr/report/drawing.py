"""A drawing as vector and as pixels, in the forms in which pages carry it.

An SVG in an <img> would need no care, but what text it holds could be neither selected nor searched. Inline, three
things have to be put right: ids that several figures share (matplotlib numbers its clip paths and glyphs alike in
all), style rules that would reach beyond the figure, and links to the outside.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from xml.etree import ElementTree

from latentsr.errors import InputError


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG text (for the page) and as PNG bytes (for slides).

    `alt` says in a sentence what the figure shows, for readers who do not see it. `pdf` makes the figure's PDF (for
    papers) when it is called: with the fonts in it, that takes longer than SVG and PNG together.
    """

    svg: str
    png: bytes
    alt: str
    pdf: Callable[[], bytes] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a drawing came without a text alternative; say in `alt` what it shows")


SIGNATURE = b"\x89PNG\r\n\x1a\n"
# What decides how pixels look (PNG specification, third edition, section 11). All other chunks may hold a file's
# path, a patient's name or the time of writing, and none of them belongs on a page.
PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"IDAT", b"IEND"})


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a PNG file's bytes."""
    kind, header = next(_chunks(data))
    if kind != b"IHDR" or len(header) != 13:
        raise InputError("a picture's bytes do not begin with a PNG header; encode it with latentsr.io.raster")
    width, height = struct.unpack(">II", header[:8])
    return width, height


def bare_png(data: bytes, description: str = "") -> bytes:
    """The same pixels, bit for bit, without text, dates and other side notes, but for a `description` where given."""
    png_size(data)
    parts = [SIGNATURE]
    for kind, body in _chunks(data):
        if kind in PIXEL_CHUNKS:
            parts.append(_chunk(kind, body))
        if kind == b"IHDR" and description:
            text = description.encode("latin-1", errors="replace")
            parts.append(_chunk(b"tEXt", b"Description\0" + text))
    return b"".join(parts)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's name and content; InputError where the bytes are no PNG file or end too early."""
    if not data.startswith(SIGNATURE):
        raise InputError(f"a picture's bytes are no PNG file: they begin with {data[:8]!r}; encode it as PNG")
    place, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        length = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if len(body) != length or len(kind) != 4:
            raise InputError(f"a PNG file of {len(data)} bytes ends in the middle of a chunk; write it anew")
        yield kind, body
        place += length + 12


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_KNOWN = {f"{{{SVG}}}", f"{{{XLINK}}}", ""}
_LEFT_OUT = frozenset({"metadata", "script", "foreignObject", "title", "desc", "a", "iframe", "set", "animate"})
_REFERENCE = re.compile(r"url\(\s*(['\"]?)([^)'\"]*)\1\s*\)")
_PICTURE = re.compile(r"data:image/(png|jpeg|webp);base64,")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4}


class InlineSVG(NamedTuple):
    """Markup to stand in a page, and the width in CSS pixels at which it was drawn."""

    markup: str
    width: float


def inline_svg(svg: str, prefix: str, alt: str) -> InlineSVG:
    """The drawing as an <svg> element for an HTML page: ids and references prefixed, metadata and scripts left out.

    Args:
        svg: the file's text, with or without XML prolog
        prefix: unique on the page; the element's own id becomes `prefix`
        alt: the words that stand in for the drawing

    Raises:
        InputError: no SVG, or one that refers to anything outside itself
    """
    root = _parse(svg)
    # Width and height in CSS pixels, from the attributes or else from the view box.
    box = [float(number) for number in re.split(r"[\s,]+", root.get("viewBox", "").strip()) if number]
    lengths = [_length(root.get("width", "")), _length(root.get("height", ""))]
    sizes = [length or side for length, side in zip(lengths, box[2:] or [0.0, 0.0], strict=True)]
    if min(sizes) <= 0:
        raise InputError("a drawing's SVG has neither width and height nor a view box; give it one")
    width, height = sizes[0], sizes[1]
    for element in root.iter():
        # Take off the namespaces, which HTML knows anyhow, and gives ids and references to them their prefix.
        element.tag = _name(element.tag)
        element.attrib = {_name(key): _prefixed(_name(key), value, prefix) for key, value in element.attrib.items()}
        if element.tag == "style":
            # Nested under the figure's id: matplotlib's `* {...}` is meant for its own figure only.
            element.text = f"#{prefix} {{ {_references(element.text or '', prefix)} }}"
    root.set("viewBox", root.get("viewBox", f"0 0 {width:g} {height:g}"))
    root.attrib |= {"id": prefix, "width": f"{width:.0f}", "height": f"{height:.0f}", "role": "img", "aria-label": alt}
    return InlineSVG(ElementTree.tostring(root, encoding="unicode"), width)


def standalone_svg(svg: str, alt: str, note: str) -> str:
    """The drawing as a file of its own: `alt` as its title, `note` as its description, no other metadata or script.

    Raises:
        InputError: no SVG, or one that refers to anything outside itself
    """
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    root = _parse(svg)
    for number, (name, words) in enumerate((("title", alt), ("desc", note))):
        element = ElementTree.Element(f"{{{SVG}}}{name}")
        element.text, element.tail = words, "\n"
        root.insert(number, element)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _parse(svg: str) -> ElementTree.Element:
    if "<!ENTITY" in svg:
        raise InputError("a drawing's SVG declares entities; write it without them")
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314 - without entities, nothing is left that could expand
    except ElementTree.ParseError as error:
        raise InputError(f"a drawing is no SVG ({error}); draw it anew") from error
    if _name(root.tag) != "svg":
        raise InputError(f"a drawing's root element is <{_name(root.tag)}>, expected <svg>")
    _prune(root)
    root.tail = None
    return root


def _length(text: str) -> float:
    found = re.fullmatch(r"\s*([\d.]+)\s*([a-z]*)\s*", text)
    return float(found[1]) * _PIXELS[found[2]] if found and found[2] in _PIXELS else 0.0


def _prune(element: ElementTree.Element) -> None:
    """Drops metadata, scripts, event handlers and other vocabularies' elements, here and below."""
    for key, value in list(element.attrib.items()):
        if _name(key).startswith("on") or _space(key) not in _KNOWN:
            del element.attrib[key]
        else:
            _check(key, value)
    if _name(element.tag) == "style":
        _check("style", element.text or "")
    for child in list(element):
        if _name(child.tag) in _LEFT_OUT or _space(child.tag) not in _KNOWN:
            element.remove(child)
        else:
            _prune(child)


def _check(key: str, value: str) -> None:
    """Raises InputError for what would be fetched from elsewhere; a page holds all it shows."""
    targets = [value] if _name(key) == "href" else [found[2] for found in _REFERENCE.finditer(value)]
    outside = [target for target in targets if not target.startswith("#") and not _PICTURE.match(target)]
    if "@import" in value or outside:
        came = repr(outside[0][:80]) if outside else "a style sheet by @import"
        raise InputError(f"a drawing's SVG refers to {came}; a page holds all it shows, put it into the SVG")


def _name(tag: str) -> str:
    return tag.rpartition("}")[2]


def _space(tag: str) -> str:
    return tag[: len(tag) - len(_name(tag))]


def _prefixed(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == "href":
        return f"#{prefix}-{value[1:]}" if value.startswith("#") else "".join(value.split())
    return _references(value, prefix)


def _references(text: str, prefix: str) -> str:
    return _REFERENCE.sub(lambda found: f"url(#{prefix}-{found[2][1:]})" if found[2][:1] == "#" else found[0], text)
