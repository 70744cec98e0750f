"""Derived DICOM images: finer grids and cut parts with a new identity; Secondary Captures of other volumes."""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage, generate_uid

from latentsr import __version__
from latentsr.atomic import refuse_existing
from latentsr.config import canonical_json
from latentsr.errors import InputError
from latentsr.io import dicom
from latentsr.io.dicom.geometry import SPACINGS, decimals, is_placed, move_to_finer_grid, origin, steps
from latentsr.io.dicom.header import ENHANCED, FRAME_TYPES, GROUPS, PER_FRAME, SHARED, TELLING
from latentsr.io.dicom.pixels import to_stored
from latentsr.provenance import (
    ESTIMATE,
    INTERVAL,
    MAPS,
    PIXELS,
    POSTERIOR_MEAN,
    SAMPLE,
    TRUST,
    UNCERTAINTY,
    WITHOUT_MODEL,
    Provenance,
)  # fmt: skip
from latentsr.volume import Volume, first_pixel_shift

PARAMETRIC_MAP = f"parametric map of {UNCERTAINTY}"

# The last digit of a derived series' number, so that a viewer lists what belongs together side by side.
_SERIES_DIGITS = {
    POSTERIOR_MEAN: 1, SAMPLE: 2, "mean of": 3, UNCERTAINTY: 4, PARAMETRIC_MAP: 5, ESTIMATE: 6, INTERVAL: 7,
    TRUST: 8,
}  # fmt: skip
_LAST_SERIES = 2_000_000  # a thousand times it is still an integer string (PS3.5 section 6.2)

_SPATIAL_RESAMPLING = ("113085", "DCM", "Spatial resampling")
_STANDARD_DEVIATION = ("113061", "DCM", "Standard Deviation")
_SOURCE_IMAGE = ("121322", "DCM", "Source image for image processing operation")
_PROCESSING = ("109102", "DCM", "Processing Equipment")
_SHORT, _LONG = 64, 1024  # characters that LO and ST hold
_CUT = "..."  # marks that more stood here

# True of the source's pixels or of its file, not of the derived image.
_STALE = (
    "SmallestPixelValueInSeries", "LargestPixelValueInSeries", "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane", "IconImageSequence", "DigitalSignaturesSequence",
    "MACParametersSequence", "DataSetTrailingPadding", "InstanceCreationDate", "InstanceCreationTime",
    "InstanceCreatorUID", "PixelDataProviderURL", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip


# Attributes of type 2: PS3.3 requires them in every image, where they may be empty.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "Laterality", "PatientOrientation",
)  # fmt: skip
GREATEST = 65535  # value of 16 bits


def derive(volume: Volume, index: int, provenance: Provenance, form: Dataset) -> Dataset:
    """The data set of one slice of `volume`, finer by its scale than its source image.

    `form` is the source's header, or one like it but for how pixels are stored. The same source, window, model and
    options give the same bytes: nothing in it depends on the time of the run.
    """
    header = volume.source.header[index]
    image = copy.deepcopy(form)
    for keyword in _STALE:
        image.pop(keyword, None)
    move_to_finer_grid(image, volume.scale)
    set_pixels(image, to_stored(volume.pixels[index], form))
    image.ImageType = _type(header, provenance)
    source = _source(volume.source.wholes[0] if volume.source.split else header)
    if volume.source.split and volume.slice_distance is None:
        source.ReferencedFrameNumber = int(header.InstanceNumber)
    image.SourceImageSequence = [source]
    _identify(image, header, volume, provenance)
    return image


