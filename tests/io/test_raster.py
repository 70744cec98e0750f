"""PNG and TIFF: both depths unchanged, colour and other kinds refused, provenance inside."""

import io
import json
import logging
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from latentsr.errors import InputError
from latentsr.io import raster
from latentsr.io.raster import UnfitError, read_pixels, write_pixels

TEXT = {"Description": "Research use only. Not for diagnosis.", "note": "größer"}


def _ramp(dtype: type) -> np.ndarray:
    top = np.iinfo(dtype).max
    return np.linspace(0, top, 20 * 30).reshape(20, 30).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_both_depths_come_back_bit_for_bit(tmp_path: Path, suffix: str, dtype: type) -> None:
    path = tmp_path / f"image{suffix}"
    write_pixels(path, _ramp(dtype), TEXT)
    pixels = read_pixels(path)
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, _ramp(dtype))
    assert list(tmp_path.iterdir()) == [path]


def test_the_text_is_in_the_file(tmp_path: Path) -> None:
    write_pixels(tmp_path / "a.png", _ramp(np.uint8), TEXT)
    write_pixels(tmp_path / "a.tif", _ramp(np.uint8), TEXT)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Description"] == TEXT["Description"]
        assert image.info["note"] == "größer"
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert json.loads(tiff.pages[0].description) == TEXT


