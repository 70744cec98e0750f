from pathlib import Path

import numpy as np
import pytest

from latentsr.io.raster import write_pixels


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two folders of six smooth images each."""
    generator, folders = np.random.default_rng(0), {}
    for name in ("a", "b"):
        folders[name] = tmp_path_factory.mktemp("images") / name
        for number in range(6):
            smooth = generator.normal(size=(36, 40)).cumsum(0).cumsum(1)
            pixels = np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))
            write_pixels(folders[name] / f"{name}{number}.png", pixels)
    return folders
