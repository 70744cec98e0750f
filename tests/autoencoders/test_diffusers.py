import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.protocol import WEIGHTS
from latentsr.errors import ModelError

NAMES = ("taesd", "taesdxl", "taesd3", "taef1")


@pytest.mark.parametrize("name", NAMES)
def test_latents_and_images_are_those_of_diffusers(name: str, publish: Any) -> None:
    weights, config = publish(name)
    reference = AutoencoderTiny.from_pretrained(weights.parent).eval()
    autoencoder = load_autoencoder(name, weights=weights, config=config)
    rgb = torch.rand(2, 3, 32, 48) * 2 - 1
    with torch.no_grad():
        latents = reference.encode(rgb).latents
        decoded = reference.decode(latents).sample
    assert torch.allclose(autoencoder.encode(rgb), latents, atol=1e-6)
    assert torch.allclose(autoencoder.decode(latents), decoded.mean(1, keepdim=True), atol=1e-6)


def test_a_folder_that_diffusers_wrote_loads_and_one_saved_here_loads_there(publish: Any, tmp_path: Path) -> None:
    weights, _ = publish("taesd")
    autoencoder = load_autoencoder(weights.parent)
    assert (autoencoder.spec.factor, autoencoder.spec.latent_channels, autoencoder.spec.image_channels) == (8, 4, 3)
    load_autoencoder("taesd", weights=weights).save(tmp_path / "ours")
    grey = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        theirs = AutoencoderTiny.from_pretrained(tmp_path / "ours").eval().encode(grey.expand(-1, 3, -1, -1)).latents
    assert torch.allclose(autoencoder.encode(grey), theirs, atol=1e-6)


def test_what_diffusers_wrote_is_read_without_a_warning(publish: Any, caplog: pytest.LogCaptureFixture) -> None:
    weights, config = publish("taesd")
    assert "block_out_channels" in json.loads(config.read_text())
    load_autoencoder("taesd", weights=weights)
    assert not caplog.records


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.pop("decoder.layers.0.bias"), "lacks tensor 'decoder.layers.0.bias'"),
        (lambda t: t.update({"extra": torch.zeros(1)}), "surplus tensor 'extra'"),
        (lambda t: t.update({"decoder.layers.0.bias": torch.zeros(9)}), "'decoder.layers.0.bias' has shape"),
    ],
)
def test_wrong_tensors_are_named(publish: Any, edit: Any, message: str) -> None:
    weights, config = publish("taesd")
    tensors = load_file(weights)
    edit(tensors)
    save_file(tensors, weights)
    with pytest.raises(ModelError, match=message):
        load_autoencoder("taesd", weights=weights, config=config)


def test_a_config_that_diffusers_refuses_is_named(publish: Any) -> None:
    weights, config = publish("taesd")
    content = json.loads(config.read_text()) | {"num_encoder_blocks": [1]}
    config.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="AutoencoderTiny config: diffusers refuses it"):
        load_autoencoder(weights.parent)
    assert weights.name == WEIGHTS
