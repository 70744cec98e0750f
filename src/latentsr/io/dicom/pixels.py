"""The pixels of a DICOM image: decoding of each transfer syntax, and stored integers to physical values and back."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder

from latentsr.errors import InputError
from latentsr.io.dicom import gdcm
from latentsr.volume import Pixels

_ROWS = 64  # at once in float64, of which a whole large image would take several times its own memory


def stored_range(header: Dataset) -> tuple[int, int]:
    """The least and greatest integer that BitsStored and PixelRepresentation can hold (PS3.5 section 8.1.1)."""
    bits = int(header.BitsStored)
    if header.PixelRepresentation == 1:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def to_physical(stored: NDArray[Any], header: Dataset) -> Pixels:
    """The physical values, float32, of stored integers, with MONOCHROME1 turned over so that more is brighter.

    Turning over swaps the ends of the stored range, which loses nothing. An image with a modality LUT in place of
    slope and intercept keeps its stored values.
    """
    slope, intercept = _rescale(header)
    physical = np.empty(stored.shape, np.float32)
    for first in range(0, len(stored), _ROWS):
        rows = _upright(stored[first : first + _ROWS].astype(np.float64), header)
        physical[first : first + _ROWS] = rows * slope + intercept
    return physical


def to_stored(pixels: NDArray[Any], header: Dataset) -> NDArray[Any]:
    """The integers that stand for physical values in the source's scale and sense, rounded and clipped to its range."""
    slope, intercept = _rescale(header)
    low, high = stored_range(header)
    integers = np.clip(np.rint((pixels.astype(np.float64) - intercept) / slope), low, high)
    sign = "i" if header.PixelRepresentation == 1 else "u"
    return _upright(integers, header).astype(f"<{sign}{header.BitsAllocated // 8}")


def as_filed(physical: Pixels, header: Dataset) -> Pixels:
    """The physical values of `to_physical` as other readers of the file show them: MONOCHROME1 is not turned over."""
    if header.PhotometricInterpretation != "MONOCHROME1":
        return physical
    slope, intercept = _rescale(header)
    return (slope * sum(stored_range(header)) + 2 * intercept - physical.astype(np.float64)).astype(np.float32)


def _upright(stored: NDArray[Any], header: Dataset) -> NDArray[Any]:
    """MONOCHROME1 as MONOCHROME2 and back; MONOCHROME2 as it is."""
    return sum(stored_range(header)) - stored if header.PhotometricInterpretation == "MONOCHROME1" else stored


def _rescale(header: Dataset) -> tuple[float, float]:
    if header.get("RescaleSlope") is None or "ModalityLUTSequence" in header:
        return 1.0, 0.0
    return float(header.RescaleSlope), float(header.get("RescaleIntercept") or 0)


_NATIVE = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
)  # fmt: skip

# The decoder of each syntax: pydicom's name of a plugin, in this process. GDCM, which pydicom would try first, aborts
# the interpreter on some broken files; it alone decodes lossless JPEG, in a process of its own.
_GDCM = "gdcm"
_DECODERS = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGExtended12Bit: "pillow",  # its 8-bit form; nothing here reads the 12-bit form
    uid.JPEGLossless: _GDCM,
    uid.JPEGLosslessSV1: _GDCM,
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
_JPEG_2000 = (*uid.JPEG2000TransferSyntaxes,)

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # ISO/IEC 10918-1 table B.1, 14495-1 section C.2.2
_CODESTREAM = b"\xff\x4f\xff\x51"  # SOC and SIZ, which come first (ISO/IEC 15444-1 section A.5.1)
_END, _END_IN = b"\xff\xd9", 16  # EOI and EOC, in the last bytes: some writers pad
_RLE_HEADER, _LONGEST_RUN = 64, 128  # PS3.5 annex G: two bytes stand for up to 128


def decode(full: Dataset, frames: int = 1) -> NDArray[Any]:
    """The stored integers (frames, rows, columns) of a grey image whose header has been checked.

    What the header claims is compared with the codestream's own header and with the length of the data before memory
    is taken. InputError without a path where they differ or nothing decodes the syntax; whatever a decoder raises.
    """
    syntax = full.file_meta.get("TransferSyntaxUID")
    size = full.Rows * full.Columns * full.BitsAllocated // 8
    if syntax in _NATIVE:
        if (came := len(full.PixelData)) < size * frames:
            whole = f"; {came // size} of {frames} frames are whole" if frames > 1 else ""
            raise InputError(f"its pixel data is cut off ({came} bytes, expected {size * frames}{whole}): export again")
        return np.stack([get_decoder(syntax).as_array(full, index=index)[0] for index in range(frames)])
    if syntax not in _DECODERS:
        raise InputError(f"its pixels are {syntax_name(full)}, which cannot be read: decompress it first")
    table = full.get("ExtendedOffsetTable"), full.get("ExtendedOffsetTableLengths")
    pieces = generate_frames(
        full.PixelData, number_of_frames=frames, extended_offsets=table if frames > 1 and all(table) else None
    )
    decoded = [_decompressed(full, frame) for _, frame in zip(range(frames), pieces, strict=False)]
    if len(decoded) < frames:
        claimed = f"{len(decoded)} frames in its compressed data, {frames} in its header"
        raise InputError(f"{claimed}: it is cut off, export again")
    return np.stack(decoded)


