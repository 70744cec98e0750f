"""One DICOM file opened and judged: its data set and stored pixels, or one line that says why it cannot be used."""

import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, uid
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels import get_decoder

from latentsr.errors import InputError
from latentsr.io.dicom_series import OF_A_STACK

# What pydicom and its decoders raise on files that break the standard.
MALFORMED = (
    InvalidDicomError, BytesLengthException, ValueError, TypeError, KeyError, IndexError, AttributeError, LookupError,
    NotImplementedError, RuntimeError, EOFError, OSError, OverflowError, struct.error, zlib.error,
)  # fmt: skip

# Single-frame grey classes whose attributes `dicom_derive` knows how to bring onto a finer grid.
SOP_CLASSES = {
    uid.MRImageStorage: "MR",
    uid.CTImageStorage: "CT",
    uid.PositronEmissionTomographyImageStorage: "PET",
    uid.ComputedRadiographyImageStorage: "CR",
    uid.DigitalXRayImageStorageForPresentation: "DX",
    uid.DigitalXRayImageStorageForProcessing: "DX",
    uid.DigitalMammographyXRayImageStorageForPresentation: "MG",
    uid.DigitalMammographyXRayImageStorageForProcessing: "MG",
    uid.SecondaryCaptureImageStorage: "SC",
}

# PS3.3 C.7.6.1.1.5.1: the defined term of each transfer syntax that loses something, or may.
LOSSY_METHODS = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}

_PREAMBLE = 132
_WHOLE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps pydicom's and highdicom's warnings and log lines off the terminal inside the block."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class Outline(NamedTuple):
    """What sorts a DICOM file into a stack: its identifiers, what `dicom_series` compares, and if it is a DICOMDIR."""

    instance: str
    series: str
    number: int | None
    header: Dataset
    directory: bool


def is_dicom(path: Path) -> bool:
    """True where the file begins with DICOM's preamble (PS3.10 section 7.1); OSError where it cannot be opened."""
    with path.open("rb") as file:
        return file.read(_PREAMBLE)[128:] == b"DICM"


def outline(path: Path) -> Outline | None:
    """The outline of a DICOM file, read without its pixels; None if it is malformed."""
    tags = ["SOPInstanceUID", "SeriesNumber", "ImagePositionPatient", *OF_A_STACK]
    try:
        with quiet():
            found = dcmread(path, stop_before_pixels=True, specific_tags=tags)
            number = found.get("SeriesNumber")
            return Outline(
                str(found.get("SOPInstanceUID")),
                str(found.get("SeriesInstanceUID")),
                None if number is None else int(number),
                _plain(found),
                found.file_meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage,
            )
    except MALFORMED:
        return None


def load(path: Path, *, force: bool = False) -> tuple[Dataset, NDArray[Any]]:
    """The data set without its pixels, and the stored integers (rows, columns), of a single-frame grey image.

    `force` lets an image with burned-in annotation through. InputError for all that cannot be enlarged.
    """
    try:
        with quiet():
            full = dcmread(path)
            _refuse_unfit(full, path, force)
            stored = _decode(full, path)
            _note_lossy(full)
            return _plain(full), stored
    except MALFORMED as error:
        raise InputError(f"{path} is not a whole DICOM file ({type(error).__name__}): export it again") from error


def _plain(full: Dataset) -> Dataset:
    """The data set with every element decoded and no pixels, free of the file that it came from."""
    header = Dataset()
    for element in full:
        if element.tag not in (0x7FE00008, 0x7FE00009, 0x7FE00010):
            header.add(element)
    return header


