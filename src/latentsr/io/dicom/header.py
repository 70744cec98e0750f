"""Reading and checking of one DICOM file: its data set and stored pixels, or one line with the reason of refusal."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, uid
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.multival import MultiValue
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.tag import BaseTag

from latentsr.errors import InputError, NotAnImageError
from latentsr.io.dicom.geometry import OF_A_STACK, Slice
from latentsr.io.dicom.pixels import decode, syntax_name
from latentsr.io.raster import quiet
from latentsr.volume import MAX_PIXELS

# What pydicom and its decoders raise on files that break the standard.
MALFORMED = (
    InvalidDicomError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, OSError,
    OverflowError, struct.error, zlib.error,
)  # fmt: skip

# Classes of grey frames, whose geometry functional groups hold (PS3.3 C.7.6.16).
ENHANCED = {
    uid.EnhancedMRImageStorage: "Enhanced MR",
    uid.LegacyConvertedEnhancedMRImageStorage: "Enhanced MR",
    uid.EnhancedCTImageStorage: "Enhanced CT",
    uid.LegacyConvertedEnhancedCTImageStorage: "Enhanced CT",
    uid.EnhancedPETImageStorage: "Enhanced PET",
    uid.LegacyConvertedEnhancedPETImageStorage: "Enhanced PET",
}
# Those whose frames may become files of their own, and the class of these.
SINGLE = {
    uid.EnhancedMRImageStorage: uid.MRImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage: uid.MRImageStorage,
    uid.EnhancedCTImageStorage: uid.CTImageStorage,
    uid.LegacyConvertedEnhancedCTImageStorage: uid.CTImageStorage,
}
# Those that may hold several frames; all others hold one.
FRAMES = {
    **ENHANCED,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: "SC",
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: "SC",
    uid.UltrasoundMultiFrameImageStorage: "US",
    uid.XRayAngiographicImageStorage: "XA",
    uid.XRayRadiofluoroscopicImageStorage: "RF",
}

# Grey classes whose attributes `derived.derive` brings onto a finer grid.
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
    uid.UltrasoundImageStorage: "US",
    **FRAMES,
}

# PS3.3 C.7.6.1.1.5.1: the defined term of each transfer syntax that loses something, or may.
LOSSY_METHODS = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}

PREAMBLE, MAGIC = 132, b"DICM"  # bytes, the last of which are the magic word (PS3.10 section 7.1)
# Functional groups that hold what a single-frame image has at its top, the first that a file has (PS3.3 C.7.6.16.2).
GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"),
}
FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# What else tells stacks and slices at one position apart: element of a group, and of a single-frame image.
_TELLING = {
    **dict.fromkeys(FRAME_TYPES, (("FrameType", "ImageType"), ("ComplexImageComponent",) * 2)),
    "FrameContentSequence": (("TemporalPositionIndex", "TemporalPositionIdentifier"),),
    "MREchoSequence": (("EffectiveEchoTime", "EchoTime"),),
    "MRDiffusionSequence": (("DiffusionBValue", "DiffusionBValue"),),
}
TELLING = {name for pairs in _TELLING.values() for _, name in pairs}

_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)

# Of a name that PS3.6 registers for a class of images; all other storage classes hold none.
_IMAGE_CLASS = ("Image Storage", "US Volume Storage", "DICOS")

# The elements that reading and enlarging compute with, and how many numbers each holds (PS3.6 table 6-1).
_INTEGERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_NUMBERS = {
    **dict.fromkeys(_INTEGERS, 1),
    **dict.fromkeys(("SamplesPerPixel", "NumberOfFrames", "SeriesNumber", "InstanceNumber", "AcquisitionNumber"), 1),
    **dict.fromkeys(("RescaleSlope", "RescaleIntercept", "SliceThickness", "SpacingBetweenSlices"), 1),
    **dict.fromkeys(("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"), 2),
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
}
_LARGEST = 1e30  # of a number in a header: float32 holds its square no more

# Limits of a header, so that no file of a few bytes takes unbounded memory or time.
_DEEPEST = 16  # levels of nested sequences: pydicom's time and messages double with each where one cannot be written
_TOO_DEEP = f"sequences nested over {_DEEPEST} levels deep"
_MOST_READS = 200_000  # of elements; two or three an element
_SEQUENCES = 2**20  # bytes of all sequences together, which become up to a hundred times as much
_ITEM = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")  # its tag in either byte order
_BESIDE_PIXELS = 2**26  # bytes of a data set that are not pixels
_CHUNK = 2**20
_A_READ = 16  # bytes of a file of frames that allow one read more: functional groups have hundreds of elements a frame
_GROUPS_A_FRAME, _LARGEST_GROUPS = 2**15, 2**26  # bytes of sequences for each frame more, and of all
_SHOWN = 8  # numbers of an element in a message


@contextmanager
def refusing(message: str) -> Iterator[None]:
    """Raises InputError with `message` and the kind of fault where a malformed header ends the block; is `quiet`."""
    try:
        with quiet():
            yield
    except MALFORMED as error:
        fault = _TOO_DEEP if isinstance(error, RecursionError) else type(error).__name__
        raise InputError(f"{message} ({fault}): mend the file or export it again") from error


class Outline(NamedTuple):
    """Identifiers of a DICOM file, the elements that `series.stacks` compares, and whether it is a DICOMDIR.

    `single`: whether it is of a class of one image a file; `enhanced`: of one in `SINGLE`.
    """

    instance: str
    series: str
    number: int
    header: Dataset
    directory: bool
    single: bool
    enhanced: bool


def is_dicom(path: Path) -> bool:
    """Whether the file begins with DICOM's preamble; OSError where it cannot be opened."""
    with path.open("rb") as file:
        start = file.read(PREAMBLE)
    return len(start) == PREAMBLE and start.endswith(MAGIC)


