import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import nn

from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import make_network, save_network
from latentsr.autoencoders.protocol import WEIGHTS
from latentsr.errors import InputError, ModelError, OptionError

TINY_DIFFUSERS = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "block_out_channels": [8, 8, 8],
    "layers_per_block": 1,
    "latent_channels": 3,
    "norm_num_groups": 4,
}


def images(rows: int = 32, columns: int = 48, channels: int = 1) -> torch.Tensor:
    return torch.rand(2, channels, rows, columns, generator=torch.Generator().manual_seed(0)) * 2 - 1


def stirred(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn(parameter.shape, generator=generator)
    return network


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return stirred(SmallKL(width=8, blocks=1))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    save_network(small_network(), tmp_path / "vae", facts={"domain": "medical"})
    return tmp_path / "vae"


@pytest.fixture
def diffusers_form(tmp_path: Path) -> Path:
    save_network(stirred(make_network("AutoencoderKL", TINY_DIFFUSERS)), tmp_path / "kl")
    return tmp_path / "kl"


@pytest.mark.parametrize(("factor", "channels"), [(2, 1), (4, 1), (4, 3), (4, 4), (8, 1), (8, 4), (8, 16), (16, 8)])
def test_shapes_at_every_factor_and_channel_count(tmp_path: Path, factor: int, channels: int) -> None:
    save_network(SmallKL(factor=factor, latent_channels=channels, width=4, blocks=1), tmp_path)
    autoencoder = load_autoencoder(tmp_path)
    latents = autoencoder.encode(images())
    assert latents.shape == (2, channels, 32 // factor, 48 // factor)
    assert autoencoder.decode(latents).shape == (2, 1, 32, 48)
    assert (autoencoder.spec.factor, autoencoder.spec.latent_channels) == (factor, channels)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("image_channels", [1, 3])
def test_as_many_channels_as_pixels_lose_nothing_from_the_start(factor: int, image_channels: int) -> None:
    network = SmallKL(factor=factor, latent_channels=factor**2, image_channels=image_channels, width=4, blocks=1)
    grey = images().expand(-1, image_channels, -1, -1)
    assert torch.allclose(network(grey), grey, atol=1e-5)


def test_one_latent_channel_starts_as_the_block_mean() -> None:
    network = SmallKL(factor=4, latent_channels=1, width=4, blocks=1)
    means = torch.nn.functional.avg_pool2d(images(), 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(network(images()), means, atol=1e-5)


def test_small_kl_convolves_nothing_above_a_quarter_of_the_resolution() -> None:
    sides: list[int] = []
    network = SmallKL(factor=8, latent_channels=4, width=4, blocks=1)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _layer, _inputs, output: sides.append(output.shape[-1]))
    network(images(64, 64))
    assert max(sides) == 16


def test_a_tile_with_margin_gives_the_same_latents() -> None:
    network = small_network()
    whole = network.moments(images(96, 96))[0]
    tile = network.moments(images(96, 96)[..., 16:80, 16:80])[0]
    assert torch.allclose(tile[..., 5:-5, 5:-5], whole[..., 9:-9, 9:-9], atol=1e-5)


def test_save_then_load_gives_the_same_latents_and_images(small: Path) -> None:
    network = small_network()
    autoencoder = load_autoencoder(small)
    assert isinstance(autoencoder, Autoencoder)
    assert torch.allclose(autoencoder.encode(images()), network.moments(images())[0], atol=1e-6)
    assert torch.allclose(autoencoder.decode(autoencoder.encode(images())), network(images()), atol=1e-6)
    assert autoencoder.spec.domain == "medical"
    assert autoencoder.spec.name == "vae"


def test_hash_follows_the_weights_and_not_the_place(small: Path, tmp_path: Path) -> None:
    small.rename(tmp_path / "elsewhere")
    first = load_autoencoder(tmp_path / "elsewhere").hash
    save_network(small_network(), tmp_path / "same")
    save_network(SmallKL(width=8, blocks=1), tmp_path / "other")
    assert load_autoencoder(tmp_path / "same").hash == first != load_autoencoder(tmp_path / "other").hash


def test_diffusers_loads_what_is_saved_in_its_form(diffusers_form: Path) -> None:
    reference = AutoencoderKL.from_pretrained(diffusers_form).eval()
    autoencoder = load_autoencoder(diffusers_form)
    rgb = images(channels=3)
    with torch.no_grad():
        latents = reference.encode(rgb).latent_dist.mean
        decoded = reference.decode(latents).sample
    assert torch.allclose(autoencoder.encode(rgb), latents, atol=1e-5)
    assert torch.allclose(autoencoder.decode(latents, grey=False), decoded, atol=1e-5)
    assert torch.allclose(autoencoder.decode(latents), decoded.mean(dim=1, keepdim=True), atol=1e-5)


def test_a_folder_written_by_diffusers_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = AutoencoderKL(**TINY_DIFFUSERS).eval()
    reference.save_pretrained(tmp_path)
    grey = images()
    with torch.no_grad():
        expected = reference.encode(grey.expand(-1, 3, -1, -1)).latent_dist.mean
    assert torch.allclose(load_autoencoder(tmp_path).encode(grey), expected, atol=1e-6)


def test_attention_names_of_old_diffusers_files_load(diffusers_form: Path) -> None:
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(diffusers_form / WEIGHTS)
    for today, old in new.items():
        tensors = {name.replace(f"attentions.0.{today}.", f"attentions.0.{old}."): t for name, t in tensors.items()}
    before = load_autoencoder(diffusers_form).encode(images())
    save_file(tensors, diffusers_form / WEIGHTS)
    (diffusers_form / "manifest.json").unlink()
    assert any(".query." in name for name in tensors)
    assert torch.equal(load_autoencoder(diffusers_form).encode(images()), before)


def test_three_channel_networks_are_grey_in_grey_out(tmp_path: Path) -> None:
    save_network(stirred(SmallKL(image_channels=3, width=8, blocks=1)), tmp_path)
    autoencoder = load_autoencoder(tmp_path)
    latents = autoencoder.encode(images())
    assert torch.equal(latents, autoencoder.encode(images().expand(-1, 3, -1, -1)))
    assert autoencoder.decode(latents).shape == (2, 1, 32, 48)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (images(channels=3), r"expected \(batch, 1, rows, columns\)"),
        (images(30, 32), "30x32 px, expected sides in multiples of 4"),
        (images()[0], "images of shape"),
    ],
)
def test_images_that_do_not_fit_are_refused(small: Path, bad: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_autoencoder(small).encode(bad)


def test_latents_that_do_not_fit_are_refused(small: Path) -> None:
    with pytest.raises(InputError, match="latents of shape"):
        load_autoencoder(small).decode(torch.zeros(1, 4, 8, 8))


def test_non_finite_values_are_an_error(small: Path) -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        load_autoencoder(small).encode(images() * torch.nan)


def _edit_tensors(folder: Path, edit: str) -> None:
    tensors = load_file(folder / WEIGHTS)
    if edit == "missing":
        del tensors["to_latents.bias"]
    elif edit == "surplus":
        tensors["extra.weight"] = torch.zeros(1)
    elif edit == "quantised":
        tensors["to_latents.bias"] = tensors["to_latents.bias"].to(torch.int8)
    elif edit == "misshapen":
        tensors["to_latents.bias"] = torch.zeros(7)
    else:
        tensors["to_latents.bias"][0] = torch.nan
    save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("missing", "lacks tensor 'to_latents.bias'"),
        ("surplus", "surplus tensor 'extra.weight'"),
        ("misshapen", r"'to_latents.bias' has shape \(7,\), expected \(3,\)"),
        ("quantised", "'to_latents.bias' is of int8, expected floating point"),
        ("infinite", "'to_latents.bias' holds NaN"),
    ],
)
def test_wrong_tensors_are_named(small: Path, edit: str, message: str) -> None:
    _edit_tensors(small, edit)
    with pytest.raises(ModelError, match="altered"):
        load_autoencoder(small)
    (small / "manifest.json").unlink()
    with pytest.raises(ModelError, match=message):
        load_autoencoder(small)


