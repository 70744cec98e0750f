"""Slices of a volume brought closer to each other: their distance in its source, and the geometry of the new ones."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentsr.errors import InputError
from latentsr.io.dicom.geometry import affine, decimals, irregularities, is_placed, normal, origin, steps
from latentsr.io.dicom.pixels import stored_range
from latentsr.io.formats import ItkGrid
from latentsr.io.nifti import NiftiHeader, plane_of
from latentsr.volume import Source, Volume

TILT = 0.01  # of the slice distance, by which slices may be shifted in plane: half a degree of gantry tilt


def slice_distance(volume: Volume) -> tuple[float, float | None]:
    """The distance of a volume's slices and their thickness, in mm; None where the file does not say how thick.

    InputError where slices between them cannot be made: a single slice, frames of a multi-frame file, no geometry,
    uneven distances, several slices at one position, or a tilted gantry.
    """
    source, count = volume.source, len(volume.pixels)
    if count < 2:
        raise InputError("one slice: slices are brought closer in volumes of two slices or more")
    if source.wholes and not source.split:
        raise InputError(
            f"{source.paths[0]} holds its slices as frames: slices are brought closer in single-frame images; set the "
            "option legacy for enhanced MR and CT"
        )
    thickness = None
    if isinstance(header := source.header, NiftiHeader):
        if header.volumes > 1:
            raise InputError(f"{source.paths[0]} holds {header.volumes} volumes over time: split it first")
        matrix = np.array(header.affine, np.float64)
    elif source.kind == "dicom" and all(map(is_placed, source.header)):
        if texts := irregularities(source.header):
            raise InputError(f"{source.paths[0].parent}: {texts[0].split(':')[0]}: give an evenly spaced series")
        matrix = affine(source.header)
        thickness = float(source.header[0].get("SliceThickness") or 0) or None
    else:
        raise InputError(
            "the slices do not say where they lie: slices are brought closer in NIfTI, MGH, NRRD and MHA, and in DICOM "
            "with positions"
        )
    row, column, across = (matrix[:3, axis] for axis in range(3))
    distance = float(np.linalg.norm(across))
    if not distance > 0:
        raise InputError("the slices lie at one place: their header needs a distance")
    shifts = [abs(float(across @ one)) / (distance * float(np.linalg.norm(one))) for one in (row, column)]
    if max(shifts) > TILT:
        angle = np.degrees(np.arcsin(max(shifts)))
        raise InputError(f"slices are tilted by {angle:.1f} degrees (gantry): reslice them upright first")
    return distance, thickness


def slice_places(volume: Volume) -> list[float]:
    """Where a volume's slices lie along their normal, in mm from the first; empty for one slice, or unknown places."""
    source, count = volume.source, len(volume.pixels)
    if isinstance(source.header, NiftiHeader) and count > 1:
        distance = float(np.linalg.norm(np.array(source.header.affine)[:3, 2]))
        return [distance * (number % (count // source.header.volumes)) for number in range(count)]
    if source.kind == "dicom" and count > 1 and all(map(is_placed, source.header)):
        first = source.header[0]
        return [float((origin(one) - origin(first)) @ normal(first)) for one in source.header]
    return []


def slice_grid(volume: Volume, number: int) -> NDArray[np.float64] | None:
    """Where the pixels of a slice lie, (3, 3): the steps to the next column and row, and the first pixel's centre.

    In mm, to the left, posterior and superior; None where the file does not say. Of a volume as it was read.
    """
    source = volume.source
    if isinstance(header := source.header, NiftiHeader):
        place = number % (len(volume.pixels) // header.volumes)
        return plane_of(header.affine, place) if header.placed else None
    if source.kind == "dicom" and is_placed(source.header[number]):
        return np.array([*steps(source.header[number]), origin(source.header[number])])
    return None


def resliced(volume: Volume, pixels: NDArray[np.float32], distance: float) -> Volume:
    """The volume of other slices `distance` mm apart, (slices, rows, columns), with the same centre.

    Its source's header is that of the new slices. A DICOM slice has the elements of the nearest source slice, but for
    its place, thickness and number.
    """
    old, count = len(volume.pixels), len(pixels)
    ratio = distance / slice_distance(volume)[0]
    places = (old - 1) / 2 + (np.arange(count) - (count - 1) / 2) * ratio  # in slices of the source
    if isinstance(volume.source.header, NiftiHeader):
        header: Any = _closer(volume.source, count, ratio, places[0])
    else:
        header = _dicom(volume.source.header, places, distance, ratio, pixels)
    source = replace(volume.source, header=header)
    return replace(volume, pixels=np.asarray(pixels, np.float32), source=source, slice_distance=distance)


def _closer(source: Source, count: int, ratio: float, first: float) -> NiftiHeader:
    """The header with `count` slices, `ratio` times as far apart, the first at that place."""
    header: NiftiHeader = source.header
    axis, coarse = header.axis, header.fields
    step, along = np.eye(4), np.eye(4)
    step[axis, axis], step[axis, 3] = ratio, first
    along[2, 2], along[2, 3] = ratio, first
    moved = header._replace(affine=header.affine @ along)
    if isinstance(coarse, ItkGrid):
        spacing = coarse.spacing.copy()
        spacing[axis] *= ratio
        origin = coarse.origin + coarse.directions[:, axis] * coarse.spacing[axis] * first
        return moved._replace(fields=coarse._replace(spacing=spacing, origin=origin))
    if source.kind == "mgh":
        return moved  # its header is made of the affine
    fields = coarse.copy()
    shape = list(coarse.get_data_shape())
    shape[axis] = count
    fields.set_data_shape(shape)
    fields["pixdim"][axis + 1] *= ratio
    for timing in ("slice_start", "slice_end", "slice_code", "slice_duration"):  # of the source's slices
        fields[timing] = 0
    if coarse["qform_code"] > 0:
        fields["qoffset_x"], fields["qoffset_y"], fields["qoffset_z"] = (coarse.get_qform() @ step)[:3, 3]
    if coarse["sform_code"] > 0:
        fields["srow_x"], fields["srow_y"], fields["srow_z"] = (coarse.get_sform() @ step)[:3]
    return moved._replace(fields=fields)


def _dicom(
    headers: Sequence[Any], places: NDArray[Any], distance: float, ratio: float, pixels: NDArray[np.float32]
) -> tuple[Any, ...]:
    """A header for each place, in slices of the source, that can hold its pixels."""
    first, last, count = headers[0], headers[-1], len(headers) - 1
    between = (origin(last) - origin(first)) / count
    stated = [one.get("SliceLocation") for one in (first, last)]
    made: list[Any] = []
    earlier = min(int(one.get("InstanceNumber") or 1) for one in headers) - 1  # of other stacks of the series
    for number, place in enumerate(places, 1 + math.ceil(earlier / ratio)):
        nearest = headers[min(max(round(float(place)), 0), count)]
        header = nearest.__class__()
        for element in nearest:
            header.add(element)  # replaced below, as changing an element would change it in the source's header
        header.add_new("ImagePositionPatient", "DS", decimals(origin(first) + place * between))
        (thickness,) = decimals(np.array([distance]))
        header.add_new("SliceThickness", "DS", thickness)
        if "SpacingBetweenSlices" in nearest or nearest.get("Modality") in ("MR", "CT"):
            header.add_new("SpacingBetweenSlices", "DS", thickness)
        header.add_new("InstanceNumber", "IS", number)
        header.pop("SliceLocation", None)
        if all(value not in (None, "") for value in stated):
            start, end = map(float, stated)
            (location,) = decimals(np.array([start + place * (end - start) / count]))
            header.add_new("SliceLocation", "DS", location)
        _widen(header, pixels[len(made)])
        made.append(header)
    return tuple(made)


def _widen(header: Any, pixels: NDArray[np.float32]) -> None:
    """Makes a rescale slope larger where values between two slices, each with its own, would be clipped."""
    if "RescaleSlope" not in header:
        return
    low, high = stored_range(header)
    least, greatest = (float(one) - float(header.get("RescaleIntercept") or 0) for one in (pixels.min(), pixels.max()))
    needed = max(greatest / high, least / low if low < 0 else 0.0)
    if needed > float(header.RescaleSlope):
        header.add_new("RescaleSlope", "DS", f"{needed * (1 + 1e-8):.9g}")