def _refuse_unfit(full: Dataset, path: Path, force: bool) -> None:
    kind = uid.UID(str(full.get("SOPClassUID", "") or "")).name or "an unnamed class"
    if "PixelData" not in full:
        raise InputError(f"{path} holds no pixels ({kind}): give an image file")
    if (frames := int(full.get("NumberOfFrames") or 1)) > 1:
        raise InputError(f"{path} is multi-frame ({frames} frames): split it into single-frame files first")
    if full.get("SOPClassUID") not in SOP_CLASSES:
        accepted = ", ".join(dict.fromkeys(SOP_CLASSES.values()))
        raise InputError(f"{path} is of {kind}: expected a single-frame image of {accepted}")
    _refuse_colour(full, path)
    _refuse_odd_pixels(full, path)
    if missing := [name for name in _UIDS if not full.get(name)]:
        raise InputError(f"{path} has no {' and no '.join(missing)}: give it one, else its output has no identity")
    if full.get("BurnedInAnnotation") == "YES" and not force:
        raise InputError(f"{path} has burned-in annotation, which may name the patient: give --force if it may be used")


def _refuse_colour(full: Dataset, path: Path) -> None:
    sense = full.get("PhotometricInterpretation")
    if full.get("SamplesPerPixel", 1) != 1 or sense not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"{path} is a colour image ({sense}): expected MONOCHROME1 or MONOCHROME2, convert it to grey")


def _refuse_odd_pixels(full: Dataset, path: Path) -> None:
    if missing := [name for name in _WHOLE if full.get(name) is None]:
        raise InputError(f"{path} does not say its {', '.join(missing)}: export it again")
    if full.Rows < 2 or full.Columns < 2:
        raise InputError(f"{path} has {full.Rows} x {full.Columns} pixels: expected at least 2 x 2")
    allocated, stored, high = full.BitsAllocated, full.BitsStored, full.HighBit
    if allocated not in (8, 16) or not 1 < stored <= allocated or high != stored - 1:
        came = f"{stored} of {allocated} bits, high bit {high}"
        raise InputError(f"{path} stores {came}: expected 8 or 16 allocated and the high bit one below the stored ones")
    if full.PixelRepresentation not in (0, 1):
        raise InputError(f"{path} has PixelRepresentation {full.PixelRepresentation}: expected 0 or 1")
    slope, intercept = float(full.get("RescaleSlope", 1) or 0), float(full.get("RescaleIntercept", 0) or 0)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise InputError(f"{path} has a rescale slope of {slope:g}: expected a number other than 0")


def _decode(full: Dataset, path: Path) -> NDArray[Any]:
    syntax = full.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax.is_encapsulated and not get_decoder(syntax).is_available:
        packages = "python-gdcm pylibjpeg pylibjpeg-openjpeg pyjpegls"
        raise InputError(f"{path} is compressed ({syntax.name}) and no codec for it is here: pip install {packages}")
    try:
        with _mute_codecs():
            stored: NDArray[Any] = full.pixel_array
    except MALFORMED as error:
        form = f"{syntax.name}, {full.BitsStored} bit"
        fix = "decompress it with dcmdjpeg or gdcmconv" if syntax.is_encapsulated else "export it again"
        raise InputError(f"{path}: its pixel data ({form}) is cut off, corrupt or of a rare kind: {fix}") from error
    if stored.shape != (full.Rows, full.Columns):
        raise InputError(f"{path}: its pixels are {stored.shape}, not {full.Rows} x {full.Columns}: export it again")
    return stored


@contextmanager
def _mute_codecs() -> Iterator[None]:
    """Sends what C libraries print on standard error to nowhere: their complaint becomes our one line."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _note_lossy(full: Dataset) -> None:
    """Marks an image that comes out of a lossy syntax, with ratio and method, where the file itself does not."""
    method = LOSSY_METHODS.get(full.file_meta.TransferSyntaxUID)
    if method is None or full.get("LossyImageCompression") == "00":
        return
    uncompressed = full.Rows * full.Columns * full.BitsAllocated / 8
    facts = {"": "01", "Method": method, "Ratio": f"{uncompressed / len(full.PixelData):.4g}"}
    for ending, fact in facts.items():
        if not full.get(f"LossyImageCompression{ending}"):
            setattr(full, f"LossyImageCompression{ending}", fact)
