"""Headers of single-frame images for the frames of enhanced MR, CT and PET objects, as older programs want them.

What functional groups hold of a frame comes to the top of its header, under the names that the single-frame module has
(PS3.3 C.8.3, C.8.2 and C.8.9 against C.8.13, C.8.15 and C.8.22).
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, uid
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from latentsr.errors import InputError
from latentsr.io.dicom.geometry import Slice
from latentsr.io.dicom.header import PER_FRAME, SHARED

_REQUIRED = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "PositionReferenceIndicator", "PatientPosition",
    "SliceThickness",
)  # fmt: skip

_OF_CLASS: dict[str, tuple[str, ...]] = {  # what the modules of a class require beside, if only empty (types 1 and 2)
    uid.MRImageStorage: ("ScanOptions", "MRAcquisitionType", "EchoTime", "EchoTrainLength", "RepetitionTime"),
    uid.CTImageStorage: ("KVP", "AcquisitionNumber"),
    uid.PositronEmissionTomographyImageStorage: (
        "CollimatorType", "CorrectedImage", "RadiopharmaceuticalInformationSequence", "PatientOrientationCodeSequence",
        "PatientGantryRelationshipCodeSequence", "AcquisitionDate", "AcquisitionTime",
    ),
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
_UNITS = {"Bq/ml": "BQML", "{counts}": "CNTS", "{counts}/s": "CPS", "g/ml": "GML", "1": "NONE"}  # UCUM: PS3.3 C.8.9.1
_CORRECTED = {
    "DecayCorrected": "DECY", "AttenuationCorrected": "ATTN", "ScatterCorrected": "SCAT", "DeadTimeCorrected": "DTIM",
    "GantryMotionCorrected": "MOTN", "PatientMotionCorrected": "MOTN", "CountLossNormalizationCorrected": "NORM",
    "RandomsCorrected": "RAN",
}  # fmt: skip
_PHASE_STEPS = "PhaseEncodingStepsInPlane"
_MOMENT = re.compile(r"(\d{8})(\d{6}(?:\.\d{1,6})?)")


def single_frames(file: Slice, frames: Sequence[Slice]) -> list[Slice]:
    """The frames of an enhanced object with headers of the single-frame class, numbered from 1 in the file's order.

    Identifiers stay those of the object. Private elements of functional groups are left out: some vendors keep copies
    of single-frame headers there, which a finer grid would make wrong. InputError where the class requires what a PET
    object does not say.
    """
    shared, own = (file.header.get(keyword) or [Dataset()] for keyword in (SHARED, PER_FRAME))
    single, facts_of = _SINGLE[file.header.SOPClassUID]
    made = []
    for number, (frame, groups) in enumerate(zip(frames, own, strict=True), 1):
        header = Dataset()
        for element in frame.header:
            if element.keyword not in _OF_FRAMES:
                header.add(element)  # replaced below: changing its value would change the object's header
        _flatten(shared[0], header)
        _flatten(groups, header)
        facts = {"SOPClassUID": single, "InstanceNumber": number}
        facts |= facts_of(header, number, len(frames), file.path)
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


def _of_mr(header: Dataset, *_: object) -> dict[str, Any]:
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
        "RG": told("RespiratoryMotionCompensationTechnique"), "CG": told("CardiacSynchronizationTechnique"),
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


def _of_ct(header: Dataset, *_: object) -> dict[str, Any]:
    """The type of image, whose third value is AXIAL or LOCALIZER (PS3.3 C.8.2.1.1.1)."""
    values = [str(value) for value in header.get("ImageType") or ()]
    return {"ImageType": [*values[:2], "LOCALIZER" if "LOCALIZER" in values else "AXIAL"]}


def _of_pet(header: Dataset, number: int, count: int, path: Path) -> dict[str, Any]:
    """What PET series and images must say (PS3.3 C.8.9.1, C.8.9.4), where the header does not say it itself."""
    corrected = dict.fromkeys(name for flag, name in _CORRECTED.items() if header.get(flag) == "YES")
    mapping = (header.get("RealWorldValueMappingSequence") or [Dataset()])[0]
    code = (mapping.get("MeasurementUnitsCodeSequence") or [Dataset()])[0].get("CodeValue")
    begins = f"{header.get('SeriesDate') or ''}{header.get('SeriesTime') or ''}"
    begin, middle = (_MOMENT.match(text) for text in (begins, str(header.get("FrameReferenceDateTime") or "")))
    facts: dict[str, Any] = {
        "Units": _UNITS.get(str(code)), "CountsSource": "EMISSION", "SeriesType": ["STATIC", "IMAGE"],
        "CorrectedImage": [*corrected] or None, "DecayCorrection": "START" if "DECY" in corrected else "NONE",
        "NumberOfSlices": count, "ImageIndex": number,
        "ActualFrameDuration": round(float(header.get("FrameAcquisitionDuration") or 0)) or None,
        "FrameReferenceTime": None,
    }  # fmt: skip
    if begin and middle:
        first, then = (
            datetime.strptime(f"{one[1]}{float(one[2]):013.6f}", "%Y%m%d%H%M%S.%f") for one in (begin, middle)
        )
        facts["FrameReferenceTime"] = DSfloat((then - first).total_seconds() * 1000, auto_format=True)
    facts = {keyword: value for keyword, value in facts.items() if header.get(keyword) in (None, "", [])}
    if lacking := [keyword for keyword, value in facts.items() if value is None and keyword != "CorrectedImage"]:
        came = f"{path}: frame {number} does not say {', '.join(lacking)}"
        raise InputError(f"{came}, which a single-frame PET image must say: write the enhanced object instead")
    return facts


# The single-frame class of each enhanced one, and what it says beside.
_SINGLE: dict[str, tuple[str, Callable[[Dataset, int, int, Path], dict[str, Any]]]] = {
    uid.EnhancedMRImageStorage: (uid.MRImageStorage, _of_mr),
    uid.LegacyConvertedEnhancedMRImageStorage: (uid.MRImageStorage, _of_mr),
    uid.EnhancedCTImageStorage: (uid.CTImageStorage, _of_ct),
    uid.LegacyConvertedEnhancedCTImageStorage: (uid.CTImageStorage, _of_ct),
    uid.EnhancedPETImageStorage: (uid.PositronEmissionTomographyImageStorage, _of_pet),
    uid.LegacyConvertedEnhancedPETImageStorage: (uid.PositronEmissionTomographyImageStorage, _of_pet),
}
