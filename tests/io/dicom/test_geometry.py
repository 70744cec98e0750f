"""Series: sorted along the normal, one derived series for each, and the odd slice named; Siemens mosaics."""

import shutil
import struct
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError
from latentsr.provenance import Provenance

MADE_BY = Provenance("tiny", "1.2.3", "f00d", 7, "{}")


def _series(folder: Path, places: list[float], changes: dict[int, dict[str, object]] | None = None) -> list[Path]:
    """Files of one series with a slice at each place, in mm; slice n holds pixels from n * 100 on."""
    folder.mkdir()
    paths = []
    for number, place in enumerate(places):
        dataset = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
        stored = np.arange(64, dtype="<i2").reshape(8, 8) + number * 100
        dataset.Rows, dataset.Columns, dataset.PixelData = 8, 8, stored.tobytes()
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number + 1}"
        dataset.ImagePositionPatient = [0, 0, place]
        for keyword, value in (changes or {}).get(number, {}).items():
            setattr(dataset, keyword, value)
        paths.append(folder / f"IM{number}")
        dataset.save_as(paths[-1])
    return paths


def test_slices_are_sorted_by_place_and_written_one_by_one(tmp_path: Path) -> None:
    _series(tmp_path / "in", [5, 0, 2.5])
    volume = io.read(tmp_path / "in")
    assert [path.name for path in volume.source.paths] == ["IM1", "IM2", "IM0"]
    np.testing.assert_array_equal(volume.pixels[:, 0, 0], [100, 200, 0])
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 2, 2))), 2)
    written = io.write(fine, tmp_path / "out", provenance=MADE_BY)
    assert [path.name for path in written] == ["IM1.dcm", "IM2.dcm", "IM0.dcm"]
    images = [pydicom.dcmread(path) for path in written]
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == 3
    sources = [image.SourceImageSequence[0].ReferencedSOPInstanceUID for image in images]
    assert sources == ["1.2.3.2", "1.2.3.3", "1.2.3.1"]
    again = io.read(tmp_path / "out")
    np.testing.assert_array_equal(again.pixels, fine.pixels)


def test_a_rewritten_series_replaces_the_folder(tmp_path: Path) -> None:
    volume = io.read(_series(tmp_path / "in", [0, 1]))
    io.write(volume, tmp_path / "out", provenance=MADE_BY)
    (tmp_path / "out" / "stale").write_text("")
    io.write(volume, tmp_path / "out", provenance=MADE_BY, overwrite=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["IM0.dcm", "IM1.dcm"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize(("places", "changes", "name", "message"), [
    ([0, 1, 2], {2: {"PatientID": "someone else"}}, "IM2", "another patient"),
    ([0, 1, 2], {1: {"SeriesInstanceUID": "1.2.9"}}, "IM1", "another series"),
    ([0, 1, 2], {1: {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}}, "IM1", "orientation"),
    ([0, 1, 2], {1: {"PixelSpacing": [1, 1]}}, "IM1", "spacing"),
    ([0, 1, 2], {1: {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}}, "IM1", "image type"),
    ([0, 1, 2], {1: {"Rows": 4, "PixelData": bytes(range(64))}}, "IM1", "size"),
    ([0, 1, 2], {1: {"ImagePositionPatient": None}}, "IM1", "does not say where"),
])  # fmt: skip
def test_the_slice_that_does_not_fit_is_named(
    tmp_path: Path, places: list[float], changes: dict[int, dict[str, object]], name: str, message: str
) -> None:
    _series(tmp_path / "in", places, changes)
    with pytest.raises(InputError, match=message) as caught:
        io.read(tmp_path / "in")
    assert str(tmp_path / "in" / name) in str(caught.value)
    assert "someone" not in str(caught.value)


UNEVEN, SHARED = "slices at uneven distances", "several slices at one position"


@pytest.mark.parametrize(("places", "told", "warnings"), [
    ([0, 1, 2, 3], None, []), ([0, 1.02, 1.99, 3.0], None, []), ([0, 3], None, []), ([0, 3], 3, []), ([0, 3], -3, []),
    ([0, 1, 2, 4], None, [UNEVEN]), ([0, 3], 1, [UNEVEN]), ([0, 1, 1], None, [SHARED]), ([1, 1], None, [SHARED]),
    ([0, 0, 1, 1, 3, 3, 4, 4], None, [SHARED, UNEVEN]),
])  # fmt: skip
def test_odd_distances_are_a_warning_and_no_slice_is_left_out(
    tmp_path: Path, places: list[float], told: float | None, warnings: list[str]
) -> None:
    changes = {number: {"SpacingBetweenSlices": told} for number in range(len(places))}
    volume = io.read(_series(tmp_path / "in", places, changes))
    assert len(volume.pixels) == len(places)
    assert [text.split(",")[0] for text in volume.source.warnings] == [text.split(",")[0] for text in warnings]
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 2, 2))), 2)
    assert len(io.write(fine, tmp_path / "out", provenance=MADE_BY)) == len(places)
    if warnings:
        with pytest.raises(InputError, match="evenly spaced"):
            io.write(fine, tmp_path / "out.nii.gz", provenance=MADE_BY)


