"""Multi-frame objects: frames in, an object of the same class out, its functional groups on the finer grid."""

import copy
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom import Dataset, uid
from pydicom.data import get_testdata_file
from pydicom.sequence import Sequence

from latentsr import io
from latentsr.enhance import Job, enhance_files
from latentsr.errors import InputError
from latentsr.provenance import Provenance
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.volume import Volume

MADE_BY = Provenance("tiny", "1.2.3", "f00d" * 16, 7, "{}")
AXIAL = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
FRAME_TYPE = {"MR": "MRImageFrameTypeSequence", "CT": "CTImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}
ENHANCED = {
    uid.EnhancedMRImageStorage: "MR", uid.EnhancedCTImageStorage: "CT", uid.EnhancedPETImageStorage: "PT",
    uid.LegacyConvertedEnhancedMRImageStorage: "MR", uid.LegacyConvertedEnhancedPETImageStorage: "PT",
}  # fmt: skip
CINE = {
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: 8,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: 16,
    uid.UltrasoundMultiFrameImageStorage: 8, uid.XRayAngiographicImageStorage: 16,
    uid.XRayRadiofluoroscopicImageStorage: 16,
}  # fmt: skip
KEPT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "SeriesInstanceUID",
    "SOPInstanceUID", "FrameOfReferenceUID", "SeriesNumber", "StudyDate",
)  # fmt: skip
GEOMETRY = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")
UPWARDS = [[-10 - 2.0 * number, 5 + 1.5 * number, 7] for number in range(4)]  # along the normal


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def _frames(count: int, bits: int = 16) -> np.ndarray:
    """Frames of 8 x 12 pixels; each begins with its number."""
    values = np.random.default_rng(0).integers(0, 200, (count, 8, 12))
    values[:, 0, 0] = np.arange(count)
    return values.astype(f"<u{bits // 8}")


def _object(sop_class: str, stored: np.ndarray, modality: str) -> Dataset:
    """What all frames of a file share, out of a file of pydicom's."""
    made, source = Dataset(), pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    for keyword in KEPT:
        setattr(made, keyword, source.get(keyword))
    made.SOPClassUID, made.Modality, made.InstanceNumber = sop_class, modality, 3
    made.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    made.NumberOfFrames, made.Rows, made.Columns = stored.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated = made.BitsStored = 8 * stored.itemsize
    made.HighBit, made.PixelData = made.BitsStored - 1, stored.tobytes()
    made["PixelData"].VR = "OW"
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    return made


