from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentsr.enhance import Job, Outcome, Pace, enhance_files, measure
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver


@pytest.fixture(scope="module")
def resolver(model_folder: Path) -> SuperResolver:
    return SuperResolver.load(model_folder, device="cpu")


def planned(*shape: int, output: str = "a.dcm") -> Outcome:
    return Outcome("a", "planned", output, shape=shape, output_shape=(shape[0], 4 * shape[1], 4 * shape[2]))


def test_time_is_that_of_the_evaluations(resolver: SuperResolver) -> None:
    pace = Pace(seconds=1e-3, grown=0, base=10**9)
    one = pace.estimate([planned(3, 10, 20)], Job(resolver, Sampling(), Path("out")))
    assert one.seconds == pytest.approx(0.6)
    several = pace.estimate([planned(3, 10, 20)] * 2, Job(resolver, Sampling(samples=8), Path("out")))
    assert several.seconds == pytest.approx(2 * 0.6 * (8 * 16 + 1))


def test_tiles_are_computed_as_often_as_they_overlap(resolver: SuperResolver) -> None:
    """144 latent px hold as many LR px here; two tiles of 136 that overlap by 16 cover 256."""
    pace = Pace(seconds=1e-3, grown=100, base=10**9)
    tiled, whole = (
        pace.estimate([planned(1, 256, 256)], Job(resolver, Sampling(tile=tile), Path("out"))) for tile in (144, None)
    )
    assert tiled.seconds == pytest.approx(65.536 * (2 * 136 / 256) ** 2)
    assert whole.seconds == pytest.approx(65.536)
    assert tiled.memory < whole.memory


def test_disk_and_memory_follow_the_pixels(resolver: SuperResolver) -> None:
    pace, job = Pace(seconds=0, grown=0, base=10**9), Job(resolver, Sampling(), Path("out"))
    outcomes = [planned(1, 10, 10), planned(2, 10, 10, output="a.nii.gz"), Outcome("b", "failed"), Outcome("c", "kept")]
    found = pace.estimate(outcomes, job)
    assert found.disk == 16 * (100 * 2 + 200 * 4)
    assert found.memory == 10**9 + 6 * 200 + 4 * 3 * 16 * 200 + 2 * 24 * 1600
    assert pace.estimate([], job).disk == 0
    assert Pace(0, 0, 0).estimate(outcomes, job).memory == 0  # where the system does not tell


def test_a_dry_run_is_estimated_within_a_factor_of_four(resolver: SuperResolver, tmp_path: Path) -> None:
    """Loose, since the cores are shared."""
    pixels = np.random.default_rng(0).integers(0, 255, (200, 200), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    job = Job(resolver, Sampling(steps=4), tmp_path / "out", dry_run=True)
    found = measure(resolver).estimate(enhance_files([tmp_path / "a.png"], job), job)
    (outcome,) = enhance_files([tmp_path / "a.png"], Job(resolver, Sampling(steps=4), tmp_path / "out"))
    assert outcome.seconds / 4 < found.seconds < 4 * outcome.seconds
    assert found.memory > 10**8