@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "DiffusionBValue", "EchoTime", "InstanceNumber"])
def test_slices_at_one_position_are_ordered_by_what_tells_them_apart(tmp_path: Path, keyword: str) -> None:
    changes = {number: {keyword: value} for number, value in enumerate([30, 2, 1000, 2, 30, 1000])}
    volume = io.read(_series(tmp_path / "in", [0, 1, 0, 0, 1, 1], changes))
    assert [path.name for path in volume.source.paths] == ["IM3", "IM0", "IM2", "IM1", "IM4", "IM5"]


SIEMENS, GE = (0x0019, "SIEMENS MR HEADER", 0x0C, "IS"), (0x0043, "GEMS_PARM_01", 0x39, "IS")
GE_COMPONENT = (0x0043, "GEMS_PARM_01", 0x2F, "SS")


def _marked(paths: list[Path], private: tuple[int, str, int, str], values: list[object]) -> None:
    """Puts a private element with one of the values into each file."""
    for path, value in zip(paths, values, strict=True):
        data = pydicom.dcmread(path)
        data.private_block(private[0], private[1], create=True).add_new(private[2], private[3], value)
        data.save_as(path)


@pytest.mark.parametrize(("element", "values"), [
    ("EchoTime", [4.92, 7.38]), ("EchoNumbers", [1, 2]), ("DiffusionBValue", [0, 1000]), (SIEMENS, [0, 50]),
    (GE, [[0, 8, 0, 0], [1_000_001_000, 8, 0, 0]]), (GE_COMPONENT, [0, 1]),
])  # fmt: skip
def test_instances_at_one_position_are_stacks_by_what_tells_them_apart(
    tmp_path: Path, element: str | tuple[int, str, int, str], values: list[object]
) -> None:
    places, order = [0, 0, 1, 1, 2, 2], [values[index] for index in (0, 1, 1, 0, 1, 0)]
    named = isinstance(element, str)
    paths = _series(
        tmp_path / "in", places, {number: {element: value} for number, value in enumerate(order)} if named else None
    )
    if not named:
        _marked(paths, element, order)
    items = io.find([tmp_path / "in"])
    assert [item.relative.as_posix() for item in items] == ["series-1-0", "series-1-1"]
    assert [[path.name for path in item.paths] for item in items] == [["IM0", "IM3", "IM5"], ["IM1", "IM2", "IM4"]]
    written: dict[str, set[str]] = {}
    for item, value in zip(items, values, strict=True):
        volume = io.read(item)
        assert volume.source.warnings == ()
        for path in io.write(volume, tmp_path / "out" / item.relative, provenance=MADE_BY):
            image = pydicom.dcmread(path)
            found = image[element] if named else image.get_private_item(*element[:3][::2], element[1])
            assert found.value == value
            written.setdefault(image.SeriesInstanceUID, set()).add(image.SOPInstanceUID)
    assert [len(instances) for instances in written.values()] == [6]


@pytest.mark.parametrize(("keyword", "values"), [
    ("TemporalPositionIdentifier", [1, 2, 1, 2, 1]), ("AcquisitionNumber", [1, 2, 1, 2, 1]),  # the last one is cut
    ("EchoTime", [30, 30.04, 30.01, 30.02, 30]), ("DiffusionBValue", [995, 1000, 990, 1005, 1010]),
    ("EchoTime", [10, 10, 20, 20, 30]),  # each slice has one, and no other lies where it does
])  # fmt: skip
def test_points_in_time_and_values_nearly_alike_are_one_stack(
    tmp_path: Path, keyword: str, values: list[float]
) -> None:
    changes = {number: {keyword: value} for number, value in enumerate(values)}
    _series(tmp_path / "in", [0, 0, 1, 1, 2], changes)
    (item,) = io.find([tmp_path / "in"])
    assert [text.split(",")[0] for text in io.read(item).source.warnings] == [SHARED]


def test_acquisitions_of_places_that_overlap_are_stacks(tmp_path: Path) -> None:
    numbers = {number: {"AcquisitionNumber": 2 if number < 3 else 1} for number in range(6)}
    _series(tmp_path / "in", [0, 1, 2, 1, 2, 3], numbers)
    assert [[path.name for path in item.paths] for item in io.find([tmp_path / "in"])] == [
        ["IM0", "IM1", "IM2"], ["IM3", "IM4", "IM5"],
    ]  # fmt: skip
    _series(tmp_path / "apart", [0, 0, 1, 3, 4, 4], numbers)  # both repeat a slice, neither what the other shows
    assert len(io.find([tmp_path / "apart"])) == 1