def _enhanced(sop_class: str = uid.EnhancedMRImageStorage, places: list[list[float]] = UPWARDS) -> Dataset:
    """An enhanced object: measures and orientation shared, all else of each frame, whose slope is its number."""
    modality = ENHANCED[sop_class]
    made = _object(sop_class, _frames(len(places)), modality)
    made.SharedFunctionalGroupsSequence = [_item(
        PixelMeasuresSequence=[_item(PixelSpacing=["0.7", "0.9"], SliceThickness="2")],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=["0.6", "0.8", "0", "0", "0", "-1"])],
    )]  # fmt: skip
    made.PerFrameFunctionalGroupsSequence = [
        _item(**{
            "FrameContentSequence": [_item(
                DimensionIndexValues=[1, number], StackID="1", InStackPositionNumber=number, TemporalPositionIndex=1
            )],
            "PlanePositionSequence": [_item(ImagePositionPatient=place)],
            "PixelValueTransformationSequence": [
                _item(RescaleSlope=str(number), RescaleIntercept="-5", RescaleType="US")
            ],
            "FrameVOILUTSequence": [_item(WindowCenter=str(10 * number), WindowWidth="99")],
            FRAME_TYPE[modality]: [_item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
        })
        for number, place in enumerate(places, 1)
    ]  # fmt: skip
    organization = _item(DimensionOrganizationUID="1.2.3.4")
    made.DimensionOrganizationSequence = [organization]
    made.DimensionIndexSequence = [
        _item(DimensionOrganizationUID="1.2.3.4", DimensionIndexPointer=tag, FunctionalGroupPointer=0x00209111)
        for tag in (0x00209056, 0x00209057)
    ]
    return made


def _cine(sop_class: str) -> Dataset:
    bits = CINE[sop_class]
    made = _object(sop_class, _frames(3, bits), "US" if bits == 8 else "XA")
    made.FrameIncrementPointer, made.FrameTime = 0x00181063, "40"
    return made


def _saved(data: Dataset, path: Path) -> Path:
    data.save_as(path, enforce_file_format=True)
    return path


def _enlarged(volume: Volume, scale: int = 2) -> Volume:
    return volume.enlarged(np.kron(volume.pixels, np.ones((1, scale, scale), np.float32)), scale)


def _groups(image: Dataset, frame: int) -> Dataset:
    """The functional groups of a frame, its own and shared ones."""
    found = Dataset()
    found.update(image.SharedFunctionalGroupsSequence[0])
    found.update(image.PerFrameFunctionalGroupsSequence[frame])
    return found


@pytest.mark.parametrize("sop_class", [*ENHANCED, *CINE], ids=lambda value: uid.UID(value).keyword)
def test_read_and_write_keeps_pixels_geometry_and_order(tmp_path: Path, sop_class: str) -> None:
    before = _enhanced(sop_class) if sop_class in ENHANCED else _cine(sop_class)
    volume = io.read(_saved(before, tmp_path / "in.dcm"))
    assert volume.pixels.shape == (before.NumberOfFrames, 8, 12)
    (path,) = io.write(volume, tmp_path / "out.dcm", provenance=None)
    after = pydicom.dcmread(path)
    assert after.SOPClassUID == after.file_meta.MediaStorageSOPClassUID == sop_class
    np.testing.assert_array_equal(after.pixel_array, before.pixel_array)
    np.testing.assert_array_equal(io.read(path).pixels, volume.pixels)
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SeriesInstanceUID != before.SeriesInstanceUID
    for keyword in ("NumberOfFrames", "InstanceNumber", "FrameTime", "FrameIncrementPointer", "FrameOfReferenceUID",
                    "DimensionIndexSequence", "DimensionOrganizationSequence", "StudyInstanceUID"):  # fmt: skip
        assert after.get(keyword) == before.get(keyword)
    for frame in range(before.NumberOfFrames) if sop_class in ENHANCED else ():
        for name in (*GEOMETRY, "FrameContentSequence", "FrameVOILUTSequence", "PixelValueTransformationSequence"):
            assert _groups(after, frame)[name] == _groups(before, frame)[name]
    assert all(len(groups) for groups in after.get("PerFrameFunctionalGroupsSequence") or ())


def test_frames_lie_where_single_images_would(tmp_path: Path) -> None:
    volume = io.read(_saved(_enhanced(), tmp_path / "in.dcm"))
    assert (volume.spacing, volume.source.warnings) == ((0.7, 0.9), ())
    (path,) = io.write(_enlarged(volume, 4), tmp_path / "out.dcm", provenance=MADE_BY)
    image = pydicom.dcmread(path)
    assert (image.Rows, image.Columns, image.NumberOfFrames) == (32, 48, 4)
    shift = -0.375 * (0.9 * np.array([0.6, 0.8, 0]) + 0.7 * np.array([0, 0, -1]))
    for frame, place in enumerate(UPWARDS):
        groups = _groups(image, frame)
        np.testing.assert_allclose(groups.PixelMeasuresSequence[0].PixelSpacing, [0.175, 0.225], atol=1e-12)
        np.testing.assert_allclose(groups.PlanePositionSequence[0].ImagePositionPatient, np.add(place, shift))
        assert groups.FrameContentSequence[0].DimensionIndexValues == [1, frame + 1]
    assert "PlanePositionSequence" not in image.SharedFunctionalGroupsSequence[0]
    before, after = (highdicom.imread(one).get_volume_geometry() for one in (tmp_path / "in.dcm", path))
    corners = np.array([[slab, row, column] for slab in (0, 3) for row in (-0.5, 7.5) for column in (-0.5, 11.5)])
    fine = corners * [1, 4, 4] + [0, 1.5, 1.5]
    np.testing.assert_allclose(
        after.map_indices_to_reference(fine), before.map_indices_to_reference(corners), atol=1e-4
    )


def test_frames_of_two_echoes_have_a_window_each(tmp_path: Path) -> None:
    source = _enhanced(places=[UPWARDS[0], UPWARDS[0], UPWARDS[1], UPWARDS[1]])
    for groups, echo in zip(source.PerFrameFunctionalGroupsSequence, [5, 80, 5, 80], strict=True):
        groups.MREchoSequence = [_item(EffectiveEchoTime=float(echo))]
    volume = io.read(_saved(source, tmp_path / "in.dcm"))
    for first in (0, 1):
        own = volume.pixels[first::2]
        assert {(one.low, one.high) for one in volume.windows[first::2]} == {(own.min(), own.max())}
    assert volume.source.warnings == ()
    (path,) = io.write(volume, tmp_path / "out.dcm", provenance=MADE_BY)
    assert [_groups(pydicom.dcmread(path), frame).MREchoSequence[0].EffectiveEchoTime for frame in (0, 1)] == [5, 80]


def test_each_frame_says_what_it_comes_from(tmp_path: Path) -> None:
    source = _enhanced()
    second = source.PerFrameFunctionalGroupsSequence[1].MRImageFrameTypeSequence[0]
    second.FrameType = ["DERIVED", "PRIMARY", "X", "MEAN"]
    source.SharedFunctionalGroupsSequence[0].DerivationImageSequence = [_item(DerivationDescription="earlier")]
    volume = _enlarged(io.read(_saved(source, tmp_path / "in.dcm")))
    (path,) = io.write(volume, tmp_path / "out.dcm", provenance=MADE_BY)
    image = pydicom.dcmread(path)
    assert image.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    types = [groups.MRImageFrameTypeSequence[0].FrameType for groups in image.PerFrameFunctionalGroupsSequence]
    assert types[:2] == [["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"], ["DERIVED", "PRIMARY", "X", "MEAN"]]
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence, 1):
        earlier, derivation = groups.DerivationImageSequence
        assert earlier.DerivationDescription == "earlier"
        assert "tiny" in derivation.DerivationDescription
        (reference,) = derivation.SourceImageSequence
        assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (source.SOPInstanceUID, number)
    assert "DerivationImageSequence" not in image.SharedFunctionalGroupsSequence[0]
    (evidence,) = image.SourceImageEvidenceSequence
    assert evidence.StudyInstanceUID == source.StudyInstanceUID
    (instance,) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert instance.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert (image.SyntheticData, image.SeriesNumber) == ("YES", int(source.SeriesNumber) * 1000 + 20)
    assert "Research use only" in image.DerivationDescription


