"""MedVAE and CompVis checkpoints; golden files: outputs of the public MedVAE implementation on made-up weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from latentsr.autoencoders import Autoencoder, load_autoencoder
from latentsr.autoencoders.published import diffusers_config, fold_lora, published_name
from latentsr.errors import ModelError

SHAPES = ("4x1", "4x3", "4x4", "8x4")
TOLERANCE = 1e-4
LORA = "encoder.mid.attn_1.q"
DDCONFIG = {
    "double_z": True, "z_channels": 3, "resolution": 64, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2],
    "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip


def loaded(golden: Any, shape: str) -> Autoencoder:
    name = f"medvae_{shape.replace('x', '_')}"
    return load_autoencoder(name, weights=golden.weights, config=golden.config)


@pytest.mark.parametrize("shape", SHAPES)
def test_moments_and_decoded_image_are_those_of_the_public_implementation(shape: str, golden_medvae: Any) -> None:
    golden = golden_medvae(shape)
    autoencoder = loaded(golden, shape)
    assert torch.allclose(autoencoder.encode(golden.image), golden.mean, atol=TOLERANCE, rtol=0)
    inputs = golden.image.expand(-1, autoencoder.spec.image_channels, -1, -1)
    with torch.no_grad():
        _, logvar = autoencoder.network.moments(inputs)  # type: ignore[attr-defined]
    assert torch.allclose((0.5 * logvar).exp(), golden.sd, atol=TOLERANCE, rtol=0)
    decoded = autoencoder.decode(golden.mean, grey=False)
    assert torch.allclose(decoded, golden.decoded, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_converted_one_travels_as_a_folder(shape: str, golden_medvae: Any, tmp_path: Path) -> None:
    golden = golden_medvae(shape)
    autoencoder = loaded(golden, shape)
    autoencoder.save(tmp_path / "copy")
    again = load_autoencoder(tmp_path / "copy")
    assert (again.hash, again.spec) == (autoencoder.hash, autoencoder.spec)
    assert torch.allclose(again.encode(golden.image), golden.mean, atol=TOLERANCE, rtol=0)


def test_one_altered_number_is_another_hash(golden_medvae: Any) -> None:
    golden = golden_medvae("4x1")
    before = loaded(golden, "4x1").hash
    assert loaded(golden, "4x1").hash == before
    golden.change(lambda tensors: tensors["decoder.conv_out.bias"].add_(1e-3))
    assert loaded(golden, "4x1").hash != before


@pytest.mark.parametrize("part", ["conv", "lora_down", "lora_up"])
def test_every_part_of_a_lora_pair_counts(part: str, golden_medvae: Any) -> None:
    golden = golden_medvae("4x3")
    golden.change(lambda tensors: tensors[f"{LORA}.{part}.weight"].mul_(1.5))
    assert not torch.allclose(loaded(golden, "4x3").encode(golden.image), golden.mean, atol=TOLERANCE, rtol=0)


def test_the_second_stage_and_the_loss_count_for_nothing_and_may_be_absent(golden_medvae: Any) -> None:
    golden = golden_medvae("4x1")
    before = loaded(golden, "4x1").hash
    golden.change(lambda tensors: tensors["channel_proj.weight"].mul_(3))
    assert loaded(golden, "4x1").hash == before
    golden.change(lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith("channel_")])
    golden.change(lambda tensors: tensors.update({"loss.discriminator.main.0.weight": torch.zeros(2)}))
    assert loaded(golden, "4x1").hash == before


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.pop(name)


def put(name: str, *shape: int) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


def spoilt(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors[name].view(-1)[:1].fill_(torch.nan)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (without("encoder.conv_in.bias"), "lacks tensor 'encoder.conv_in.bias'"),
        (without("encoder.down.0.block.0.norm1.weight"), "lacks tensor 'encoder.down.0.block.0.norm1.weight'"),
        (without("decoder.up.2.upsample.conv.weight"), "lacks tensor 'decoder.up.2.upsample.conv.weight'"),
        (without("quant_conv.weight"), "lacks tensor 'quant_conv.weight'"),
        (without(f"{LORA}.conv.weight"), f"lacks tensor '{LORA}.conv.weight'"),
        (without(f"{LORA}.conv.bias"), f"lacks tensor '{LORA}.bias'"),
        (without(f"{LORA}.lora_up.weight"), f"lacks tensor '{LORA}.lora_up.weight'"),
        (without(f"{LORA}.lora_down.weight"), f"lacks tensor '{LORA}.lora_down.weight'"),
        (put("encoder.extra.weight", 2), "has surplus tensor 'encoder.extra.weight'"),
        (put("model_ema.decay", 1), "has surplus tensor 'model_ema.decay'"),
        (put("decoder.conv_in.lora_up.weight", 64, 4, 1, 1), "lacks tensor 'decoder.conv_in.conv.weight'"),
        (put("encoder.conv_in.bias", 7), r"'encoder.conv_in.bias' has shape \(7,\), expected \(32,\)"),
        (put(f"{LORA}.conv.weight", 64, 32, 1, 1), rf"'{LORA}.lora_down.weight' has shape \(4, 64, 1, 1\), expected"),
        (put(f"{LORA}.lora_up.weight", 64, 3, 1, 1), rf"'{LORA}.lora_up.weight' has shape \(64, 3, 1, 1\), expected"),
        (spoilt("decoder.norm_out.weight"), "'decoder.norm_out.weight' holds NaN or infinity"),
        (spoilt(f"{LORA}.lora_up.weight"), f"'{LORA}.lora_up.weight' holds NaN or infinity"),
    ],
)
def test_a_wrong_tensor_is_refused_by_its_published_name(edit: Any, message: str, golden_medvae: Any) -> None:
    golden = golden_medvae("4x3")
    golden.change(edit)
    with pytest.raises(ModelError, match=message) as caught:
        loaded(golden, "4x3")
    assert golden.weights.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_checkpoint_is_refused_by_name(golden_medvae: Any) -> None:
    golden = golden_medvae("4x1")
    golden.weights.write_bytes(golden.weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=rf"{golden.weights.name}: not a whole file of weights"):
        loaded(golden, "4x1")


def test_every_name_is_mapped_once_and_none_is_left_in_diffusers_form() -> None:
    from latentsr.autoencoders.network import make_network

    config = diffusers_config({"ddconfig": DDCONFIG | {"ch_mult": [1, 2, 2, 2]}, "embed_dim": 3}, "test")
    names = make_network("AutoencoderKL", config).get_submodule("kl").state_dict().keys()
    published = {published_name(name, 4) for name in names}
    assert len(published) == len(names)
    assert not [name for name in published if "blocks" in name or "resnets" in name or "attentions" in name]
    assert published_name("decoder.up_blocks.0.resnets.2.conv_shortcut.weight", 4) == (
        "decoder.up.3.block.2.nin_shortcut.weight"
    )


def test_a_folded_pair_is_the_sum_of_both_convolutions() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, down, up = (torch.randn(s, generator=generator) for s in ((8, 6, 3, 3), (4, 6, 3, 3), (8, 4, 1, 1)))
    parts = {"a.conv.weight": weight, "a.lora_down.weight": down, "a.lora_up.weight": up, "b.conv.weight": weight}
    folded = fold_lora(parts, "test")
    image = torch.randn(1, 6, 9, 9, generator=generator)
    conv = torch.nn.functional.conv2d
    expected = conv(image, weight, padding=1) + conv(conv(image, down, padding=1), up)
    assert torch.allclose(conv(image, folded["a.weight"], padding=1), expected, atol=1e-4)
    assert folded.keys() == {"a.weight", "b.conv.weight"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ch_mult": None}, "other than whole numbers"),
        ({"ch": "128"}, "other than whole numbers"),
        ({"attn_resolutions": [16]}, r"attn_resolutions is \[16\], expected \[\]"),
        ({"double_z": False}, "double_z is False, expected True"),
        ({"z_channels": 4}, "embed_dim is 3, expected 4"),
        ({"use_linear_attn": True}, "ddconfig has 'use_linear_attn'"),
        ({"out_ch": 1}, "in_channels and out_channels differ"),
        ({"ch": 33}, "refuses"),
    ],
)
def test_configs_that_do_not_fit_are_named(changes: Any, message: str, golden_medvae: Any) -> None:
    golden = golden_medvae("4x3")
    golden.config.write_text(yaml.safe_dump({"embed_dim": 3, "ddconfig": DDCONFIG | changes}))
    with pytest.raises(ModelError, match=message):
        loaded(golden, "4x3")


@pytest.mark.parametrize("text", ["", "[]", "a: 1", "{", "model: {params: 3}", "ddconfig: {}"])
def test_a_yaml_that_is_no_config_is_named(text: str, golden_medvae: Any) -> None:
    golden = golden_medvae("4x1")
    golden.config.write_text(text)
    with pytest.raises(ModelError, match=r"medvae_4x1\.yaml") as caught:
        loaded(golden, "4x1")
    assert "\n" not in str(caught.value)


def test_a_missing_config_key_and_file_are_named(golden_medvae: Any) -> None:
    golden = golden_medvae("4x1")
    golden.config.write_text(yaml.safe_dump({"embed_dim": 1, "ddconfig": {"z_channels": 1}}))
    with pytest.raises(ModelError, match="ddconfig lacks in_channels"):
        loaded(golden, "4x1")
    golden.config.unlink()
    with pytest.raises(ModelError, match=r"medvae_4x1\.yaml"):
        loaded(golden, "4x1")
