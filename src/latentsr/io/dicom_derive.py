"""A derived DICOM image from its source: PS3.3's words for a finer grid, a new identity and what made it."""

import copy
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from latentsr.io.dicom_grid import move_to_finer_grid
from latentsr.provenance import WITHOUT_MODEL, Provenance

RESEARCH = "research use only"

_SPATIAL_RESAMPLING = ("113085", "DCM", "Spatial resampling")
_SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation")
_PROCESSING = ("109102", "DCM", "Processing Equipment")
_SHORT, _LONG = 64, 1024  # characters that LO and ST hold
_LAST_SERIES = 10**7

# True of the source's pixels or of its file, not of the derived image.
_STALE = (
    "SmallestPixelValueInSeries", "LargestPixelValueInSeries", "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane", "VOILUTSequence", "IconImageSequence", "DigitalSignaturesSequence",
    "MACParametersSequence", "DataSetTrailingPadding", "InstanceCreationDate", "InstanceCreationTime",
    "InstanceCreatorUID", "PixelDataProviderURL", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip


def derive(header: Dataset, stored: NDArray[Any], scale: int, provenance: Provenance | None) -> Dataset:
    """The data set, ready to be saved, of an image `scale` times finer than the one `header` describes.

    `stored` are integers (rows, columns) in the source's scale and sense. The same source, model and options give
    the same bytes: nothing in it depends on the time of the run.
    """
    made_by = provenance or WITHOUT_MODEL
    image = copy.deepcopy(header)
    for keyword in _STALE:
        image.pop(keyword, None)
    move_to_finer_grid(image, scale)
    set_pixels(image, stored)
    image.ImageType = _image_type(header)
    _identify(image, header, scale, made_by)
    image.SourceImageSequence = Sequence([_reference(header)])
    describe(image, scale, made_by)
    image.file_meta = file_meta(image)
    return image


def derived_uid(source: str, role: str, scale: int, provenance: Provenance) -> str:
    """A UID that the same source, model, options, seed, scale and role always give again."""
    made_by = [provenance.model_hash, provenance.options, str(provenance.seed)]
    return str(generate_uid(entropy_srcs=[source, *made_by, str(scale), role]))


def series_number(header: Dataset, scale: int) -> int:
    """A number for the derived series that is seldom taken: the source's, followed by the scale in two digits."""
    number = int(header.get("SeriesNumber") or 0)
    return (abs(number) % _LAST_SERIES) * 100 + scale


def set_pixels(image: Dataset, stored: NDArray[Any]) -> None:
    """Puts integers (rows, columns) into the data set, with their size and extremes."""
    image.Rows, image.Columns = stored.shape
    vr = "SS" if image.PixelRepresentation == 1 else "US"
    image.add_new("SmallestImagePixelValue", vr, int(stored.min()))
    image.add_new("LargestImagePixelValue", vr, int(stored.max()))
    content = stored.tobytes()
    image.add_new("PixelData", "OW" if stored.itemsize == 2 else "OB", content + b"\0" * (len(content) % 2))


def describe(image: Dataset, scale: int, provenance: Provenance) -> None:
    """Says in the data set what was done, by what, and that it is for research."""
    earlier = image.get("DerivationDescription")
    text = provenance.note(scale) + (f" Before: {earlier}" if earlier else "")
    image.DerivationDescription = text[:_LONG]
    codes = list(image.get("DerivationCodeSequence") or [])
    image.DerivationCodeSequence = Sequence([*codes, code(*_SPATIAL_RESAMPLING)])
    equipment = list(image.get("ContributingEquipmentSequence") or [])
    image.ContributingEquipmentSequence = Sequence([*equipment, _equipment(provenance)])
    image.SeriesDescription = _series_description(image.get("SeriesDescription") or "", scale)
    if provenance.synthetic or not image.get("SyntheticData"):  # once made up, always made up
        image.SyntheticData = "YES" if provenance.synthetic else "NO"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence item (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def file_meta(image: Dataset) -> FileMetaDataset:
    """The file meta information of an image that is written in explicit little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = image.SOPClassUID
    meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    return meta


def _image_type(header: Dataset) -> list[str]:
    """DERIVED, SECONDARY and the source's further values; MR wants a third one (PS3.3 C.8.3.1.1.1)."""
    values = header.get("ImageType") or []
    further = [str(value) for value in values[2:]] if not isinstance(values, str) else []
    if header.SOPClassUID == MRImageStorage and not (further and further[0]):
        further[:1] = ["OTHER"]
    return ["DERIVED", "SECONDARY", *further]


def _identify(image: Dataset, header: Dataset, scale: int, provenance: Provenance) -> None:
    image.SOPInstanceUID = derived_uid(header.SOPInstanceUID, "image", scale, provenance)
    image.SeriesInstanceUID = derived_uid(header.SeriesInstanceUID, "series", scale, provenance)
    image.SeriesNumber = series_number(header, scale)


def _reference(header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = header.SOPClassUID
    item.ReferencedSOPInstanceUID = header.SOPInstanceUID
    item.PurposeOfReferenceCodeSequence = Sequence([code(*_SOURCE_IMAGE)])
    return item


def _equipment(provenance: Provenance) -> Dataset:
    item = Dataset()
    item.Manufacturer = "latentsr"
    item.ManufacturerModelName = provenance.model[:_SHORT]
    item.SoftwareVersions = provenance.version[:_SHORT]
    item.DeviceSerialNumber = provenance.model_hash[:_SHORT]
    item.ContributionDescription = f"Seed {provenance.seed}, options {provenance.options}"[:_LONG]
    item.PurposeOfReferenceCodeSequence = Sequence([code(*_PROCESSING)])
    return item


def _series_description(earlier: str, scale: int) -> str:
    added = f"x{scale} latentsr, {RESEARCH}"
    return f"{earlier[: _SHORT - len(added) - 1]} {added}".strip()