def _two_kinds() -> Dataset:
    """Magnitude and phase, in turn, at two positions."""
    data = _enhanced(places=[UPWARDS[0], UPWARDS[0], UPWARDS[1], UPWARDS[1]])
    for number, groups in enumerate(data.PerFrameFunctionalGroupsSequence):
        groups.MRImageFrameTypeSequence[0].ComplexImageComponent = ("MAGNITUDE", "PHASE")[number % 2]
        groups.PixelValueTransformationSequence[0].RescaleSlope = ("1", "0.01")[number % 2]
    return data


def test_frames_of_two_kinds_have_a_window_each_and_stay_in_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    volume = io.read(_saved(_two_kinds(), tmp_path / "in" / "both.dcm"))
    kinds = [volume.pixels[::2], volume.pixels[1::2]]
    assert [(one.low, one.high) for one in volume.source.windows[:2]] == [(one.min(), one.max()) for one in kinds]
    assert volume.source.windows[2:] == volume.source.windows[:2]
    assert volume.source.warnings == ()  # two of each kind lie at two positions
    unit = volume.unit()
    assert [(one.min(), one.max()) for one in (unit[::2], unit[1::2])] == [(0, 1), (0, 1)]
    from_python = load_upscaler("bicubic", scale=2).enhance(volume)
    with pytest.raises(InputError, match="frames of several kinds"):
        io.write(volume, tmp_path / "out.nii.gz", provenance=None)

    upscaler = load_upscaler("bicubic", scale=2)
    enhance_files([tmp_path / "in"], Job(upscaler, Sampling(), tmp_path / "out"))
    both = io.read(tmp_path / "out" / "both.dcm")
    for first in (0, 1):  # files hold whole numbers in their range; from Python what lies beyond stays
        made, written = from_python.volume.pixels[first::2], both.pixels[first::2]
        assert np.corrcoef(made.ravel(), written.ravel())[0, 1] > 0.99
        assert np.std(made) == pytest.approx(np.std(written), rel=0.1)
    for kind in (0, 1):
        alone = upscaler.enhance(Volume.from_array(volume.pixels[kind::2])).volume.pixels
        slope = (1, 0.01)[kind]
        stored = np.clip(np.rint((alone + 5) / slope), 0, 65535)
        assert np.abs(both.pixels[kind::2] - (stored * slope - 5)).max() <= slope  # where both round a half


