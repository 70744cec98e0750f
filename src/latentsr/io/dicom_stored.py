"""Stored integers and physical values of a DICOM image: rescale, sense and range, there and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from latentsr.intensity import Pixels

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


def _upright(stored: NDArray[Any], header: Dataset) -> NDArray[Any]:
    """MONOCHROME1 as MONOCHROME2 and back; MONOCHROME2 as it is."""
    return sum(stored_range(header)) - stored if header.PhotometricInterpretation == "MONOCHROME1" else stored


def _rescale(header: Dataset) -> tuple[float, float]:
    if header.get("RescaleSlope") is None or "ModalityLUTSequence" in header:
        return 1.0, 0.0
    return float(header.RescaleSlope), float(header.get("RescaleIntercept") or 0)
