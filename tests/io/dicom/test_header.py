"""Headers from strangers: what is no image, false numbers, identity that stays inside, bounds before memory."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from latentsr import io
from latentsr.errors import InputError, NotAnImageError
from latentsr.io.dicom.header import load

SMALL = Path(get_testdata_file("MR_small.dcm"))


def _with_element(tmp_path: Path, keyword: str, value: bytes, source: Path = SMALL) -> Path:
    """A copy with other bytes in one element, whose length follows them (explicit little endian, short form)."""
    content, tag = source.read_bytes(), pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    start = content.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    (length,) = struct.unpack_from("<H", content, start + 6)
    value += b" " * (len(value) % 2)
    changed = content[: start + 6] + struct.pack("<H", len(value)) + value + content[start + 8 + length :]
    (tmp_path / "odd.dcm").write_bytes(changed)
    return tmp_path / "odd.dcm"


@pytest.mark.parametrize("name", [
    "rtplan.dcm", "rtdose.dcm", "test-SR.dcm", "reportsi.dcm", "waveform_ecg.dcm", "liver_1frame.dcm",
    "dicomdirtests/DICOMDIR", "README.txt", "test1.json",
])  # fmt: skip
def test_a_file_without_an_image_is_told_apart(name: str) -> None:
    with pytest.raises(NotAnImageError, match="holds no image"):
        io.read(SMALL.parent / name)


def test_a_vendor_s_own_class_without_pixels_is_no_image(tmp_path: Path) -> None:
    image = pydicom.dcmread(SMALL)
    del image.PixelData
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.3.12.2.1107.5.9.1"
    image.save_as(tmp_path / "raw.dcm")
    with pytest.raises(NotAnImageError, match="an unregistered class"):
        io.read(tmp_path / "raw.dcm")


@pytest.mark.parametrize(
    "name", ["no_meta.dcm", "examples_rgb_color.dcm", "MR_truncated.dcm", "examples_ybr_color.dcm"]
)
def test_an_image_that_cannot_be_used_is_no_file_without_an_image(name: str) -> None:
    with pytest.raises(InputError) as caught:
        io.read(SMALL.parent / name)
    assert not isinstance(caught.value, NotAnImageError)


@pytest.mark.parametrize(("keyword", "value", "message"), [
    ("PixelSpacing", b"0.9", "PixelSpacing holds 0.9: expected 2 finite numbers"),
    ("PixelSpacing", b"0,9\\0,7", "PixelSpacing holds no number, no number: expected 2"),
    ("PixelSpacing", b"0.9\\nan", "PixelSpacing holds 0.9, no number: expected 2"),
    ("ImagePositionPatient", b"1,5\\2,5\\3", "ImagePositionPatient holds no number, no number, no number: expected 3"),
    ("ImagePositionPatient", b"1\\2\\1e300", "ImagePositionPatient holds 1, 2, no number: expected 3"),
    ("ImageOrientationPatient", b"1\\0\\0", "ImageOrientationPatient holds 1, 0, 0: expected 6"),
    ("SliceThickness", b"2,5", "SliceThickness holds no number: expected 1 finite number"),
    ("InstanceNumber", b"first", "InstanceNumber holds no number"),
    ("Rows", b"\x40\x00\x40\x00", "Rows holds 64, 64: expected 1"),
])  # fmt: skip
def test_a_false_number_is_named_by_its_keyword(tmp_path: Path, keyword: str, value: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        io.read(_with_element(tmp_path, keyword, value))


def test_a_header_swallowed_by_a_class_is_not_shown(tmp_path: Path) -> None:
    image = pydicom.dcmread(SMALL)
    image.PatientName = image.PatientID = "ZZIDENTITYZZ"
    image.save_as(tmp_path / "named.dcm")
    content = bytearray((tmp_path / "named.dcm").read_bytes())
    start = content.index(struct.pack("<HH2s", 0x0008, 0x0016, b"UI"))
    end = content.index(b"ZZIDENTITYZZ") + 12
    struct.pack_into("<H", content, start + 6, end - start - 8)
    (tmp_path / "swallowed.dcm").write_bytes(content)
    with pytest.raises(InputError, match="unregistered class") as caught:
        io.read(tmp_path / "swallowed.dcm")
    assert "ZZIDENTITYZZ" not in str(caught.value)


@pytest.mark.parametrize("keyword", ["SOPClassUID", "PhotometricInterpretation", "SOPInstanceUID"])
def test_control_characters_of_an_element_are_not_shown(tmp_path: Path, keyword: str) -> None:
    with pytest.raises(InputError) as caught:
        io.read(_with_element(tmp_path, keyword, b"\x1b[2J\x07\n\\ZZIDENTITYZZ"))
    assert str(caught.value).isprintable()
    assert "ZZIDENTITYZZ" not in str(caught.value)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("depth", [30, 350])
def test_deeply_nested_sequences_are_refused(tmp_path: Path, depth: int, undefined: bool) -> None:
    image, tag = pydicom.dcmread(SMALL), struct.pack("<HH2sH", 0x0008, 0x1140, b"SQ", 0)
    content = b""
    for _ in range(depth):
        if undefined:
            content = tag + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4 + content
            content += b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
        else:
            item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)) + content
            content = tag + struct.pack("<I", len(item)) + item
    del image[0x00081140:0x00081141]
    image.save_as(tmp_path / "deep.dcm")
    plain = (tmp_path / "deep.dcm").read_bytes()
    place = plain.index(struct.pack("<HH", 0x0010, 0x0010))
    (tmp_path / "deep.dcm").write_bytes(plain[:place] + content + plain[place:])
    with pytest.raises(InputError, match="nested over 16 levels"):
        io.read(tmp_path / "deep.dcm")


def test_sequences_of_common_depth_are_read(tmp_path: Path) -> None:
    image, inner = pydicom.dcmread(SMALL), Dataset()
    inner.CodeValue = "x"
    for _ in range(8):
        outer = Dataset()
        outer.ReferencedImageSequence = Sequence([inner])
        inner = outer
    image.ReferencedImageSequence = Sequence([inner])
    image.save_as(tmp_path / "nested.dcm")
    assert io.read(tmp_path / "nested.dcm").pixels.shape == (1, 64, 64)


def test_headers_of_very_many_items_or_elements_are_refused(tmp_path: Path) -> None:
    content = SMALL.read_bytes()
    place = content.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 150_000
    sequence = struct.pack("<HH2sHI", 0x5FFF, 0x0010, b"SQ", 0, len(items)) + items
    elements = b"".join(
        struct.pack("<HH2sH", group, element, b"LO", 0)
        for group in range(0x5001, 0x5009, 2)
        for element in range(65536)
    )
    for more in (sequence, sequence[:8] + b"\xff" * 4 + 2 * items + b"\xfe\xff\xdd\xe0\0\0\0\0", elements):
        (tmp_path / "many.dcm").write_bytes(content[:place] + more + content[place:])
        with pytest.raises(InputError):
            io.read(tmp_path / "many.dcm")


def test_a_deflate_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    content = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    (length,) = struct.unpack_from("<I", content, 140)
    squeezer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    zeros = b"\0" * 2**20
    bomb = b"".join(squeezer.compress(zeros) for _ in range(700)) + squeezer.flush()
    (tmp_path / "bomb.dcm").write_bytes(content[: 144 + length] + bomb)
    with pytest.raises(InputError, match="inflates to over"):
        io.read(tmp_path / "bomb.dcm", max_pixels=2**20)


def test_words_of_a_big_endian_file_are_brought_to_little_endian(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    bits = np.random.default_rng(0).integers(0, 2, 64 * 64, dtype=np.uint8)
    dataset.add_new(0x60003000, "OW", np.packbits(bits, bitorder="little").tobytes())
    dataset.save_as(tmp_path / "little.dcm")
    for tag in (0x60003000, 0x7FE00010):
        dataset[tag].value = np.frombuffer(dataset[tag].value, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    pydicom.dcmwrite(tmp_path / "big.dcm", dataset, little_endian=False, implicit_vr=False, force_encoding=True)
    (little, pixels), (big, same) = (load(tmp_path / f"{name}.dcm") for name in ("little", "big"))
    assert big[0x60003000].value == little[0x60003000].value
    np.testing.assert_array_equal(pixels, same)
