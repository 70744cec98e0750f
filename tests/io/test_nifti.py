"""NIfTI: voxel centres stay where they are, headers are fresh, bad files are one line."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from latentsr import io
from latentsr.errors import InputError, OptionError
from latentsr.io.nifti import finer_affine
from latentsr.io.reslice import slice_distance, slice_places
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


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz", "x.NII.GZ"])
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


def test_a_series_over_time_comes_back_volume_by_volume(tmp_path: Path) -> None:
    source = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    volume, before = io.read(source), nibabel.load(source)
    assert (volume.pixels.shape, volume.source.header.volumes) == ((48, 96, 128), 2)
    np.testing.assert_array_equal(volume.pixels[24 + 3], before.get_fdata()[:, :, 3, 1].T)
    out, _ = io.write(volume, tmp_path / "out.nii.gz", provenance=None)
    after = nibabel.load(out)
    np.testing.assert_array_equal(after.get_fdata(), before.get_fdata())
    for field in ("pixdim", "dim", "xyzt_units", "srow_x", "qoffset_x", "slice_end", "toffset"):
        np.testing.assert_array_equal(after.header[field], before.header[field])
    places = slice_places(volume)
    assert (places[:2], places[24:26]) == ([0, pytest.approx(2.2)],) * 2  # those of the same place share their noise
    with pytest.raises(InputError, match="2 volumes over time"):
        slice_distance(volume)


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
    (_ramp(4, 4, 4, 1, 2), "5 dimensions"),
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


KINDS = {"nifti1": nibabel.Nifti1Image, "nifti2": nibabel.Nifti2Image}
ROTATED = nibabel.affines.from_matvec(
    np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]]) @ np.diag([0.5, -1.25, 3.0]),
    [10.5, -20.25, 7.0],
)  # of determinant -1: qfac is -1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forms", ["both", "sform", "qform", "neither"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_slice_axis_keeps_its_field_of_view(tmp_path: Path, axis: int, forms: str, kind: str) -> None:
    image = KINDS[kind](_ramp(6, 4, 3), ROTATED)
    image.set_qform(ROTATED, 1 if forms in ("both", "qform") else 0)
    image.set_sform(ROTATED, 2 if forms in ("both", "sform") else 0)
    image.header.set_dim_info(slice=axis)
    image.to_filename(tmp_path / "x.nii")
    source, volume = nibabel.load(tmp_path / "x.nii"), io.read(tmp_path / "x.nii")
    in_plane = [other for other in range(3) if other != axis]
    assert volume.pixels.shape == (source.shape[axis], *(source.shape[other] for other in in_plane[::-1]))
    assert volume.spacing == tuple(source.header.get_zooms()[other] for other in in_plane[::-1])
    np.testing.assert_array_equal(volume.source.header.affine[:, [2, 1, 0]], source.affine[:, [axis, *in_plane[::-1]]])
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 2, 2))), 2)
    made = nibabel.load(io.write(fine, tmp_path / "out.nii", provenance=None)[0])
    assert type(made) is KINDS[kind]
    times = np.where(np.arange(3) == axis, 1, 2)
    assert made.shape == tuple(source.shape * times)
    np.testing.assert_array_equal(made.get_fdata(), np.kron(source.get_fdata(), np.ones(times)))
    np.testing.assert_allclose(made.header.get_zooms(), source.header.get_zooms() / times, rtol=1e-6)
    np.testing.assert_allclose(made.affine, finer_affine(source.affine, 2, tuple(in_plane)), atol=2e-6)
    for corner in np.ndindex(2, 2, 2):  # the outer corners of the first and the last voxels
        before, after = (np.array(corner) * shape - 0.5 for shape in (source.shape, made.shape))
        np.testing.assert_allclose(made.affine @ [*after, 1], source.affine @ [*before, 1], atol=1e-5)
    assert made.header.get_dim_info() == source.header.get_dim_info() == (None, None, axis)
    for code in ("qform_code", "sform_code"):
        assert made.header[code] == source.header[code]


def _with_sizes(
    path: Path, sizes: tuple[float, ...], shape: tuple[int, ...] = (4, 5, 6), told: int | None = None
) -> Path:
    image = nibabel.Nifti1Image(_ramp(*shape), np.diag([*sizes, 1.0]))
    image.header.set_dim_info(slice=told)
    image.to_filename(path)
    return path


def test_the_thick_axis_of_a_sagittal_scan_keeps_its_size(tmp_path: Path) -> None:
    volume = io.read(_with_sizes(tmp_path / "x.nii.gz", (5, 1, 1), (4, 5, 6), told=0))
    assert volume.pixels.shape == (4, 6, 5)
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 4, 4))), 4)
    made = nibabel.load(io.write(fine, tmp_path / "out.nii.gz", provenance=None)[0])
    assert made.shape == (4, 20, 24)
    assert made.header.get_zooms() == (5, 0.25, 0.25)
    assert made.header.get_dim_info()[2] == 0


@pytest.mark.parametrize(("sizes", "shape", "told", "axis", "warning"), [
    ((1, 1, 5), (4, 5, 6), None, 2, ""),
    ((1, 1, 1), (4, 5, 6), None, 2, ""),
    ((1.2, 0.94, 0.94), (4, 5, 6), None, 2, ""),
    ((1, 1, 5), (4, 5, 6), 2, 2, ""),
    ((5, 1, 1), (4, 5, 6), None, 0, "along axis 0, of voxels of 5 x 1 x 1: set the option axis"),
    ((1, 3, 1.2), (4, 5, 6), None, 1, "along axis 1, of voxels of 1 x 3 x 1.2: set the option axis"),
    ((1, 1, 1), (4, 5, 6), 1, 1, "along axis 1, as dim_info says: set the option axis"),
    ((5, 1, 1), (4, 5, 6), 2, 2, "along axis 2, as dim_info says, though voxels of 5 x 1 x 1 are longest along axis 0"),
    ((1, 1, 1), (4, 5), 0, 2, ""),
    ((1, 4, 1), (4, 5, 1), None, 2, ""),
    ((1, 1, 1), (1, 5, 6), None, 0, "along axis 0, of one voxel: set the option axis"),
])  # fmt: skip
def test_the_slice_axis_and_what_is_said_of_it(
    tmp_path: Path, sizes: tuple[float, ...], shape: tuple[int, ...], told: int | None, axis: int, warning: str
) -> None:
    volume = io.read(_with_sizes(tmp_path / "x.nii", sizes, shape, told))
    assert volume.source.header.axis == axis
    assert len(volume.pixels) == (*shape, 1)[axis]
    assert len(volume.source.warnings) == bool(warning)
    assert warning in "".join(volume.source.warnings)
    asked = io.read(tmp_path / "x.nii", axis=axis)
    assert asked.source.warnings == ()
    np.testing.assert_array_equal(asked.pixels, volume.pixels)


def test_an_axis_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    path = _with_sizes(tmp_path / "x.nii", (1, 1, 1), (4, 5, 1), None)
    with pytest.raises(OptionError, match="axis 3: expected 0, 1 or 2"):
        io.read(path, axis=3)
    with pytest.raises(InputError, match="slices along axis 0: expected at least 2 x 2 pixels"):
        io.read(path, axis=0)
    with pytest.raises(InputError, match="slices along axis 2: expected at least 2 x 2 pixels"):
        io.read(_with_sizes(tmp_path / "x.nii", (1, 1, 1), (4, 1), None))


def test_a_2d_image_stays_2d_in_its_place(tmp_path: Path) -> None:
    nibabel.Nifti1Image(_ramp(6, 4), ROTATED).to_filename(tmp_path / "x.nii")
    volume = io.read(tmp_path / "x.nii")
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 4, 4))), 4)
    made = nibabel.load(io.write(fine, tmp_path / "out.nii", provenance=None)[0])
    assert made.shape == (24, 16)
    np.testing.assert_allclose(made.affine, finer_affine(ROTATED, 4), atol=2e-6)


@pytest.mark.parametrize("slope", [(None, None), (0.1, -3.3), (1e-30, 7e-30)])
@pytest.mark.parametrize(("kind", "order"), [("nifti1", "<"), ("nifti1", ">"), ("nifti2", ">")])
def test_values_are_those_of_nibabel(
    tmp_path: Path, kind: str, order: str, slope: tuple[float | None, float | None]
) -> None:
    for stored in map(np.dtype, ("u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")):
        low, high = (np.iinfo(stored).min, np.iinfo(stored).max) if stored.kind in "iu" else (-1e9, 1e9)
        array = np.random.default_rng(0).uniform(float(low), float(high), (7, 6, 5)).astype(stored)
        header = KINDS[kind].header_class(endianness=order)
        header.set_data_dtype(stored)
        header.set_slope_inter(*slope)
        KINDS[kind](array, np.eye(4), header).to_filename(tmp_path / "x.nii")
        expected = nibabel.load(tmp_path / "x.nii").get_fdata().astype(np.float32)
        np.testing.assert_array_equal(io.read(tmp_path / "x.nii").pixels, expected.T)


@pytest.mark.parametrize("axis", [None, 0])
def test_memory_is_bounded_by_the_volume(tmp_path: Path, axis: int | None) -> None:
    array = np.random.default_rng(0).integers(0, 9, (128, 128, 160), np.uint8)  # more than two pieces
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / "x.nii.gz")
    tracemalloc.start()
    volume = io.read(tmp_path / "x.nii.gz", axis=axis)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(
        volume.pixels, array.T if axis is None else np.moveaxis(array, 0, 0).transpose(0, 2, 1)
    )
    assert peak < 3 * volume.pixels.nbytes


def _altered(path: Path, *, size: int | None = None, **fields: Any) -> Path:
    """A NIfTI file with these header fields, and of this many voxels' bytes where given."""
    content = nibabel.Nifti1Image(_ramp(6, 4, 3), TURNED).to_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + content[348:]
    path.write_bytes(gzip.compress(content[:size]) if path.suffix == ".gz" else content[:size])
    return path


