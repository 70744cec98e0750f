"""Geometry of DICOM images: spacing, position and affine of a grid, its change to a finer one; stacks and mosaics."""

import math
import re
import struct
from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from latentsr.errors import InputError
from latentsr.volume import first_pixel_shift

Affine = NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")

# Shutter and collimator edges are given as pixels, counted from 1 (PS3.3 C.7.6.11 and C.8.7.3).
_EDGES = (
    "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge",
    "CollimatorLeftVerticalEdge", "CollimatorRightVerticalEdge", "CollimatorUpperHorizontalEdge",
    "CollimatorLowerHorizontalEdge", "CenterOfCircularShutter", "VerticesOfThePolygonalShutter",
    "CenterOfCircularCollimator", "VerticesOfThePolygonalCollimator",
)  # fmt: skip
_OVERLAYS, _CURVES = 0x6000, 0x5000  # the first of each repeating family of groups
_RADII = ("RadiusOfCircularShutter", "RadiusOfCircularCollimator")

# Elements of an overlay's repeating group 60xx (PS3.3 C.9.2).
_ROWS, _COLUMNS, _FRAMES, _ORIGIN, _BITS, _DATA = 0x0010, 0x0011, 0x0015, 0x0050, 0x0100, 0x3000
_OF_ITS_PIXELS = (0x1301, 0x1302, 0x1303)  # area, mean and standard deviation of the region


def spacing(header: Dataset) -> tuple[float, float] | None:
    """The (row, column) spacing in mm, in the patient or else at the detector; None if none is positive."""
    for keyword in SPACINGS:
        values = header.get(keyword)
        if values is not None and len(values) == 2 and min(values) > 0:
            return float(values[0]), float(values[1])
    return None


def move_to_finer_grid(image: Dataset, scale: int) -> None:
    """Changes spacing, position, shutters, overlays and regions in place, for pixels `scale` times finer in plane."""
    for group in (*_groups(image, _OVERLAYS), *_groups(image, _CURVES)):
        if group >= _OVERLAYS and _is_whole(image, group):
            _enlarge_overlay(image, group, scale)
        else:
            for tag in [element.tag for element in image.group_dataset(group)]:
                del image[tag]
    for keyword in SPACINGS:
        if image.get(keyword) and not min(image[keyword].value) > 0:
            del image[keyword]
    if scale == 1:
        return  # every digit of the geometry stays
    if is_placed(image):
        image.ImagePositionPatient = decimals(position(image, scale))
    for keyword in SPACINGS:
        if image.get(keyword):
            setattr(image, keyword, decimals(np.array(image[keyword].value, np.float64) / scale))
    for keyword in (*_EDGES, *_RADII):
        if (value := image.get(keyword)) in (None, ""):
            continue
        coarse = np.array(value, int)
        finer = coarse * scale if keyword in _RADII else np.round((coarse - 0.5) * scale + 0.5).astype(int)
        setattr(image, keyword, finer.tolist())
    for region in image.get("SequenceOfUltrasoundRegions") or ():
        _enlarge_region(region, scale)
    for mask in image.get("MaskSubtractionSequence") or ():
        if mask.get("MaskSubPixelShift"):  # in pixels (PS3.3 C.7.6.10)
            mask.MaskSubPixelShift = [value * scale for value in mask.MaskSubPixelShift]


def left_out(header: Dataset) -> list[str]:
    """What a derived image cannot keep of its source, one text each."""
    texts = []
    if not all(_is_whole(header, group) for group in _groups(header, _OVERLAYS)):
        texts.append("an overlay without bits of its own (60xx): it is left out of the output")
    if _groups(header, _CURVES):
        texts.append("curves (50xx, retired): they are left out of the output")
    if any(header.get(keyword) and not min(header[keyword].value) > 0 for keyword in SPACINGS):
        texts.append("a pixel spacing of 0: the output says none")
    return texts