def test_a_tilted_gantry_is_a_warning_and_an_affine(tmp_path: Path) -> None:
    places = {number: {"ImagePositionPatient": [0, 0.5 * number, 2 * number]} for number in range(3)}
    volume = io.read(_series(tmp_path / "in", [0, 1, 2], places))
    (warning,) = volume.source.warnings
    assert "tilted gantry" in warning
    out, _ = io.write(volume, tmp_path / "out.nii.gz", provenance=None)
    np.testing.assert_allclose(nibabel.load(out).affine[:3, 2], [0, -0.5, 2], atol=1e-6)
    assert len(io.write(volume, tmp_path / "out", provenance=MADE_BY)) == 3


def test_a_late_slice_changes_every_identity(tmp_path: Path) -> None:
    uids: dict[int, set[str]] = {}
    for count in (5, 6):
        volume = io.read(_series(tmp_path / f"in{count}", list(range(count))))
        for path in io.write(volume, tmp_path / f"out{count}", provenance=MADE_BY):
            written = pydicom.dcmread(path)
            uids.setdefault(count, set()).update((written.SOPInstanceUID, written.SeriesInstanceUID))
    assert (len(uids[5]), len(uids[6])) == (6, 7)
    assert not uids[5] & uids[6]


def test_the_order_of_the_files_changes_nothing(tmp_path: Path) -> None:
    paths = _series(tmp_path / "in", [0, 1, 1, 2])
    one, two = (io.read(order) for order in (paths, paths[::-1]))
    assert one.source.paths == two.source.paths
    assert one.source.digest == two.source.digest


def test_a_folder_without_dicom_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no DICOM"):
        io.read(tmp_path)


def _csa(**values: list[str]) -> bytes:
    """A CSA image header of the form SV10 with these elements."""
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(values), 77)
    for name, texts in values.items():
        content += struct.pack("<64si4siii", name.encode(), len(texts), b"FD", 4, len(texts), 77)
        for text in texts:
            filled = text.encode() + b"\0"
            content += struct.pack("<4i", 0, len(filled), 77, 0) + filled + b"\0" * (-len(filled) % 4)
    return content


def _mosaic(path: Path, csa: bytes | None, **elements: object) -> Path:
    """Five slices of 4 x 6 pixels in a mosaic of 3 x 3 tiles; slice n holds pixels from n * 100 on."""
    picture = np.zeros((12, 18), "<i2")
    for number in range(5):
        down, across = divmod(number, 3)
        picture[4 * down :, 6 * across :][:4, :6] = np.arange(24).reshape(4, 6) + 100 * number
    (made,) = _series(path.parent / "made", [0], {0: {
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"], "Rows": 12, "Columns": 18,
        "PixelData": picture.tobytes(), "PixelSpacing": [2, 3], "SpacingBetweenSlices": 5, **elements,
    }})  # fmt: skip
    data = pydicom.dcmread(made)
    if csa is not None:
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa)
    data.save_as(path)
    return path


CSA = _csa(NumberOfImagesInMosaic=["5"], SliceNormalVector=["0", "0.0", "-1.00000000"], Nothing=[])


def test_the_tiles_of_a_mosaic_are_slices_where_they_lie(tmp_path: Path) -> None:
    volume = io.read(_mosaic(tmp_path / "m.dcm", CSA))
    assert volume.pixels.shape == (5, 4, 6)
    np.testing.assert_array_equal(volume.pixels[:, 0, 0], [0, 100, 200, 300, 400])
    assert (volume.window.high, volume.source.warnings, volume.source.paths) == (423, (), (tmp_path / "m.dcm",))
    places = [header.ImagePositionPatient for header in volume.source.header]
    assert places == [[18, 8, -5 * number] for number in range(5)]
    (path,) = io.write(volume, tmp_path / "same.dcm", provenance=None)
    before, after = pydicom.dcmread(tmp_path / "m.dcm"), pydicom.dcmread(path)
    np.testing.assert_array_equal(after.pixel_array, before.pixel_array)
    assert after.ImageType[2:] == before.ImageType[2:]
    assert after.ImagePositionPatient == before.ImagePositionPatient


