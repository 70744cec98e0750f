"""NIfTI: voxel centres stay where they are, headers are fresh, bad files are one line."""

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from latentsr import io
from latentsr.errors import InputError
from latentsr.io.nifti import finer_affine
from latentsr.provenance import Provenance
from latentsr.volume import Volume

MADE_BY = Provenance("tiny", "1.2.3", "f00d", 7, "{}")
TURNED = np.array([[-0.4, 0.1, 0.05, 20.125], [0.1, 0.5, 0.0, -30.3], [0, 0.1, 2.5, 7.7], [0, 0, 0, 1]])


def _saved(path: Path, array: np.ndarray, *, qform: np.ndarray | None = None) -> Path:
    image = nibabel.Nifti1Image(array, TURNED)
    image.set_qform(np.diag([0.5, 0.25, 2, 1]) if qform is None else qform, code=2)
    image.set_sform(TURNED, code=3)
    image.header.set_xyzt_units("mm", "sec")
    image.to_filename(path)
    return path


def _ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def test_the_finer_grid_covers_the_same_field() -> None:
    fine = finer_affine(TURNED, 4)
    corners = np.array([[-0.5, -0.5, 0, 1], [5.5, 3.5, 1, 1]]).T  # of a 6 x 4 image: pixel edges, slice centres
    fine_corners = np.array([[-0.5, -0.5, 0, 1], [23.5, 15.5, 1, 1]]).T
    np.testing.assert_allclose(fine @ fine_corners, TURNED @ corners, atol=1e-12)
    np.testing.assert_allclose(fine[:3, 3], (TURNED @ [-0.375, -0.375, 0, 1])[:3])
    np.testing.assert_array_equal(finer_affine(TURNED, 1), TURNED)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_read_write_read_keeps_geometry_bit_for_bit(tmp_path: Path, name: str) -> None:
    path = _saved(tmp_path / name, _ramp(6, 4, 3))
    before = io.read(path)
    assert before.pixels.shape == (3, 4, 6)
    assert before.pixels[1, 2, 3] == nibabel.load(path).get_fdata()[3, 2, 1]
    out, sidecar = io.write(before, tmp_path / f"out-{name}", provenance=None)
    one, two = nibabel.load(path), nibabel.load(out)
    for field in ("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y",
                  "qoffset_z", "qform_code", "sform_code", "xyzt_units"):  # fmt: skip
        np.testing.assert_array_equal(one.header[field], two.header[field])
    np.testing.assert_array_equal(one.header["pixdim"][:4], two.header["pixdim"][:4])
    assert two.get_data_dtype() == np.float32
    np.testing.assert_array_equal(io.read(out).pixels, before.pixels)
    assert sidecar.name == "out-x.json"


def test_an_enlarged_image_has_both_forms_on_the_finer_grid(tmp_path: Path) -> None:
    volume = io.read(_saved(tmp_path / "x.nii.gz", _ramp(6, 4, 3)))
    assert volume.spacing == (0.25, 0.5)
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 4, 4))), 4)
    out, sidecar = io.write(fine, tmp_path / "out.nii.gz", provenance=MADE_BY)
    image = nibabel.load(out)
    np.testing.assert_allclose(image.get_sform(), finer_affine(TURNED, 4), rtol=1e-6)
    np.testing.assert_allclose(image.get_qform(), finer_affine(np.diag([0.5, 0.25, 2, 1]), 4), rtol=1e-6)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (2, 3)
    assert image.header.get_xyzt_units() == ("mm", "sec")
    assert b"research use only" in image.header["descrip"].tobytes()
    facts = json.loads(sidecar.read_text())
    assert facts["Sources"] == ["x.nii.gz"]
    assert "4 times finer" in facts["Resolution"]
    assert "Research use only" in facts["Description"]


def test_slope_is_applied_and_2d_stays_2d(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(_ramp(6, 4), np.eye(4))
    image.header.set_slope_inter(0.5, 10)
    image.to_filename(tmp_path / "x.nii")
    volume = io.read(tmp_path / "x.nii")
    np.testing.assert_allclose(volume.pixels[0].T, nibabel.load(tmp_path / "x.nii").get_fdata())
    out, _ = io.write(volume, tmp_path / "out.nii", provenance=None)
    assert nibabel.load(out).shape == (6, 4)


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = io.read(_saved(tmp_path / "x.nii.gz", _ramp(6, 4, 3)))
    outputs = [io.write(volume, tmp_path / name / "y.nii.gz", provenance=MADE_BY)[0] for name in "ab"]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_a_volume_in_memory_gets_its_spacing(tmp_path: Path) -> None:
    volume = Volume.from_array(_ramp(3, 4, 6), spacing=(0.5, 0.25))
    out, _ = io.write(volume, tmp_path / "x.nii.gz", provenance=None)
    assert io.read(out).spacing == (0.5, 0.25)
    np.testing.assert_array_equal(io.read(out).pixels, volume.pixels)


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((4, 4, 4), np.int16), "constant"),
    (np.full((4, 4, 4), np.nan, np.float32), "NaN"),
    (_ramp(4, 4, 4, 2), "dimensions"),
    (_ramp(1, 1, 4), "2 x 2"),
    (np.zeros((4, 4, 0), np.int16), "shape"),
    (_ramp(4, 4, 4).astype(np.complex64), "complex"),
    (np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colour"),
])  # fmt: skip
def test_unfit_images_are_one_line(tmp_path: Path, array: np.ndarray, message: str) -> None:
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match=message) as caught:
        io.read(tmp_path / "x.nii.gz")
    assert str(tmp_path / "x.nii.gz") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_files_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    path = _saved(tmp_path / "x.nii", rng.integers(0, 999, (16, 16, 4)).astype(np.int16))
    whole = path.read_bytes()
    packed = gzip.compress(whole)
    corrupt = bytearray(packed)
    corrupt[len(packed) // 2] ^= 255
    files = {
        "cut.nii": whole[:600], "head.nii": whole[:100], "cut.nii.gz": packed[:300],
        "corrupt.nii.gz": bytes(corrupt), "plain.nii.gz": whole[:600], "text.nii.gz": b"text" * 50,
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as caught:
            io.read(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
