"""The pixel grid of a DICOM header: spacing, position and affine, and their change to a finer grid."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from latentsr.volume import first_pixel_shift

Affine = NDArray[np.float64]

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
    """Changes spacing, position, shutters and overlays in place, for pixels `scale` times finer in plane."""
    for group in (*_groups(image, _OVERLAYS), *_groups(image, _CURVES)):
        if group >= _OVERLAYS and _is_whole(image, group):
            _enlarge_overlay(image, group, scale)
        else:
            for tag in [element.tag for element in image.group_dataset(group)]:
                del image[tag]
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


def left_out(header: Dataset) -> list[str]:
    """What a derived image cannot keep of its source, one text each."""
    texts = []
    if not all(_is_whole(header, group) for group in _groups(header, _OVERLAYS)):
        texts.append("an overlay without bits of its own (60xx): it is left out of the output")
    if _groups(header, _CURVES):
        texts.append("curves (50xx, retired): they are left out of the output")
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
