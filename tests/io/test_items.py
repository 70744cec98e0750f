"""The search for images: series as one item, sidecars and run records as none; formats; names of outputs."""

import os
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data
import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError, NotAnImageError
from latentsr.io.raster import write_pixels
from latentsr.provenance import Provenance

CORPUS = Path(pydicom.data.__file__).parent / "test_files"
MADE_BY = Provenance("tiny", "1.2.3", "f00d", 7, "{}")
AXIAL = CORPUS / "dicomdirtests" / "98892001" / "CT5N"


def _relative(items: list[io.Item]) -> list[str]:
    return [item.relative.as_posix() for item in items]


def test_a_tree_of_all_kinds(tmp_path: Path) -> None:
    write_pixels(tmp_path / "a" / "one.png", np.eye(8, dtype=np.uint8))
    nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_filename(tmp_path / "a" / "sub-01_T1w.nii.gz")
    for name in ("a/sub-01_T1w.json", "a/.hidden.png", ".cache/x.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    shutil.copytree(AXIAL, tmp_path / "b" / "CT5N")
    items = io.find([tmp_path])
    assert _relative(items) == ["a/notes.txt", "a/one.png", "a/sub-01_T1w.nii.gz", "b/CT5N"]
    assert items[-1].series
    assert len(items[-1].paths) == 5
    assert io.read(items[-1].paths).pixels.shape == (5, 16, 16)


def test_a_series_beside_other_files_gets_a_name_of_its_own(tmp_path: Path) -> None:
    shutil.copytree(AXIAL, tmp_path / "CT")
    write_pixels(tmp_path / "CT" / "one.png", np.eye(8, dtype=np.uint8))
    assert _relative(io.find([tmp_path])) == ["CT/series-5-0", "CT/one.png"]


def test_a_given_series_folder_keeps_its_name(tmp_path: Path) -> None:
    assert _relative(io.find([AXIAL])) == ["CT5N"]


def _localizer(folder: Path, changes: list[dict[str, object]]) -> None:
    """MR files of one series, IM0, IM1, ..., each with other elements."""
    folder.mkdir(parents=True)
    for number, elements in enumerate(changes):
        dataset = pydicom.dcmread(CORPUS / "MR_small.dcm")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        for keyword, value in elements.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"IM{number}")


AXIAL_PLANE, CORONAL, SAGITTAL = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])


def test_a_localizer_of_three_planes_is_a_stack_a_plane_and_one_derived_series(tmp_path: Path) -> None:
    planes = [AXIAL_PLANE, CORONAL, SAGITTAL, AXIAL_PLANE, CORONAL]
    places = [[0, 0, number] for number in range(5)]
    _localizer(tmp_path / "in", [
        {"ImageOrientationPatient": plane, "ImagePositionPatient": place}
        for plane, place in zip(planes, places, strict=True)
    ])  # fmt: skip
    items = io.find([tmp_path / "in"])
    assert _relative(items) == ["series-1-0", "series-1-1", "IM2"]
    assert [len(item.paths) for item in items] == [2, 2, 1]
    series, instances = set(), set()
    for item in items:
        volume = io.read(item)
        for path in io.write(volume, tmp_path / "out" / item.relative, provenance=MADE_BY):
            written = pydicom.dcmread(path)
            series.add(written.SeriesInstanceUID)
            instances.add(written.SOPInstanceUID)
    assert (len(series), len(instances)) == (1, 5)
    assert io.read(items[0].paths).source.series_digest == ""  # a stack that is read by itself knows of no other


@pytest.mark.parametrize(("keyword", "value"), [
    ("PixelSpacing", [1, 1]), ("SOPClassUID", pydicom.uid.CTImageStorage), ("FrameOfReferenceUID", "1.2"),
    ("PhotometricInterpretation", "MONOCHROME1"), ("ImageType", ["ORIGINAL", "PRIMARY", "P"]), ("PatientID", "other"),
])  # fmt: skip
def test_what_does_not_fit_into_one_volume_is_another_stack(tmp_path: Path, keyword: str, value: object) -> None:
    places = [{"ImagePositionPatient": [0, 0, number]} for number in range(4)]
    _localizer(tmp_path / "in", [*places[:2], *({**place, keyword: value} for place in places[2:])])
    items = io.find([tmp_path / "in"])
    assert [[path.name for path in item.paths] for item in items] == [["IM0", "IM1"], ["IM2", "IM3"]]
    assert all(len(io.read(item).pixels) == 2 for item in items)
    assert (items[0].series_digest == items[1].series_digest) == (keyword != "PatientID")


