"""What a DICOM header says of its pixel grid: spacing, position, affine; and the same for a finer grid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import DSfloat

from latentsr.volume import first_pixel_shift

Affine = NDArray[np.float64]

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")

# Shutter and collimator edges are given as pixels, counted from 1 (PS3.3 C.7.6.11 and C.8.7.3).
_EDGES = (
    "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge",
    "CollimatorLeftVerticalEdge", "CollimatorRightVerticalEdge", "CollimatorUpperHorizontalEdge",
    "CollimatorLowerHorizontalEdge", "CenterOfCircularShutter", "VerticesOfThePolygonalShutter",
    "CenterOfCircularCollimator", "VerticesOfThePolygonalCollimator",
)  # fmt: skip
_RADII = ("RadiusOfCircularShutter", "RadiusOfCircularCollimator")

_OVERLAYS, _CURVES, _LAST_REPEAT = 0x6000, 0x5000, 0x1E  # repeating groups, even numbers only
_OVERLAY_ROWS, _OVERLAY_COLUMNS, _OVERLAY_DATA = 0x0010, 0x0011, 0x3000


def spacing(header: Dataset) -> tuple[float, float] | None:
    """The (row, column) spacing in mm, in the patient or else at the detector; None where there is none above 0."""
    for keyword in _SPACINGS:
        values = header.get(keyword)
        if values is not None and len(values) == 2 and min(values) > 0:
            return float(values[0]), float(values[1])
    return None


def move_to_finer_grid(image: Dataset, scale: int) -> None:
    """Changes spacing, position, shutters and overlays in place, for pixels `scale` times finer in plane."""
    _drop_overlays(image, scale)
    if scale == 1:
        return  # every digit of the geometry stays
    _move_position(image, scale)
    for keyword in _SPACINGS:
        if image.get(keyword):
            setattr(image, keyword, _decimals(np.array(image[keyword].value, np.float64) / scale))
    for keyword in _EDGES:
        _map(image, keyword, lambda pixel: round((pixel - 0.5) * scale + 0.5))
    for keyword in _RADII:
        _map(image, keyword, lambda radius: radius * scale)


def position(header: Dataset, scale: int) -> Affine:
    """Where the centre of the first pixel of the finer grid lies in the patient, in mm (PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
    row_spacing, column_spacing = (float(value) for value in header.PixelSpacing)
    step = column_spacing * along_row + row_spacing * along_column
    return np.asarray(np.array(header.ImagePositionPatient, np.float64) + first_pixel_shift(scale) * step)


def affine(headers: Sequence[Dataset]) -> Affine:
    """Maps (column, row, slice) of the source's grid to mm in NIfTI's axes, right, anterior, superior.

    DICOM's first two axes point the other way. Without a position the image lies at the origin, rows downwards.
    """
    matrix = np.eye(4)
    row_spacing, column_spacing = spacing(headers[0]) or (1.0, 1.0)
    if not is_placed(headers[0]):
        return np.diag([column_spacing, -row_spacing, 1.0, 1.0])
    along_row, along_column = np.array(headers[0].ImageOrientationPatient, np.float64).reshape(2, 3)
    first, last = (np.array(one.ImagePositionPatient, np.float64) for one in (headers[0], headers[-1]))
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 3] = along_row * column_spacing, along_column * row_spacing, first
    thickness = float(headers[0].get("SliceThickness") or 1)
    matrix[:3, 2] = (last - first) / (len(headers) - 1) if len(headers) > 1 else normal(headers[0]) * thickness
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


def is_placed(header: Dataset) -> bool:
    """True where the header says where its pixels lie in the patient."""
    return all(header.get(keyword) for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))


def normal(header: Dataset) -> Affine:
    """The unit normal of the image plane: row direction x column direction (PS3.3 C.7.6.2.1.1)."""
    along_row, along_column = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
    return np.asarray(np.cross(along_row, along_column))


def _move_position(image: Dataset, scale: int) -> None:
    if is_placed(image):
        image.ImagePositionPatient = _decimals(position(image, scale))


def _decimals(values: NDArray[Any]) -> list[DSfloat]:
    """Decimal strings of at most 16 characters, as many digits as fit."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def _map(image: Dataset, keyword: str, change: Callable[[int], int]) -> None:
    value = image.get(keyword)
    if value is None or value == "":
        return
    many = not isinstance(value, int)
    setattr(image, keyword, [change(int(one)) for one in value] if many else change(int(value)))


def _drop_overlays(image: Dataset, scale: int) -> None:
    """Removes overlays whose size or place no longer fits, those kept in unused pixel bits, and curves (retired)."""
    for offset in range(0, _LAST_REPEAT + 1, 2):
        _drop_group(image, _CURVES + offset)
        if scale != 1 or not _overlay_fits(image, _OVERLAYS + offset):
            _drop_group(image, _OVERLAYS + offset)


def _overlay_fits(image: Dataset, group: int) -> bool:
    if any((group, element) not in image for element in (_OVERLAY_ROWS, _OVERLAY_COLUMNS, _OVERLAY_DATA)):
        return False
    size = [image[group, element].value for element in (_OVERLAY_ROWS, _OVERLAY_COLUMNS)]
    return bool(size == [image.Rows, image.Columns])


def _drop_group(image: Dataset, group: int) -> None:
    for tag in [element.tag for element in image.group_dataset(group)]:
        del image[tag]