def test_truncated_and_missing_weights_are_named(small: Path) -> None:
    (small / "manifest.json").unlink()
    whole = (small / WEIGHTS).read_bytes()
    (small / WEIGHTS).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        load_autoencoder(small)
    (small / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=f"{WEIGHTS}: missing"):
        load_autoencoder(small)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "config.json"),
        ('{"_class_name": "VQModel"}', "expected one of AutoencoderKL, AutoencoderTiny, SmallKL, Taef2"),
        ('{"_class_name": "SmallKL", "depth": 3}', "depth"),
        ('{"_class_name": "SmallKL", "factor": 3}', "factor is 3"),
        ('{"_class_name": "AutoencoderKL", "block_out_channels": [8, 8]}', "diffusers refuses it"),
    ],
)
def test_bad_configs_are_named(small: Path, text: str, message: str) -> None:
    (small / "config.json").write_text(text)
    (small / "manifest.json").unlink()  # which would tell that it was altered
    with pytest.raises(ModelError, match=message):
        load_autoencoder(small)


def test_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        load_autoencoder(tmp_path)


def test_config_file_says_the_class(small: Path, diffusers_form: Path) -> None:
    assert json.loads((small / "config.json").read_text())["_class_name"] == "SmallKL"
    assert json.loads((diffusers_form / "config.json").read_text())["_class_name"] == "AutoencoderKL"


@pytest.mark.parametrize("options", [{"factor": 5}, {"latent_channels": 17}, {"image_channels": 2}, {"width": 0}])
def test_options_outside_what_is_valid_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(OptionError):
        SmallKL(**options)


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("SmallKL", {"blocks": 1_000_000}, "blocks is 1000000, expected at most 64"),
        ("SmallKL", {"width": 4000}, "width is 4000, blocks is 4: expected 1 to 1024 and 1 to 64"),
        ("AutoencoderKL", TINY_DIFFUSERS | {"layers_per_block": 1_000_000}, "layers_per_block is 1000000, expected"),
        (
            "AutoencoderKL",
            TINY_DIFFUSERS | {"latent_channels": 10**4000},
            "latent_channels is 1000.*, expected at most",
        ),
        ("AutoencoderTiny", {"num_encoder_blocks": [1] * 99}, "num_encoder_blocks has 99 entries, expected at most 16"),
        ("Taef2", {"width": 10**9}, "width is 1000000000, expected at most 4096"),
    ],
)
def test_a_network_that_would_fill_the_memory_is_refused_before_it_is_made(
    kind: str, config: dict, message: str
) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        make_network(kind, config)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["config.json", "diffusion_pytorch_model.safetensors"])
def test_one_altered_byte_of_a_folder_is_noticed(tmp_path: Path, name: str) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae")
    path = tmp_path / "vae" / name
    content = path.read_bytes()
    place = content.rindex(b"4") if name == "config.json" else -1
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place:][1:])
    with pytest.raises(ModelError, match=f"{name}: altered, its SHA-256 is not that in manifest.json"):
        load_autoencoder(tmp_path / "vae")