def steps(header: Dataset) -> Affine:
    """The vectors in mm from a pixel to the next one in its row and in its column, (2, 3) (PS3.3 C.7.6.2.1.1)."""
    directions = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
    row_spacing, column_spacing = spacing(header) or (1.0, 1.0)
    return np.asarray(directions * [[column_spacing], [row_spacing]])


def position(header: Dataset, scale: int) -> Affine:
    """Where the centre of the first pixel of the finer grid lies in the patient, in mm."""
    return np.asarray(origin(header) + first_pixel_shift(scale) * steps(header).sum(axis=0))


def origin(header: Dataset) -> Affine:
    """Where the centre of the first pixel lies in the patient, in mm."""
    return np.array(header.ImagePositionPatient, np.float64)


def affine(headers: Sequence[Dataset]) -> Affine:
    """Maps (column, row, slice) of the source's grid to mm in NIfTI's axes, right, anterior, superior.

    DICOM's first two axes point the other way. Without a position the image lies at the origin, rows downwards.
    """
    if not is_placed(headers[0]):
        row_spacing, column_spacing = spacing(headers[0]) or (1.0, 1.0)
        return np.diag([column_spacing, -row_spacing, 1.0, 1.0])
    first, last = origin(headers[0]), origin(headers[-1])
    thickness = float(headers[0].get("SliceThickness") or 1)
    between = (last - first) / (len(headers) - 1) if len(headers) > 1 else normal(headers[0]) * thickness
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([*steps(headers[0]), between, first])
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def is_placed(header: Dataset) -> bool:
    """Whether the header holds position, orientation and spacing of its pixels in the patient."""
    sizes = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    return all(np.size(header.get(keyword)) == size for keyword, size in sizes.items())


def normal(header: Dataset) -> Affine:
    """The unit normal of the image plane: row direction x column direction (PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
    return np.asarray(np.cross(along_row, along_column))


def decimals(values: NDArray[Any]) -> list[DSfloat]:
    """DICOM's decimal strings of numbers: as many digits as 16 characters hold."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _groups(image: Dataset, first: int) -> list[int]:
    """The groups of a repeating family that the data set has; odd ones are private."""
    return sorted({one.tag.group for one in image if first <= one.tag.group <= first + 0xFE and one.tag.group % 2 == 0})


def _is_whole(image: Dataset, group: int) -> bool:
    """Whether an overlay is one picture with bits of its own, not in the unused bits of the pixels (retired)."""
    if any((group, element) not in image for element in (_ROWS, _COLUMNS, _DATA)):
        return False
    if any((group, element) in image and image[group, element].value != 1 for element in (_FRAMES, _BITS)):
        return False
    rows, columns, data = (image[group, element].value for element in (_ROWS, _COLUMNS, _DATA))
    return bool(rows and columns and data and 8 * len(data) >= rows * columns)


def _enlarge_overlay(image: Dataset, group: int, scale: int) -> None:
    """Repeats each bit `scale` times along both axes: bits are packed, the first one lowest (PS3.5 section 8.1.2)."""
    if scale == 1:
        return
    rows, columns = image[group, _ROWS].value, image[group, _COLUMNS].value
    packed = np.frombuffer(image[group, _DATA].value, np.uint8)
    bits = np.unpackbits(packed, count=rows * columns, bitorder="little").reshape(rows, columns)
    fine = np.packbits(bits.repeat(scale, axis=0).repeat(scale, axis=1), bitorder="little").tobytes()
    image[group, _DATA].value = fine + b"\0" * (len(fine) % 2)
    image[group, _ROWS].value, image[group, _COLUMNS].value = rows * scale, columns * scale
    if (group, _ORIGIN) in image:
        image[group, _ORIGIN].value = [(first - 1) * scale + 1 for first in image[group, _ORIGIN].value]
    for element in _OF_ITS_PIXELS:
        if (group, element) in image:
            del image[group, element]


