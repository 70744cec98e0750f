"""PNG files as pages carry them: their size, and their pixels without anything that was written beside them."""

import struct
import zlib
from collections.abc import Iterator

from latentsr.errors import InputError

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
