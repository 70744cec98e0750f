"""PNG and TIFF: grey images of 8 or 16 bit, in and out at the same depth; JPEG is read only."""

import io
import json
import logging
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from latentsr.atomic import replacing, write_bytes
from latentsr.errors import InputError
from latentsr.volume import MAX_PIXELS, Kind, Source, Volume, Window

PNG_SUFFIXES = (".png",)
TIFF_SUFFIXES = (".tif", ".tiff")
JPEG_SUFFIXES = (".jpg", ".jpeg")

_UNREADABLE = (
    UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    OverflowError, struct.error, zlib.error,
)  # fmt: skip
logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it cannot read it raises, too
PROCESS = threading.RLock()  # for what belongs to the process: PIL's limit, standard error
_QUIET, _INSIDE, _KEPT = threading.Lock(), set[object](), ExitStack()  # blocks of `quiet`, and what the last restores
_SCANS, _START_OF_SCAN = 100, b"\xff\xda"  # a scan of a few bytes passes over all pixels; progressive JPEG has ten
_DEPTHS = {
    **dict.fromkeys(PNG_SUFFIXES, ("uint8", "uint16")),
    **dict.fromkeys(TIFF_SUFFIXES, ("uint8", "uint16", "float32")),
}
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF 6.0, section 3


class UnfitError(InputError):
    """A file that is no grey image of 8 or 16 bit; `fault` is the reason without the file's name."""

    def __init__(self, message: str, fault: str = "") -> None:
        super().__init__(message)  # with the one argument from which pickle makes it again, before it sets the fault
        self.fault = fault


class RasterHeader(NamedTuple):
    """The pixel type of a grey PNG or TIFF, "uint8" or "uint16", in which its output is written."""

    dtype: str


def read(path: Path, kind: Kind, *, grey: bool, constant: bool, max_pixels: int) -> Volume:
    """The volume of a PNG, TIFF or JPEG: one slice without spacing; errors as of `read_pixels` and `Window.of`."""
    stored = read_pixels(path, grey=grey, max_pixels=max_pixels)
    if min(stored.shape) < 2:
        raise InputError(f"{path} has {stored.shape[0]} x {stored.shape[1]} pixels: expected at least 2 x 2")
    pixels = stored.astype(np.float32)[None]
    source = Source(kind, (path,), RasterHeader(stored.dtype.name))
    return Volume(pixels, None, Window.of(pixels, constant=constant), source)


