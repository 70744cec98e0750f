"""Formats by content, and the names of outputs."""

from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.errors import InputError, NotAnImageError


@pytest.mark.parametrize(("start", "name", "kind"), [
    (b"\x89PNG\r\n\x1a\n", "x", "png"), (b"II*\0", "x.png", "tiff"), (b"MM\0+", "x.tif", "tiff"),
    (b"\0" * 128 + b"DICM", "1.2.840.1", "dicom"), (b"\x1f\x8b", "x.NII.GZ", "nifti"),
    (b"\xff\xd8\xff\xe0", "x", "jpeg"),
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
    ("x.tif", "tiff", "x.tif"),
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
