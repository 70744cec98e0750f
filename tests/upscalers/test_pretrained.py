"""Published networks; golden files: outputs of the architectures' own published code (BasicSR) on made-up weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from latentsr.config import sha256
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import LatentSRError, ModelError, OptionError
from latentsr.metrics.fidelity import psnr
from latentsr.upscalers import Sampling, load_upscaler
from latentsr.upscalers.pretrained import KNOWN, Known, load_pretrained

NETWORKS = ("esrgan_x4", "swinir_x4")
X4 = parse_degradation("bicubic:4")


@pytest.fixture
def published(golden: Path, tmp_path: Path, weights_of: Callable[..., Any]) -> Callable[..., tuple[Path, Any]]:
    """(name, key) -> the file of a golden network in the published form, and the golden arrays."""

    def write(name: str, key: str = "params_ema") -> tuple[Path, Any]:
        arrays = np.load(golden / f"{name}.npz")
        meta = json.loads(str(arrays["meta"]))
        state = {key: torch.from_numpy(value) for key, value in weights_of(meta["seed"], meta["shapes"]).items()}
        state |= {
            file.removeprefix("buffer."): torch.from_numpy(arrays[file])
            for file in arrays.files
            if file.startswith("buffer.")
        }
        torch.save({key: state}, tmp_path / f"{name}.pth")
        return tmp_path / f"{name}.pth", arrays

    return write


@pytest.mark.parametrize("key", ["params_ema", "params"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_forward_pass_is_that_of_the_published_code(name: str, key: str, published: Any) -> None:
    file, arrays = published(name, key)
    network = load_pretrained(file, X4, device="cpu")
    for image, expected in zip(arrays["image"], arrays["output"], strict=True):
        found = network.network(torch.from_numpy(image)[None])[0].numpy()
        np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_grey_is_repeated_and_averaged_and_tiles_are_as_the_whole(name: str, published: Any) -> None:
    file, _ = published(name)
    network = load_pretrained(file, X4, device="cpu")
    lr = torch.rand(2, 1, 70, 90)
    whole = network.restore(lr, ids=["a", "b"], sampling=Sampling(tile=None)).image
    assert whole.shape == (2, 1, 280, 360)
    colour = network.network(lr[:1].expand(-1, 3, -1, -1))
    torch.testing.assert_close(whole[:1], colour.mean(dim=1, keepdim=True), atol=1e-6, rtol=0)
    tiled = network.restore(lr, ids=["a", "b"], sampling=Sampling(tile=64)).image
    assert float(psnr(tiled, whole).min()) > 40


def test_an_image_of_hrs_size_is_enlarged_and_reduced_as_the_study_does(published: Any) -> None:
    file, _ = published("esrgan_x4")
    network = load_pretrained(file, parse_degradation("blur:1,down:2,up:2"), device="cpu")
    lr = torch.rand(1, 1, 20, 24)
    found = network.restore(lr, ids=["a"]).image
    large = network.network(lr.expand(-1, 3, -1, -1)).mean(dim=1)[0]
    levels = Image.fromarray((large * 255).round().byte().numpy())
    expected = np.asarray(levels.resize((24, 20), Image.BICUBIC)) / 255
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-6)


def test_a_known_name_is_found_by_its_hash(published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = published("esrgan_x4")
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    name, known = "realesrgan-x4plus", KNOWN["realesrgan-x4plus"]
    with pytest.raises(ModelError, match=f"fetch {known.file} from"):
        load_upscaler(name)
    place = tmp_path / "home" / "upscalers" / known.file
    place.parent.mkdir(parents=True)
    place.write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="SHA-256"):
        load_upscaler(name)
    for architecture in ("ESRGAN", "SwinIR"):
        changed = Known(known.file, sha256(file), known.where, architecture, known.licence)
        monkeypatch.setattr("latentsr.upscalers.pretrained.KNOWN", {name: changed})
        if architecture == "ESRGAN":
            assert load_upscaler(name, device="cpu").name == name
        else:
            with pytest.raises(ModelError, match="a network of ESRGAN, expected SwinIR"):
                load_upscaler(name)


@pytest.mark.parametrize("way", ["other", "lacks", "text", "nan", "scale"])
def test_other_files_are_refused_in_one_line(way: str, published: Any, tmp_path: Path) -> None:
    file, _ = published("esrgan_x4")
    tensors = torch.load(file)["params_ema"]
    degradation, kind = X4, ModelError
    if way == "other":
        tensors = {"weight": torch.zeros(3, 3)}
    elif way == "lacks":
        del tensors["body.0.rdb1.conv3.weight"]
    elif way == "nan":
        tensors["conv_first.bias"][0] = torch.nan
    elif way == "scale":
        degradation, kind = parse_degradation("bicubic:2"), OptionError
    torch.save({"params_ema": tensors}, file)
    if way == "text":
        file.write_text("no weights")
    with pytest.raises(kind) as error:
        load_pretrained(file, degradation, device="cpu")
    assert "\n" not in str(error.value)
    assert isinstance(error.value, LatentSRError)


def test_it_is_evaluated_and_enhances_by_its_file(
    published: Any, make_dataset: Callable[..., Dataset], run: Callable[..., Any], tmp_path: Path
) -> None:
    file, _ = published("esrgan_x4")
    pixels = [np.random.default_rng(n).integers(0, 256, (32, 48), dtype=np.uint8) for n in range(2)]
    dataset = make_dataset(tmp_path / "data", pixels, ["a", "b"])
    cpu = ("--device", "cpu")
    done = run("evaluate", dataset.root, "--method", f"rival={file}", "--metric", "psnr", "-o", tmp_path / "e", *cpu)
    assert done.status == 0, done.err
    table = pd.read_csv(tmp_path / "e" / "table.csv")
    assert {"bicubic", "rival"} <= set(table["method"])
    done = run("enhance", dataset.root / "images", "--model", file, "-o", tmp_path / "sr", *cpu)
    assert done.status == 0, done.err
    assert Image.open(next((tmp_path / "sr").glob("*.png"))).size == (192, 128)