def outline(path: Path) -> Outline | None:
    """The outline of a file, read without its pixels; None if it is malformed or no DICOM."""
    tags = ["SOPInstanceUID", "SeriesNumber", "ImagePositionPatient", *OF_A_STACK]
    try:
        if not is_dicom(path):
            return None
        with quiet():
            found = _read(path, MAX_PIXELS, stop_before_pixels=True, specific_tags=tags)
            return Outline(
                str(found.get("SOPInstanceUID")),
                str(found.get("SeriesInstanceUID")),
                int(found.get("SeriesNumber") or 0),
                _plain(found, path),
                found.file_meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage,
                found.get("SOPClassUID") not in FRAMES,
                found.get("SOPClassUID") in SINGLE,
            )
    except (InputError, *MALFORMED):
        return None


def indexed(path: Path) -> tuple[list[Path], list[Path]]:
    """The files that a DICOMDIR lists, those below its folder that are there and those that are not (PS3.3 F.3).

    Its records are read one after another: their offsets, which pydicom's FileSet follows, may lead in circles.
    InputError where it is malformed.
    """
    listed: dict[Path, None] = {}
    with refusing(f"{path} is not a whole DICOMDIR"):
        for record in _read(path, MAX_PIXELS).get("DirectoryRecordSequence") or ():
            if (parts := record.get("ReferencedFileID")) and record.get("RecordInUseFlag") != 0:
                listed[Path(*([parts] if isinstance(parts, str) else parts))] = None
    found, missing = list[Path](), list[Path]()
    for name in listed:
        # Media name files in capitals, some systems show them in small letters.
        places = (path.parent / name, path.parent / str(name).lower())
        inside = not name.is_absolute() and ".." not in name.parts
        place = next((place for place in places if inside and place.is_file()), None)
        (missing if place is None else found).append(place or name)
    return found, missing