def _decompressed(full: Dataset, frame: bytes) -> NDArray[Any]:
    """The stored integers (rows, columns) of one compressed frame."""
    syntax = full.file_meta.TransferSyntaxUID
    if syntax in _JPEG_2000:  # some writers wrap the codestream in a JP2 file, against PS3.5 section A.4.4
        frame = frame[max(frame.find(_CODESTREAM), 0) :]
    _refuse_false_claims(full, frame)
    content = encapsulate([frame], has_bot=False)
    options = {  # what pydicom's decoders need of the header
        "rows": full.Rows,
        "columns": full.Columns,
        "samples_per_pixel": 1,
        "number_of_frames": 1,
        "photometric_interpretation": full.PhotometricInterpretation,
        "pixel_representation": full.PixelRepresentation,
        "bits_allocated": full.BitsAllocated,
        "bits_stored": full.BitsStored,
        "pixel_keyword": "PixelData",
    }
    plugin = _DECODERS[syntax]
    if plugin == _GDCM:
        native = get_decoder(uid.ExplicitVRLittleEndian)
        return np.asarray(native.as_array(gdcm.decode(content, str(syntax), options), index=0, **options)[0])
    if not get_decoder(syntax).is_available:
        packages = "pylibjpeg pylibjpeg-openjpeg pyjpegls pillow"
        raise InputError(f"its pixels are {syntax_name(full)} and no decoder for it is here: pip install {packages}")
    return np.asarray(get_decoder(syntax).as_array(content, index=0, decoding_plugin=plugin, **options)[0])


def syntax_name(full: Dataset) -> str:
    """The registered name of the file's transfer syntax; never what else the element holds."""
    syntax = uid.UID(str(full.file_meta.get("TransferSyntaxUID", "")))
    return syntax.name if syntax in uid.UID_dictionary else "of an unknown transfer syntax"


def _refuse_false_claims(full: Dataset, frame: bytes) -> None:
    """Raises InputError unless the compressed data can be of the image that the header describes."""
    if full.file_meta.TransferSyntaxUID == uid.RLELossless:
        # The lengths of its segments are compared with the bytes that they must hold (PS3.5 section G.3).
        if len(frame) < _RLE_HEADER:
            raise InputError("its RLE data has no header: it is cut off, export again")
        count, *offsets = struct.unpack_from("<16I", frame)
        planes, pixels = full.BitsAllocated // 8, full.Rows * full.Columns
        if count != planes:
            raise InputError(f"its RLE data has {count} segments: expected {planes}, export again")
        for start, end in zip(offsets[:count], [*offsets[1:count], len(frame)], strict=True):
            least, most = 2 * pixels // _LONGEST_RUN, pixels + pixels // 64 + _RLE_HEADER
            if not least <= end - start <= most:
                came = f"an RLE segment of {end - start} bytes for {pixels} pixels"
                raise InputError(f"{came}: expected {least} to {most}, it is cut off or corrupt, export again")
        return
    if _END not in frame.rstrip(b"\0")[-_END_IN:]:  # decoders of JPEG 2000 fill up what is missing
        raise InputError("its compressed pixel data has no end marker: it is cut off, export again")
    found = _grid(frame)
    if found is None:
        raise InputError("its compressed pixel data has no header of its own: it is cut off or corrupt, export again")
    rows, columns, samples, bits = found
    if (rows, columns) != (full.Rows, full.Columns):
        came = f"{rows} x {columns} pixels in its compressed data"
        raise InputError(f"{came}, {full.Rows} x {full.Columns} in its header: expected the same, export again")
    if samples != 1 or not 1 < bits <= full.BitsAllocated:
        came = f"{samples} samples a pixel of {bits} bits in its compressed data"
        raise InputError(f"{came}: expected 1 of at most {full.BitsAllocated} bits, as its header says, export again")


def _grid(stream: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, samples and bits that a codestream states; None where it states none.

    They lie in the frame header of JPEG and JPEG-LS (ISO/IEC 10918-1 section B.2.2) and in the SIZ marker segment of
    JPEG 2000 (ISO/IEC 15444-1 section A.5.1).
    """
    if stream.startswith(_CODESTREAM) and len(stream) >= 45:
        right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
        samples, bits, across, down = struct.unpack_from(">H3B", stream, 40)
        subsampled = (across, down) != (1, 1)  # not what a grey image has
        return None if subsampled else (bottom - top, right - left, samples, (bits & 0x7F) + 1)
    at = 2
    while at + 10 <= len(stream) and stream[at] == 0xFF:
        if stream[at + 1] in _START_OF_FRAME:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", stream, at + 4)
            return rows, columns, samples, bits
        fill = stream[at + 1] == 0xFF
        at += 1 if fill else 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return None
