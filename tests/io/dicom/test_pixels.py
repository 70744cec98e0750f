"""Decoders: the same pixels as GDCM's, and claims that are compared with the data before memory is taken."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import get_decoder

from latentsr import io
from latentsr.errors import InputError
from latentsr.io.dicom.pixels import decode


def _frame(name: str) -> bytes:
    return bytes(get_frame(pydicom.dcmread(get_testdata_file(name)).PixelData, 0, number_of_frames=1))


def _altered(tmp_path: Path, name: str, **elements: Any) -> Path:
    image = pydicom.dcmread(get_testdata_file(name))
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.save_as(tmp_path / "altered.dcm")
    return tmp_path / "altered.dcm"


@pytest.mark.parametrize("name", [
    "693_J2KI.dcm", "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm",
])  # fmt: skip
def test_pixels_are_those_of_gdcm(name: str) -> None:
    image = pydicom.dcmread(get_testdata_file(name))
    expected, _ = get_decoder(image.file_meta.TransferSyntaxUID).as_array(image, decoding_plugin="gdcm")
    np.testing.assert_array_equal(decode(image)[0], expected)


def test_a_size_unlike_the_codestream_s_is_refused(tmp_path: Path) -> None:
    """GDCM aborts the interpreter on such a file."""
    path = _altered(tmp_path, "MR_small_jpeg_ls_lossless.dcm", Rows=33)
    with pytest.raises(InputError, match=r"altered\.dcm: 64 x 64 pixels in its compressed data, 33 x 64 in its header"):
        io.read(path)


def test_three_components_called_grey_are_refused(tmp_path: Path) -> None:
    """GDCM aborts the interpreter on such a file."""
    colour = pydicom.dcmread(get_testdata_file("examples_jpeg2k.dcm"))
    size = {"Rows": colour.Rows, "Columns": colour.Columns, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    path = _altered(tmp_path, "MR_small_jp2klossless.dcm", PixelData=colour.PixelData, **size)
    with pytest.raises(InputError, match="3 samples a pixel"):
        io.read(path)


@pytest.mark.parametrize(("name", "rows", "columns"), [
    ("MR_small_jp2klossless.dcm", 60000, 60000), ("MR_small_RLE.dcm", 65535, 65535),
])  # fmt: skip
def test_more_pixels_than_the_limit_are_refused_before_memory_is_taken(
    tmp_path: Path, name: str, rows: int, columns: int
) -> None:
    frame = bytearray(_frame(name))
    if "jp2k" in name:
        struct.pack_into(">2I", frame, 8, columns, rows)  # the SIZ segment claims the same
    path = _altered(tmp_path, name, Rows=rows, Columns=columns, PixelData=encapsulate([bytes(frame)]))
    with pytest.raises(InputError, match="option max_pixels"):
        io.read(path)
    with pytest.raises(InputError, match=r"RLE segment|compressed pixel data|cut off"):
        io.read(_altered(tmp_path, "MR_small_RLE.dcm", Rows=8000, Columns=8000))


def test_the_limit_can_be_set() -> None:
    path = get_testdata_file("MR_small.dcm")
    assert io.read(path, max_pixels=64 * 64).pixels.size == 64 * 64
    with pytest.raises(InputError, match="at most 4095"):
        io.read(path, max_pixels=64 * 64 - 1)
    with pytest.raises(InputError, match=r"2 files of 4096 pixels: expected at most 4096 in all.* to 8192"):
        io.read([Path(path), Path(path)], max_pixels=64 * 64)


@pytest.mark.parametrize("name", ["MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"])
def test_a_codestream_cut_in_the_middle_is_refused(tmp_path: Path, name: str) -> None:
    frame = _frame(name)
    path = _altered(tmp_path, name, PixelData=encapsulate([frame[: len(frame) // 4 * 2]]))
    with pytest.raises(InputError, match="no end marker"):
        io.read(path)


def test_a_codestream_in_a_jp2_file_is_read(tmp_path: Path) -> None:
    """Against PS3.5 A.4.4, but met; boxes of length 0 send pydicom into an endless loop."""
    box = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\0\0\0\0jp2h"
    path = _altered(
        tmp_path, "MR_small_jp2klossless.dcm", PixelData=encapsulate([box + _frame("MR_small_jp2klossless.dcm")])
    )
    np.testing.assert_array_equal(io.read(path).pixels, io.read(get_testdata_file("MR_small.dcm")).pixels)
