"""DICOM in and out: the derived image of imaging.md, row by row."""

import json
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError, StaleError
from latentsr.provenance import WITHOUT_MODEL, Provenance
from latentsr.volume import Volume, Window

MADE_BY = Provenance("tiny", "1.2.3", "f00d" * 16, 7, json.dumps({"steps": 1}))


def _enlarged(volume: Volume, scale: int = 4) -> Volume:
    return volume.enlarged(np.kron(volume.pixels, np.ones((1, scale, scale), np.float32)), scale)


@pytest.fixture
def source() -> pydicom.Dataset:
    return pydicom.dcmread(get_testdata_file("MR_small.dcm"))


@pytest.fixture
def derived(tmp_path: Path) -> pydicom.Dataset:
    volume = _enlarged(io.read(get_testdata_file("MR_small.dcm")))
    (path,) = io.write(volume, tmp_path / "MR_small.dcm", provenance=MADE_BY)
    return pydicom.dcmread(path)


def _changed(tmp_path: Path, name: str = "MR_small.dcm", **elements: object) -> Path:
    """A copy of a test image with other elements; None removes one."""
    dataset = pydicom.dcmread(get_testdata_file(name))
    for keyword, value in elements.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    path = tmp_path / "changed" / name
    path.parent.mkdir(exist_ok=True)
    pydicom.filewriter.correct_ambiguous_vr(dataset, True)
    dataset.save_as(path)
    return path


def _with_pixels(tmp_path: Path, stored: np.ndarray, **elements: object) -> Path:
    rows, columns = stored.shape
    return _changed(tmp_path, PixelData=stored.tobytes(), Rows=rows, Columns=columns, **elements)


def test_geometry_keeps_the_field_of_view(source: pydicom.Dataset, derived: pydicom.Dataset) -> None:
    assert (derived.Rows, derived.Columns) == (256, 256)
    assert derived.PixelSpacing == [0.078125, 0.078125]
    shift = np.array(derived.ImagePositionPatient) - np.array(source.ImagePositionPatient)
    np.testing.assert_allclose(shift, [-0.375 * 0.3125, -0.375 * 0.3125, 0], atol=1e-9)
    assert derived.ImageOrientationPatient == source.ImageOrientationPatient
    assert derived.SliceThickness == source.SliceThickness


def test_identity_is_new_and_the_study_is_kept(source: pydicom.Dataset, derived: pydicom.Dataset) -> None:
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert derived.SeriesNumber != source.SeriesNumber
    assert derived.file_meta.MediaStorageSOPInstanceUID == derived.SOPInstanceUID
    for keyword in ("SOPClassUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "EchoTime"):
        assert derived[keyword].value == source[keyword].value


def test_it_says_what_it_is(source: pydicom.Dataset, derived: pydicom.Dataset) -> None:
    assert derived.ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    assert derived.SyntheticData == "YES"
    for word in ("tiny", "1.2.3", "4 times", "Research use only"):
        assert word in derived.DerivationDescription
    assert derived.DerivationCodeSequence[-1].CodeValue == "113085"
    assert derived.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert derived.SourceImageSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    equipment = derived.ContributingEquipmentSequence[-1]
    assert (equipment.Manufacturer, equipment.DeviceSerialNumber) == ("latentsr", MADE_BY.model_hash)
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert "Seed 7" in equipment.ContributionDescription
    assert "research use only" in derived.SeriesDescription
    assert len(derived.SeriesDescription) <= 64


def test_pixels_stay_in_the_source_scale(source: pydicom.Dataset, derived: pydicom.Dataset) -> None:
    np.testing.assert_array_equal(derived.pixel_array[::4, ::4], source.pixel_array)
    assert derived.WindowCenter == source.WindowCenter
    assert derived.SmallestImagePixelValue == source.pixel_array.min()
    assert derived.LargestImagePixelValue == source.pixel_array.max()
    assert derived.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian


def test_highdicom_opens_it(tmp_path: Path, derived: pydicom.Dataset) -> None:
    image = highdicom.imread(tmp_path / "MR_small.dcm")
    assert image.get_volume().spatial_shape == (1, 256, 256)
    np.testing.assert_allclose(image.get_volume().spacing[1:], [0.078125, 0.078125])


def test_the_same_run_writes_the_same_bytes_and_other_options_another_identity(tmp_path: Path) -> None:
    volume = _enlarged(io.read(get_testdata_file("MR_small.dcm")))
    other = Provenance("tiny", "1.2.3", "f00d" * 16, 7, '{"steps":16}')
    paths = [io.write(volume, tmp_path / f"{i}.dcm", provenance=p)[0] for i, p in enumerate([MADE_BY, MADE_BY, other])]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    one, two = (pydicom.dcmread(path) for path in (paths[0], paths[2]))
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID


@pytest.mark.parametrize("name", [
    "MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "693_J2KI.dcm",
    "examples_overlay.dcm", "image_dfl.dcm",
])  # fmt: skip
def test_read_write_read_keeps_pixels_and_geometry(tmp_path: Path, name: str) -> None:
    before = io.read(get_testdata_file(name))
    io.write(before, tmp_path / "out.dcm", provenance=None)
    after = io.read(tmp_path / "out.dcm")
    np.testing.assert_array_equal(after.pixels, before.pixels)
    assert after.spacing == before.spacing
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "FrameOfReferenceUID"):
        assert after.source.header[0].get(keyword) == before.source.header[0].get(keyword)


