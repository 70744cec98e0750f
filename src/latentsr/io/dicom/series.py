"""DICOM series: stacks of slices of one grid and direction, and the order of slices in a stack."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from latentsr.errors import InputError
from latentsr.io.dicom.grid import is_placed, normal, origin

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
)
_CLOSE = (("PixelSpacing", "another spacing", 1e-4), ("ImageOrientationPatient", "another orientation", 1e-3))
OF_A_STACK = tuple(keyword for keyword, *_ in (*_SAME, *_CLOSE))

_SAME_PLACE = 1e-3  # mm
_GAP_TOLERANCE = 0.1  # of the slice distance: headers round positions, and a missing slice doubles the distance


class Slice(NamedTuple):
    """One file of a series: its path, data set and stored pixels."""

    path: Path
    header: Dataset
    stored: NDArray[Any]


def stacks(headers: Mapping[Path, Dataset]) -> list[list[Path]]:
    """The files that fit into one volume, in their order, a list for each: one grid, direction and type of image.

    The headers need the elements `OF_A_STACK` alone. Every file is in one stack.
    """
    found: list[list[Path]] = []
    for path, header in headers.items():
        fitting = (stack for stack in found if not _difference(headers[stack[0]], header))
        if (stack := next(fitting, None)) is not None:
            stack.append(path)
        else:
            found.append([path])
    return found


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
    places = _places([one.header for one in slices])
    upwards = np.argsort(places, kind="stable")
    steps = np.diff(places[upwards], prepend=places[upwards[0]]) > _SAME_PLACE
    level = dict(zip(upwards.tolist(), np.cumsum(steps).tolist(), strict=True))
    order = sorted(level, key=lambda index: (level[index], *_moment(slices[index].header)))
    return [slices[index] for index in order]


def irregularities(headers: Sequence[Dataset]) -> list[str]:
    """Irregular spacings of the slices of a stack, in their order: one text each."""
    if len(headers) == 1:
        return []
    distances = np.diff(_places(headers))
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


def _places(headers: Sequence[Dataset]) -> NDArray[np.float64]:
    """Where the slices lie along the normal of the first, in mm."""
    return np.array([origin(header) for header in headers]) @ normal(headers[0])


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


def _moment(header: Dataset) -> tuple[float | str, ...]:
    """What sorts the slices at one position."""
    numbers = ("TemporalPositionIdentifier", "DiffusionBValue", "EchoTime", "InstanceNumber")
    values = (header.get(keyword) for keyword in numbers)
    texts = ("AcquisitionTime", "SOPInstanceUID")
    return (
        *(float(value) if isinstance(value, int | float) else -np.inf for value in values),
        *(str(header.get(keyword) or "") for keyword in texts),
    )