@pytest.mark.parametrize(("fields", "fault"), [
    ({"dim": [0] * 8}, r"0 dimensions \(dim\[0\]\)"),
    ({"dim": [9, 6, 4, 3, 1, 1, 1, 1]}, r"9 dimensions \(dim\[0\]\)"),
    ({"dim": [3, 6, -4, 3, 1, 1, 1, 1]}, "shape"),
    ({"pixdim": [1, np.inf, 1, 1, 0, 0, 0, 0]}, r"voxel sizes of inf x 1 x 1 \(pixdim\)"),
    ({"pixdim": [1, 1, np.nan, 1, 0, 0, 0, 0]}, r"voxel sizes of 1 x nan x 1 \(pixdim\)"),
    ({"pixdim": [1, 1, 1, -2, 0, 0, 0, 0]}, r"voxel sizes of 1 x 1 x -2 \(pixdim\)"),
    ({"qform_code": 1, "quatern_b": 2, "quatern_c": 0, "quatern_d": 0}, "a quaternion of length 2 "),
    ({"qform_code": 1, "quatern_d": np.nan}, "a quaternion of length nan"),
    ({"qform_code": 1, "qoffset_x": np.inf}, "an affine that is not finite"),
    ({"srow_y": [0, np.nan, 0, 0]}, "an affine that is not finite"),
    ({"scl_slope": np.inf}, "slope inf"),
    ({"scl_slope": 2, "scl_inter": np.nan}, "slope 2 and intercept nan"),
    ({"datatype": 9999}, "data code 9999"),
    ({"datatype": 1}, "data code 1 "),
    ({"vox_offset": 0}, r"voxels from byte 0 \(vox_offset\)"),
    ({"vox_offset": 1e30}, r"voxels from byte 1e\+30"),
    ({"vox_offset": 400}, "ends before the last"),
    ({"magic": b"ni1"}, "not NIfTI inside"),
    ({"sizeof_hdr": 1}, "not NIfTI inside"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_broken_header_is_one_line_that_names_the_fault(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, fields: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InputError, match=fault) as caught:
        io.read(_altered(tmp_path / name, **fields))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_unset_voxel_size_is_said(tmp_path: Path) -> None:
    volume = io.read(_altered(tmp_path / "x.nii", pixdim=[1, 0, 1, 1, 0, 0, 0, 0]))
    assert volume.source.warnings == ("a voxel size of 0 in the header is taken as 1 mm",)


def test_a_flipped_bit_of_gzip_is_found(tmp_path: Path) -> None:
    """Also where it lies in pixels or in the checksum, which a reader that stops after the last voxel never sees."""
    whole = _saved(tmp_path / "x.nii.gz", np.random.default_rng(0).integers(0, 99, (40, 40, 4)).astype(np.int16))
    content = gzip.compress(gzip.decompress(whole.read_bytes()), 0)  # stored as it is: every flip is of one byte
    for place in (len(content) // 2, len(content) - 100, len(content) - 8, len(content) - 3):
        flipped = bytearray(content)
        flipped[place] ^= 1
        whole.write_bytes(flipped)
        with pytest.raises(InputError, match="not a whole NIfTI file"):
            io.read(whole)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_file_holds_what_its_header_claims(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="more data than the"):
        io.read(_altered(tmp_path / name, dim=[3, 6, 4, 2, 1, 1, 1, 1]))
    with pytest.raises(InputError, match="ends before the last"):
        io.read(_altered(tmp_path / name, dim=[3, 6, 4, 4, 1, 1, 1, 1]))
    with pytest.raises(InputError, match="ends before the last"):
        io.read(_altered(tmp_path / name, size=-1))


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_what_a_header_may_claim_is_limited_before_memory_is_taken(tmp_path: Path, name: str) -> None:
    path = _altered(tmp_path / name, dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    tracemalloc.start()
    with pytest.raises(
        InputError, match="claims 35181150961663 pixels, more than 134217728: raise the option max_pixels"
    ):
        io.read(path)
    with pytest.raises(InputError, match="ends before the last"):
        io.read(path, max_pixels=2**60)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()
    with pytest.raises(InputError, match="claims 72 pixels, more than 71"):
        io.read(_altered(tmp_path / name), max_pixels=71)
    assert io.read(_altered(tmp_path / name), max_pixels=72).pixels.size == 72


def test_more_voxels_along_an_axis_than_nifti_1_holds_is_one_line(tmp_path: Path) -> None:
    volume = Volume.from_array(_ramp(2, 9000))
    fine = volume.enlarged(np.zeros((1, 8, 36000), np.float32), 4)
    with pytest.raises(InputError, match="36000 voxels along an axis"):
        io.write(fine, tmp_path / "x.nii.gz", provenance=None)
    assert not list(tmp_path.iterdir())
