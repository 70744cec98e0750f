import json
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file

from latentsr import io
from latentsr.enhance import Job, Outcome, enhance_files
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver

MR = Path(get_testdata_file("MR_small.dcm", download=False))


@pytest.fixture(scope="module")
def resolver(model_folder: Path) -> SuperResolver:
    return SuperResolver.load(model_folder, device="cpu")


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def statuses(outcomes: list[Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def job(resolver: SuperResolver, out: Path, *, sampling: Sampling = Sampling(), **options: bool) -> Job:
    return Job(resolver, sampling, out, **options)


class TestGeometry:
    """What goes in comes out finer, at the same place, in its own units and at its own depth."""

    @pytest.fixture
    def series(self, tmp_path: Path) -> Path:
        """Three slices of an MR, 2.5 mm apart, in another order than their names."""
        folder = tmp_path / "scan"
        folder.mkdir()
        for name, place in (("c", 0), ("a", 1), ("b", 2)):
            image = pydicom.dcmread(MR)
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{image.SOPInstanceUID}.{place + 1}"
            x, y, z = (float(value) for value in image.ImagePositionPatient)
            image.ImagePositionPatient = [x, y, z + 2.5 * place]
            image.save_as(folder / f"{name}.dcm")
        return folder

    def test_a_dicom_series_is_a_folder_with_a_map(self, resolver: SuperResolver, series: Path, tmp_path: Path) -> None:
        sampling = Sampling(steps=2, samples=2)
        (outcome,) = enhance_files([series], job(resolver, tmp_path / "out", sampling=sampling, parametric_map=True))
        assert outcome.status == "written", outcome.reason
        names = [path.name for path in sorted((tmp_path / "out" / "scan").iterdir())]
        assert names == ["a.dcm", "b.dcm", "c.dcm"]
        source, made = io.read(series), io.read(tmp_path / "out" / "scan")
        assert made.pixels.shape == (3, 256, 256)
        assert made.spacing == pytest.approx((0.3125 / 4, 0.3125 / 4))
        coarse = resolver.degradation.apply(torch.from_numpy(made.pixels).double()).numpy()
        assert np.abs(coarse - source.pixels).max() < 1.5  # outputs are whole numbers
        headers = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "scan").iterdir())]
        assert len({header.SeriesInstanceUID for header in headers}) == 1
        assert len({header.SOPInstanceUID for header in headers}) == 3
        assert io.read(tmp_path / "out" / "scan_uncertainty").pixels.shape == (3, 256, 256)
        spread = pydicom.dcmread(tmp_path / "out" / "scan_uncertainty_parametric.dcm")
        assert (spread.NumberOfFrames, spread.Rows, spread.Columns) == (3, 256, 256)

    def test_a_killed_series_leaves_no_half_and_is_kept_as_a_whole(
        self, resolver: SuperResolver, series: Path, tmp_path: Path
    ) -> None:
        enhance_files([series], job(resolver, tmp_path / "out"))
        assert statuses(enhance_files([series], job(resolver, tmp_path / "out"))) == ["kept"]
        (tmp_path / "out" / "scan" / "b.dcm").unlink()
        assert statuses(enhance_files([series], job(resolver, tmp_path / "out"))) == ["written"]
        assert len(files(tmp_path / "out" / "scan")) == 3

    def test_a_series_whose_output_would_be_its_own_folder_is_refused(
        self, resolver: SuperResolver, series: Path, tmp_path: Path
    ) -> None:
        (outcome,) = enhance_files([series], job(resolver, tmp_path, overwrite=True))
        assert outcome.status == "failed"
        assert files(series) == ["a.dcm", "b.dcm", "c.dcm"]

    @pytest.mark.parametrize("shape", [(13, 10, 3), (13, 10)])
    def test_nifti_keeps_its_field_of_view(
        self, resolver: SuperResolver, tmp_path: Path, shape: tuple[int, ...]
    ) -> None:
        affine = np.array([[0, -2, 0.1, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1]], float)
        values = np.random.default_rng(0).normal(50, 9, shape).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "v.nii.gz")
        sampling = Sampling(steps=2, samples=2)
        (outcome,) = enhance_files([tmp_path / "v.nii.gz"], job(resolver, tmp_path / "out", sampling=sampling))
        assert set(outcome.output_sha256) == {
            "v.nii.gz", "v.json", "v_uncertainty.nii.gz", "v_uncertainty.json"
        }  # fmt: skip
        for name in ("v.nii.gz", "v_uncertainty.nii.gz"):
            made = nibabel.load(tmp_path / "out" / name)
            assert made.shape == (52, 40, *shape[2:])
            corner = np.array([-0.5, -0.5, 0, 1])  # of the first pixel, not its centre
            assert made.affine @ corner == pytest.approx(affine @ corner)
            assert made.affine @ [51.5, 39.5, 0, 1] == pytest.approx(affine @ [12.5, 9.5, 0, 1])
        said = json.loads((tmp_path / "out" / "v.json").read_text())
        assert "Research use only" in said["Description"]

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_png_and_tiff_keep_their_depth(
        self, resolver: SuperResolver, tmp_path: Path, name: str, dtype: type
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (7, 11), dtype=dtype)
        io.raster.write_pixels(tmp_path / name, pixels)
        sampling = Sampling(steps=2, samples=2)
        enhance_files([tmp_path / name], job(resolver, tmp_path / "out", sampling=sampling))
        made = io.raster.read_pixels(tmp_path / "out" / name)
        assert (made.dtype, made.shape) == (np.dtype(dtype), (28, 44))
        assert b"Research use only" in (tmp_path / "out" / name).read_bytes()
        assert files(tmp_path / "out") == sorted([name, "a_uncertainty.tif"])

    @pytest.mark.parametrize("size", [(2, 2), (2, 3), (17, 5), (33, 64), (37, 41)])
    def test_any_size_gives_exactly_four_times_as_many_pixels(
        self, resolver: SuperResolver, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
        io.raster.write_pixels(tmp_path / "a.png", pixels)
        (outcome,) = enhance_files([tmp_path / "a.png"], job(resolver, tmp_path / "out", sampling=Sampling(tile=64)))
        assert outcome.status == "written", outcome.reason
        assert io.raster.read_pixels(tmp_path / "out" / "a.png").shape == (4 * size[0], 4 * size[1])
