"""MGH, NRRD and MHA: voxel centres stay where they are, values and further keys are kept, bad files are one line."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom.data
import pytest
import SimpleITK

from latentsr import io
from latentsr.enhance import Job, enhance_files
from latentsr.errors import InputError, OptionError
from latentsr.io import formats
from latentsr.io.nifti import finer_affine
from latentsr.io.raster import write_pixels
from latentsr.provenance import Provenance
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.volume import Volume

MADE_BY = Provenance("tiny", "1.2.3", "f00d", 7, "{}")
REAL = Path(nibabel.__file__).parent / "tests" / "data"
TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
SIZES, PLACE = (0.5, 1.25, 3.0), (10.123456789, -20.25, 7.0)
NAMES = ("x.mgh", "x.mgz", "x.nrrd", "x.mha")


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-500, 3000, shape).astype(np.int16)


def _saved(path: Path, array: np.ndarray) -> Path:
    """A file of voxels (i, j, k[, t]) that lie turned in the patient."""
    if path.suffix in (".mgh", ".mgz"):
        image = nibabel.MGHImage(array, nibabel.affines.from_matvec(TURN @ np.diag(SIZES), PLACE))
        image.header["tr"], image.header["te"] = 2000, 30
        image.to_filename(path)
        return path
    dimensions = array.ndim
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T), isVector=False)
    image.SetSpacing((*SIZES, 2.0)[:dimensions])
    image.SetOrigin((*PLACE, 0.0)[:dimensions])
    turn = np.eye(dimensions)
    if dimensions > 2:
        turn[:3, :3] = TURN
    image.SetDirection(turn.ravel().tolist())
    image.SetMetaData("scanner", "one of ours")
    SimpleITK.WriteImage(image, str(path))
    return path


def _freesurfer(path: Path) -> Any:
    content = path.read_bytes()  # nibabel leaves files open
    return nibabel.MGHImage.from_bytes(gzip.decompress(content) if path.suffix == ".mgz" else content)


def _geometry(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (i, j, k[, t]) and the affine to NIfTI's axes, by the format's own library."""
    if path.suffix in (".mgh", ".mgz"):
        image = _freesurfer(path)
        return image.get_fdata(), image.affine
    found = SimpleITK.ReadImage(str(path))
    known = min(found.GetDimension(), 3)
    matrix = np.eye(4)
    direction = np.array(found.GetDirection()).reshape(found.GetDimension(), -1)[:known, :known]
    matrix[:known, :known], matrix[:known, 3] = direction * found.GetSpacing()[:known], found.GetOrigin()[:known]
    return SimpleITK.GetArrayFromImage(found).T, np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 3)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_format_keeps_values_and_field_of_view(
    tmp_path: Path, name: str, shape: tuple[int, ...], axis: int
) -> None:
    source = _saved(tmp_path / name, _values(*shape))
    volume = io.read(source, axis=axis)
    before, affine = _geometry(source)
    in_plane = [other for other in range(3) if other != axis]
    assert volume.pixels.shape == (shape[axis] * (*shape, 1)[3], *(shape[other] for other in in_plane[::-1]))
    assert volume.spacing == pytest.approx([SIZES[other] for other in in_plane[::-1]])
    expected = np.moveaxis(before.reshape((*shape, 1)[:4]).T, 3 - axis, 1)
    np.testing.assert_array_equal(volume.pixels, expected.reshape(volume.pixels.shape))
    np.testing.assert_allclose(volume.source.header.affine[:, :3], affine[:, [*in_plane, axis]])
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 2, 2))), 2)
    out, sidecar = io.write(fine, tmp_path / "out" / name, provenance=MADE_BY)
    after, moved = _geometry(out)
    times = [2 if other in in_plane else 1 for other in range(len(shape))]
    np.testing.assert_array_equal(after, np.kron(before, np.ones(times)))
    np.testing.assert_allclose(moved, finer_affine(affine, 2, tuple(in_plane)), atol=1e-5)
    for corner in np.ndindex(2, 2, 2):  # the outer corners of the first and the last voxels
        one, two = (np.array(corner) * grid[:3] - 0.5 for grid in (before.shape, after.shape))
        np.testing.assert_allclose(moved @ [*two, 1], affine @ [*one, 1], atol=1e-5)
    assert sidecar.name == f"{name}.json"
    assert "Research use only" in json.loads(sidecar.read_text())["Description"]


@pytest.mark.parametrize("name", NAMES)
def test_read_and_write_changes_no_digit_of_the_geometry(tmp_path: Path, name: str) -> None:
    source = _saved(tmp_path / name, _values(6, 5, 4, 3))
    outs = [io.write(io.read(source), tmp_path / part / name, provenance=None)[0] for part in "ab"]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    np.testing.assert_array_equal(_geometry(outs[0])[0], _geometry(source)[0])
    np.testing.assert_array_equal(_geometry(outs[0])[1], _geometry(source)[1])
    if name in ("x.mgh", "x.mgz"):
        image = _freesurfer(outs[0])
        assert (float(image.header["tr"]), float(image.header["te"])) == (2000, 30)
    else:
        image = SimpleITK.ReadImage(str(outs[0]))
        assert image.GetMetaData("scanner") == "one of ours"
        assert "Research use only" in image.GetMetaData("latentsr")
        assert image.GetSpacing()[3] == 2