def test_an_oblique_image_moves_along_its_own_axes(tmp_path: Path) -> None:
    turned = [0.6, 0.8, 0, 0, 0, -1]
    path = _changed(tmp_path, ImageOrientationPatient=turned, PixelSpacing=[2, 0.5], ImagePositionPatient=[1, 2, 3])
    (out,) = io.write(_enlarged(io.read(path), 2), tmp_path / "out.dcm", provenance=MADE_BY)
    expected = np.array([1, 2, 3]) - 0.25 * (0.5 * np.array([0.6, 0.8, 0]) + 2 * np.array([0, 0, -1]))
    np.testing.assert_allclose(pydicom.dcmread(out).ImagePositionPatient, expected, atol=1e-9)
    assert pydicom.dcmread(out).PixelSpacing == [1, 0.25]


def test_monochrome1_is_read_upright_and_written_in_its_own_sense(tmp_path: Path) -> None:
    stored = np.arange(64, dtype="<u2").reshape(8, 8)
    elements = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleSlope": 2, "RescaleIntercept": -10}
    path = _with_pixels(tmp_path, stored, PhotometricInterpretation="MONOCHROME1", **elements)
    volume = io.read(path)
    np.testing.assert_array_equal(volume.pixels[0], (4095.0 - stored) * 2 - 10)
    (out,) = io.write(volume, tmp_path / "out.dcm", provenance=MADE_BY)
    written = pydicom.dcmread(out)
    assert written.PhotometricInterpretation == "MONOCHROME1"
    np.testing.assert_array_equal(written.pixel_array, stored)


def test_pixels_beyond_the_stored_range_are_clipped(tmp_path: Path) -> None:
    stored = np.arange(-32, 32, dtype="<i2").reshape(8, 8)
    path = _with_pixels(tmp_path, stored, BitsStored=12, HighBit=11, PixelPaddingValue=-32)
    volume = io.read(path)
    wild = np.full((1, 16, 16), 1e6, np.float32)
    wild[0, 0, 0], wild[0, 0, 1] = -1e6, 0.6
    (out,) = io.write(volume.enlarged(wild, 2), tmp_path / "out.dcm", provenance=MADE_BY)
    written = pydicom.dcmread(out)
    assert written.pixel_array[0, :3].tolist() == [-2048, 1, 2047]
    assert written.PixelPaddingValue == -32
    assert written.LargestImagePixelValue == 2047