def test_the_same_image_gives_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        for name in ("a", "b"):
            write_pixels(tmp_path / f"{name}{suffix}", _ramp(np.uint16), TEXT)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_spread_maps_are_float32_tiff(tmp_path: Path) -> None:
    write_pixels(tmp_path / "a.tif", _ramp(np.uint16).astype(np.float32))
    assert tifffile.imread(tmp_path / "a.tif").dtype == np.float32
    with pytest.raises(UnfitError, match="16 bit grey") as caught:
        read_pixels(tmp_path / "a.tif")
    assert caught.value.fault == "of another depth than 8 or 16 bit"


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_colour_is_refused_unless_grey_is_asked_for(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "colour.png"
    Image.fromarray(_ramp(np.uint8)).convert(mode).save(path)
    with pytest.raises(UnfitError, match="the option grey") as caught:
        read_pixels(path)
    assert caught.value.fault == "in colour"
    assert read_pixels(path, grey=True).dtype == np.uint8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_black_and_white_is_grey(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    inside = _ramp(np.uint8) > 100
    Image.fromarray(inside).save(path)
    np.testing.assert_array_equal(read_pixels(path), inside * np.uint8(255))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("photometric", "byteorder"), [("minisblack", "<"), ("minisblack", ">"), ("miniswhite", "<")])
def test_tiff_senses_and_byte_orders(tmp_path: Path, photometric: str, dtype: type, byteorder: str) -> None:
    path, stored = tmp_path / "a.tif", _ramp(dtype)
    tifffile.imwrite(path, stored, photometric=photometric, byteorder=byteorder)
    expected = stored if photometric == "minisblack" else np.iinfo(dtype).max - stored
    np.testing.assert_array_equal(read_pixels(path), expected)


def test_compressed_tiff(tmp_path: Path) -> None:
    Image.fromarray(_ramp(np.uint16)).save(tmp_path / "a.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), _ramp(np.uint16))


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    write_pixels(tmp_path / "whole.png", _ramp(np.uint16))
    whole = (tmp_path / "whole.png").read_bytes()
    corrupt = bytearray(whole)
    corrupt[50] ^= 255
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    files = {"cut.png": whole[:80], "head.png": whole[:20], "corrupt.png": bytes(corrupt), "text.png": b"text"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for name in [*files, "pages.tif", "missing.png"]:
        with pytest.raises(UnfitError, match=name) as caught:
            read_pixels(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert caught.value.fault == ("of several pages" if name == "pages.tif" else "no image, or cut off")


@pytest.mark.parametrize(("name", "shape", "dtype"), [
    ("a.png", (4, 4), np.float32), ("a.png", (4, 4, 3), np.uint8), ("a.jpg", (4, 4), np.uint8),
])  # fmt: skip
def test_what_a_format_cannot_hold_is_refused(tmp_path: Path, name: str, shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(InputError, match="expected"):
        write_pixels(tmp_path / name, np.zeros(shape, dtype))
    assert not list(tmp_path.iterdir())


def test_a_jpeg_is_read_upright_and_grey_only_where_asked(tmp_path: Path) -> None:
    grey, turned, colour = (tmp_path / name for name in ("grey.jpg", "turned.jpeg", "colour.jpg"))
    Image.fromarray(_ramp(np.uint8)).save(grey, quality=100)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: EXIF 2.32, orientation
    Image.fromarray(_ramp(np.uint8)).save(turned, quality=100, exif=exif)
    Image.fromarray(_ramp(np.uint8)).convert("RGB").save(colour)
    assert np.abs(read_pixels(grey).astype(int) - _ramp(np.uint8)).max() <= 3
    assert np.abs(read_pixels(turned).astype(int) - np.rot90(_ramp(np.uint8), -1)).max() <= 3
    with pytest.raises(InputError, match="colour"):
        read_pixels(colour)
    assert read_pixels(colour, grey=True).shape == (20, 30)
    grey.write_bytes(grey.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read as PNG, TIFF or JPEG"):
        read_pixels(grey)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _with_chunk(path: Path, kind: bytes, body: bytes, before: bytes) -> Path:
    """A PNG with one more chunk before the first of the kind `before`."""
    buffer = io.BytesIO()
    Image.fromarray(_ramp(np.uint8)).save(buffer, "PNG")
    place = buffer.getvalue().index(before) - 4
    path.write_bytes(buffer.getvalue()[:place] + _chunk(kind, body) + buffer.getvalue()[place:])
    return path


@pytest.mark.parametrize("body", [b"", b"\0", b"name\0", b"name\0\1"])
def test_a_broken_profile_behind_the_pixels_is_one_line(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(UnfitError, match="cannot be read as PNG, TIFF or JPEG") as caught:
        read_pixels(_with_chunk(tmp_path / "a.png", b"iCCP", body, b"IEND"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "start"), [
    (b"iCCP", b"a\0\0"), (b"zTXt", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0"),
])  # fmt: skip
@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_what_a_png_says_beside_its_pixels_is_bounded(tmp_path: Path, kind: bytes, start: bytes, before: bytes) -> None:
    path = _with_chunk(tmp_path / "a.png", kind, start + zlib.compress(bytes(2**26)), before)
    tracemalloc.start()
    with pytest.raises(UnfitError):
        read_pixels(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def _claim(suffix: str, rows: int, columns: int) -> bytes:
    """The bytes of a header that say how large a grey 8-bit image is."""
    if suffix == "png":
        return _chunk(b"IHDR", struct.pack(">II5B", columns, rows, 8, 0, 0, 0, 0))
    if suffix == "jpeg":
        return struct.pack(">BHH", 8, rows, columns)
    return struct.pack("<HHII", 256, 4, 1, columns) + struct.pack("<HHII", 257, 4, 1, rows)


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpeg"])
def test_an_image_that_claims_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    path, huge = tmp_path / f"a.{suffix}", tmp_path / f"huge.{suffix}"
    Image.fromarray(_ramp(np.uint8)).save(path)
    huge.write_bytes(path.read_bytes().replace(_claim(suffix, 20, 30), _claim(suffix, 50000, 60000)))
    with pytest.raises(UnfitError, match="claims 50000 x 60000 pixels, more than 134217728: raise the option max_"):
        read_pixels(huge)
    with pytest.raises(UnfitError, match="claims 20 x 30 pixels, more than 599"):
        read_pixels(path, max_pixels=599)
    assert read_pixels(path, max_pixels=600).shape == (20, 30)


def test_a_jpeg_of_many_scans_is_refused(tmp_path: Path) -> None:
    """Each takes a tenth of a second at 11000 x 11000 pixels, and 170 bytes of the file."""
    path = tmp_path / "a.jpg"
    Image.fromarray(_ramp(np.uint8)).save(path, progressive=True)
    assert read_pixels(path).shape == (20, 30)
    content = path.read_bytes()
    last = content[content.rindex(b"\xff\xda") : -2]
    path.write_bytes(content[:-2] + 200 * last + content[-2:])
    with pytest.raises(UnfitError, match="scans: expected at most 100"):
        read_pixels(path)


def test_the_limit_of_pil_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pixels(tmp_path / "a.png", _ramp(np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_pixels(tmp_path / "a.png").shape == (20, 30)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_pil_and_libtiff_print_nothing_of_their_own(tmp_path: Path) -> None:
    for name, place in {"a.tif": b"\x78\x9c", "b.tif": struct.pack("<HHI", 277, 3, 1)}.items():
        # zlib's stream, SamplesPerPixel
        tifffile.imwrite(tmp_path / name, _ramp(np.uint8), compression="zlib", photometric="minisblack")
        content = bytearray((tmp_path / name).read_bytes())
        content[content.index(place) + 8] ^= 255
        (tmp_path / name).write_bytes(content)
    program = (  # in a process of its own, as pytest's handlers would catch what PIL logs
        "import pathlib, sys; from latentsr.io.raster import UnfitError, read_pixels\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_pixels(pathlib.Path(path))\n"
        "    except UnfitError as error: print(error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("cannot be read") == 2
    assert done.stderr == ""


def test_quiet_blocks_that_overlap_leave_warnings_and_log_level_as_they_were() -> None:
    """As those of threads do: the first to begin is the first to end."""
    logger = logging.getLogger("pydicom")
    before = list(warnings.filters), logger.level
    first, second = raster.quiet(), raster.quiet()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.level == logging.CRITICAL
    assert warnings.filters[0][0] == "ignore"
    second.__exit__(None, None, None)
    assert (list(warnings.filters), logger.level) == before