def load(path: Path, *, force: bool = False, max_pixels: int = MAX_PIXELS) -> tuple[Dataset, NDArray[Any]]:
    """The data set of a grey image without its pixels, and the stored integers: (rows, columns).

    Of a class that may hold several frames they are (frames, rows, columns). `force` lets an image with burned-in
    annotation through.

    Raises:
        NotAnImageError: the file is of a class without an image, such as a report, or a whole DICOMDIR
        InputError: the image cannot be enlarged
    """
    with refusing(f"{path} is not a whole DICOM file"):
        kind = read_file_meta_info(path).get("MediaStorageSOPClassUID")
        if kind == uid.MediaStorageDirectoryStorage:
            found, missing = indexed(path)
            if missing:
                came = f"lists {len(found) + len(missing)} files, {len(missing)} of which are missing"
                raise InputError(f"{path} {came}, the first {missing[0]}: copy the medium as a whole")
            raise NotAnImageError(f"{path} holds no image but the names of {len(found)} files: give its folder")
        _refuse_class(kind, path)
        full = _read(path, max_pixels)
        _refuse_class(full.get("SOPClassUID"), path)
        if "PixelData" not in full:
            kind = full.get("SOPClassUID")
            vendors_own = kind and str(kind) not in uid.UID_dictionary  # such as Siemens' reports and raw data
            message = f"{path} holds no pixels ({class_name(kind)}): give an image file"
            raise NotAnImageError(message) if vendors_own else InputError(message)
        for fault in _faults(full, path, force, max_pixels):
            raise InputError(f"{path}: {fault}")
        header, stored = _plain(full, path), _decoded(full, path)
        # An image out of a lossy syntax is marked with method and ratio where the file itself does not say them.
        method = LOSSY_METHODS.get(full.file_meta.TransferSyntaxUID)
        if method and header.get("LossyImageCompression") != "00":
            ratio = stored.size * full.BitsAllocated / 8 / len(full.PixelData)
            for ending, fact in {"": "01", "Method": method, "Ratio": f"{ratio:.4g}"}.items():
                if not header.get(f"LossyImageCompression{ending}"):
                    setattr(header, f"LossyImageCompression{ending}", fact)
        return header, stored