def test_overlays_are_enlarged_with_the_pixels(tmp_path: Path) -> None:
    source = pydicom.dcmread(get_testdata_file("examples_overlay.dcm"))
    source.add_new((0x6000, 0x0050), "SS", [3, -1])
    source.add_new((0x6000, 0x1301), "IS", 12)
    source.save_as(tmp_path / "source.dcm")
    volume = io.read(tmp_path / "source.dcm")
    assert volume.source.warnings == ()
    io.write(volume, tmp_path / "same.dcm", provenance=None)
    io.write(_enlarged(volume, 3), tmp_path / "fine.dcm", provenance=MADE_BY)
    same, fine = pydicom.dcmread(tmp_path / "same.dcm"), pydicom.dcmread(tmp_path / "fine.dcm")
    before = source.overlay_array(0x6000)
    np.testing.assert_array_equal(same.overlay_array(0x6000), before)
    np.testing.assert_array_equal(fine.overlay_array(0x6000), np.kron(before, np.ones((3, 3))))
    assert fine[0x6000, 0x0050].value == [7, -5]  # its first pixel, counted from 1 at the image's first
    assert len(fine[0x6000, 0x3000].value) % 2 == 0
    assert (0x6000, 0x1301) not in fine


def test_overlays_in_unused_bits_and_curves_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = _changed(tmp_path)
    source = pydicom.dcmread(path)
    for group, vr, element, value in [
        (0x6000, "US", 0x0010, 64), (0x6000, "US", 0x0011, 64), (0x6000, "US", 0x0100, 16), (0x6000, "US", 0x0102, 12),
        (0x6002, "US", 0x0010, 64), (0x6002, "US", 0x0011, 64), (0x6002, "OB", 0x3000, b"\1\1"),
        (0x5000, "US", 0x0005, 2),
    ]:  # fmt: skip
        source.add_new((group, element), vr, value)
    source.save_as(path)
    volume = io.read(path)
    assert [text.split(":")[0] for text in volume.source.warnings] == [
        "an overlay without bits of its own (60xx)", "curves (50xx, retired)",
    ]  # fmt: skip
    (out,) = io.write(_enlarged(volume, 2), tmp_path / "out.dcm", provenance=MADE_BY)
    assert not any(element.tag.group >> 8 in (0x50, 0x60) for element in pydicom.dcmread(out))


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_implicit.dcm"])
def test_a_voi_table_stays_as_the_stored_values_keep_their_scale(tmp_path: Path, name: str) -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [4, -5, 16], np.array([0, 100, 1000, 4000], "<u2").tobytes()
    volume = io.read(_changed(tmp_path, name, VOILUTSequence=[table]))
    (out,) = io.write(_enlarged(volume), tmp_path / "out.dcm", provenance=MADE_BY)
    (kept,) = pydicom.dcmread(out).VOILUTSequence
    assert (kept.LUTDescriptor, kept.LUTData) == ([4, -5, 16], table.LUTData)


def test_what_is_the_source_s_alone_stays_behind(tmp_path: Path) -> None:
    volume = io.read(get_testdata_file("examples_overlay.dcm"))
    (out,) = io.write(_enlarged(volume, 2), tmp_path / "fine.dcm", provenance=MADE_BY)
    fine = pydicom.dcmread(out)
    assert "IconImageSequence" not in fine
    assert fine.AcquisitionMatrix == [256, 0, 0, 134]
    assert fine.ImageType[:3] == ["DERIVED", "SECONDARY", "MPR"]


@pytest.mark.parametrize(("image", "digit"), [
    ("", 0), ("posterior mean", 1), ("sample", 2), ("mean of 16 samples", 3), ("uncertainty", 4),
])  # fmt: skip
def test_the_kinds_of_image_are_told_apart_and_sort_together(tmp_path: Path, image: str, digit: int) -> None:
    volume = _enlarged(io.read(_changed(tmp_path, SeriesDescription="t2 tse tra " * 5, SeriesNumber=12)))
    (path,) = io.write(volume, tmp_path / "out.dcm", provenance=replace(MADE_BY, image=image))
    written = pydicom.dcmread(path)
    assert written.SeriesNumber == 12_040 + digit
    assert f"x4 {image}" in written.SeriesDescription
    assert written.SeriesDescription.startswith("t2 tse")
    assert written.SeriesDescription.endswith("research use only")
    assert len(written.SeriesDescription) <= 64
    assert "..." in written.SeriesDescription
    assert image in written.DerivationDescription