@pytest.mark.parametrize("name", ["x.nrrd", "x.mha"])
def test_a_flat_image_stays_flat(tmp_path: Path, name: str) -> None:
    volume = io.read(_saved(tmp_path / name, _values(6, 5)))
    out, _ = io.write(volume, tmp_path / f"out-{name}", provenance=None)
    assert (volume.pixels.shape, SimpleITK.ReadImage(str(out)).GetSize()) == ((1, 5, 6), (6, 5))
    np.testing.assert_array_equal(_geometry(out)[1], _geometry(tmp_path / name)[1])


@pytest.mark.parametrize("name", NAMES)
def test_nifti_of_another_format_lies_where_that_does(tmp_path: Path, name: str) -> None:
    volume = io.read(_saved(tmp_path / name, _values(6, 5, 4)))
    out, _ = io.write(volume, tmp_path / "out.nii.gz", provenance=None)
    np.testing.assert_allclose(nibabel.load(out).affine, _geometry(tmp_path / name)[1], atol=1e-5)
    np.testing.assert_array_equal(nibabel.load(out).get_fdata(), _geometry(tmp_path / name)[0])
    with pytest.raises(InputError, match="3 volumes over time"):
        io.write(io.read(_saved(tmp_path / name, _values(6, 5, 4, 3))), tmp_path / "out4.nii", provenance=None)


def test_a_real_file_of_freesurfer_comes_back(tmp_path: Path) -> None:
    volume = io.read(REAL / "test.mgz")
    assert volume.pixels.shape == (10, 4, 3)
    out, _ = io.write(volume, tmp_path / "x.mgz", provenance=None)
    one, two = _freesurfer(REAL / "test.mgz"), _freesurfer(out)
    np.testing.assert_array_equal(one.get_fdata(), two.get_fdata())
    assert one.header.structarr == two.header.structarr


@pytest.mark.parametrize("name", NAMES)
def test_volumes_from_elsewhere_lie_where_nifti_puts_them(tmp_path: Path, name: str) -> None:
    axial = Path(pydicom.data.__file__).parent / "test_files" / "dicomdirtests" / "98892001" / "CT5N"
    volume = io.read(axial)
    fine = volume.enlarged(np.kron(volume.pixels, np.ones((1, 2, 2))), 2)
    out, _ = io.write(fine, tmp_path / name, provenance=MADE_BY)
    plain, _ = io.write(fine, tmp_path / "x.nii", provenance=MADE_BY)
    np.testing.assert_allclose(_geometry(out)[1], nibabel.load(plain).affine, atol=1e-4)
    np.testing.assert_array_equal(_geometry(out)[0], nibabel.load(plain).get_fdata())
    again, _ = io.write(io.read(plain), tmp_path / f"again-{name}", provenance=None)
    np.testing.assert_allclose(_geometry(again)[1], nibabel.load(plain).affine, atol=1e-4)
    in_memory = Volume.from_array(_values(3, 4, 6), spacing=(0.5, 0.25))
    made, _ = io.write(in_memory, tmp_path / f"memory-{name}", provenance=None)
    assert io.read(made).spacing == (0.5, 0.25)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_whole_is_one_line(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    whole = _saved(tmp_path / name, _values(16, 16, 4)).read_bytes()
    pieces = [whole[:-300], whole[:150], b"text" * 100, b""]
    packed = [gzip.compress(gzip.decompress(whole)[:-300])] if name == "x.mgz" else []
    for content in (*pieces, *packed):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as caught:
            io.read(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "Error" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def _vectors(**how: Any) -> Any:
    return SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 5, 6, 3)), **how)


@pytest.mark.parametrize("name", ["x.nrrd", "x.mha"])
def test_what_does_not_fit_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    SimpleITK.WriteImage(_vectors(isVector=True), str(path))
    said = r"vector of 64-bit float, 3 each\): expected one real number a voxel, save each component"
    with pytest.raises(InputError, match=said):
        io.read(path)
    _saved(path, _values(6, 5, 4))
    with pytest.raises(InputError, match="claims 120 pixels, more than 100"):
        io.read(path, max_pixels=100)
    with pytest.raises(OptionError, match="axis 3"):
        io.read(path, axis=3)
    with pytest.raises(InputError, match="all pixels are 0"):
        io.read(_saved(path, np.zeros((6, 5, 4), np.int16)))
    detached = path.with_suffix({".nrrd": ".nhdr", ".mha": ".mhd"}[path.suffix])
    SimpleITK.WriteImage(_vectors(isVector=False), str(detached))
    detached.rename(path)
    with pytest.raises(InputError, match="voxels in another file"):
        io.read(path)