def test_files_given_one_by_one_still_become_one_derived_series() -> None:
    whole = io.find([AXIAL])[0].series_digest
    assert {item.series_digest for item in io.find(sorted(AXIAL.iterdir()))} == {whole}
    assert io.find(sorted(AXIAL.iterdir())[:4])[0].series_digest != whole


def test_a_series_beside_files_without_an_image_keeps_its_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(AXIAL, tmp_path / name)
        (tmp_path / name / "README.txt").write_text("a study")
    items = io.find([tmp_path / "a", tmp_path / "b"])  # the two of one name are nobody's output
    assert _relative(items) == ["a", "README.txt", "b", "README.txt"]


def test_every_series_of_scanner_data_is_planned_and_read(shared: Path) -> None:
    items = [item for item in io.find([shared / "dicom"]) if item.paths[0].suffix in (".dcm", ".img")]
    volumes = [io.read(item) for item in items]
    counts = {item.relative.name: len(volume.pixels) for item, volume in zip(items, volumes, strict=True)}
    named = {item.relative.name: volume.source.warnings for item, volume in zip(items, volumes, strict=True)}
    assert sum(len(item.paths) for item in items) == 196
    assert (counts["sagittal-hfs"], named["sagittal-hfs"]) == (24, ())
    assert (counts["mosaic-siemens"], counts["12bitUnsigned.dcm"], counts["IM_0027_fMAP.dcm"]) == (10, 35, 64)
    assert "several slices at one position" in named["time-series-ge"][0]


def test_a_copy_of_one_instance_does_not_take_its_series_apart(tmp_path: Path) -> None:
    shutil.copytree(AXIAL, tmp_path / "series")
    first = sorted((tmp_path / "series").iterdir())[0]
    shutil.copy(first, tmp_path / "series" / "zz-copy")
    whole, copy = io.find([tmp_path])
    assert len(whole.paths) == len(list(AXIAL.iterdir()))
    assert copy.relative.name == "zz-copy"


def test_copies_of_one_instance_are_single_items(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.dcm"):
        shutil.copy(CORPUS / "MR_small.dcm", tmp_path / name)
    assert _relative(io.find([tmp_path])) == ["a.dcm", "b.dcm"]


def test_projections_without_a_place_are_single_items(tmp_path: Path) -> None:
    for name in ("CR1/6154", "CR2/6247"):
        dataset = pydicom.dcmread(CORPUS / "dicomdirtests" / "77654033" / name)
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.save_as(tmp_path / Path(name).name)
    assert _relative(io.find([tmp_path])) == ["6154", "6247"]


def _medium(root: Path, places: dict[str, int]) -> None:
    """A DICOMDIR of files of one series, each at a place in mm."""
    index = pydicom.dcmread(CORPUS / "dicomdirtests" / "DICOMDIR")
    for number, (name, place) in enumerate(places.items()):
        dataset = pydicom.dcmread(CORPUS / "MR_small.dcm")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        dataset.ImagePositionPatient = [0, 0, place]
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(root / name)
    records = [record for record in index.DirectoryRecordSequence if "ReferencedFileID" in record][: len(places)]
    for record, name in zip(records, places, strict=True):
        record.ReferencedFileID = name.upper().split("/")
        record.OffsetOfTheNextDirectoryRecord = record.seq_item_tell  # in a circle
    index.DirectoryRecordSequence = records
    index.save_as(root / "DICOMDIR")


def test_a_series_that_a_dicomdir_lists_is_one_stack_in_several_folders(tmp_path: Path) -> None:
    root = tmp_path / "medium"
    _medium(root, {"A/B/IM1": 0, "A/C/IM1": 1, "a/d/im1": 2, "E": 0})
    for given in (root, root / "DICOMDIR"):
        items = io.find([given])
        assert sorted(_relative(items)) == ["DICOMDIR", "medium"]
        (stack,) = (item for item in items if item.series)
        assert [path.relative_to(root).as_posix() for path in stack.paths] == ["A/B/IM1", "A/C/IM1", "E", "a/d/im1"]
        assert io.read(stack).pixels.shape == (4, 64, 64)
        with pytest.raises(NotAnImageError, match="the names of 4 files"):
            io.read(root / "DICOMDIR")
    write_pixels(root / "other.png", np.eye(8, dtype=np.uint8))
    assert sorted(_relative(io.find([root]))) == ["DICOMDIR", "other.png", "series-1-0"]


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_what_a_dicomdir_lists_and_nobody_has_is_one_line(tmp_path: Path) -> None:
    tmp_path = tmp_path / "M"
    _medium(tmp_path, {"A/IM1": 0, "A/IM2": 1, "A/IM3": 2})
    (tmp_path / "A" / "IM2").unlink()
    assert [len(item.paths) for item in io.find([tmp_path / "DICOMDIR"])] == [1, 2]
    with pytest.raises(InputError, match=r"lists 3 files, 1 of which are missing, the first A/IM2") as caught:
        io.read(tmp_path / "DICOMDIR")
    assert not isinstance(caught.value, NotAnImageError)
    index = pydicom.dcmread(tmp_path / "DICOMDIR")
    index.DirectoryRecordSequence[0].ReferencedFileID = ["..", tmp_path.name, "A", "IM1"]
    index.save_as(tmp_path / "DICOMDIR")
    with pytest.raises(InputError, match="2 of which are missing"):
        io.read(tmp_path / "DICOMDIR")
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "DICOMDIR").read_bytes()[:-300])
    assert sorted(_relative(io.find([tmp_path]))) == ["A", "DICOMDIR"]