def test_a_pixel_spacing_of_0_is_not_written(tmp_path: Path) -> None:
    source = _changed(tmp_path, PixelSpacing=[0, 0])
    volume = io.read(source)
    assert (volume.spacing, volume.source.warnings) == (None, ("a pixel spacing of 0: the output says none",))
    for scale in (1, 4):
        (path,) = io.write(_enlarged(volume, scale), tmp_path / f"{scale}.dcm", provenance=MADE_BY)
        written = pydicom.dcmread(path)
        assert "PixelSpacing" not in written
        assert written.ImagePositionPatient == pydicom.dcmread(source).ImagePositionPatient


def test_a_series_number_is_an_integer_string_whatever_the_source_s(tmp_path: Path) -> None:
    volume = _enlarged(io.read(_changed(tmp_path, SeriesNumber=-(2**31))))
    (path,) = io.write(volume, tmp_path / "out.dcm", provenance=MADE_BY)
    assert 0 <= pydicom.dcmread(path).SeriesNumber < 2**31


def _identity(volume: Volume, path: Path, made_by: Provenance = MADE_BY) -> tuple[str, str]:
    (out,) = io.write(volume, path, provenance=made_by, overwrite=True)
    written = pydicom.dcmread(out)
    return written.SOPInstanceUID, written.SeriesInstanceUID


def test_an_identity_follows_all_that_decides_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = _enlarged(io.read(_changed(tmp_path)))
    stored = pydicom.dcmread(get_testdata_file("MR_small.dcm")).pixel_array.copy()
    stored[0, 0] += 1
    others = {
        "pixels": (_enlarged(io.read(_with_pixels(tmp_path, stored))), MADE_BY),
        "window": (replace(volume, window=Window(0, 1)), MADE_BY),
        "scale": (_enlarged(io.read(_changed(tmp_path)), 2), MADE_BY),
        "model": (volume, replace(MADE_BY, model_hash="beef")),
        "options": (volume, replace(MADE_BY, options="{}")),
        "seed": (volume, replace(MADE_BY, seed=8)),
        "image": (volume, replace(MADE_BY, image="sample")),
    }
    identities = {name: _identity(one, tmp_path / "o.dcm", by) for name, (one, by) in others.items()}
    identities["same"] = _identity(_enlarged(io.read(_changed(tmp_path))), tmp_path / "o.dcm")
    assert identities["same"] == _identity(volume, tmp_path / "o.dcm")
    monkeypatch.setattr("latentsr.io.dicom.derived.PIXELS", -1)
    identities["version"] = _identity(volume, tmp_path / "o.dcm")
    uids = [uid for identity in identities.values() for uid in identity]
    assert len(set(uids)) == len(uids)


def test_without_a_model_an_identity_follows_the_pixels_that_are_written(tmp_path: Path) -> None:
    volume = io.read(_changed(tmp_path))
    brighter = replace(volume, pixels=volume.pixels + 1)
    one, two = (_identity(image, tmp_path / "o.dcm", WITHOUT_MODEL) for image in (volume, brighter))
    assert not set(one) & set(two)


def test_detector_spacing_and_shutters_follow_the_grid(tmp_path: Path) -> None:
    path = _changed(
        tmp_path, SOPClassUID=pydicom.uid.ComputedRadiographyImageStorage, PixelSpacing=None, ImagePositionPatient=None,
        ImagerPixelSpacing=[0.2, 0.1], ShutterLeftVerticalEdge=1, CenterOfCircularShutter=[10, 20],
        RadiusOfCircularShutter=5, BodyPartExamined="CHEST",
    )  # fmt: skip
    volume = io.read(path)
    assert volume.spacing == (0.2, 0.1)
    (out,) = io.write(_enlarged(volume, 2), tmp_path / "out.dcm", provenance=MADE_BY)
    written = pydicom.dcmread(out)
    assert written.ImagerPixelSpacing == [0.1, 0.05]
    assert (written.ShutterLeftVerticalEdge, written.RadiusOfCircularShutter) == (2, 10)
    assert written.CenterOfCircularShutter == [20, 40]