@pytest.mark.parametrize(("name", "field"), [("x.nhdr", b"data file: "), ("x.mhd", b"ElementDataFile = ")])
def test_a_header_and_its_voxels_are_one_image(tmp_path: Path, name: str, field: bytes) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = _saved(folder / name, _values(6, 5, 4))
    whole = io.read(_saved(tmp_path / f"whole{formats.DETACHED[path.suffix]}", _values(6, 5, 4)))
    volume = io.read(path)
    np.testing.assert_array_equal(volume.pixels, whole.pixels)
    np.testing.assert_array_equal(volume.source.header.affine, whole.source.header.affine)
    (item,) = io.find([folder])
    voxels = formats.data_file(path)
    assert item.sources == (path, voxels)
    job = Job(load_upscaler("bicubic", scale=2), Sampling(), tmp_path / "out")
    (outcome,) = enhance_files([folder], job)
    assert (outcome.status, outcome.output) == ("written", f"x{formats.DETACHED[path.suffix]}")
    assert _geometry(tmp_path / "out" / outcome.output)[0].shape == (12, 10, 4)

    header = path.read_bytes()
    own = field + voxels.name.encode()
    (tmp_path / "secret").write_bytes(voxels.read_bytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    for value in (b"../secret", str(tmp_path / "secret").encode(), b"link"):
        path.write_bytes(header.replace(own, field + value))
        with pytest.raises(InputError, match="names a file outside its folder"):
            io.read(path)
    path.write_bytes(header.replace(own, field + b"missing.raw"))
    with pytest.raises(InputError, match="which is missing"):
        io.read(path)
    for decoy in ("LIST", "LIST 3", "-", "%d.raw 0 0 1", "LOCAL"):  # a file of that name is not what is read
        (folder / decoy).write_bytes(voxels.read_bytes())
        path.write_bytes(header.replace(own, field + decoy.encode()) + b"\n../secret\n")
        with pytest.raises(InputError, match=r"names no single file|for its voxels: save it as one"):
            io.read(path)
    (folder / "circle").symlink_to(folder / "circle")
    path.write_bytes(header.replace(own, field + b"circle"))
    with pytest.raises(InputError, match="names a file outside its folder"):
        io.read(path)
    for content in (header + own + b"\n", header.replace(own, b"")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"names no single file|which is missing"):
            io.read(path)
    path.write_bytes(header)
    voxels.write_bytes(voxels.read_bytes()[:-100])
    said = rf"{name}: its voxels in x\.raw are 140 bytes, expected 240 of 6 x 5 x 4 voxels of 16-bit signed integer"
    with pytest.raises(InputError, match=said):
        io.read(path)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(tmp_path / f"whole{formats.DETACHED[path.suffix]}")), str(path), True)
    voxels = formats.data_file(path)
    voxels.write_bytes(voxels.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"in {voxels.name} are \d+ bytes, which do not give the 240 of 6 x 5 x 4"):
        io.read(path)


def test_an_image_that_a_header_names_for_its_voxels_is_an_image_still(tmp_path: Path) -> None:
    path = _saved(tmp_path / "x.mhd", _values(6, 5, 4))
    write_pixels(tmp_path / "b.png", np.zeros((8, 8), np.uint8))
    path.write_bytes(path.read_bytes().replace(formats.data_file(path).name.encode(), b"b.png"))
    assert "b.png" in {item.relative.as_posix() for item in io.find([tmp_path])}


def test_without_simpleitk_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _saved(tmp_path / "x.mha", _values(6, 5, 4))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"pip install 'latentsr\[formats\]'"):
        io.read(path)
    assert io.read(_saved(tmp_path / "x.mgz", _values(6, 5, 4))).pixels.shape == (4, 5, 6)


@pytest.mark.parametrize("name", NAMES)
def test_maps_lie_beside_their_images(tmp_path: Path, name: str) -> None:
    volume = io.read(_saved(tmp_path / name, _values(6, 5, 4)))
    target = io.uncertainty_name(tmp_path / "out" / name, io.kind_of(tmp_path / name))
    assert target.name == f"x_uncertainty.{name[2:]}"
    path, sidecar = io.write_uncertainty(volume, target, provenance=MADE_BY)
    np.testing.assert_array_equal(_geometry(path)[0], _geometry(tmp_path / name)[0])
    assert json.loads(sidecar.read_text())["latentsr:image"] == "uncertainty"


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_values_outlive_the_image_that_they_were_read_from(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).random((96, 96, 40), np.float32)
    image = SimpleITK.GetImageFromArray(values.T)
    SimpleITK.WriteImage(image, str(tmp_path / name))
    volumes = [io.read(tmp_path / name, axis=2) for _ in range(3)]
    for volume in volumes:
        np.testing.assert_array_equal(volume.pixels, values.transpose(2, 1, 0))
