"""Wrong files in place of weights: one line that says what came, what was expected and what to do."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import make_network, save_network
from latentsr.autoencoders.protocol import CONFIG, WEIGHTS
from latentsr.autoencoders.store import import_weights
from latentsr.autoencoders.weights import family, read_tensors
from latentsr.errors import ModelError

LORA = {"lora_unet_down.lora_down.weight": torch.zeros(1), "lora_unet_down.alpha": torch.zeros(1)}
WHOLE = {"first_stage_model.encoder.conv_in.weight": torch.zeros(1), "model.diffusion_model.out.weight": torch.zeros(1)}
TINY = {"encoder.layers.0.weight": torch.zeros(1), "decoder.layers.0.weight": torch.zeros(1)}
CONFIG_KL = (
    '{"_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": 4, "norm_num_groups": 2,'
    '"block_out_channels": [2, 2, 2, 2], "layers_per_block": 1, "down_block_types": ["DownEncoderBlock2D", '
    '"DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D", '
    '"UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]}'
)


def zipped(path: Path, inner: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(inner, b"1")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.ckpt", lambda path: path.write_bytes(b""), r"\(empty\), expected safetensors.*copy or fetch it again"),
        ("a.safetensors", lambda path: path.write_text("404: Not Found\n"), "but a text, expected safetensors"),
        ("a.bin", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
        ("a.pth", lambda path: save_file(LORA, path), "rename it to end in .safetensors"),
        ("a.zip", lambda path: zipped(path, "in/model.ckpt"), "zip archive with in/model.ckpt in it; unpack it"),
        ("a.ckpt", lambda path: zipped(path, "notes.txt"), "zip archive without weights; give another file"),
        ("a.ckpt", lambda path: path.write_bytes(b"PK\x03\x04cut"), "not a whole file of weights"),
        ("a.ckpt", lambda path: path.mkdir(), "is a folder, expected a file of weights; it holds no weights"),
        ("a.ckpt", lambda path: None, "missing; expected a file of weights"),
    ],
)
def test_what_is_no_file_of_weights_is_told(tmp_path: Path, name: str, write: Callable, message: str) -> None:
    write(tmp_path / name)
    with pytest.raises(ModelError, match=message) as caught:
        read_tensors(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "words"), [(LORA, "a LoRA"), (WHOLE, "a whole diffusion model"), (TINY, "a tiny autoencoder")]
)
def test_weights_of_another_family_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: dict, words: str
) -> None:
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    save_file(tensors, tmp_path / "given.safetensors")
    (tmp_path / CONFIG).write_text(CONFIG_KL)
    with pytest.raises(
        ModelError, match=rf"holds {words}.*, expected an autoencoder in diffusers' form; give the file"
    ):
        import_weights("sd-vae-ft-ema", tmp_path / "given.safetensors")
    if tensors is not TINY:
        with pytest.raises(ModelError, match=rf"holds {words}.*, expected a tiny autoencoder"):
            import_weights("taef2", tmp_path / "given.safetensors")
    assert not (tmp_path / "home").exists()


def test_the_config_of_another_network_is_told(tmp_path: Path) -> None:
    """A TAESD is as large as SD's autoencoder: three channels, four channels, a factor of 8."""
    (tmp_path / CONFIG).write_text(CONFIG_KL)
    network = make_network(
        "AutoencoderTiny", {"encoder_block_out_channels": [2] * 4, "decoder_block_out_channels": [2] * 4}
    )
    save_network(network, tmp_path / "tiny")
    with pytest.raises(
        ModelError, match="is that of an AutoencoderTiny, expected an AutoencoderKL; give the files of sd"
    ):
        load_autoencoder("sd-vae-ft-ema", weights=tmp_path / "tiny" / WEIGHTS)


def test_families_by_the_names_of_tensors() -> None:
    assert family(["encoder.down.0.block.0.conv1.weight", "encoder.down.0.block.0.conv1.lora_up.weight"]) == (
        "an autoencoder in CompVis' form"
    )
    assert family(["0.weight"]) == "one half of a tiny autoencoder"
    assert family(["a.weight"]) == family([]) == ""


def test_a_folder_of_published_files_is_told_how_to_become_an_autoencoder(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(ModelError, match=r"config\.json: missing, .*came one with no weights; give another folder"):
        load_autoencoder(raw)
    for name in ("taef2_decoder.pth", "taef2_encoder.pth"):
        (raw / name).write_bytes(b"1")
    with pytest.raises(ModelError, match=f"'latentsr models import taef2 --weights {raw}': give that name"):
        load_autoencoder(raw)
    (raw / "a.ckpt").write_bytes(b"1")
    (raw / "b.ckpt").write_bytes(b"1")
    with pytest.raises(ModelError, match=r"came one with a.ckpt, b.ckpt, taef2_decoder.pth and 1 more; published"):
        load_autoencoder(raw)
    with pytest.raises(ModelError, match=r"is a file, .*'latentsr models import NAME --weights .*a\.ckpt"):
        load_autoencoder(raw / "a.ckpt")


def test_the_folder_of_a_whole_pipeline_names_its_autoencoder(tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "pipeline" / "vae")
    with pytest.raises(ModelError, match=f"came one with no weights; give {tmp_path / 'pipeline' / 'vae'}"):
        load_autoencoder(tmp_path / "pipeline")
    (tmp_path / "pipeline" / "vae" / CONFIG).unlink()
    with pytest.raises(ModelError, match=f"came one with {WEIGHTS}; copy it again"):
        load_autoencoder(tmp_path / "pipeline" / "vae")
