"""Bar 5: every file of pydicom's own test set through `enhance`: a valid output, or one clear line and no file."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom import uid

from latentsr import cli
from latentsr.upscalers.model import SuperResolver

CORPUS = Path(pydicom.data.__file__).parent / "test_files"
SKELETONS = "TINY_ALPHA"  # fifty files without pixels, all alike: the walk takes them all, one by one a few are enough
FILES = [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]
SINGLE = [path for path in FILES if SKELETONS not in path.parts or path.name in ("IM000000", "README")]
SINGLE = [path for path in SINGLE if not path.name.startswith("DICOMDIR")]  # of which each is what it lists, too
LARGE = 256  # px: larger sides are enhanced once, in the walk, by interpolation: a network takes seconds for each


@pytest.fixture
def latentsr(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[object]:
    """`latentsr enhance` in this process; gives status, standard output and standard error, libraries' included."""
    loaded = SuperResolver.load(model_folder, device="cpu")
    monkeypatch.setattr(SuperResolver, "load", classmethod(lambda *_, **__: loaded))  # once, not for each file

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["latentsr", "enhance", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capfd.readouterr()
        return int(left.value.code or 0), out, err

    return command


def valid(path: Path, source: Path, synthetic: str = "YES") -> None:
    """The output is a DICOM of four times the side that says what it is and may not be used for."""
    made, original = pydicom.dcmread(path), pydicom.dcmread(source, force=True)
    assert (made.Rows, made.Columns) == (4 * original.Rows, 4 * original.Columns)
    assert made.pixel_array.shape == (made.Rows, made.Columns)
    assert made.SyntheticData == synthetic
    assert "Research use only" in made.DerivationDescription
    assert "research use only" in made.SeriesDescription.lower()
    assert made.SOPInstanceUID != original.SOPInstanceUID
    assert made.StudyInstanceUID == original.StudyInstanceUID
    assert np.ptp(made.pixel_array) > 0


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("source", SINGLE, ids=lambda path: path.relative_to(CORPUS).as_posix())
def test_an_output_or_one_line(latentsr: object, source: Path, tmp_path: Path) -> None:
    sides = pydicom.dcmread(source, force=True, stop_before_pixels=True)
    large = max(sides.get("Rows") or 0, sides.get("Columns") or 0) > LARGE
    status, out, err = latentsr(source, "-o", tmp_path / "out", *(["--dry-run"] if large else []))
    assert "Traceback" not in out + err
    assert "Warning" not in err
    errors = [line for line in err.splitlines() if not line.startswith("warning: ")]
    if status == 0:
        assert errors == []
        if not large:
            (made,) = left(tmp_path / "out")
            valid(made, source)
        return
    assert status == 2
    (line,) = errors
    assert line.startswith("error: ")
    assert source.name in line
    said = {f"0 of 1 done, 1 {word}. Research use only. Not for diagnosis.\n" for word in ("failed", "skipped")}
    assert out in said or (large and out.startswith("would write 0 of 1, 1 "))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.run").exists()


def test_the_whole_tree_at_once(latentsr: object, tmp_path: Path) -> None:
    """One run over all, by interpolation: outputs mirror the inputs, a failure has its line, nothing else is there."""
    status, out, err = latentsr(CORPUS, "-o", tmp_path / "out", "--model", "bicubic")
    assert status == 1
    assert "Traceback" not in out + err
    record = json.loads((tmp_path / "out.run" / "run.json").read_text())["files"]
    failed = [one for one in record if one["status"] == "failed"]
    written = [one for one in record if one["status"] == "written"]
    skipped = [one for one in record if one["status"] == "skipped"]
    assert len(written) + len(failed) + len(skipped) == len(record)
    assert f"skipped  {len(skipped)} files without an image: " in out
    assert {"README.txt", "dicomdirtests/DICOMDIR"} <= {one["input"] for one in skipped}
    assert len(written) >= 20
    assert [line for line in err.splitlines() if not line.startswith(("error: ", "warning: ", "enhance  "))] == []
    assert sum(line.startswith("error: ") for line in err.splitlines()) == len(failed)
    assert f"{len(written)} of {len(record)} done" in out
    named = {name for one in written for name in one["output_sha256"]}
    assert {path.relative_to(tmp_path / "out").as_posix() for path in left(tmp_path / "out")} == named
    for one in written:
        if len(one["output_sha256"]) == 1:
            valid(tmp_path / "out" / one["output"], CORPUS / one["input"], "NO")


NOT_IMAGES = {
    "report": uid.EnhancedSRStorage, "key-objects": uid.KeyObjectSelectionDocumentStorage,
    "view": uid.GrayscaleSoftcopyPresentationStateStorage, "structures": uid.RTStructureSetStorage,
    "plan": uid.RTPlanStorage, "dose": uid.RTDoseStorage, "document": uid.EncapsulatedPDFStorage,
    "waveform": uid.TwelveLeadECGWaveformStorage, "raw": uid.RawDataStorage, "labels": uid.SegmentationStorage,
}  # fmt: skip


def test_what_lies_beside_a_series_and_is_no_image_is_skipped_and_listed(latentsr: object, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(CORPUS / "dicomdirtests" / "98892001" / "CT5N", study)
    for name, sop_class in NOT_IMAGES.items():
        data = pydicom.dcmread(CORPUS / "MR_small.dcm")
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
        for element in () if name == "dose" else ("Rows", "Columns", "PixelData"):
            del data[element]
        data.save_as(study / f"{name}.dcm")
    texts = {"README": "a study", "dwi.bval": "0 1000", "series.json": "{}", "letter.pdf": "%PDF-1.7", "Thumbs.db": ""}
    for name, text in texts.items():
        (study / name).write_text(text)
    status, out, err = latentsr(study, "-o", tmp_path / "out", "--model", "bicubic")
    assert (status, err) == (0, "")
    assert "skipped  15 files without an image: README, " in out
    assert "1 of 16 done, 15 skipped. " in out
    assert len(left(tmp_path / "out")) == 5


def _corners(image: Any) -> Any:
    """Where the corners of the first slice's first and last pixel lie in the patient, in mm."""
    if "PerFrameFunctionalGroupsSequence" in image:
        shared, own = image.SharedFunctionalGroupsSequence[0], image.PerFrameFunctionalGroupsSequence[0]
        groups = [own.get(name) or shared.get(name) for name in
                  ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")]  # fmt: skip
        measures, place, plane = (group[0] for group in groups)
    else:
        measures = place = plane = image
    along_row, along_column = np.array(plane.ImageOrientationPatient, float).reshape(2, 3)
    rows, columns = (float(one) for one in measures.PixelSpacing)
    ends = np.array([[-0.5, -0.5], [image.Columns - 0.5, image.Rows - 0.5]])
    origin = np.array(place.ImagePositionPatient, float)
    return origin + ends * [columns, rows] @ np.array([along_row, along_column])


def test_studies_of_scanner_data_come_out_whole(latentsr: object, shared: Path, tmp_path: Path) -> None:
    """Time points, mosaics, 12 bit, enhanced objects, a series of sagittal slices; a README beside them is no failure.

    Each file comes back as one of the same class, of twice the size and in the same place; the elements that tell
    stacks and slices apart are the source's. Of long series and of many objects alike the first do.
    """
    for folder in (path for path in (shared / "dicom").rglob("*") if path.is_dir()):
        (tmp_path / "in" / folder.relative_to(shared / "dicom")).mkdir(parents=True)
        for path in sorted(path for path in folder.iterdir() if path.is_file())[: 40 if "ge" in folder.name else 4]:
            (tmp_path / "in" / path.relative_to(shared / "dicom")).symlink_to(path)
    status, out, err = latentsr(tmp_path / "in", "-o", tmp_path / "out", "--model", "bicubic", "--scale", 2)
    assert status == 0
    assert "error" not in err
    assert "skipped  2 files without an image: mosaic-siemens/README-Series.txt, time-series" in out
    assert "20 of 22 done, 2 skipped" in out
    sources = [path for path in (tmp_path / "in").rglob("*") if path.suffix in (".dcm", ".img")]
    assert len(left(tmp_path / "out")) == len(sources)
    told = ("SOPClassUID", "EchoTime", "EchoNumbers", "AcquisitionNumber", "TemporalPositionIdentifier",
            "InstanceNumber", "NumberOfFrames", "StudyInstanceUID", "FrameOfReferenceUID")  # fmt: skip
    for path in sources:
        source = pydicom.dcmread(path, stop_before_pixels=True)
        name = path.relative_to(tmp_path / "in").as_posix()
        made = pydicom.dcmread(tmp_path / "out" / (name if path.suffix == ".dcm" else f"{name}.dcm"))
        assert (made.Rows, made.Columns) == (2 * source.Rows, 2 * source.Columns)
        assert made.pixel_array.shape[-2:] == (made.Rows, made.Columns)
        assert [made.get(keyword) for keyword in told] == [source.get(keyword) for keyword in told]
        np.testing.assert_allclose(_corners(made), _corners(source), atol=1e-4)