class _BoundedFile(io.BufferedReader):
    """A file that fails where a header takes more reads than that of an image."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(os.fspath(path)))
        self.left = _MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise OSError("more reads than an image takes")
        return super().read(size)


def _read(path: Path, max_pixels: int, **options: Any) -> Dataset:
    """The data set as pydicom reads it; a file that would take unbounded memory or time is refused."""
    meta = read_file_meta_info(path)
    with _BoundedFile(path) as file:
        if str(meta.get("MediaStorageSOPClassUID")) in (*FRAMES, uid.MediaStorageDirectoryStorage):
            file.left += os.fstat(file.fileno()).st_size // _A_READ
        if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
            # Inflate piece by piece and keep nothing (PS3.5 section A.5).
            limit = 2 * max_pixels + _BESIDE_PIXELS
            elements = [one for one in read_file_meta_info(path).elements() if isinstance(one, RawDataElement)]
            file.seek(max(one.value_tell + one.length for one in elements))
            content, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
            while not content.eof and (piece := content.unconsumed_tail or file.read(_CHUNK)):
                total += len(content.decompress(piece, _CHUNK))
                if total > limit:
                    expected = "expected less, raise the option max_pixels"
                    raise InputError(f"{path} inflates to over {limit} bytes: {expected}")
            if not content.eof:
                raise InputError(f"{path} is deflated and cut off: copy or export it again")
            file.seek(0)
        return dcmread(file, **options)


def _plain(full: Dataset, path: Path) -> Dataset:
    """The data set with every element decoded and no pixels, free of the file that it came from."""
    size = 0  # bytes of sequences that are not decoded yet
    for element in full.elements():
        if isinstance(element, RawDataElement) and element.value:
            vr = element.VR or (dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else "UN")
            size += len(element.value) if vr == "SQ" or (vr == "UN" and element.value[:4] in _ITEM) else 0
    frames = full.get("NumberOfFrames") if full.get("SOPClassUID") in FRAMES else 0
    most = min(_SEQUENCES + _GROUPS_A_FRAME * max(0, int(frames or 0)), _LARGEST_GROUPS)
    if size > most:
        raise InputError(f"{path} has sequences of {size} bytes: expected at most {most}, as an image's header has")
    header = Dataset()
    for tag in sorted(full.keys()):
        if tag not in _PIXELS:
            header.add(_element(full, tag, path))
            _refuse_depth(header[tag], path, 1)

    def swap_words(_: Dataset, element: DataElement) -> None:
        if element.VR == "OW" and element.value:
            element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()

    if full.original_encoding[1] is False:  # words other than pixels, such as overlays, are written as little endian
        header.walk(swap_words)
    return header


def _element(data: Dataset, tag: BaseTag, path: Path) -> DataElement:
    """A decoded element; InputError that names it, and not its value, where it is none of its type."""
    try:
        return data[tag]
    except RecursionError:
        raise
    except MALFORMED as error:
        name = keyword_for_tag(tag) or tag
        raise InputError(f"{path}: {name} holds no value of its type: mend the header") from error


def _refuse_depth(element: DataElement, path: Path, depth: int) -> None:
    """Raises InputError where sequences lie in sequences more than `_DEEPEST` times."""
    if element.VR != "SQ":
        return
    if depth > _DEEPEST:
        raise InputError(f"{path} has {_TOO_DEEP}: expected the header of an image")
    for item in element.value:
        for inner in item.elements():
            if inner.VR in ("SQ", "UN", None):
                _refuse_depth(_element(item, inner.tag, path), path, depth + 1)


def class_name(value: object) -> str:
    """The registered name of a SOP class; never what else the element holds, which may be of the patient."""
    return str(uid.UID(str(value)).name) if str(value) in uid.UID_dictionary else "an unregistered class"


def _refuse_class(value: object, path: Path) -> None:
    """Raises NotAnImageError for a registered class of which no file is an image."""
    if str(value) in uid.UID_dictionary and not any(part in class_name(value) for part in _IMAGE_CLASS):
        raise NotAnImageError(f"{path} holds no image but {class_name(value)}: give images")


def _faults(full: Dataset, path: Path, force: bool, max_pixels: int) -> Iterator[str]:
    """What keeps an image from being enlarged; a later fault is looked for only where the earlier ones are absent."""
    yield from _false_numbers(full, path)
    frames, kind = full.get("NumberOfFrames"), str(full.get("SOPClassUID"))
    frames = 1 if frames in (None, "") else int(frames)
    if kind not in SOP_CLASSES:
        accepted = ", ".join(dict.fromkeys(SOP_CLASSES.values()))
        yield f"of {class_name(kind)}: expected an image of {accepted}"
    if frames > 1 and kind not in FRAMES:
        accepted = f"one in a file of {class_name(kind)}"
        yield f"multi-frame ({frames} frames): expected {accepted}, split it into single-frame files first"
    if frames < 1 and kind in FRAMES:
        yield f"NumberOfFrames {frames}: expected 1 or more, export it again"
    came = full.get("PhotometricInterpretation")
    if full.get("SamplesPerPixel") not in (None, 1) or came not in _GREY:
        kind = came if came in list(PhotometricInterpretation) else "of an unknown kind"  # PS3.3 C.7.6.3.1.2
        yield f"a colour image ({kind}): expected {' or '.join(_GREY)}, convert it to grey"
    if missing := [name for name in _INTEGERS if full.get(name) is None]:
        yield f"no {', '.join(missing)} in its header: export it again"
    if full.Rows < 2 or full.Columns < 2:
        yield f"{full.Rows} x {full.Columns} pixels: expected at least 2 x 2"
    if full.Rows * full.Columns * frames > max_pixels:
        expected = f"expected at most {max_pixels}, raise the option max_pixels"
        yield f"{f'{frames} frames of ' if frames > 1 else ''}{full.Rows} x {full.Columns} pixels: {expected}"
    allocated, stored, high = full.BitsAllocated, full.BitsStored, full.HighBit
    if allocated not in (8, 16) or not 1 < stored <= allocated or high != stored - 1:
        expected = "expected 8 or 16 allocated and the high bit one below the stored ones"
        yield f"{stored} of {allocated} bits stored, high bit {high}: {expected}"
    if full.PixelRepresentation not in (0, 1):
        yield f"PixelRepresentation {full.PixelRepresentation}: expected 0 or 1"
    if missing := [name for name in _UIDS if not isinstance(full.get(name), str) or not full.get(name)]:
        yield f"no {' and no '.join(missing)}: give it one, else its output has no identity"
    if full.get("BurnedInAnnotation") == "YES" and not force:
        yield "burned-in annotation, which may name the patient: set the option force if it may be used"


def _false_numbers(data: Dataset, path: Path) -> Iterator[str]:
    """Which elements do not hold the numbers that reading and enlarging compute with."""
    for keyword, count in _NUMBERS.items():
        tag = BaseTag(tag_for_keyword(keyword) or 0)
        value = _element(data, tag, path).value if tag in data else None
        if value is None or value == "":
            continue
        values = list(value) if isinstance(value, MultiValue | list) else [value]
        numbers = [isinstance(one, int | float) and abs(one) < _LARGEST for one in values]
        if len(values) != count or not all(numbers):
            shown = list(zip(values, numbers, strict=True))[:_SHOWN]
            came = ", ".join(f"{one:g}" if number else "no number" for one, number in shown)
            expected = f"{count} finite number{'s' if count > 1 else ''}"
            yield f"{keyword} holds {came}: expected {expected}, mend the header"
        if keyword in _INTEGERS and not isinstance(value, int):
            yield f"{keyword} is no integer: mend the header"
    if data.get("RescaleSlope") == 0:
        yield "a rescale slope of 0: expected a number other than 0"


def frames(file: Slice) -> list[Slice]:
    """The frames of a file, in its order, each with a header like that of a single-frame image.

    That is what the file says of all its frames, with the functional groups of the one frame at its top. Frames of a
    file without such groups share a header. InputError where the groups are not those of so many frames, are missing
    in some, differ from what all share, or hold false numbers.
    """
    header, path, count = file.header, file.path, len(file.stored)
    top = Dataset()
    for element in header:
        if element.keyword not in (SHARED, PER_FRAME, "NumberOfFrames"):
            top.add(element)
    shared, own = (header.get(SHARED) or [Dataset()])[0], header.get(PER_FRAME) or []
    if len(own) != count and (own or header.SOPClassUID in ENHANCED):
        raise InputError(f"{path}: functional groups of {len(own)} frames: expected {count}, as many as it holds")
    made: list[Dataset] = []
    first: dict[tuple[str, bool], int] = {}  # the number of the first frame with a group, and of the first without
    for number, groups in enumerate(own or [Dataset()] * (count if len(shared) else 0), 1):
        made.append(Dataset())
        for element in top:
            made[-1].add(element)
        for group in (*GROUPS, *_TELLING):
            item = _group(group, groups, shared, f"{path}: frame {number}")
            first.setdefault((group, item is not None), number)
            same = ((keyword, keyword) for keyword in GROUPS.get(group, ()))
            for keyword, name in (*same, *_TELLING.get(group, ())):
                if item is not None and keyword in item:
                    found = _element(item, BaseTag(tag_for_keyword(keyword) or 0), path)
                    made[-1].add_new(name, found.VR, found.value)
        for fault in _false_numbers(made[-1], path):
            raise InputError(f"{path}: frame {number}: {fault}")
    for group in GROUPS:
        if len(found_in := [first[group, there] for there in (True, False) if (group, there) in first]) > 1:
            came = f"frame {found_in[0]} has a {group} and frame {found_in[1]} has none"
            raise InputError(f"{path}: {came}: expected one in all frames or in none, export it again")
    headers = made or [top] * count
    return [Slice(path, one, stored) for one, stored in zip(headers, file.stored, strict=True)]


def _group(name: str, own: Dataset, shared: Dataset, where: str) -> Dataset | None:
    """The item of a functional group of a frame; InputError where the frame contradicts what all frames share."""
    found = [(place.get(name) or [None])[0] for place in (own, shared)]
    if None not in found and found[0] != found[1]:
        raise InputError(f"{where} and all frames have a {name}, and they differ: expected it in one place")
    return found[1] if found[0] is None else found[0]


def _decoded(full: Dataset, path: Path) -> NDArray[Any]:
    frames = int(full.get("NumberOfFrames") or 1) if full.SOPClassUID in FRAMES else 1
    try:
        stored = decode(full, frames)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except MALFORMED as error:
        form = f"{syntax_name(full)}, {full.BitsStored} bit"
        fix = "decompress it with dcmdjpeg or gdcmconv" if "OB" in full["PixelData"].VR else "export it again"
        raise InputError(f"{path}: its pixel data ({form}) is cut off, corrupt or of a rare kind: {fix}") from error
    if stored.shape != (frames, full.Rows, full.Columns):
        came, expected = (" x ".join(map(str, shape)) for shape in (stored.shape, (frames, full.Rows, full.Columns)))
        raise InputError(f"{path}: its pixels are {came}, not {expected}: export it again")
    return stored if full.SOPClassUID in FRAMES else stored[0]
