"""Uncertainty maps as DICOM: a highdicom ParametricMap in float32 on the enlarged grid of its source images."""

import copy
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code

from latentsr.errors import InputError
from latentsr.io.atomic import replacing
from latentsr.io.dicom_derive import derived_uid, describe, series_number
from latentsr.io.dicom_grid import is_placed, position
from latentsr.io.dicom_header import MALFORMED, quiet
from latentsr.provenance import WITHOUT_MODEL, Provenance
from latentsr.volume import Volume

_HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
_NO_UNITS = Code("1", "UCUM", "no units")
_WANTED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


def can_map(volume: Volume) -> bool:
    """True where the slices say where they lie in the patient, as a parametric map has to."""
    return all(is_placed(header) and header.get("FrameOfReferenceUID") for header in volume.source.header)


def write_map(spread: Volume, path: Path, *, provenance: Provenance | None) -> None:
    """Writes a volume of spread, in the source's physical units, as one parametric map with a frame a slice."""
    made_by = provenance or WITHOUT_MODEL
    try:
        with quiet():
            image = _map(spread, made_by)
            with replacing(path) as part:
                image.save_as(part)
    except MALFORMED as error:
        raise InputError(
            f"{path}: no parametric map fits this source ({type(error).__name__}): mend its header"
        ) from error


def _map(spread: Volume, made_by: Provenance) -> Dataset:
    headers = [_complete(header) for header in spread.source.header]
    first, scale = headers[0], spread.scale
    image: Dataset = highdicom.pm.ParametricMap(
        source_images=headers,
        pixel_array=spread.pixels,
        series_instance_uid=derived_uid(first.SeriesInstanceUID, "uncertainty series", scale, made_by),
        series_number=series_number(first, scale) + 50,
        sop_instance_uid=derived_uid(first.SOPInstanceUID, "uncertainty", scale, made_by),
        instance_number=1,
        manufacturer="latentsr",
        manufacturer_model_name=made_by.model[:64],
        software_versions=made_by.version,
        device_serial_number=made_by.model_hash[:64],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_meaning(spread, first)],
        voi_lut_transformations=[_window(spread)],
        content_label="UNCERTAINTY",
        content_description="Standard deviation over samples; research use only",
        **_grid(spread, headers),
    )
    describe(image, scale, made_by)
    _settle(image, first, derived_uid(first.SOPInstanceUID, "dimensions", scale, made_by))
    return image


def _grid(spread: Volume, headers: list[Dataset]) -> dict[str, Any]:
    """The map's own pixel measures, orientation and positions: those of the enlarged grid."""
    thickness = float(headers[0].get("SliceThickness") or 1)
    places = [highdicom.PlanePositionSequence("PATIENT", position(header, spread.scale).tolist()) for header in headers]
    spacing = [float(value) / spread.scale for value in headers[0].PixelSpacing]
    return {
        "pixel_measures": highdicom.PixelMeasuresSequence(pixel_spacing=spacing, slice_thickness=thickness),
        "plane_orientation": highdicom.PlaneOrientationSequence("PATIENT", headers[0].ImageOrientationPatient),
        "plane_positions": places,
    }


def _meaning(spread: Volume, header: Dataset) -> Any:
    low, high = float(spread.pixels.min()), float(spread.pixels.max())
    return highdicom.pm.RealWorldValueMapping(
        lut_label="SPREAD",
        lut_explanation="Standard deviation over samples",
        unit=_HOUNSFIELD if header.Modality == "CT" else _NO_UNITS,
        value_range=(low, max(high, np.nextafter(low, np.inf))),
        slope=1.0,
        intercept=0.0,
    )


def _window(spread: Volume) -> Any:
    low, high = float(spread.pixels.min()), float(spread.pixels.max())
    return highdicom.VOILUTTransformation(window_center=(low + high) / 2, window_width=max(high - low, 1e-6))


def _complete(header: Dataset) -> Dataset:
    """The header with the attributes that highdicom reads without asking whether they are there."""
    complete = copy.copy(header)
    for keyword in _WANTED:
        if keyword not in complete:
            setattr(complete, keyword, None)
    return complete


def _settle(image: Dataset, source: Dataset, dimensions: str) -> None:
    """Puts the source's dates and a derived UID in place of the run's, so that the same run writes the same bytes."""
    for item in [*image.DimensionOrganizationSequence, *image.DimensionIndexSequence]:
        item.DimensionOrganizationUID = dimensions
    told = {item.get("ContributionDateTime") for item in source.get("ContributingEquipmentSequence") or []}
    for item in image.ContributingEquipmentSequence:
        if item.get("ContributionDateTime") not in told:  # the moment at which highdicom ran
            item.pop("ContributionDateTime", None)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"):
        image.pop(keyword, None)
    image.ContentDate = source.get("ContentDate") or source.get("StudyDate") or ""
    image.ContentTime = source.get("ContentTime") or source.get("StudyTime") or ""