def test_time_points_of_one_kind_are_one_stack_with_a_warning(tmp_path: Path) -> None:
    volume = io.read(_saved(_enhanced(places=[*UPWARDS[:2], *UPWARDS[:2]]), tmp_path / "in.dcm"))
    assert volume.source.windows == ()
    (text,) = volume.source.warnings
    assert "several slices at one position" in text


def test_compressed_frames_are_the_same(tmp_path: Path) -> None:
    data = _enhanced()
    plain = io.read(_saved(data, tmp_path / "plain.dcm"))
    data.compress(uid.RLELossless, generate_instance_uid=False)
    packed = io.read(_saved(data, tmp_path / "packed.dcm"))
    np.testing.assert_array_equal(packed.pixels, plain.pixels)
    assert packed.source.digest == plain.source.digest
    first = pydicom.encaps.get_frame(data.PixelData, 0, number_of_frames=4)
    data.PixelData = pydicom.encaps.encapsulate([first] * 3, has_bot=True)
    with pytest.raises(InputError, match="3 frames in its compressed data, 4 in its header: it is cut off"):
        io.read(_saved(data, tmp_path / "packed.dcm"))


def test_an_implicit_object_is_the_same(tmp_path: Path) -> None:
    data = _enhanced()
    plain = io.read(_saved(data, tmp_path / "plain.dcm"))
    data.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    data.save_as(tmp_path / "implicit.dcm", implicit_vr=True, little_endian=True, enforce_file_format=True)
    volume = io.read(tmp_path / "implicit.dcm")
    np.testing.assert_array_equal(volume.pixels, plain.pixels)
    (one,) = io.write(plain, tmp_path / "1.dcm", provenance=MADE_BY)
    (two,) = io.write(volume, tmp_path / "2.dcm", provenance=MADE_BY)
    assert pydicom.dcmread(one) == pydicom.dcmread(two)


def _frame(index: int, **groups: Any) -> Callable[[Dataset], None]:
    def change(data: Dataset) -> None:
        for name, value in groups.items():
            own = data.PerFrameFunctionalGroupsSequence[index]
            if value is None:
                del own[name]
            else:
                setattr(own, name, value)

    return change


def _set(**elements: Any) -> Callable[[Dataset], None]:
    def change(data: Dataset) -> None:
        for keyword, value in elements.items():
            setattr(data, keyword, value)

    return change


MEASURES = _item(PixelSpacing=["1", "1"], SliceThickness="2")