def test_a_stack_above_another_leaves_it_its_folder(tmp_path: Path) -> None:
    shutil.copytree(AXIAL, tmp_path / "in")
    shutil.copytree(AXIAL, tmp_path / "in" / "A")
    assert _relative(io.find([tmp_path / "in"])) == ["series-5-0", "A"]


def test_nothing_there_and_clashes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        io.find([tmp_path / "none"])
    with pytest.raises(InputError, match="no files"):
        io.find([tmp_path])
    for folder in ("a", "b"):
        write_pixels(tmp_path / folder / "x.png", np.eye(8, dtype=np.uint8))
    with pytest.raises(InputError, match=r"x\.png"):
        io.find([tmp_path / "a", tmp_path / "b"])


def test_a_folder_that_cannot_be_listed_is_an_item_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b"):
        write_pixels(tmp_path / folder / "x.png", np.eye(8, dtype=np.uint8))
    scandir = os.scandir

    def refusing(path: str) -> object:
        if Path(path) == tmp_path / "b":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    items = io.find([tmp_path])
    assert [item.paths[0] for item in items] == [tmp_path / "a" / "x.png", tmp_path / "b"]
    with pytest.raises(InputError, match="b cannot be read"):
        io.kind_of(items[1].paths[0])


def test_linked_folders_are_walked_once_and_pipes_are_left_out(tmp_path: Path) -> None:
    inner = tmp_path / "elsewhere"
    inner.mkdir()
    (inner / "a.png").write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(inner)
    (inner / "round").symlink_to(root)
    os.mkfifo(root / "pipe")
    assert [item.relative.as_posix() for item in io.find([root])] == ["link/a.png"]