def _enlarge_region(region: Dataset, scale: int) -> None:
    """Brings a calibrated region of ultrasound onto the finer grid: its corners, reference pixel and size of a pixel.

    Corners are the first and last pixels, counted from 0 at the image's first, and the reference pixel is counted from
    the region's (PS3.3 C.8.5.5). Its fine pixel is the first in the coarse one, whose centre lies elsewhere.
    """
    for corner in ("RegionLocationMinX0", "RegionLocationMinY0"):
        if corner in region:
            region[corner].value *= scale
    for corner in ("RegionLocationMaxX1", "RegionLocationMaxY1"):
        if corner in region:
            region[corner].value = (region[corner].value + 1) * scale - 1
    for axis in "XY":
        size, pixel, value = f"PhysicalDelta{axis}", f"ReferencePixel{axis}0", f"ReferencePixelPhysicalValue{axis}"
        if pixel in region:
            region[pixel].value *= scale
        if value in region and size in region:
            region[value].value += first_pixel_shift(scale) * region[size].value
        if size in region:
            region[size].value /= scale


_SAME = (
    ("PatientID", "another patient"),
    ("StudyInstanceUID", "another study"),
    ("SeriesInstanceUID", "another series"),
    ("SOPClassUID", "another SOP class"),
    ("FrameOfReferenceUID", "another frame of reference"),
    ("Rows", "another size"),
    ("Columns", "another size"),
    ("PhotometricInterpretation", "another photometric interpretation"),
    ("ImageType", "another image type"),
    ("ComplexImageComponent", "another component of complex values"),  # of frames: magnitude, phase, real, imaginary
)
_CLOSE = (("PixelSpacing", "another spacing", 1e-4), ("ImageOrientationPatient", "another orientation", 1e-3))

# Where vendors keep the b-value in s/mm2 and the component (0 magnitude, 1 phase, 2 real, 3 imaginary): group, creator,
# element.
_GE = "GEMS_PARM_01"
_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C), (0x0043, _GE, 0x39), (0x2001, "Philips Imaging DD 001", 0x03),
    (0x0065, "Image Private Header", 0x09),
)  # fmt: skip
_COMPONENTS = ((0x0043, _GE, 0x2F),)
SAME_B_VALUE = 5.0, 0.05  # how far b-values that count as one may differ, in s/mm2 and as a share
_GE_MARK = 1e9  # which GE adds to b-values that differ between directions
# What takes instances at one position apart: elements, of which the first that is there counts, and how far values of
# one kind may differ, as a number and as a share.
_CONTRASTS: tuple[tuple[tuple[str | tuple[int, str, int], ...], float, float], ...] = (
    (_COMPONENTS, 0, 0),
    (("EchoNumbers",), 0, 0),
    (("EchoTime",), 0.05, 0),  # ms
    (("DiffusionBValue", *_B_VALUES), *SAME_B_VALUE),
)
_ACQUISITION = ("AcquisitionNumber",)
OF_A_STACK = (
    *(keyword for keyword, *_ in (*_SAME, *_CLOSE)),
    *(name for names, *_ in _CONTRASTS for name in names if isinstance(name, str)),
    *_ACQUISITION,
    # Private elements lie in the first block of their group, unless a file was put together of several.
    *(tag for group, _, low in (*_B_VALUES, *_COMPONENTS) for tag in (group << 16 | 0x10, group << 16 | 0x1000 | low)),
)

_SAME_PLACE = 1e-3  # mm
_TILT = 0.01  # of the way upwards that slices may move sideways by rounding
_GAP_TOLERANCE = 0.1  # of the slice distance: headers round positions, and a missing slice doubles the distance


class Slice(NamedTuple):
    """One file of a series, or one frame of a file: its path, data set and stored pixels (rows, columns)."""

    path: Path
    header: Dataset
    stored: NDArray[Any]


