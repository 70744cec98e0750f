"""`latentsr encode` with the files of a published autoencoder: imported first, then known by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from latentsr.autoencoders.architectures import Taef2
from latentsr.data.latents import open_cache


@pytest.fixture
def dataset(tmp_path: Path, make_dataset: Callable, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    noise = [np.random.default_rng(number).integers(0, 255, (16, 16), np.uint8) for number in range(2)]
    return make_dataset(tmp_path / "data", noise, ["p", "q"], split="train").root


def test_published_files_are_imported_and_then_encode(dataset: Path, run: Callable, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    network = Taef2()
    torch.save(network.encoder.state_dict(), raw / "taef2_encoder.pth")
    torch.save(network.decoder.state_dict(), raw / "taef2_decoder.pth")
    encode = ("encode", dataset, "-o", tmp_path / "cache", "--device", "cpu", "--degradation", "bicubic:2", "--vae")
    said = run(*encode, raw)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert f"'latentsr models import taef2 --weights {raw}': give that name" in said.err
    said = run("models", "import", "taef2", "--weights", raw)
    assert said.status == 0, said.err
    said = run(*encode, "taef2")
    assert said.status == 0, said.err
    assert open_cache(tmp_path / "cache").array("train", "hr").shape == (2, 32, 2, 2)


def test_help_says_how_published_files_come_in(run: Callable) -> None:
    assert "models import" in " ".join(run("encode", "--help").out.split())