def derive_frames(volume: Volume, provenance: Provenance, forms: Sequence[Dataset]) -> Dataset:
    """The data set of all frames of a file in its order, of the file's class; `forms` has a header for each.

    Functional groups stay where they are, shared or of a frame, with the geometry of the finer grid; dimensions and
    their indices are the source's.
    """
    (header,), scale, first = volume.source.wholes, volume.scale, forms[0]
    enhanced = header.SOPClassUID in ENHANCED
    parts = [(header.get(keyword) or [Dataset()])[0] for keyword in (SHARED, PER_FRAME)]
    grouped = [group for group in GROUPS if enhanced or any(part.get(group) for part in parts)]
    in_groups = {keyword for group in grouped for keyword in GROUPS[group]} | TELLING
    image = Dataset()
    for element in first:
        if element.keyword not in in_groups:
            image.add(copy.deepcopy(element))
        elif element.keyword in header:
            image.add(copy.deepcopy(header[element.keyword]))
    for keyword in (SHARED, PER_FRAME):
        if keyword in header:
            image.add(copy.deepcopy(header[keyword]))
    for keyword in _STALE:
        image.pop(keyword, None)
    move_to_finer_grid(image, scale)
    set_pixels(image, np.stack([to_stored(one, form) for one, form in zip(volume.pixels, forms, strict=True)]))
    image.NumberOfFrames = len(forms)
    image.ImageType = _frame_type(header.get("ImageType"), provenance) if enhanced else _type(header, provenance)
    if not enhanced:
        image.SourceImageSequence = [_source(header)]
    _identify(image, header, volume, provenance)
    if grouped and not image.get(SHARED):
        setattr(image, SHARED, [Dataset()])
    shared = image[SHARED][0] if grouped else Dataset()
    owns = image.get(PER_FRAME) or [Dataset()]
    for number, (own, form) in enumerate(zip(owns, forms, strict=False), 1):
        _place(form, grouped, own, shared, scale)
        if enhanced:
            item, source = Dataset(), _source(header)
            source.ReferencedFrameNumber = number
            item.DerivationDescription, item.SourceImageSequence = image.DerivationDescription, [source]
            item.DerivationCodeSequence = image.DerivationCodeSequence
            earlier = own.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or ()
            own.DerivationImageSequence = [*earlier, item]
    for groups in (shared, *owns):
        _change_groups(groups, provenance, scale)
    if enhanced:
        shared.pop("DerivationImageSequence", None)
        _add_evidence(image, header)
    return image


def _place(form: Dataset, grouped: Sequence[str], own: Dataset, shared: Dataset, scale: int) -> None:
    """Puts geometry and scale of a frame, as `form` has them at its top, into its functional groups on the new grid."""
    moved = Dataset()
    for keyword in (keyword for keywords in GROUPS.values() for keyword in keywords):
        if keyword in form:
            moved.add(copy.deepcopy(form[keyword]))
    move_to_finer_grid(moved, scale)
    for group in grouped:
        if not own.get(group) and not shared.get(group) and any(keyword in moved for keyword in GROUPS[group]):
            setattr(shared, group, [Dataset()])
        for item in (*(own.get(group) or ()), *(shared.get(group) or ())):  # equal where a file has both
            for keyword in GROUPS[group]:
                item.pop(keyword, None)
                if keyword in moved:
                    item.add(moved[keyword])


def _change_groups(groups: Dataset, provenance: Provenance, scale: int) -> None:
    """Changes what else is of the source's pixels in the functional groups of a frame, or of all."""
    for name in FRAME_TYPES:
        for item in groups.get(name) or ():
            item.FrameType = _frame_type(item.get("FrameType"), provenance)
    for item in groups.get("FrameDisplayShutterSequence") or ():
        move_to_finer_grid(item, scale)
    for element in groups:
        if element.tag.is_private and element.VR == "SQ":  # such as Philips' copies of single-frame headers
            for item in element.value:
                move_to_finer_grid(item, scale)
    for name in ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence"):
        for item in groups.get(name) or ():
            for keyword in _STALE:
                item.pop(keyword, None)
    if provenance.image in MAPS:
        groups.pop("RealWorldValueMappingSequence", None)


