"""A DICOM series in order: slices sorted along their normal, or one line that names the slice that does not fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from latentsr.errors import InputError
from latentsr.io.dicom_grid import normal

_SAME = (
    ("PatientID", "another patient"),
    ("StudyInstanceUID", "another study"),
    ("SeriesInstanceUID", "another series"),
    ("SOPClassUID", "another SOP class"),
    ("FrameOfReferenceUID", "another frame of reference"),
    ("Rows", "another size"),
    ("Columns", "another size"),
    ("PhotometricInterpretation", "another photometric interpretation"),
)
_DIRECTION_TOLERANCE = 1e-3  # of a unit vector: headers round directions to three or more digits
_SAME_PLACE = 1e-3  # mm
_GAP_TOLERANCE = 0.1  # of the slice distance: headers round positions, and a missing slice doubles the distance


class Slice(NamedTuple):
    """One file of a series: its path, data set and stored pixels."""

    path: Path
    header: Dataset
    stored: NDArray[Any]


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices of one series sorted by position along their normal.

    InputError, which names the slice, where a file belongs to another patient, study or series, differs in size,
    spacing or orientation, lies where another lies, or leaves a gap.
    """
    first = slices[0]
    for other in slices[1:]:
        _refuse_difference(first, other)
    if len(slices) == 1:
        return list(slices)
    places = np.array([_place(one) for one in slices])
    order = np.argsort(places, kind="stable")
    ordered = [slices[index] for index in order]
    _refuse_gaps(ordered, np.diff(places[order]))
    return ordered


def _refuse_difference(first: Slice, other: Slice) -> None:
    for keyword, what in _SAME:
        if first.header.get(keyword) != other.header.get(keyword):
            raise InputError(f"{other.path} is of {what} than {first.path.name}: expected one series, give them apart")
    pairs = (("PixelSpacing", "spacing", 1e-4), ("ImageOrientationPatient", "orientation", _DIRECTION_TOLERANCE))
    for keyword, what, tolerance in pairs:
        one, two = first.header.get(keyword), other.header.get(keyword)
        if (one is None) != (two is None) or (one is not None and not np.allclose(one, two, rtol=0, atol=tolerance)):
            raise InputError(f"{other.path} has another {what} than {first.path.name}: give such slices one by one")


def _place(one: Slice) -> float:
    """How far along the normal the slice lies, in mm."""
    if not one.header.get("ImagePositionPatient") or not one.header.get("ImageOrientationPatient"):
        raise InputError(
            f"{one.path} does not say where it lies, so its series has no order: give its files one by one"
        )
    return float(np.dot(np.array(one.header.ImagePositionPatient, np.float64), normal(one.header)))


def _refuse_gaps(ordered: Sequence[Slice], distances: NDArray[np.float64]) -> None:
    for before, after, distance in zip(ordered, ordered[1:], distances, strict=False):
        if distance < _SAME_PLACE:
            raise InputError(f"{after.path} lies where {before.path.name} lies: leave one of them out")
    usual = float(np.median(distances))
    if len(distances) == 1:  # nothing to compare with but what the header says
        usual = abs(float(ordered[0].header.get("SpacingBetweenSlices") or usual))
    for before, after, distance in zip(ordered, ordered[1:], distances, strict=False):
        if abs(distance - usual) > _GAP_TOLERANCE * usual:
            gap = f"{distance:.2f} mm between {before.path.name} and it, {usual:.2f} mm between others"
            raise InputError(
                f"{after.path}: a slice is missing or misplaced ({gap}): add it or give the files one by one"
            )