def test_a_mosaic_is_enlarged_tile_by_tile(tmp_path: Path) -> None:
    volume = io.read(_mosaic(tmp_path / "m.dcm", CSA, RescaleSlope="2", RescaleIntercept="-10"))
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 2, 2))), 2)
    (path,) = io.write(fine, tmp_path / "fine.dcm", provenance=MADE_BY)
    image, again = pydicom.dcmread(path), io.read(path)
    np.testing.assert_array_equal(image.pixel_array[::2, ::2], pydicom.dcmread(tmp_path / "m.dcm").pixel_array)
    np.testing.assert_array_equal(again.pixels, fine.pixels)
    shift = [-0.25 * 3, -0.25 * 2, 0]
    for one, header in zip(volume.source.header, again.source.header, strict=True):
        np.testing.assert_allclose(np.subtract(header.ImagePositionPatient, one.ImagePositionPatient), shift, atol=1e-9)
    (shown,) = io.write_uncertainty(fine, tmp_path / "map.dcm", provenance=MADE_BY)
    np.testing.assert_allclose(io.read(shown).pixels, fine.pixels.clip(0), atol=0.02)
    plain, _ = io.write(fine, tmp_path / "fine.nii.gz", provenance=MADE_BY)
    np.testing.assert_allclose(nibabel.load(plain).affine[:3, 2], [0, 0, -5], atol=1e-6)


def test_mosaics_over_time_are_pictures_of_one_series_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in (1, 2):
        _mosaic(tmp_path / f"in{number}.dcm", CSA, SOPInstanceUID=f"1.2.{number}", InstanceNumber=3 - number)
        (tmp_path / f"in{number}.dcm").rename(tmp_path / "in" / f"{number}.dcm")
        shutil.rmtree(tmp_path / "made")
    (item,) = io.find([tmp_path / "in"])
    volume = io.read(item)
    assert (volume.pixels.shape, [path.name for path in volume.source.paths]) == ((10, 4, 6), ["2.dcm", "1.dcm"])
    assert "several slices at one position" in volume.source.warnings[0]
    written = io.write(volume, tmp_path / "out", provenance=MADE_BY)
    assert [path.name for path in written] == ["2.dcm", "1.dcm"]
    assert pydicom.dcmread(written[0]).pixel_array.shape == (12, 18)
    other = _mosaic(tmp_path / "in" / "3.dcm", _csa(NumberOfImagesInMosaic=["6"]), SOPInstanceUID="1.2.3")
    with pytest.raises(InputError, match=r"a mosaic of \d slices, \d\.dcm of \d: give such files apart"):
        io.read([*item.paths, other])


@pytest.mark.parametrize(("csa", "message"), [
    (None, "without NumberOfImagesInMosaic"), (b"SV10", "without"), (CSA[:60], "without"),
    (_csa(NumberOfImagesInMosaic=["10"]), "of 10 slices in 12 x 18 pixels: expected a square of equal tiles"),
    (_csa(NumberOfImagesInMosaic=["40"]), "of 40 slices"), (_csa(NumberOfImagesInMosaic=["140"]), "of 140 slices"),
    (_csa(NumberOfImagesInMosaic=["0"]), "of 0 slices"), (_csa(NumberOfImagesInMosaic=["1.2.3"]), "without"),
])  # fmt: skip
def test_a_mosaic_whose_header_does_not_say_how_many_slices_is_refused(
    tmp_path: Path, csa: bytes | None, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        io.read(_mosaic(tmp_path / "m.dcm", csa))
    assert "a Siemens mosaic" in str(caught.value)


def test_slices_of_a_mosaic_without_a_normal_do_not_say_where_they_lie(tmp_path: Path) -> None:
    volume = io.read(_mosaic(tmp_path / "m.dcm", _csa(NumberOfImagesInMosaic=["5"])))
    assert not any("ImagePositionPatient" in header for header in volume.source.header)
    (path,) = io.write(volume, tmp_path / "out.dcm", provenance=None)
    assert pydicom.dcmread(path).ImagePositionPatient == [0, 0, 0]


@pytest.mark.filterwarnings("ignore:The DICOM readers")
def test_tiles_of_scanner_data_lie_where_nibabel_says(shared: Path, tmp_path: Path) -> None:
    from nibabel.nicom import dicomwrappers

    for path in sorted((shared / "dicom" / "12-bit").iterdir()) + sorted((shared / "dicom").glob("mosaic*/*.dcm")):
        volume, expected = io.read(path), dicomwrappers.wrapper_from_file(path)
        plain, _ = io.write(volume, tmp_path / f"{path.stem}.nii.gz", provenance=None)
        found = nibabel.load(plain)
        flipped = np.diag([-1.0, -1.0, 1.0, 1.0]) @ expected.affine  # of (row, column, slice), in DICOM's axes
        np.testing.assert_allclose(found.affine[:, [1, 0, 2, 3]], flipped, atol=1e-3)
        np.testing.assert_array_equal(found.get_fdata().transpose(1, 0, 2), expected.get_data())
