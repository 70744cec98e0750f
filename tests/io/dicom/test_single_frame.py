"""Frames of enhanced objects as single-frame images: what each says of itself, and that its class allows that."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset, uid
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.enhance import Job, enhance_files
from latentsr.errors import InputError
from latentsr.provenance import Provenance
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.upscalers.through_plane import ThroughPlane

MADE_BY = Provenance("tiny", "1.2.3", "f00d" * 16, 7, "{}")
AXIAL = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
OF_THE_PATIENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "FrameOfReferenceUID", "SeriesNumber", "StudyDate",
)  # fmt: skip
GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
# SyntheticData is younger than dciodvfy.
YOUNG = "(0008,001c)"


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _enhanced(path: Path, kind: str, *frames: dict[str, Any], **top: Any) -> Path:
    """An enhanced object of two frames of 8 x 8 pixels or more, each with these functional groups."""
    source, made = pydicom.dcmread(get_testdata_file("MR_small.dcm")), Dataset()
    for keyword in OF_THE_PATIENT:
        setattr(made, keyword, source.get(keyword))
    stored = np.random.default_rng(0).integers(0, 900, (len(frames), 8, 8)).astype("<u2")
    made.SOPClassUID, made.Modality = getattr(uid, f"Enhanced{kind}ImageStorage"), {"PET": "PT"}.get(kind, kind)
    made.ImageType, made.PatientPosition = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "HFS"
    made.NumberOfFrames, made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelData = 15, stored.tobytes()
    made["PixelData"].VR = "OW"
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    for keyword, value in top.items():
        setattr(made, keyword, value)
    made.SharedFunctionalGroupsSequence = [_item(
        PixelMeasuresSequence=[_item(PixelSpacing=["0.7", "0.9"], SliceThickness="2")],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=["1", "0", "0", "0", "1", "0"])],
        PixelValueTransformationSequence=[_item(RescaleSlope="2", RescaleIntercept="-5", RescaleType="US")],
    )]  # fmt: skip
    made.PerFrameFunctionalGroupsSequence = [
        _item(**{"PlanePositionSequence": [_item(ImagePositionPatient=[0, 0, 2 * number])], **groups})
        for number, groups in enumerate(frames)
    ]
    made.save_as(path, enforce_file_format=True)
    return path


def _legacy(path: Path, out: Path) -> list[Dataset]:
    (outcome,) = enhance_files([path], Job(load_upscaler("bicubic", scale=2), Sampling(), out, legacy=True))
    assert (outcome.status, outcome.output) == ("written", f"{path.stem}_frames"), outcome.reason
    return [pydicom.dcmread(out / name) for name in sorted(outcome.output_sha256)]


def test_converted_slices_are_enhanced_as_the_series_that_they_were(tmp_path: Path) -> None:
    sources = [pydicom.dcmread(path) for path in sorted(AXIAL.iterdir())]
    data = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        sources, series_instance_uid="1.2.3", series_number=7, sop_instance_uid="1.2.3.4", instance_number=1
    )
    data.save_as(tmp_path / "one.dcm")
    volume = io.read(tmp_path / "one.dcm", legacy=True)
    written = io.write(volume, tmp_path / "frames", provenance=MADE_BY)
    (whole,) = io.write(io.read(tmp_path / "one.dcm"), tmp_path / "whole.dcm", provenance=MADE_BY)
    made = [pydicom.dcmread(path) for path in written]
    assert len({image.SOPInstanceUID for image in made}) == len(sources) == len(made)
    assert {image.SOPClassUID for image in made} == {uid.CTImageStorage}
    (series,) = {image.SeriesInstanceUID for image in made}
    assert series not in (pydicom.dcmread(whole).SeriesInstanceUID, "1.2.3")
    expected = {
        tuple(image.ImagePositionPatient): image
        for image in map(pydicom.dcmread, io.write(io.read(AXIAL), tmp_path / "series", provenance=MADE_BY))
    }
    for number, image in enumerate(made, 1):
        same = expected[tuple(image.ImagePositionPatient)]
        np.testing.assert_array_equal(image.pixel_array, same.pixel_array)
        for keyword in (*GEOMETRY, "KVP", "ExposureTime", "XRayTubeCurrent", "ConvolutionKernel", "RescaleSlope",
                        "RescaleIntercept", "AcquisitionNumber", "WindowWidth", "GantryDetectorTilt"):  # fmt: skip
            assert image.get(keyword) == same.get(keyword), keyword
        (reference,) = image.SourceImageSequence
        assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == ("1.2.3.4", number)
        assert reference.ReferencedSOPClassUID == uid.LegacyConvertedEnhancedCTImageStorage
        assert not {"SharedFunctionalGroupsSequence", "NumberOfFrames", "DimensionIndexSequence"} & set(image.dir())


def test_each_mr_image_has_the_echo_b_value_time_and_window_of_its_frame(tmp_path: Path) -> None:
    def groups(number: int) -> dict[str, Any]:
        direction = _item(DiffusionGradientOrientation=[0.0, 0.6, 0.8])
        return {
            "MREchoSequence": [_item(EffectiveEchoTime=4.5 * number)],
            "MRDiffusionSequence": [_item(
                DiffusionBValue=1000.0 * number, DiffusionDirectionality="DIRECTIONAL",
                DiffusionGradientDirectionSequence=[direction],
            )],
            "MRTimingAndRelatedParametersSequence": [_item(RepetitionTime="3000", FlipAngle="70")],
            "MRFOVGeometrySequence": [_item(
                InPlanePhaseEncodingDirection="COLUMN", MRAcquisitionFrequencyEncodingSteps=96,
                MRAcquisitionPhaseEncodingStepsInPlane=80,
            )],
            "MRModifierSequence": [_item(InversionRecovery="NO", InversionTimes=[5.0], Spoiling="RF")],
            "FrameContentSequence": [_item(
                FrameAcquisitionDateTime=f"2020010203040{number}.5", TemporalPositionIndex=number, StackID="1",
                FrameAcquisitionNumber=4,
            )],
            "FrameVOILUTSequence": [_item(WindowCenter=str(10 * number), WindowWidth="99")],
            "MRImageFrameTypeSequence": [_item(FrameType=["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"])],
        }  # fmt: skip

    path = _enhanced(
        tmp_path / "in.dcm", "MR", groups(1), groups(2), EchoPulseSequence="SPIN", EchoPlanarPulseSequence="YES",
        MRAcquisitionType="2D", ResonantNucleus="1H", SegmentedKSpaceTraversal="SINGLE", AcquisitionNumber=1,
    )  # fmt: skip
    for number, image in enumerate(_legacy(path, tmp_path / "out"), 1):
        assert (image.SOPClassUID, image.InstanceNumber) == (uid.MRImageStorage, number)
        assert (image.EchoTime, image.DiffusionBValue) == (4.5 * number, 1000 * number)
        assert image.DiffusionGradientOrientation == [0, 0.6, 0.8]
        assert (image.RepetitionTime, image.FlipAngle, image.ImagedNucleus) == (3000, 70, "1H")
        assert image["ImagedNucleus"].VR == "SH"
        assert (image.ScanningSequence, image.SequenceVariant) == (["SE", "EP"], "SP")
        assert (image.InPlanePhaseEncodingDirection, image.AcquisitionMatrix) == ("COL", [0, 96, 80, 0])
        assert (image.AcquisitionDate, image.AcquisitionTime) == ("20200102", f"03040{number}.5")
        assert (image.TemporalPositionIdentifier, image.AcquisitionNumber) == (number, 4)
        assert (image.WindowCenter, image.RescaleSlope, image.RescaleIntercept) == (10 * number, 2, -5)
        assert image.ImageType == ["DERIVED", "SECONDARY", "DIFFUSION", "NONE"]
        np.testing.assert_allclose(image.ImagePositionPatient, [-0.225, -0.175, 2 * number - 2])
        assert not {"StackID", "InversionTime", "MREchoSequence"} & set(image.dir())
    upwards = io.read(path, legacy=True)
    assert [one.EchoTime for one in upwards.source.header] == [4.5, 9]
    with pytest.raises(InputError, match="holds its slices as frames"):
        load = load_upscaler("bicubic", scale=2)
        ThroughPlane(load).enhance(path)


def test_one_frame_is_a_folder_with_one_image_too(tmp_path: Path) -> None:
    (image,) = _legacy(_enhanced(tmp_path / "one.dcm", "CT", {}), tmp_path / "out")
    assert image.SOPClassUID == uid.CTImageStorage
    assert (tmp_path / "out" / "one_frames").is_dir()


def test_a_held_breath_is_no_gating(tmp_path: Path) -> None:
    held, gated = (
        {"RespiratorySynchronizationSequence": [_item(RespiratoryMotionCompensationTechnique=technique)]}
        for technique in ("BREATH_HOLD", "GATING")
    )
    images = _legacy(_enhanced(tmp_path / "in.dcm", "MR", held, gated), tmp_path / "out")
    assert ["RG" in (image.get("ScanOptions") or ()) for image in images] == [False, True]


def test_thick_slices_of_an_enhanced_object_are_brought_closer(tmp_path: Path) -> None:
    path = _enhanced(tmp_path / "in.dcm", "CT", *[{}] * 3)
    upscaler = ThroughPlane(load_upscaler("bicubic", scale=2), target=1.0)
    (outcome,) = enhance_files([path], Job(upscaler, Sampling(), tmp_path / "out", legacy=True))
    assert outcome.output_shape == (6, 8, 8), outcome.reason
    made = [pydicom.dcmread(tmp_path / "out" / name) for name in sorted(outcome.output_sha256)]
    assert [image.ImagePositionPatient[2] for image in made] == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]
    assert len({image.SOPInstanceUID for image in made}) == 6
    assert all("ReferencedFrameNumber" not in image.SourceImageSequence[0] for image in made)


def test_both_forms_of_an_object_lie_beside_each_other(tmp_path: Path) -> None:
    path, upscaler = _enhanced(tmp_path / "in.dcm", "CT", {}, {}), load_upscaler("bicubic", scale=2)
    both = ((False, "written"), (True, "written"), (True, "kept"), (False, "failed"))
    for legacy, status in both:
        (outcome,) = enhance_files([path], Job(upscaler, Sampling(), tmp_path / "out", legacy=legacy))
        assert outcome.status == status
    assert "does not say who made it" in outcome.reason  # the record knows what was made last
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["in.dcm", "in_frames"]


def test_frames_of_other_classes_stay_together_with_a_warning(tmp_path: Path) -> None:
    path = _enhanced(tmp_path / "in.dcm", "CT", {}, {})
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = uid.XRayAngiographicImageStorage
    data.save_as(path)
    (outcome,) = enhance_files(
        [path], Job(load_upscaler("bicubic", scale=2), Sampling(), tmp_path / "out", legacy=True)
    )
    assert (outcome.status, outcome.output) == ("written", "in.dcm")
    assert "frames of no enhanced MR or CT object: they stay in one file" in outcome.warnings


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy here: install dicom3tools")
def test_dciodvfy_finds_no_error_that_the_object_does_not_have(shared: Path, tmp_path: Path) -> None:
    def errors(path: Path) -> set[str]:
        said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace").stderr
        lines = (line for line in said.splitlines() if line.startswith("Error") and YOUNG not in line)
        return {re.sub("</.*/", "</", line) for line in lines}  # in a functional group or not

    for item in io.find([shared / "dicom" / "enhanced"]):
        volume = io.read(item, legacy=True)
        written = io.write(volume, tmp_path / item.paths[0].name, provenance=None)
        shown = io.write_uncertainty(volume, tmp_path / "map" / item.paths[0].name, provenance=MADE_BY)
        before = errors(item.paths[0])
        for path in (written[1], written[-1], shown[1]):
            assert errors(path) <= before, path
