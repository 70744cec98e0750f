"""Secondary Captures: DICOM images of volumes that do not come from DICOM."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from latentsr.io.dicom_derive import derived_uid, describe, file_meta, set_pixels
from latentsr.provenance import Provenance
from latentsr.volume import Volume

_TOP = 65535


def capture(volume: Volume, provenance: Provenance) -> list[Dataset]:
    """One Secondary Capture data set a slice, in one new study without a patient.

    16 bits stored; slope and intercept map them to the volume's physical values. The same pixels give the same UIDs.
    """
    content = hashlib.sha256(volume.pixels.tobytes()).hexdigest()
    low, slope = _scale(volume.pixels)
    stored = np.rint((volume.pixels.astype(np.float64) - low) / slope).astype("<u2")
    return [_image(one, number, volume, (low, slope), content, provenance) for number, one in enumerate(stored, 1)]


def _scale(pixels: NDArray[Any]) -> tuple[float, float]:
    """The least value and the step of 16-bit storage: a step of 1 where the values are whole numbers that fit."""
    low, high = float(pixels.min()), float(pixels.max())
    if high - low <= _TOP and np.array_equal(pixels, np.rint(pixels)):
        return (0.0 if low >= 0 and high <= _TOP else low), 1.0
    low, step = float(f"{low:.9g}"), (high - low) / _TOP  # a decimal string holds 16 characters
    return low, float(f"{step:.9g}")


def _image(
    stored: NDArray[Any], number: int, volume: Volume, rescale: tuple[float, float], content: str, made_by: Provenance
) -> Dataset:
    image = Dataset()
    image.SOPClassUID = SecondaryCaptureImageStorage
    image.SOPInstanceUID = derived_uid([content, f"image {number}"], volume.scale, made_by)
    image.SeriesInstanceUID = derived_uid([content, "series"], volume.scale, made_by)
    image.StudyInstanceUID = str(generate_uid(entropy_srcs=[content, "study"]))
    image.Modality, image.ConversionType, image.ImageType = "OT", "WSD", ["DERIVED", "SECONDARY"]
    for keyword in _UNKNOWN:
        setattr(image, keyword, "")
    image.SeriesNumber, image.InstanceNumber = 1, number
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.RescaleIntercept, image.RescaleSlope, image.RescaleType = f"{rescale[0]:.9g}", f"{rescale[1]:.9g}", "US"
    if volume.spacing:
        image.PixelSpacing = [f"{value:.10g}" for value in volume.spacing]
    set_pixels(image, stored)
    describe(image, volume.scale, made_by)
    image.file_meta = file_meta(image)
    return image


# Attributes that PS3.3 wants in every image and that may be empty.
_UNKNOWN = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "Laterality", "PatientOrientation",
)  # fmt: skip