@pytest.mark.parametrize(("change", "message"), [
    (_frame(1, PixelMeasuresSequence=[MEASURES]), "frame 2 and all frames have a PixelMeasuresSequence, and they d"),
    (_frame(2, PlanePositionSequence=None), "frame 1 has a PlanePositionSequence and frame 3 has none"),
    (_frame(0, PlanePositionSequence=None), "frame 2 has a PlanePositionSequence and frame 1 has none"),
    (_frame(3, PlanePositionSequence=[_item(ImagePositionPatient=[1, 2])]), "frame 4: ImagePositionPatient holds 1, 2"),
    (_frame(3, PixelValueTransformationSequence=[_item(RescaleSlope="0", RescaleIntercept="0")]), "frame 4: a rescale"),
    (_set(NumberOfFrames=5, PixelData=bytes(5 * 192)), "functional groups of 4 frames: expected 5"),
    (_set(PerFrameFunctionalGroupsSequence=[]), "functional groups of 0 frames: expected 4"),
    (_set(NumberOfFrames=0), "NumberOfFrames 0: expected 1 or more"),
    (_set(Rows=0, Columns=0), "0 x 0 pixels: expected at least 2 x 2"),
    (_set(PixelData=bytes(500)), r"cut off \(500 bytes, expected 768; 2 of 4 frames are whole\)"),
    (_set(PixelData=bytes(768)), "all pixels are"),
    (_set(SOPClassUID=uid.EnhancedXAImageStorage), "Enhanced XA Image Storage: expected an image of"),
])  # fmt: skip
def test_an_unfit_object_is_one_line_and_nothing_is_written(
    tmp_path: Path, change: Callable[[Dataset], None], message: str
) -> None:
    data = _enhanced()
    for groups in data.PerFrameFunctionalGroupsSequence:  # so that zeros are constant
        groups.PixelValueTransformationSequence[0].RescaleSlope = "1"
    change(data)
    path = _saved(data, tmp_path / "bad.dcm")
    with pytest.raises(InputError, match=message) as caught:
        io.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    (outcome,) = enhance_files([path], Job(load_upscaler("bicubic", scale=2), Sampling(), tmp_path / "out"))
    assert outcome.status == "failed"
    assert not (tmp_path / "out").exists()


def test_the_same_group_in_both_places_is_no_contradiction(tmp_path: Path) -> None:
    data = _enhanced()
    for groups in data.PerFrameFunctionalGroupsSequence:
        groups.PixelMeasuresSequence = copy.deepcopy(data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence)
    volume = io.read(_saved(data, tmp_path / "in.dcm"))
    assert volume.spacing == (0.7, 0.9)
    assert io.read(io.write(_enlarged(volume), tmp_path / "out.dcm", provenance=MADE_BY)).spacing == (0.35, 0.45)


