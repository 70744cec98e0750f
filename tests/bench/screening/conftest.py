"""A small prepared dataset of real images, and autoencoders that are made up but lose something."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from latentsr.autoencoders import AutoencoderSpec, load_autoencoder
from latentsr.bench import Candidate, Screening, plan_screening, screen
from latentsr.config import checked
from latentsr.data.records import Dataset

CORNERS = ((0, 0), (20, 100), (44, 228), (10, 60), (30, 160), (0, 200))


class Pooling:
    """Latents are means of factor x factor pixels, times `gain`; decoding enlarges them bicubically."""

    folder = None

    def __init__(self, factor: int = 2, domain: str = "natural", gain: float = 1.0, name: str = "pooling") -> None:
        self.gain = gain
        self.spec = AutoencoderSpec(name, "test", "none", domain, 1, 1, factor)
        self.hash = f"pooling-{factor}-{gain}"

    def encode(self, images: Tensor) -> Tensor:
        return self.gain * avg_pool2d(images, self.spec.factor)

    def decode(self, latents: Tensor) -> Tensor:
        return interpolate(latents / self.gain, scale_factor=self.spec.factor, mode="bicubic")


def window() -> np.ndarray:
    """An abdominal MR that comes with pydicom, uint8."""
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    return np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)


@pytest.fixture(scope="session")
def windows() -> list[np.ndarray]:
    """Six 176 x 192 windows of an abdominal MR, uint8."""
    grey = window()
    return [grey[top : top + 176, left : left + 192] for top, left in CORNERS]


@pytest.fixture(scope="session")
def dataset(
    tmp_path_factory: pytest.TempPathFactory, windows: list[np.ndarray], make_dataset: Callable[..., Dataset]
) -> Dataset:
    """Five images of three patients; the last is of another size, odd and too small for MS-SSIM."""
    images = [*windows[:4], windows[4][:65, :97]]
    return make_dataset(tmp_path_factory.mktemp("data") / "abdomen", images, ["a", "a", "b", "b", "c"])


@pytest.fixture(scope="session")
def pooling() -> type[Pooling]:
    """The class of made-up autoencoders."""
    return Pooling


def of(*autoencoders: object) -> list[Candidate]:
    return [Candidate(one.spec.name, lambda device, one=one: one) for one in autoencoders]


def made(dataset: Dataset, candidates: list[Candidate], out: Path, batch: int = 2, **options: object) -> dict:
    return screen(plan_screening([dataset], candidates, checked(Screening, options, "screen")), out, batch=batch)


@pytest.fixture(scope="session", name="of")
def of_fixture() -> Callable[..., list[Candidate]]:
    """(autoencoders...) -> the candidates that are these, under their own names."""
    return of


@pytest.fixture(scope="session", name="made")
def made_fixture() -> Callable[..., dict]:
    """(dataset, candidates, out, batch, options...) -> the content of screening.json."""
    return made


@pytest.fixture
def pair(pooling: type[Pooling]) -> list[Candidate]:
    """Two that lose something, in two geometries, and one that does not."""
    return of(pooling(2, "medical", name="fine"), pooling(4, "medical", name="coarse"), load_autoencoder("haar"))


@pytest.fixture(autouse=True)
def _quick_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of the published denoiser is tested where it is made; here it would take half a second each time."""
    from latentsr.diffusion.denoiser import StepCost

    monkeypatch.setattr("latentsr.bench.roundtrip.published_step", lambda *shape: StepCost(101_000_000, 70_000_000_000))


@pytest.fixture(autouse=True)
def _no_shipped_model() -> Iterator[None]:
    """The shipped model is measured in test_baselines; elsewhere it would take half a second a screening."""
    with pytest.MonkeyPatch.context() as patched:  # of its own: some tests undo theirs and go on
        patched.setattr("latentsr.bench.prediction.shipped_models", list)
        yield
