from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import Clamp, Taef2, from_one_file
from latentsr.errors import ModelError, OptionError
from latentsr.io.raster import read_pixels

CEILINGS = {"brain-mri": 34.9, "chest-xray": 37.2}  # dB over whole validation sets, of the data's README
ENCODER, DECODER = "taef2_encoder.pth", "taef2_decoder.pth"


@pytest.fixture
def halves(tmp_path: Path) -> Path:
    """The folder of the two published files, with made-up weights."""
    torch.manual_seed(0)
    network = Taef2()
    torch.save({k: v.half() for k, v in network.encoder.state_dict().items()}, tmp_path / ENCODER)
    torch.save({k: v.half() for k, v in network.decoder.state_dict().items()}, tmp_path / DECODER)
    return tmp_path


def test_a_folder_and_two_files_in_any_order_are_the_same(halves: Path) -> None:
    folder = load_autoencoder("taef2", weights=halves)
    files = [halves / DECODER, halves / ENCODER]
    assert load_autoencoder("taef2", weights=files).hash == folder.hash
    assert load_autoencoder("taef2", weights=files[::-1]).hash == folder.hash


def test_latents_and_images_are_those_of_the_sequences(halves: Path) -> None:
    torch.manual_seed(0)
    network = Taef2().half().float()
    unit = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        latents = network.encoder(unit)
        decoded = network.decoder(latents)
    autoencoder = load_autoencoder("taef2", weights=halves)
    assert latents.shape == (1, 32, 2, 3)
    assert torch.allclose(autoencoder.encode(2 * unit - 1), latents, atol=1e-5)
    assert torch.allclose(autoencoder.decode(latents), 2 * decoded.mean(1, keepdim=True) - 1, atol=1e-5)


def test_names_of_the_two_files_are_places_and_six_blocks_are_pooled() -> None:
    network = Taef2(width=4, latent_channels=2)
    pooled = {name.split(".pool")[0] for name in network.state_dict() if ".pool." in name}
    assert pooled == {f"encoder.{n}" for n in (11, 12, 13)} | {f"decoder.{n}" for n in (3, 4, 5)}
    assert network.encoder.state_dict().keys() >= {"0.bias", "1.conv.4.bias", "2.weight", "14.bias"}
    assert network.decoder.state_dict().keys() >= {"1.bias", "3.pool.1.bias", "7.weight", "17.weight", "19.bias"}
    assert "2.bias" not in network.encoder.state_dict()


def test_beyond_three_latents_are_drawn_in() -> None:
    assert torch.allclose(Clamp()(torch.tensor([0.0, 0.1, 100.0, -100.0])), torch.tensor([0, 0.1, 3, -3]), atol=1e-3)


def test_the_one_file_form_is_the_same_network(publish: Any, tmp_path: Path) -> None:
    weights, _ = publish("taef2")
    tensors = load_file(weights)
    halves = {half: {} for half in ("encoder", "decoder")}
    for name, tensor in tensors.items():
        half, _, place, rest = name.split(".", 3)
        halves[half][f"{int(place) + (half == 'decoder')}.{rest}"] = tensor
    torch.save(halves["encoder"], tmp_path / ENCODER)
    torch.save(halves["decoder"], tmp_path / DECODER)
    assert load_autoencoder("taef2", weights=tmp_path).hash == load_autoencoder("taef2", weights=weights).hash


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("19.bias"), "lacks tensor 'decoder.19.bias'"),
        (lambda t: t.update({"2.weight": torch.zeros(1)}), "surplus tensor 'decoder.2.weight'"),
        (lambda t: t.update({"19.bias": torch.zeros(4)}), r"'decoder.19.bias' has shape \(4,\), expected \(3,\)"),
        (lambda t: t.update({"19.bias": torch.full((3,), torch.inf)}), "'decoder.19.bias' holds NaN"),
    ],
)
def test_wrong_tensors_are_named(halves: Path, edit: Any, message: str) -> None:
    tensors = torch.load(halves / DECODER, weights_only=True)
    edit(tensors)
    torch.save(tensors, halves / DECODER)
    with pytest.raises(ModelError, match=message):
        load_autoencoder("taef2", weights=halves)


def test_half_of_it_is_not_enough(halves: Path) -> None:
    with pytest.raises(ModelError, match=r"holds one half of a tiny autoencoder.*give both halves as weights"):
        load_autoencoder("taef2", weights=halves / ENCODER)
    (halves / DECODER).unlink()
    with pytest.raises(ModelError, match=r"holds no weights of taef2; expected taef2\.safetensors"):
        load_autoencoder("taef2", weights=halves)
    with pytest.raises(OptionError, match="3 files of weights"):
        load_autoencoder("taef2", weights=[halves / ENCODER] * 3)


@pytest.mark.parametrize("dataset", ["brain-mri", pytest.param("chest-xray", marks=pytest.mark.slow)])
def test_the_real_weights_reach_their_ceiling(dataset: str, shared: Path) -> None:
    """Two images spread over the validation set: their mean may be some dB off that of the whole set."""
    autoencoder = load_autoencoder("taef2", weights=shared / "weights")
    files = sorted((shared / "data" / dataset / "valid").iterdir())
    values = []
    for path in files[:: len(files) // 2][:2]:
        image = torch.from_numpy(read_pixels(path, grey=True).astype(np.float32))[None, None] / 127.5 - 1
        decoded = autoencoder.decode(autoencoder.encode(image)).clamp(-1, 1)
        values.append(float(-10 * torch.log10((decoded - image).square().mean() / 4)))
    assert sum(values) / 2 == pytest.approx(CEILINGS[dataset], abs=2.5)


def test_a_tensor_named_by_a_number_of_thousands_of_digits_is_one_line() -> None:
    with pytest.raises(ModelError, match="surplus tensor"):
        from_one_file({f"encoder.layers.{'1' * 5000}.weight": torch.zeros(1)})