def stacks(headers: Mapping[Key, Dataset]) -> list[list[Key]]:
    """The files or frames that belong together, in their order, a list for each; every one is in one stack.

    A stack has one grid, direction and type. Where it holds several instances at one position, it is taken apart by
    component, echo and b-value, and by acquisition unless one covers the places of the other: what is left at one
    position are points in time, directions of diffusion or repetitions. The headers need the elements `OF_A_STACK`
    alone.
    """
    found: list[list[Key]] = []
    for key, header in headers.items():
        fitting = (stack for stack in found if not _difference(headers[stack[0]], header))
        if (stack := next(fitting, None)) is not None:
            stack.append(key)
        else:
            found.append([key])
    for names, most, share in _CONTRASTS:
        found = [part for stack in found for part in _by_contrast(stack, headers, names, most, share)]
    return [part for stack in found for part in _by_acquisition(stack, headers)]


def _by_contrast(
    stack: list[Key],
    headers: Mapping[Key, Dataset],
    names: Sequence[str | tuple[int, str, int]],
    most: float,
    share: float,
) -> list[list[Key]]:
    """The stack by what the elements hold, the least first, if instances at one position differ in that."""
    kinds = alike([_number(headers[key], names) for key in stack], most, share)
    if len({*kinds}) == 1 or not all(is_placed(headers[key]) for key in stack):
        return [stack]
    levels = _levels([headers[key] for key in stack]).tolist()
    if len({*zip(levels, kinds, strict=True)}) == len({*levels}):
        return [stack]
    parts: dict[int, list[Key]] = {}
    for key, kind in zip(stack, kinds, strict=True):
        parts.setdefault(kind, []).append(key)
    return [parts[kind] for kind in sorted(parts)]


def alike(values: Sequence[float | None], most: float, share: float) -> list[int]:
    """A number for each value, equal for those of one kind: chains of values that differ by `most` and a share."""
    known = sorted({value for value in values if value is not None})
    kinds = dict[float | None, int]({None: -1})
    for before, after in pairwise([-np.inf, *known]):
        kinds[after] = kinds.get(before, 0) + (after - before > most + share * after)
    return [kinds[value] for value in values]


def _by_acquisition(stack: list[Key], headers: Mapping[Key, Dataset]) -> list[list[Key]]:
    """The stack by acquisition, if several lie at one position and none covers the places of all others."""
    if not all(is_placed(headers[key]) for key in stack):
        return [stack]
    levels = _levels([headers[key] for key in stack]).tolist()
    if len({*levels}) == len(levels):
        return [stack]
    acquisitions: dict[float | None, list[int]] = {}
    for index, key in enumerate(stack):
        acquisitions.setdefault(_number(headers[key], _ACQUISITION), []).append(index)
    parts: list[tuple[set[int], list[int]]] = []  # places and slices: the most places come first
    for indices in sorted(acquisitions.values(), key=lambda indices: -len({levels[index] for index in indices})):
        places = {levels[index] for index in indices}
        if (part := next((part for part in parts if places <= part[0]), None)) is not None:
            part[1].extend(indices)
        else:
            parts.append((places, indices))
    if len({place for places, _ in parts for place in places}) == sum(len(places) for places, _ in parts):
        return [stack]  # repetitions of each, side by side: parts of one volume
    return [[stack[index] for index in sorted(indices)] for _, indices in sorted(parts, key=lambda part: min(part[1]))]