def read_pixels(path: Path, *, grey: bool = False, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """The pixels of a grey PNG, TIFF or JPEG (upright, as its EXIF says), uint8 or uint16 (rows, columns).

    `grey` turns colour into grey (ITU-R 601 luma, 8 bit) and drops transparency. An image whose header claims more than
    `max_pixels` is refused before it is decoded.

    Raises:
        UnfitError: colour without `grey`, another depth, several pages, too many pixels, or a file that cannot be read
    """
    try:
        with quiet(), _opened(path) as image:  # what PIL cannot read it raises
            if image.width * image.height > max_pixels:
                claimed = f"{image.height} x {image.width} pixels"
                message = f"{path} claims {claimed}, more than {max_pixels}: raise the option max_pixels"
                raise UnfitError(message, "of more pixels than the limit")
            if image.format == "JPEG" and (scans := path.read_bytes().count(_START_OF_SCAN)) > _SCANS:
                message = f"{path} is a JPEG of {scans} scans: expected at most {_SCANS}, export it again"
                raise UnfitError(message, "of many scans")
            with muted() if image.format == "TIFF" else nullcontext():
                return _grey_pixels((ImageOps.exif_transpose(image) if image.format == "JPEG" else image), path, grey)
    except _UNREADABLE as error:
        if isinstance(error, UnidentifiedImageError):
            reason = "not an image of these formats, or cut off"
        else:  # without the path, which an OSError may repeat
            text = error.strerror if isinstance(error, OSError) and error.strerror else error
            reason = " ".join(str(text).split())
        message = f"{path} cannot be read as PNG, TIFF or JPEG ({reason}): export it again"
        raise UnfitError(message, "no image, or cut off") from error


def read_any(path: Path) -> NDArray[Any]:
    """The pixels (rows, columns) of what `write_pixels` made, also float32; UnfitError where it cannot be read."""
    if path.suffix.lower() not in TIFF_SUFFIXES:
        return read_pixels(path, max_pixels=2**62)
    import tifffile  # a sixth of a second, and other formats do not need it

    try:
        return np.asarray(tifffile.imread(path))
    except (*_UNREADABLE, RuntimeError) as error:
        raise UnfitError(f"{path} is no longer what was written: set the option overwrite", "not as written") from error


def write_pixels(path: Path, array: NDArray[Any], text: dict[str, str] | None = None) -> None:
    """Writes a grey image (rows, columns) as PNG (uint8, uint16) or TIFF (also float32), atomically.

    `text` goes into PNG text chunks, or as JSON into the TIFF's description.
    """
    suffix = path.suffix.lower()
    known = _DEPTHS.get(suffix, ())
    if array.ndim != 2 or array.dtype.name not in known:
        depths = ", ".join(known) or "nothing: name it .png or .tif"
        came = f"pixels of shape {array.shape}, {array.dtype}"
        raise InputError(f"{path.name}: {came}: expected (rows, columns) of {depths}")
    with replacing(path, over_folder=True) as part:
        buffer = io.BytesIO()  # tifffile would not notice a disk that takes only a part
        if suffix in PNG_SUFFIXES:
            chunks = PngImagePlugin.PngInfo()
            for key, value in (text or {}).items():
                if value.isascii():
                    chunks.add_text(key, value)
                else:
                    chunks.add_itxt(key, value)
            Image.fromarray(array).save(buffer, format="PNG", pnginfo=chunks)
        else:
            import tifffile

            description = json.dumps(text, sort_keys=True) if text else None
            tifffile.imwrite(buffer, array, photometric="minisblack", description=description, metadata=None)
        write_bytes(part, buffer.getvalue())


FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


def resized(pixels: NDArray[np.uint8], size: tuple[int, int], kernel: str) -> NDArray[np.uint8]:
    """An 8-bit image on a grid of `size` (rows, columns), as Pillow's `resize`, with its rounding to 8 bit."""
    return np.array(Image.fromarray(pixels).resize(size[::-1], FILTERS[kernel]))


def _opened(path: Path) -> Image.Image:
    """The image of a file, only its header read, with PIL's own limit of pixels off: the caller has another."""
    with PROCESS:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=("PNG", "TIFF", "JPEG"))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings, and log lines of pydicom, off the terminal inside the block.

    Both belong to the process: of blocks in several threads the first sets them, and the last to end restores them.
    """
    block, logger = object(), logging.getLogger("pydicom")
    with _QUIET:
        if not _INSIDE:
            _KEPT.enter_context(warnings.catch_warnings(action="ignore"))
            _KEPT.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        _INSIDE.add(block)
    try:
        yield
    finally:
        with _QUIET:
            _INSIDE.remove(block)
            if not _INSIDE:
                _KEPT.close()


@contextmanager
def muted() -> Iterator[None]:
    """Discards what C libraries print on standard error: their failures raise."""
    with PROCESS:
        try:
            kept = os.dup(2)
        except OSError:  # a process without standard error
            yield
            return
        try:
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
                yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _grey_pixels(image: Image.Image, path: Path, grey: bool) -> NDArray[Any]:
    if getattr(image, "is_animated", False):  # not `n_frames`, which walks through all pages of a TIFF
        message = f"{path} has several pages: expected one image a file, save the pages apart"
        raise UnfitError(message, "of several pages")
    if image.mode == "1":
        image = image.convert("L")  # black and white is grey, without loss
    if image.mode not in ("L", "I;16", "I;16B", "I;16L"):
        if image.mode in ("F", "I"):
            message = f"{path} holds {image.mode}-type pixels: expected 8 or 16 bit grey, save it as 16 bit"
            raise UnfitError(message, "of another depth than 8 or 16 bit")
        if not grey:
            message = f"{path} is a colour image (mode {image.mode}): expected grey, convert it or set the option grey"
            raise UnfitError(message, "in colour")
        image = image.convert("RGB").convert("L")
    pixels = np.array(image)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        pixels = np.iinfo(pixels.dtype).max - pixels  # PIL does so for 8 bit only
    return pixels