def test_files_of_frames_are_single_items_of_one_derived_series(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in (1, 2):
        data = _enhanced()
        data.SOPInstanceUID, data.InstanceNumber = f"1.2.3.{number}", number
        data.ImagePositionPatient, data.PixelSpacing = [0, 0, number], [1, 1]  # against the standard
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        _saved(data, tmp_path / "in" / f"{number}.dcm")
    items = io.find([tmp_path / "in"])
    assert [item.relative.as_posix() for item in items] == ["1.dcm", "2.dcm"]
    written = [io.write(io.read(item), tmp_path / item.relative, provenance=MADE_BY) for item in items]
    images = [pydicom.dcmread(path) for (path,) in written]
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == 2
    with pytest.raises(InputError, match="give such a file alone"):
        io.read([item.paths[0] for item in items])


def test_a_single_image_of_a_class_without_frames_is_still_refused_with_several(tmp_path: Path) -> None:
    data = _object(uid.MRImageStorage, _frames(2), "MR")
    with pytest.raises(InputError, match="multi-frame \\(2 frames\\): expected one in a file of MR"):
        io.read(_saved(data, tmp_path / "in.dcm"))


def test_regions_of_ultrasound_and_shifts_of_masks_follow_the_grid(tmp_path: Path) -> None:
    data = _cine(uid.UltrasoundMultiFrameImageStorage)
    data.SequenceOfUltrasoundRegions = [_item(
        RegionLocationMinX0=2, RegionLocationMinY0=1, RegionLocationMaxX1=9, RegionLocationMaxY1=6, PhysicalDeltaX=0.4,
        PhysicalDeltaY=0.2, ReferencePixelX0=3, ReferencePixelPhysicalValueX=1.0,
    )]  # fmt: skip
    data.MaskSubtractionSequence = [_item(MaskOperation="AVG_SUB", MaskSubPixelShift=[0.5, -1.25])]
    (path,) = io.write(
        _enlarged(io.read(_saved(data, tmp_path / "in.dcm")), 4), tmp_path / "out.dcm", provenance=MADE_BY
    )
    image = pydicom.dcmread(path)
    (region,) = image.SequenceOfUltrasoundRegions
    assert (region.RegionLocationMinX0, region.RegionLocationMaxX1) == (8, 39)
    assert (region.RegionLocationMinY0, region.RegionLocationMaxY1) == (4, 27)
    assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.1, 0.05)
    coarse = 1.0 + (5 - 3) * 0.4  # the physical value at the centre of coarse pixel 5
    fine = region.ReferencePixelPhysicalValueX + (5 * 4 + 1.5 - region.ReferencePixelX0) * region.PhysicalDeltaX
    assert fine == pytest.approx(coarse)
    assert image.MaskSubtractionSequence[0].MaskSubPixelShift == [2, -5]
    assert image.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == data.SOPInstanceUID


def test_copies_of_single_frame_headers_and_shutters_follow_too(tmp_path: Path) -> None:
    data = _enhanced()
    for groups in data.PerFrameFunctionalGroupsSequence:
        block = groups.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", Sequence([_item(PixelSpacing=["0.7", "0.9"], EchoTime="3")]))
        groups.FrameDisplayShutterSequence = [_item(ShutterShape="CIRCULAR", RadiusOfCircularShutter=3)]
    (path,) = io.write(_enlarged(io.read(_saved(data, tmp_path / "in.dcm"))), tmp_path / "out.dcm", provenance=MADE_BY)
    for groups in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        (item,) = groups.get_private_item(0x2005, 0x0F, "Philips MR Imaging DD 005").value
        assert (item.PixelSpacing, item.EchoTime) == ([0.35, 0.45], 3)
        assert groups.FrameDisplayShutterSequence[0].RadiusOfCircularShutter == 6


def test_legacy_converted_slices_are_read_as_the_series_that_they_were(tmp_path: Path) -> None:
    series = io.read(AXIAL)
    data = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        [pydicom.dcmread(path) for path in series.source.paths], series_instance_uid="1.2.3", series_number=7,
        sop_instance_uid="1.2.3.4", instance_number=1,
    )  # fmt: skip
    data.save_as(tmp_path / "in.dcm")
    volume = io.read(tmp_path / "in.dcm")
    np.testing.assert_array_equal(np.sort(volume.pixels, axis=0), np.sort(series.pixels, axis=0))
    assert volume.spacing == series.spacing
    (path,) = io.write(_enlarged(volume), tmp_path / "out.dcm", provenance=MADE_BY)
    single = io.write(_enlarged(series), tmp_path / "series", provenance=MADE_BY)
    expected = {tuple(pydicom.dcmread(one).ImagePositionPatient) for one in single}
    groups = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    assert {tuple(one.PlanePositionSequence[0].ImagePositionPatient) for one in groups} == expected
    (plain, _) = io.write(volume, tmp_path / "frames.nii.gz", provenance=None)
    assert plain.exists()