def _frame_type(values: Any, provenance: Provenance) -> list[str]:
    """The four values of a derived frame's type, the second of which may only be PRIMARY (PS3.3 C.8.16.1).

    A fourth one by which the source tells its frames apart, such as field maps, stays.
    """
    known = [] if values is None or isinstance(values, str) else [str(value) for value in values]
    third, fourth = ([*known, "", "", "", ""])[2:4]
    if provenance.image in MAPS:
        fourth = "STD_DEVIATION" if provenance.image == UNCERTAINTY else "QUANTITY"
    return ["DERIVED", "PRIMARY", third or "VOLUME", "RESAMPLED" if fourth in ("", "NONE") else fourth]


def _add_evidence(image: Dataset, header: Dataset) -> None:
    """Lists the source among those of its study that frames refer to (PS3.3 C.8.13.2.1.2)."""
    instance, series, study = _source(header), Dataset(), Dataset()
    instance.pop("PurposeOfReferenceCodeSequence")
    series.SeriesInstanceUID, series.ReferencedSOPSequence = header.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = header.StudyInstanceUID, [series]
    listed = list(image.get("SourceImageEvidenceSequence") or ())
    of_study = [one for one in listed if one.get("StudyInstanceUID") == header.StudyInstanceUID]
    if of_study:
        of_study[0].ReferencedSeriesSequence = [*(of_study[0].get("ReferencedSeriesSequence") or ()), series]
    image.SourceImageEvidenceSequence = listed if of_study else [*listed, study]


def _type(header: Dataset, provenance: Provenance) -> list[str]:
    """DERIVED, SECONDARY and the source's further values; MR wants a third one (PS3.3 C.8.3.1.1.1)."""
    values = header.get("ImageType") or []
    further = [str(value) for value in values[2:]] if not isinstance(values, str) else []
    if provenance.image in MAPS:  # of an MR image it is neither magnitude nor phase
        third = further[0] if further and header.SOPClassUID != MRImageStorage else ""
        further = [third or "OTHER", provenance.image.upper(), *(["MOSAIC"] if "MOSAIC" in further else [])]
    elif header.SOPClassUID == MRImageStorage and not (further and further[0]):
        further[:1] = ["OTHER"]
    return ["DERIVED", "SECONDARY", *further]


def _source(header: Dataset) -> Dataset:
    """The reference to a source."""
    source = Dataset()
    source.ReferencedSOPClassUID = header.SOPClassUID
    source.ReferencedSOPInstanceUID = header.SOPInstanceUID
    source.PurposeOfReferenceCodeSequence = [code(*_SOURCE_IMAGE)]
    return source


def _identify(image: Dataset, header: Dataset, volume: Volume, provenance: Provenance) -> None:
    """Gives the data set made of `header` identifiers of its own, and says what was done."""
    made_from = content(volume, provenance)
    series = volume.source.series_digest or made_from
    # Of slices that were brought closer, and of frames that become files, several come from one source.
    several, split = volume.slice_distance is not None or volume.source.split, ["single"] * volume.source.split
    which = [*split, str(header.InstanceNumber)] if several else []
    image.SOPInstanceUID = derived_uid(["image", header.SOPInstanceUID, made_from, *which], volume.scale, provenance)
    image.SeriesInstanceUID = derived_uid(
        ["series", header.SeriesInstanceUID, series, *split], volume.scale, provenance
    )
    image.SeriesNumber = series_number(header, volume.scale, provenance)
    for keyword in ("ConcatenationUID", "SOPInstanceUIDOfConcatenationSource"):  # of files that are parts of one object
        if header.get(keyword):
            setattr(image, keyword, derived_uid([keyword, header[keyword].value, series], volume.scale, provenance))
    describe(image, volume.scale, provenance)


def content(volume: Volume, provenance: Provenance) -> str:
    """Canonical JSON of what determines a derived volume's pixels beside the provenance: its input and the window.

    Where no model made the pixels, their own digest is included.
    """
    without = provenance.model_hash == WITHOUT_MODEL.model_hash
    pixels = hashlib.sha256(np.ascontiguousarray(volume.pixels).data).hexdigest() if without else ""
    return canonical_json([volume.source.digest, volume.window.low, volume.window.high, pixels])


