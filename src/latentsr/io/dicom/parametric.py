"""Uncertainty maps as DICOM, on the enlarged grid of their source images: as viewers show them, and as numbers.

For viewers a map is images of the source's own class, or Secondary Captures where that class cannot hold one: integers
whose rescale slope gives physical units. As numbers it is a highdicom ParametricMap in float32, which few viewers show.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, uid

from latentsr.atomic import replacing
from latentsr.errors import InputError
from latentsr.io.dicom.derived import GREATEST, PARAMETRIC_MAP, content, derived_uid, describe, series_number
from latentsr.io.dicom.geometry import is_placed, position
from latentsr.io.dicom.header import ENHANCED, FRAMES, refusing
from latentsr.provenance import INTERVAL, UNCERTAINTY, Provenance
from latentsr.volume import Volume, let_go

# Classes whose images may have any rescale slope (PS3.3 C.8.2.1, C.8.9.1, C.11.1; MR as many scanners write it). That
# of a digital X-ray image is 1, too coarse for a spread of few steps (PS3.3 C.8.11.3).
_SCALED = (
    uid.MRImageStorage, uid.CTImageStorage, uid.PositronEmissionTomographyImageStorage,
    uid.ComputedRadiographyImageStorage, uid.SecondaryCaptureImageStorage, *ENHANCED,
)  # fmt: skip
# Meaning and display of the source's stored values.
_OF_STORED_VALUES = (
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence", "VOILUTSequence",
    "WindowCenterWidthExplanation", "RealWorldValueMappingSequence", "PresentationLUTShape",
    "PresentationIntentType",
)  # fmt: skip
_MOST = 2**26  # pixels that are looked at for it, of evenly spread slices
_BRIGHTEST = 99.5  # percentile that a viewer shows white: a few outliers would leave the rest dark

MEANINGS = {UNCERTAINTY: "Standard deviation over samples", INTERVAL: "Half-width of the interval"}
_HOUNSFIELD = "[hnsf'U]", "UCUM", "Hounsfield unit"
_NO_UNITS = "1", "UCUM", "no units"
_READ_UNCHECKED = (  # by highdicom, which takes them as there
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
    "StudyTime", "ReferringPhysicianName",
)  # fmt: skip


def map_headers(spread: Volume) -> list[Dataset]:
    """A header for each slice that stores a spread above 0 in 16 bits, with its own window, in the source's units."""
    top = 0.0
    for one in spread.pixels:
        top = max(top, float(one.max()))
        let_go(spread.pixels)
    top = top or 1.0
    bright = float(np.percentile(spread.pixels[:: -(-spread.pixels.size // _MOST)], _BRIGHTEST)) or top
    how: dict[str, Any] = {
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "PhotometricInterpretation": "MONOCHROME2",
        "RescaleIntercept": "0", "RescaleSlope": f"{top / GREATEST:.9g}", "RescaleType": "US",
        "WindowCenter": f"{bright / 2:.9g}", "WindowWidth": f"{bright:.9g}",
        "VOILUTFunction": "LINEAR_EXACT",  # whose width may be below 1
    }  # fmt: skip
    headers = []
    for header in spread.source.header:
        changed = dict(how)
        several = header.SOPClassUID in FRAMES
        if header.SOPClassUID == uid.CTImageStorage or FRAMES.get(header.SOPClassUID) == "Enhanced CT":
            changed["RescaleType"] = "HU"
        if several:
            changed["PresentationLUTShape"] = "IDENTITY"
        if header.SOPClassUID not in _SCALED:
            changed |= {"SOPClassUID": uid.SecondaryCaptureImageStorage, "ConversionType": "WSD"}
            if several:  # whose header has to say it: where the source does not, text may be there
                changed["SOPClassUID"] = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
                changed["BurnedInAnnotation"] = header.get("BurnedInAnnotation") or "YES"
        made = Dataset()  # setting a value of a copy would change the source's own element
        for element in header:
            if element.keyword not in (*changed, *_OF_STORED_VALUES):
                made.add(element)
        for keyword, value in changed.items():
            setattr(made, keyword, value)
        headers.append(made)
    return headers


def write_map(spread: Volume, path: Path, *, provenance: Provenance) -> None:
    """Writes a volume of spread, in the source's physical units, as one parametric map with one frame per slice.

    InputError where the slices do not say where they lie in the patient, or several lie at one position.
    """
    headers = spread.source.header
    placed = all(is_placed(header) and header.get("FrameOfReferenceUID") for header in headers)
    if not placed or len({tuple(header.ImagePositionPatient) for header in headers}) < len(headers):
        came = "several slices lie at one position" if placed else "the source does not say where it lies"
        raise InputError(f"{came}: a parametric map needs a position a slice, leave out the option parametric_map")
    made_by = replace(provenance, image=PARAMETRIC_MAP)
    with refusing(f"{path}: no parametric map fits this source"):
        image = _map(spread, made_by, MEANINGS[provenance.image])
        with replacing(path, over_folder=True) as part:
            image.save_as(part)


def _map(spread: Volume, made_by: Provenance, what: str) -> Dataset:
    import highdicom  # a fifth of a second, and next to nobody needs it

    headers, wholes = spread.source.header, spread.source.wholes
    several = bool(wholes) and wholes[0].SOPClassUID in FRAMES
    sources = [copy.copy(header) for header in (wholes if several else headers)]
    for header in sources:
        for keyword in _READ_UNCHECKED:
            header.setdefault(keyword, None)
    first, scale, made_from = headers[0], spread.scale, content(spread, made_by)
    low, high = float(spread.pixels.min()), float(spread.pixels.max())
    meaning = highdicom.pm.RealWorldValueMapping(
        lut_label="SPREAD",
        lut_explanation=what,
        unit=highdicom.sr.CodedConcept(*(_HOUNSFIELD if first.Modality == "CT" else _NO_UNITS)),
        value_range=(low, max(high, np.nextafter(low, np.inf))),
        slope=1.0,
        intercept=0.0,
    )
    image: Dataset = highdicom.pm.ParametricMap(
        source_images=sources,
        pixel_array=spread.pixels,
        series_instance_uid=derived_uid(["series", first.SeriesInstanceUID, made_from], scale, made_by),
        series_number=series_number(first, scale, made_by),
        sop_instance_uid=derived_uid(["image", first.SOPInstanceUID, made_from], scale, made_by),
        instance_number=1,
        manufacturer="latentsr",
        manufacturer_model_name=made_by.model[:64],
        software_versions=made_by.version,
        device_serial_number=made_by.model_hash[:64],
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[meaning],
        voi_lut_transformations=[
            highdicom.VOILUTTransformation(window_center=(low + high) / 2, window_width=max(high - low, 1e-6))
        ],
        content_label="UNCERTAINTY",
        content_description=f"{what}; research use only",
        pixel_measures=highdicom.PixelMeasuresSequence(
            pixel_spacing=[float(value) / scale for value in first.PixelSpacing],
            slice_thickness=float(first.get("SliceThickness") or 1),
        ),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", first.ImageOrientationPatient),
        plane_positions=[
            highdicom.PlanePositionSequence("PATIENT", position(header, scale).tolist()) for header in headers
        ],
    )
    describe(image, scale, made_by)
    # Put the source's dates and a derived UID in place of the run's, so that the same run writes the same bytes.
    dimensions = derived_uid(["dimensions", made_from], scale, made_by)
    for item in [*image.DimensionOrganizationSequence, *image.DimensionIndexSequence]:
        item.DimensionOrganizationUID = dimensions
    dates = {item.get("ContributionDateTime") for item in first.get("ContributingEquipmentSequence") or []}
    for item in image.ContributingEquipmentSequence:
        if item.get("ContributionDateTime") not in dates:  # the moment at which highdicom ran
            item.pop("ContributionDateTime", None)
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"):
        image.pop(keyword, None)
    image.ContentDate = first.get("ContentDate") or first.get("StudyDate") or ""
    image.ContentTime = first.get("ContentTime") or first.get("StudyTime") or ""
    return image
