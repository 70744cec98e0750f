"""Series: sorted along the normal, one derived series for each, and the odd slice named."""

from pathlib import Path

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


def test_a_mosaic_is_warned_of(tmp_path: Path) -> None:
    changes = {0: {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}}
    (text,) = io.read(_series(tmp_path / "in", [0], changes)).source.warnings
    assert "mosaic" in text


def test_a_folder_without_dicom_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no DICOM"):
        io.read(tmp_path)