@pytest.mark.parametrize("sop_class", [uid.EnhancedMRImageStorage, uid.EnhancedCTImageStorage])
def test_a_map_of_frames_is_an_object_of_their_class(tmp_path: Path, sop_class: str) -> None:
    spread = _enlarged(io.read(_saved(_enhanced(sop_class), tmp_path / "in.dcm")))
    shown, mapped = io.write_uncertainty(
        spread, tmp_path / "x_uncertainty.dcm", provenance=replace(MADE_BY, image="uncertainty"), parametric_map=True
    )
    image = pydicom.dcmread(shown)
    assert image.SOPClassUID == sop_class
    assert image.ImageType[3] == "STD_DEVIATION"
    assert not {"RescaleSlope", "WindowCenter"} & set(image.dir())
    slopes = {one.PixelValueTransformationSequence[0].RescaleSlope for one in image.PerFrameFunctionalGroupsSequence}
    assert len(slopes) == 1
    assert not any("RealWorldValueMappingSequence" in one for one in image.PerFrameFunctionalGroupsSequence)
    np.testing.assert_allclose(io.read(shown).pixels, spread.pixels.clip(0), atol=spread.pixels.max() / 65535)
    numbers = highdicom.imread(mapped)
    first = numbers.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient
    shift = -0.25 * (0.9 * np.array([0.6, 0.8, 0]) + 0.7 * np.array([0, 0, -1]))
    frame = int(np.abs(np.add(UPWARDS, shift) - first).sum(axis=1).argmin())  # highdicom sorts frames by position
    np.testing.assert_array_equal(numbers.get_frames()[0], spread.pixels[frame])


def test_a_map_of_cine_is_a_secondary_capture_of_frames(tmp_path: Path) -> None:
    spread = _enlarged(io.read(_saved(_cine(uid.UltrasoundMultiFrameImageStorage), tmp_path / "in.dcm")))
    (path,) = io.write_uncertainty(spread, tmp_path / "map.dcm", provenance=MADE_BY)
    image = pydicom.dcmread(path)
    assert image.SOPClassUID == uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    assert (image.BitsAllocated, image.NumberOfFrames, image.PresentationLUTShape) == (16, 3, "IDENTITY")
    assert image.BurnedInAnnotation == "YES"  # as the source does not say
    np.testing.assert_allclose(io.read(path, force=True).pixels, spread.pixels, atol=spread.pixels.max() / 65535)


def test_every_enhanced_object_of_scanner_data_comes_back(shared: Path, tmp_path: Path) -> None:
    items = io.find([shared / "dicom" / name for name in ("enhanced", "agfa-export")])
    assert len(items) == 17
    for number, item in enumerate(items):
        before, volume = pydicom.dcmread(item.paths[0]), io.read(item)
        (path,) = io.write(volume, tmp_path / f"{number}.dcm", provenance=MADE_BY)
        after = pydicom.dcmread(path)
        assert (volume.source.warnings, after.SOPClassUID) == ((), before.SOPClassUID)
        np.testing.assert_array_equal(after.pixel_array, before.pixel_array)
        for frame in range(before.NumberOfFrames):
            for name in (*GEOMETRY, "FrameContentSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence"):
                assert _groups(after, frame)[name] == _groups(before, frame)[name]
        assert bool(volume.source.windows) == ("philips" in str(item.paths[0]))


# Errors of dicom3tools that are no faults of ours: SyntheticData is younger than it, and it expects how an image was
# acquired of original images alone.
_NO_ERRORS = ("0x0008,0x001c", "<MRPulseSequence>", "<BulkMotionSynchronization>")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy here: install dicom3tools")
def test_dciodvfy_finds_no_error_that_the_source_does_not_have(shared: Path, tmp_path: Path) -> None:
    def errors(path: Path) -> set[str]:
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace").stderr
        lines = (line for line in said.splitlines() if line.startswith("Error") and "root for UID" not in line)
        return {line for line in lines if not any(known in line for known in _NO_ERRORS)}

    for number, item in enumerate(io.find([shared / "dicom" / name for name in ("enhanced", "agfa-export")])):
        spread = _enlarged(io.read(item))
        (path,) = io.write(spread, tmp_path / f"{number}.dcm", provenance=MADE_BY)
        (shown,) = io.write_uncertainty(spread, tmp_path / f"{number}_map.dcm", provenance=MADE_BY)
        assert errors(path) | errors(shown) <= errors(item.paths[0])
