"""BIDS: metadata beside an image and above it is carried over, and a dataset becomes a derived one."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from latentsr import io
from latentsr.enhance import Job, enhance_files
from latentsr.provenance import Provenance
from latentsr.upscalers import Sampling, load_upscaler

MADE_BY = Provenance("tiny", "1.2.3", "f00d", 7, "{}")


def _image(path: Path, *shape: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    image = nibabel.Nifti1Image(values, np.diag([2.0, 2, 3, 1]))
    image.header["pixdim"][4] = 1.5
    image.header["slice_code"], image.header["slice_duration"], image.header["slice_end"] = 3, 0.1, 2
    image.to_filename(path)
    return path


def _text(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def _dataset(root: Path) -> Path:
    """A dataset of an anatomical image, a series over time whose metadata lie above it, and a diffusion series."""
    _text(root / "dataset_description.json", {"Name": "Ours", "BIDSVersion": "1.8.0", "License": "CC0",
                                              "DatasetDOI": "doi:10.1/2", "Authors": ["A"]})  # fmt: skip
    _text(root / "README", "a dataset")
    _text(root / "participants.tsv", "participant_id\nsub-01\n")
    _text(root / "task-rest_bold.json", {"RepetitionTime": 1.5, "TaskName": "rest", "EchoTime": 0.03})
    _text(root / "sub-01" / "sub-01_task-rest_bold.json", {"EchoTime": 0.04, "EffectiveEchoSpacing": 0.0005})
    _text(root / "task-other_bold.json", {"TaskName": "other"})
    _image(root / "sub-01" / "anat" / "sub-01_T1w.nii.gz", 6, 5, 3)
    _text(root / "sub-01" / "anat" / "sub-01_T1w.json", {"MagneticFieldStrength": 3})
    _image(root / "sub-01" / "func" / "sub-01_task-rest_run-1_bold.nii.gz", 6, 5, 3, 4)
    _image(root / "sub-01" / "dwi" / "sub-01_dwi.nii.gz", 6, 5, 3, 3)
    _text(root / "sub-01" / "dwi" / "sub-01_dwi.bval", "0 1000 995\n")
    _text(root / "sub-01" / "dwi" / "sub-01_dwi.bvec", "0 1 0\n0 0 1\n0 0 0\n")
    _image(root / "derivatives" / "masks" / "sub-01_mask.nii.gz", 6, 5, 3)
    return root


def _enhanced(root: Path, out: Path) -> dict[str, Any]:
    """The outcomes by input; the images are interpolated."""
    job = Job(load_upscaler("bicubic", scale=2, degradation=None, device="cpu"), Sampling(), out)
    return {outcome.input: outcome for outcome in enhance_files([root], job)}


def test_a_dataset_becomes_a_derived_one(tmp_path: Path) -> None:
    found = _enhanced(_dataset(tmp_path / "raw"), tmp_path / "out")
    written = {name for name, outcome in found.items() if outcome.status == "written"}
    assert written == {"sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_task-rest_run-1_bold.nii.gz",
                       "sub-01/dwi/sub-01_dwi.nii.gz"}  # fmt: skip
    assert {outcome.status for name, outcome in found.items() if name not in written} == {"skipped"}
    assert "no part of the BIDS dataset" in found["derivatives"].reason
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "latentsr"
    assert (described["License"], described["SourceDatasets"]) == ("CC0", [{"DOI": "doi:10.1/2"}])
    func = tmp_path / "out" / "sub-01" / "func" / "sub-01_task-rest_run-1_res-2x_desc-latentsr_bold.json"
    facts = json.loads(func.read_text())
    assert [facts[name] for name in ("RepetitionTime", "TaskName", "EchoTime", "SkullStripped")] == [
        1.5, "rest", 0.04, False,
    ]  # fmt: skip
    assert "EffectiveEchoSpacing" not in facts
    assert facts["Sources"] == ["sub-01_task-rest_run-1_bold.nii.gz"]
    made = nibabel.load(func.with_name(func.name.replace(".json", ".nii.gz")))
    assert made.shape == (12, 10, 3, 4)
    assert made.header.get_zooms() == (1, 1, 3, 1.5)
    assert [float(made.header[name]) for name in ("slice_code", "slice_end")] == [3, 2]
    dwi = tmp_path / "out" / "sub-01" / "dwi" / "sub-01_res-2x_desc-latentsr_dwi"
    assert dwi.with_suffix(".bval").read_text() == "0 1000 995\n"
    assert dwi.with_suffix(".bvec").read_text() == "0 1 0\n0 0 1\n0 0 0\n"
    again = _enhanced(tmp_path / "raw", tmp_path / "out")
    assert {again[name].status for name in written} == {"kept"}


def test_a_description_by_others_stays_and_a_broken_one_is_one_line(tmp_path: Path) -> None:
    root = _dataset(tmp_path / "raw")
    _text(tmp_path / "out" / "dataset_description.json", {"Name": "of another program"})
    _enhanced(root, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "dataset_description.json").read_text()) == {"Name": "of another program"}
    _enhanced(root / "sub-01", tmp_path / "part")  # no root of a dataset, and none comes out
    assert not (tmp_path / "part" / "dataset_description.json").exists()
    (root / "dataset_description.json").write_text("[]")
    found = _enhanced(root, tmp_path / "other")
    broken = found.pop("dataset_description.json")
    assert broken.status == "failed"
    assert "dataset_description.json holds a list: expected a JSON object" in broken.reason
    assert not any(outcome.warnings or outcome.status == "failed" for outcome in found.values())
    assert not (tmp_path / "other" / "dataset_description.json").exists()


@pytest.mark.parametrize(("name", "intent", "values", "reason"), [
    ("sub-01_dseg.nii.gz", 0, 9, "its name"), ("a.nii.gz", 1002, 9, "its intent code"),
    ("a.nii.gz", 0, 2, "its two values"), ("a.nii.gz", 0, 3, ""),
])  # fmt: skip
def test_labels_are_enlarged_with_a_warning(tmp_path: Path, name: str, intent: int, values: int, reason: str) -> None:
    image = nibabel.Nifti1Image((np.arange(120) % values).reshape(6, 5, 4).astype(np.uint8), np.eye(4))
    image.header["intent_code"] = intent
    (tmp_path / "in").mkdir()
    image.to_filename(tmp_path / "in" / name)
    warnings = _enhanced(tmp_path / "in", tmp_path / "out")[name].warnings
    assert [text.partition(":")[0] for text in warnings] == [f"a mask or label map by {reason}"] * bool(reason)


def test_a_sidecar_outside_of_a_dataset_is_carried_over(tmp_path: Path) -> None:
    volume = io.read(_image(tmp_path / "scan.nii.gz", 6, 5, 3))
    assert dict(volume.source.header.metadata) == {}
    _text(tmp_path / "scan.json", {"EchoTime": 0.1, "GeneratedBy": [{"Name": "dcm2niix"}]})
    volume = io.read(tmp_path / "scan.nii.gz")
    _, sidecar = io.write(volume, tmp_path / "out" / "scan.nii.gz", provenance=MADE_BY)
    facts = json.loads(sidecar.read_text())
    assert (facts["EchoTime"], [one["Name"] for one in facts["GeneratedBy"]]) == (0.1, ["latentsr", "dcm2niix"])
    assert "SkullStripped" not in facts
    _, of_map = io.write_uncertainty(volume, tmp_path / "out" / "map.nii.gz", provenance=MADE_BY)
    assert "EchoTime" not in json.loads(of_map.read_text())
    _text(tmp_path / "scan.json", "{")
    volume = io.read(tmp_path / "scan.nii.gz")
    assert "cannot be read or does not fit: it is not carried over" in volume.source.warnings[0]


def test_b_values_of_a_series_have_a_window_each(tmp_path: Path) -> None:
    path = _image(tmp_path / "dwi.nii.gz", 6, 5, 3, 4)
    assert io.read(path).source.windows == ()
    _text(tmp_path / "dwi.bval", "0 1000 5 1010")
    volume = io.read(path)
    assert volume.source.warnings == ()
    for kind in ([0, 2], [1, 3]):
        own = volume.pixels.reshape(4, 3, 5, 6)[kind]
        windows = [volume.windows[3 * index] for index in kind]
        assert {(one.low, one.high) for one in windows} == {(own.min(), own.max())}
    out, *texts = io.write(volume, tmp_path / "out.nii.gz", provenance=None)
    assert [text.name for text in texts] == ["out.json", "out.bval"]
    np.testing.assert_array_equal(nibabel.load(out).get_fdata(), nibabel.load(path).get_fdata())
    for content in ("0 1000", "0 1000 x 0"):
        _text(tmp_path / "dwi.bval", content)
        volume = io.read(path)
        assert (len(volume.source.warnings), volume.source.windows) == (1, ())
