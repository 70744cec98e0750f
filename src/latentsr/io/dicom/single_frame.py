"""Headers of single-frame images for the frames of enhanced MR and CT objects, as older programs want them.

What functional groups hold of a frame comes to the top of its header, under the names that the single-frame module has
(PS3.3 C.8.3 and C.8.2 against C.8.13 and C.8.15).
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from pydicom import Dataset, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from latentsr.io.dicom.geometry import Slice
from latentsr.io.dicom.header import PER_FRAME, SHARED, SINGLE

_REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "PatientPosition",
    "SliceThickness",
)  # fmt: skip

_OF_CLASS: dict[str, tuple[str, ...]] = {  # what the modules of a class require beside, if only empty (types 1 and 2)
    uid.MRImageStorage: ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength", "RepetitionTime"),
    uid.CTImageStorage: ("KVP", "AcquisitionNumber"),
}  # fmt: skip

# Of several frames in one object, which a single image is not.
_OF_FRAMES = (
    SHARED, PER_FRAME, "NumberOfFrames", "DimensionOrganizationSequence", "DimensionOrganizationType",
    "DimensionIndexSequence", "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber", "SOPInstanceUIDOfConcatenationSource", "ReferencedImageEvidenceSequence",
    "SourceImageEvidenceSequence", "StackID", "InStackPositionNumber", "DimensionIndexValues",
)  # fmt: skip
# Groups that stay sequences, and those that name what an object was made of.
_WHOLE = ("ReferencedImageSequence", "RealWorldValueMappingSequence", "MRSpatialSaturationSequence",
          "MRVelocityEncodingSequence", "CTAdditionalXRaySourceSequence")  # fmt: skip
_MADE_OF = ("ConversionSourceAttributesSequence", "ImageFrameConversionSourceAttributesSequence")

_RENAMED = {
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "FrameComments": "ImageComments",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "TransmitterFrequency": "ImagingFrequency",
    "ResonantNucleus": "ImagedNucleus",
    "ExposureTimeInms": "ExposureTime",
    "XRayTubeCurrentInmA": "XRayTubeCurrent",
    "ExposureInmAs": "Exposure",
}
_PHASE_STEPS = "PhaseEncodingStepsInPlane"
_MOMENT = re.compile(r"(\d{8})(\d{6}(?:\.\d{1,6})?)")


def single_frames(file: Slice, frames: Sequence[Slice]) -> list[Slice]:
    """The frames of an enhanced object with headers of the single-frame class, numbered from 1 in the file's order.

    Identifiers stay those of the object. Private elements of functional groups are left out: some vendors keep copies
    of single-frame headers there, which a finer grid would make wrong. PET has no single frames here: when its decay
    was corrected to, and what its values count, the enhanced object does not say in words that fit.
    """
    shared, own = (file.header.get(keyword) or [Dataset()] for keyword in (SHARED, PER_FRAME))
    single = SINGLE[file.header.SOPClassUID]
    made = []
    for number, (frame, groups) in enumerate(zip(frames, own, strict=True), 1):
        header = Dataset()
        for element in frame.header:
            if element.keyword not in _OF_FRAMES:
                header.add(element)  # replaced below: changing its value would change the object's header
        _flatten(shared[0], header)
        _flatten(groups, header)
        facts = {"SOPClassUID": single, "InstanceNumber": number}
        facts |= _FACTS[single](header)
        missing = dict.fromkeys(keyword for keyword in (*_REQUIRED, *_OF_CLASS[single]) if keyword not in header)
        for keyword, value in (missing | facts).items():
            vr = dictionary_VR(keyword)
            header.add_new(keyword, vr, [] if vr == "SQ" and value is None else value)
        made.append(frame._replace(header=header))
    return made


def _flatten(groups: Dataset, header: Dataset) -> None:
    """Puts what functional groups hold into a header, under the names and in the types that it has there."""
    found: dict[str, DataElement] = {}
    for group in groups:
        if group.VR != "SQ" or group.tag.is_private or group.keyword in _MADE_OF or not group.value:
            continue
        if group.keyword in _WHOLE:
            header.add(group)
        else:
            found |= {one.keyword: one for one in group.value[0] if one.keyword and one.keyword not in _OF_FRAMES}
    if "ResonantNucleus" in header:  # at the top of the object
        found["ResonantNucleus"] = header["ResonantNucleus"]
    for item in (
        found["DiffusionGradientDirectionSequence"].value if "DiffusionGradientDirectionSequence" in found else ()
    ):
        found |= {one.keyword: one for one in item if one.keyword == "DiffusionGradientOrientation"}
    for keyword, element in found.items():
        name = _RENAMED.get(keyword, keyword)
        value, vr = element.value, dictionary_VR(name)
        if vr in ("DS", "IS") and vr != element.VR and value not in (None, ""):
            number = float(value[0] if isinstance(value, MultiValue | list) else value)
            value = DSfloat(number, auto_format=True) if vr == "DS" else round(number)
        header.add_new(name, vr if vr in ("DS", "IS") or name != keyword else element.VR, value)
    if moment := _MOMENT.match(str(header.get("AcquisitionDateTime") or "")):
        header.add_new("AcquisitionDate", "DA", moment[1])
        header.add_new("AcquisitionTime", "TM", moment[2])


def _of_mr(header: Dataset) -> dict[str, Any]:
    """Kind, variants and options of the sequence, echo train and matrix, where the header does not say them itself."""

    def told(keyword: str, *values: str) -> bool:
        found = header.get(keyword)
        return found in values if values else found not in (None, "", "NO", "NONE")

    kinds = {
        "SE": told("EchoPulseSequence", "SPIN", "BOTH"), "GR": told("EchoPulseSequence", "GRADIENT", "BOTH"),
        "IR": told("InversionRecovery"), "EP": told("EchoPlanarPulseSequence"),
    }  # fmt: skip
    variants = {
        "SK": told("SegmentedKSpaceTraversal", "PARTIAL", "FULL"), "MTC": told("MagnetizationTransfer"),
        "TRSS": told("SteadyStatePulseSequence", "TIME_REVERSED"),
        "SS": told("SteadyStatePulseSequence") and not told("SteadyStatePulseSequence", "TIME_REVERSED"),
        "SP": told("Spoiling"), "MP": told("InversionRecovery") or told("T2Preparation"),
        "OSP": told("OversamplingPhase"),
    }  # fmt: skip
    options = {
        "RG": told("RespiratoryMotionCompensationTechnique")
        and not told("RespiratoryMotionCompensationTechnique", "BREATH_HOLD"),
        "CG": told("CardiacSynchronizationTechnique"),
        "FC": told("FlowCompensation"), "PFF": told("PartialFourierDirection", "FREQUENCY"),
        "PFP": told("PartialFourierDirection", "PHASE"), "SP": told("SpatialPresaturation"),
        "FS": told("SpectrallySelectedSuppression", "FAT"),
    }  # fmt: skip
    train = max(int(header.get(keyword) or 0) for keyword in ("RFEchoTrainLength", "GradientEchoTrainLength"))
    facts: dict[str, Any] = {
        "ScanningSequence": [kind for kind, found in kinds.items() if found] or ["RM"],
        "SequenceVariant": [kind for kind, found in variants.items() if found] or ["NONE"],
        "ScanOptions": [kind for kind, found in options.items() if found] or None,
        "EchoTrainLength": train or None,
    }
    read, phase = (header.get(f"MRAcquisition{name}") for name in ("FrequencyEncodingSteps", _PHASE_STEPS))
    direction = header.get("InPlanePhaseEncodingDirection")
    if read and phase and direction in ("ROW", "COLUMN"):
        facts["AcquisitionMatrix"] = [read, 0, 0, phase] if direction == "ROW" else [0, read, phase, 0]
    facts = {keyword: value for keyword, value in facts.items() if not header.get(keyword)}
    if "IR" not in (facts.get("ScanningSequence") or header.ScanningSequence):
        header.pop("InversionTime", None)
    return facts | ({"InPlanePhaseEncodingDirection": "COL"} if direction == "COLUMN" else {})


def _of_ct(header: Dataset) -> dict[str, Any]:
    """The type of image, whose third value is AXIAL or LOCALIZER (PS3.3 C.8.2.1.1.1)."""
    values = [str(value) for value in header.get("ImageType") or ()]
    return {"ImageType": [*values[:2], "LOCALIZER" if "LOCALIZER" in values else "AXIAL"]}


_FACTS: dict[str, Callable[[Dataset], dict[str, Any]]] = {uid.MRImageStorage: _of_mr, uid.CTImageStorage: _of_ct}