@pytest.mark.parametrize(("start", "name", "kind"), [
    (b"\x89PNG\r\n\x1a\n", "x", "png"), (b"II*\0", "x.png", "tiff"), (b"MM\0+", "x.tif", "tiff"),
    (b"\0" * 128 + b"DICM", "1.2.840.1", "dicom"), (b"\x1f\x8b", "x.NII.GZ", "nifti"),
    (b"\xff\xd8\xff\xe0", "x", "jpeg"), (b"NRRD0004", "x.nrrd", "itk"), (b"NDims", "x.MHA", "itk"),
    (b"\x1f\x8b", "x.mgz", "mgh"), (b"\0\0\0\1", "x.mgh", "mgh"),
])  # fmt: skip
def test_the_content_tells_the_kind(tmp_path: Path, start: bytes, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(start + b"\0" * 200)
    assert io.kind_of(tmp_path / name) == kind


def test_other_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text.txt").write_text("text")
    for path in (tmp_path / "empty", tmp_path / "text.txt", tmp_path / "none", tmp_path):
        with pytest.raises(InputError):
            io.kind_of(path)
    with pytest.raises(InputError, match="preamble"):
        io.kind_of(Path(get_testdata_file("no_meta.dcm")))


@pytest.mark.parametrize("name", ["README", "Thumbs.db", "dwi.bval", "notes.txt", "empty"])
def test_a_file_without_the_content_or_name_of_an_image_is_told_apart(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"" if name == "empty" else b"0 1000 1000 " * 40)
    with pytest.raises(NotAnImageError):
        io.kind_of(tmp_path / name)


@pytest.mark.parametrize("name", ["cut.png", "cut.dcm", "cut.TIF", "cut.jpeg"])
def test_a_broken_image_is_a_failure_and_no_file_without_an_image(tmp_path: Path, name: str) -> None:
    for content in (b"", b"\0" * 50):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError) as caught:
            io.kind_of(tmp_path / name)
        assert not isinstance(caught.value, NotAnImageError)


def test_no_permission_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="permission"):
        io.read(tmp_path / "x.png")


@pytest.mark.parametrize(("relative", "kind", "expected"), [
    ("a/x.dcm", "dicom", "a/x.dcm"), ("a/1.2.840.113", "dicom", "a/1.2.840.113.dcm"), ("x.IMA", "dicom", "x.IMA"),
    ("a/x.nii.gz", "nifti", "a/x.nii.gz"), ("x.png", "png", "x.png"), ("scan", "png", "scan.png"),
    ("x.tif", "tiff", "x.tif"), ("a/brain.mgz", "mgh", "a/brain.mgz"), ("x.nrrd", "itk", "x.nrrd"),
    ("sub-01_T1w.nii.gz", "nifti", "sub-01_res-4x_desc-latentsr_T1w.nii.gz"),
    ("sub-01_ses-2_desc-preproc_T2w.nii", "nifti", "sub-01_ses-2_res-4x_desc-latentsr_T2w.nii"),
])  # fmt: skip
def test_output_names(relative: str, kind: str, expected: str) -> None:
    assert io.output_name(Path(relative), kind, 4).as_posix() == expected


def test_a_series_keeps_its_folder() -> None:
    assert io.output_name(Path("a/CT1.5mm"), "dicom", 4, series=True) == Path("a/CT1.5mm")


@pytest.mark.parametrize(("output", "kind", "expected"), [
    ("x.dcm", "dicom", "x_uncertainty.dcm"), ("CT1.5mm", "dicom", "CT1.5mm_uncertainty"),
    ("x.nii.gz", "nifti", "x_uncertainty.nii.gz"), ("x.png", "png", "x_uncertainty.tif"),
    ("sub-01_res-4x_desc-latentsr_T1w.nii", "nifti", "sub-01_res-4x_desc-latentsrUncertainty_T1w.nii"),
])  # fmt: skip
def test_uncertainty_names(output: str, kind: str, expected: str) -> None:
    assert io.uncertainty_name(Path(output), kind) == Path(expected)


def test_what_comes_from_a_jpeg_is_a_png() -> None:
    assert io.output_name(Path("a/scan.jpg"), "jpeg", 4) == Path("a/scan.jpg.png")


def test_texts_beside_an_image_are_among_what_it_is_made_of(tmp_path: Path) -> None:
    for name in ("dwi.nii.gz", "dwi.bval", "dwi.bvec", "dwi.json", "other.json"):
        (tmp_path / name).write_bytes(b"")
    (item,) = [one for one in io.find([tmp_path]) if one.relative.name == "dwi.nii.gz"]
    assert [path.name for path in item.sources] == ["dwi.nii.gz", "dwi.json", "dwi.bval", "dwi.bvec"]


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in ("other.png", "scans/own.png"):
        write_pixels(tmp_path / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "scans" / "loop").symlink_to("..")
    assert [item.relative.name for item in io.find([tmp_path / "scans"])] == ["own.png"]