def derived_uid(source: Sequence[str], scale: int, provenance: Provenance) -> str:
    """A UID that the same source, model, options, seed, scale and kind of image always give again, and no others."""
    made_by = [PIXELS, provenance.model_hash, provenance.options, provenance.seed, provenance.image, scale]
    return str(generate_uid(entropy_srcs=[canonical_json([*source, *made_by])]))


def series_number(header: Dataset, scale: int, provenance: Provenance) -> int:
    """A number for the derived series that is seldom taken and sorts: the source's, the scale, a digit for the kind."""
    digits = (digit for kind, digit in _SERIES_DIGITS.items() if provenance.image.startswith(kind))
    number = int(header.get("SeriesNumber") or 0)
    return (abs(number) % _LAST_SERIES) * 1000 + scale * 10 + next(digits, 0)


def set_pixels(image: Dataset, stored: NDArray[Any]) -> None:
    """Puts integers, (rows, columns) or (frames, rows, columns), into the data set, with their size and extremes."""
    image.Rows, image.Columns = stored.shape[-2:]
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
    codes = [_SPATIAL_RESAMPLING, *([_STANDARD_DEVIATION] if provenance.image == UNCERTAINTY else [])]
    image.DerivationCodeSequence = [*(image.get("DerivationCodeSequence") or []), *(code(*one) for one in codes)]
    equipment = Dataset()
    equipment.Manufacturer = "latentsr"
    equipment.ManufacturerModelName = provenance.model[:_SHORT]
    equipment.SoftwareVersions = provenance.version[:_SHORT]
    equipment.DeviceSerialNumber = provenance.model_hash[:_SHORT]
    equipment.ContributionDescription = f"Seed {provenance.seed}, options {provenance.options}"[:_LONG]
    equipment.PurposeOfReferenceCodeSequence = [code(*_PROCESSING)]
    image.ContributingEquipmentSequence = [*(image.get("ContributingEquipmentSequence") or []), equipment]
    kind = f"{provenance.image}, " if provenance.image else ""
    added = f"{'thin slices' if provenance.what else f'x{scale}'} {kind}latentsr, research use only"
    name, room = str(image.get("SeriesDescription") or ""), _SHORT - len(added) - 1
    name = name if len(name) <= room else f"{name[: room - len(_CUT)].rstrip()}{_CUT}"
    image.SeriesDescription = f"{name} {added}".strip()
    if provenance.synthetic or not image.get("SyntheticData"):  # once made up, always made up
        image.SyntheticData = "YES" if provenance.synthetic else "NO"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence item (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def capture(volume: Volume, provenance: Provenance) -> list[Dataset]:
    """One Secondary Capture data set per slice, in one new study without a patient.

    16 bits stored; slope and intercept map them to the volume's physical values. The same pixels give the same UIDs.
    """
    low, high = float(volume.pixels.min()), float(volume.pixels.max())
    if high - low <= GREATEST and np.array_equal(volume.pixels, np.rint(volume.pixels)):
        low, slope = (0.0 if low >= 0 and high <= GREATEST else low), 1.0  # whole numbers that fit
    else:
        low, slope = float(f"{low:.9g}"), float(f"{(high - low) / GREATEST:.9g}")  # decimal strings hold 16 characters
    stored = np.rint((volume.pixels.astype(np.float64) - low) / slope).astype("<u2")

    content = hashlib.sha256(volume.pixels.tobytes()).hexdigest()
    images = []
    for number, one in enumerate(stored, 1):
        image = Dataset()
        image.SOPClassUID = SecondaryCaptureImageStorage
        image.SOPInstanceUID = derived_uid([content, f"image {number}"], volume.scale, provenance)
        image.SeriesInstanceUID = derived_uid([content, "series"], volume.scale, provenance)
        image.StudyInstanceUID = str(generate_uid(entropy_srcs=[content, "study"]))
        image.Modality, image.ConversionType, image.ImageType = "OT", "WSD", ["DERIVED", "SECONDARY"]
        for keyword in _MAY_BE_EMPTY:
            setattr(image, keyword, "")
        image.SeriesNumber, image.InstanceNumber = 1, number
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = f"{low:.9g}", f"{slope:.9g}", "US"
        if volume.spacing:
            image.PixelSpacing = [f"{value:.10g}" for value in volume.spacing]
        set_pixels(image, one)
        describe(image, volume.scale, provenance)
        images.append(image)
    return images


_GRAPHICS = (0x50, 0x60)  # the first byte of the groups of curves and overlays
_MASKS = ("ShutterShape", "CollimatorShape")


@dataclass(frozen=True)
class Box:
    """A part of an image in whole pixels: its first row and column, and its size."""

    top: int
    left: int
    rows: int
    columns: int

    def of(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The part of `pixels` (..., rows, columns); InputError where it reaches beyond them."""
        rows, columns = pixels.shape[-2:]
        if min(self.top, self.left) < 0 or self.top + self.rows > rows or self.left + self.columns > columns:
            raise InputError(f"{self} reaches beyond the image of {rows} x {columns} pixels: choose a part inside it")
        return pixels[..., self.top : self.top + self.rows, self.left : self.left + self.columns]


def write_window(
    volume: Volume,
    path: Path,
    box: Box,
    *,
    pixels: NDArray[Any] | None = None,
    scale: int = 1,
    made: str = "",
    overwrite: bool = False,
) -> Path:
    """Writes the part `box` of a one-slice DICOM volume as a derived DICOM of its own geometry, and gives `path`.

    `pixels` (rows, columns), physical values, are that part on a grid `scale` times coarser, and `made` says how they
    came about; without them the part itself is written. Overlays, curves and shutters are left out, which belong to
    the whole image. Values beyond the source's stored range are clipped to it.
    """
    if volume.source.kind != "dicom" or len(volume.pixels) != 1 or volume.scale != 1:
        came = f"{volume.source.kind} volume of {len(volume.pixels)} slices"
        raise InputError(f"{came}: expected one DICOM image as it was read")
    part = box.of(volume.pixels)[0] if pixels is None else np.asarray(pixels, np.float32)
    if part.shape != (box.rows // scale, box.columns // scale) or box.rows % scale or box.columns % scale:
        raise InputError(f"pixels of shape {part.shape}: expected {box.rows} x {box.columns} divided by {scale}")
    refuse_existing(path, overwrite)
    whole, header = volume.source.header[0], Dataset()
    for element in whole:
        if element.tag.group >> 8 not in _GRAPHICS and element.keyword not in _MASKS:
            header.add(copy.deepcopy(element))  # setting a value changes an element in place
    header.Rows, header.Columns = part.shape
    if is_placed(whole):
        shift = -first_pixel_shift(scale) * scale  # to the centre of the first coarse pixel
        moved = origin(whole) + np.array([box.left + shift, box.top + shift]) @ steps(whole)
        header.ImagePositionPatient = decimals(moved)
    for keyword in SPACINGS:
        if whole.get(keyword):
            setattr(header, keyword, decimals(np.array(whole[keyword].value, np.float64) * scale))
    options = f'{{"box":[{box.top},{box.left},{box.rows},{box.columns}],"made":"{made}","scale":{scale}}}'
    reduced = Volume(part[None], None, volume.window, replace(volume.source, header=(header,)))
    dicom.write(reduced, path, provenance=_Reduction("none", __version__, "none", 0, options, synthetic=False))
    return path


class _Reduction(Provenance):
    """Provenance of a part of an image: nothing was enlarged, and no model touched it."""

    def note(self, scale: int, use: str = "Research use only.") -> str:  # noqa: ARG002 - the scale of the volume, which is 1 here
        """What was done, for the DICOM's description."""
        return f"Part of an image, reduced by latentsr {self.version}: {self.options}. {use}".rstrip()
