"""Volume: shapes, spacing and scale of enlarged volumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

import latentsr
from latentsr.data.records import Dataset, Record
from latentsr.errors import InputError
from latentsr.io import Item
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver
from latentsr.volume import Source, Volume, Window, first_pixel_shift


def test_from_array_makes_slices_and_a_window() -> None:
    volume = Volume.from_array(np.arange(12, dtype=np.uint16).reshape(3, 4), spacing=(0.5, 0.25))
    assert volume.pixels.shape == (1, 3, 4)
    assert volume.pixels.dtype == np.float32
    assert volume.window == Window(0, 11)
    assert volume.source.kind == "memory"
    assert volume.scale == 1


def test_enlarged_divides_spacing_and_multiplies_scale() -> None:
    volume = Volume.from_array(np.arange(12.0).reshape(3, 4), spacing=(0.5, 0.25))
    fine = volume.enlarged(np.zeros((1, 6, 8)), 2).enlarged(np.zeros((1, 24, 32)), 4)
    assert fine.spacing == (0.0625, 0.03125)
    assert fine.scale == 8
    assert fine.source is volume.source
    assert fine.window == volume.window


def test_enlarged_refuses_a_wrong_shape_and_non_finite_pixels() -> None:
    volume = Volume.from_array(np.arange(12.0).reshape(3, 4))
    with pytest.raises(InputError, match="expected"):
        volume.enlarged(np.zeros((1, 6, 7)), 2)
    with pytest.raises(InputError, match="NaN"):
        volume.enlarged(np.full((1, 6, 8), np.nan), 2)


def test_pixels_of_another_type_or_shape_are_refused() -> None:
    for pixels in (np.zeros((3, 4), np.float32), np.zeros((1, 3, 4))):
        with pytest.raises(InputError):
            Volume(pixels, None, Window(0, 1), Source("memory"))


def test_the_first_pixel_moves_outwards() -> None:
    assert first_pixel_shift(1) == 0
    assert first_pixel_shift(4) == -0.375


@pytest.fixture
def public(model_folder: Path, tmp_path: Path) -> dict[str, object]:
    """One of each public class but the errors, made from a file whose header and path name a patient."""
    image = pydicom.dcmread(get_testdata_file("MR_small.dcm", download=False))
    image.PatientName, image.PatientID = "Doe^Jane", "4711"
    path = tmp_path / "Doe_Jane" / "4711.dcm"
    path.parent.mkdir()
    image.save_as(path)
    volume = latentsr.read(path)
    resolver = SuperResolver.load(model_folder, device="cpu")
    enhanced = resolver.enhance(volume)
    record = Record("4711", "Doe", "train", "Doe/4711.png", 64, 64, "f00d" * 16)
    objects = (
        volume, volume.source, volume.window, Item(Path("Doe_Jane"), (path,) * 40), enhanced, enhanced.provenance,
        Dataset(Path("mr"), "mr", (record,) * 100), record, resolver, resolver.config,
        resolver.autoencoder, resolver.degradation, Sampling(),
    )  # fmt: skip
    return {type(one).__name__: one for one in objects}


def test_the_repr_of_public_classes_is_short_and_free_of_identity(public: dict[str, object]) -> None:
    names = {name for name in latentsr.__all__ if isinstance(getattr(latentsr, name), type)}
    assert names - public.keys() == {name for name in names if name.endswith("Error")}
    for name, one in public.items():
        assert repr(one).startswith(name)
        assert len(repr(one)) < 400
        assert not [word for word in ("Doe", "Jane", "4711", "CompressedSamples", "\n") if word in repr(one)]


def test_the_repr_of_a_volume_says_what_it_is() -> None:
    volume = Volume.from_array(np.arange(24.0).reshape(2, 3, 4), spacing=(0.5, 0.25))
    assert repr(volume) == "Volume(2 x 3 x 4, 0.5 x 0.25 mm, window 0 to 23, scale 1, Source(memory))"
    series = replace(volume, source=Source("dicom", (Path("a"), Path("b"))))
    assert "Source(dicom, 2 files)" in repr(series)