def test_lossy_stays_lossy(tmp_path: Path) -> None:
    io.write(io.read(get_testdata_file("693_J2KI.dcm")), tmp_path / "out.dcm", provenance=MADE_BY)
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert written.LossyImageCompression == "01"
    assert written.LossyImageCompressionMethod == "ISO_15444_1"
    assert float(written.LossyImageCompressionRatio) > 1


def test_burned_in_annotation_needs_force(tmp_path: Path) -> None:
    path = _changed(tmp_path, BurnedInAnnotation="YES")
    with pytest.raises(InputError, match="option force"):
        io.read(path)
    assert io.read(path, force=True).pixels.shape == (1, 64, 64)


@pytest.mark.parametrize(("elements", "message"), [
    ({"NumberOfFrames": 3}, "multi-frame"),
    ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "colour"),
    ({"SOPClassUID": pydicom.uid.SegmentationStorage}, "Segmentation"),
    ({"PixelData": None}, "no pixels"),
    ({"PixelData": b"\0" * 100}, "cut off"),
    ({"PixelData": b"\1\0" * 4096}, "constant"),
    ({"Rows": 1, "Columns": 1}, "at least 2 x 2"),
    ({"RescaleSlope": 0, "RescaleIntercept": 0}, "slope"),
    ({"StudyInstanceUID": None}, "StudyInstanceUID"),
    ({"HighBit": 7}, "high bit"),
    ({"BitsStored": None}, "BitsStored"),
])  # fmt: skip
def test_an_unfit_image_is_one_line(tmp_path: Path, elements: dict[str, object], message: str) -> None:
    path = _changed(tmp_path, **elements)
    with pytest.raises(InputError, match=message) as caught:
        io.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "CompressedSamples" not in str(caught.value)


def test_a_file_cut_off_anywhere_is_one_line(tmp_path: Path) -> None:
    whole = Path(get_testdata_file("MR_small.dcm")).read_bytes()
    for length in (0, 10, 140, 200, 500, 1500, 3000, 9000):
        (tmp_path / "cut.dcm").write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            io.read(tmp_path / "cut.dcm")
        assert "\n" not in str(caught.value)


def test_warnings_and_codec_complaints_stay_inside(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError):
        io.read(get_testdata_file("JPEG2000-embedded-sequence-delimiter.dcm"))
    io.read(get_testdata_file("J2K_pixelrep_mismatch.dcm"))
    assert capfd.readouterr() == ("", "")


def test_an_existing_output_and_the_source_are_kept(tmp_path: Path) -> None:
    path = _changed(tmp_path)
    volume = io.read(path)
    with pytest.raises(InputError, match="source itself"):
        io.write(volume, path, provenance=MADE_BY, overwrite=True)
    (out,) = io.write(volume, tmp_path / "out.dcm", provenance=MADE_BY)
    with pytest.raises(StaleError):
        io.write(volume, out, provenance=MADE_BY)
    assert io.write(volume, out, provenance=MADE_BY, overwrite=True) == (out,)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["changed", "out.dcm"]


def test_a_volume_from_elsewhere_becomes_a_secondary_capture(tmp_path: Path) -> None:
    volume = Volume.from_array(np.linspace(-1, 1, 64).reshape(8, 8), spacing=(0.5, 0.25))
    (out,) = io.write(volume, tmp_path / "out.dcm", provenance=MADE_BY)
    written = pydicom.dcmread(out)
    assert written.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert written.SyntheticData == "YES"
    again = io.read(out)
    np.testing.assert_allclose(again.pixels, volume.pixels, atol=2e-5)
    assert again.spacing == (0.5, 0.25)


def test_fractions_are_stored_by_the_unrounded_range(tmp_path: Path) -> None:
    """The slope follows from the exact least value, though the intercept is rounded to nine digits."""
    pixels = np.full((4, 4), 100000.0078125)
    pixels[0, 0] = 100000.5
    io.write(Volume.from_array(pixels), tmp_path / "a.dcm", provenance=None)
    written = pydicom.dcmread(tmp_path / "a.dcm")
    assert (str(written.RescaleIntercept), str(written.RescaleSlope)) == ("100000.008", f"{0.4921875 / 65535:.9g}")