def _number(header: Dataset, names: Sequence[str | tuple[int, str, int]]) -> float | None:
    """The first number that one of the elements holds; None where none does."""
    for name in names:
        value = header.get(name) if isinstance(name, str) else _private(header, name[0], name[1], name[2])
        value = value[0] if isinstance(value, MultiValue | list) and value else value
        if isinstance(value, bytes) and _NUMBER.fullmatch(value.strip(b" \0")):  # of an unknown type, text in fact
            value = float(value.strip(b" \0"))
        if isinstance(value, int | float) and np.isfinite(value):
            return float(value) % _GE_MARK
    return None


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices of one stack sorted by position along their normal.

    Slices at one position are sorted by what distinguishes them: time point, b-value, echo, then number, time
    and identifier of the instance. InputError, which names the file, where one does not fit into a stack with the first
    or does not say where it lies.
    """
    if len(slices) == 1:
        return list(slices)
    for one in slices:
        if what := _difference(slices[0].header, one.header):
            raise InputError(f"{one.path} is of {what} than {slices[0].path.name}: give such files apart")
        if not is_placed(one.header):
            raise InputError(f"{one.path} does not say where it lies: a series needs it, give its files one by one")
    numbers = ("TemporalPositionIdentifier", "DiffusionBValue", "EchoTime", "InstanceNumber")
    keys = []
    for level, (_, header, _) in zip(_levels([one.header for one in slices]), slices, strict=True):
        values = [header.get(keyword) for keyword in numbers]
        moment = [float(value) if isinstance(value, int | float) else -np.inf for value in values]
        keys.append((level, *moment, str(header.get("AcquisitionTime") or ""), str(header.get("SOPInstanceUID") or "")))
    return [slices[index] for index in sorted(range(len(slices)), key=keys.__getitem__)]


def irregularities(headers: Sequence[Dataset]) -> list[str]:
    """Irregular spacings of the slices of a stack, in their order or its reverse: one text each."""
    if len(headers) == 1 or not all(map(is_placed, headers)):
        return []
    distances = np.diff(_places(headers))
    distances = -distances if (distances < 0).all() else distances
    texts = []
    if (distances < _SAME_PLACE).any():
        texts.append("several slices at one position, such as time points: enlarged as they are, each for itself")
    gaps = distances[distances >= _SAME_PLACE]
    stated = abs(float(headers[0].get("SpacingBetweenSlices") or 0))
    usual = np.median(gaps) if len(gaps) else 0.0
    if len(gaps) == 1 and stated:  # which has no others to compare with
        usual = stated
    if (np.abs(gaps - usual) > _GAP_TOLERANCE * usual).any():
        texts.append("slices at uneven distances, perhaps one is missing: enlarged as they are, each for itself")
    return texts


def tilted(headers: Sequence[Dataset]) -> list[str]:
    """A text where the slices of a stack, in their order, lie beside each other and not only one above the other."""
    if len(headers) == 1 or not all(map(is_placed, headers)):
        return []
    way = origin(headers[-1]) - origin(headers[0])
    upwards = abs(way @ normal(headers[0]))
    if upwards < _SAME_PLACE or np.linalg.norm(way) <= upwards * math.hypot(1, _TILT):
        return []
    return ["slices moved sideways from one to the next (a tilted gantry): enlarged as they are, each for itself"]


def _places(headers: Sequence[Dataset]) -> NDArray[np.float64]:
    """Where the slices lie along the normal of the first, in mm."""
    return np.array([origin(header) for header in headers]) @ normal(headers[0])


def _levels(headers: Sequence[Dataset]) -> NDArray[np.int64]:
    """The number of the place of each slice, counted upwards from 0 along the normal of the first."""
    places = _places(headers)
    upwards = np.argsort(places, kind="stable")
    levels = np.empty(len(places), np.int64)
    levels[upwards] = np.cumsum(np.diff(places[upwards], prepend=places[upwards[0]]) > _SAME_PLACE)
    return levels


def _difference(first: Dataset, other: Dataset) -> str:
    """Why two files cannot be of one stack, such as "another size"; empty where they can."""
    for keyword, what in _SAME:
        if first.get(keyword) != other.get(keyword):
            return what
    for keyword, what, tolerance in _CLOSE:
        one, two = first.get(keyword) or (), other.get(keyword) or ()
        if len(one) != len(two) or not all(abs(a - b) <= tolerance for a, b in zip(one, two, strict=True)):
            return what
    return ""


def tiles(mosaic: Slice) -> list[Slice]:
    """The slices of a Siemens mosaic, each where it lies in the patient, as far as the header says that.

    The mosaic's own position is that of slices as large as the whole: theirs lie around the same centre. InputError
    where the header does not say how many slices there are, or not so many fit.
    """
    path, header, stored = mosaic
    facts = _siemens(header)
    own = _private(header, 0x0019, "SIEMENS MR HEADER", 0x0A)
    count = facts.get("NumberOfImagesInMosaic") or ([float(own)] if isinstance(own, int) else [])
    side = math.ceil(math.sqrt(count[0])) if count and count[0] >= 1 else 0
    rows, columns = stored.shape
    if not side or rows % side or columns % side or min(rows, columns) < 2 * side:
        came = f"of {count[0]:g} slices in {rows} x {columns} pixels" if count else "without NumberOfImagesInMosaic"
        expected = "expected a square of equal tiles, and how many of them are slices: keep private elements in exports"
        raise InputError(f"{path}: a Siemens mosaic {came}: {expected}")
    rows, columns = rows // side, columns // side
    upwards, between = facts.get("SliceNormalVector", []), header.get("SpacingBetweenSlices")
    found = []
    for number in range(int(count[0])):
        down, across = (offset * size for offset, size in zip(divmod(number, side), (rows, columns), strict=True))
        one = Dataset()
        for element in header:
            one.add(element)
        one.add_new("Rows", "US", rows)
        one.add_new("Columns", "US", columns)
        if is_placed(header) and between and len(upwards) == 3:
            offset = np.array([columns, rows]) * (side - 1) / 2 @ steps(header)
            place = origin(header) + offset + number * float(between) * np.array(upwards)
            one.add_new("ImagePositionPatient", "DS", decimals(place))
        else:
            one.pop("ImagePositionPatient", None)
        found.append(Slice(path, one, stored[down : down + rows, across : across + columns]))
    return found


def mosaics(slices: NDArray[Any], files: int, empty: float) -> NDArray[Any]:
    """The pictures that `tiles` took apart, of so many files; where a mosaic has no slice it is `empty`."""
    count, rows, columns = len(slices) // files, *slices.shape[1:]
    side = math.ceil(math.sqrt(count))
    filled = np.full((files, side * side, rows, columns), empty, slices.dtype)
    filled[:, :count] = slices.reshape(files, count, rows, columns)
    grid = filled.reshape(files, side, side, rows, columns).swapaxes(2, 3)
    return grid.reshape(files, side * rows, side * columns)


_NUMBER = re.compile(rb"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")


def _siemens(header: Dataset) -> dict[str, list[float]]:
    """The numbers of Siemens' CSA image header, by name; empty where the file has none of the form SV10.

    It is a count of elements, then each: 84 bytes with its name and how many values follow, and these. A value begins
    with 16 bytes, which hold its length, and ends on a whole word.
    """
    content = _private(header, 0x0029, "SIEMENS CSA HEADER", 0x10)
    found: dict[str, list[float]] = {}
    if not isinstance(content, bytes) or not content.startswith(b"SV10") or len(content) < 16:
        return found
    (left,), at = struct.unpack_from("<I", content, 8), 16
    while left > 0 and at + 84 <= len(content):
        name, count = struct.unpack_from("<64s12xi", content, at)
        left, at, values = left - 1, at + 84, list[bytes]()
        while count > 0 and at + 16 <= len(content):
            (length,) = struct.unpack_from("<4xI", content, at)
            values.append(content[at + 16 : at + 16 + length].partition(b"\0")[0].strip())
            count, at = count - 1, at + 16 + -(-length // 4) * 4
        numbers = [float(one) for one in values if _NUMBER.fullmatch(one)]
        found[name.partition(b"\0")[0].decode("ascii", "replace")] = numbers
    return found


def _private(header: Dataset, group: int, creator: str, element: int) -> Any:
    """The value of a private element, None where the header has none of that creator."""
    try:
        return header.get_private_item(group, element, creator).value
    except KeyError:
        return None
