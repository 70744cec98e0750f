"""Networks from the files that their authors published, converted where the form is another.

Rombach et al. 2022 (arXiv 2112.10752) and Varma et al. 2025 (arXiv 2502.14753).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

from torch import Tensor, nn

from latentsr.autoencoders.network import Network, fill_network, image_channels, make_network, read_mapping
from latentsr.autoencoders.protocol import Published, Weights
from latentsr.autoencoders.weights import check_family, check_finite, check_tensors, held, read_tensors
from latentsr.config import read_yaml
from latentsr.errors import ModelError, OptionError

# The training loss of both; MedVAE's second stage (a projection of the latent), which super-resolution does not use.
DROPPED = ("loss.", "channel_ds.", "channel_proj.")
GROUPS = 32
MULTIPLES = {4: [1, 2, 4], 8: [1, 2, 4, 4]}  # of the width at each level: kl-f4, kl-f8, Stable Diffusion, MedVAE
_NEEDED = ("z_channels", "in_channels", "out_ch", "ch", "ch_mult", "num_res_blocks")
_OPTIONAL = ("double_z", "resolution", "attn_resolutions", "dropout")

# diffusers' names to the published ones, in this order; a decoder level is counted from the other end, see below.
_NAMES = (
    (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
    (r"mid_block\.attentions\.0", lambda m: "mid.attn_1"),
    (r"down_blocks\.(\d)\.resnets", lambda m: f"down.{m[1]}.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", lambda m: f"down.{m[1]}.downsample"),
    (r"up_blocks\.(\d)\.resnets", lambda m: f"up.{m[1]}.block"),
    (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{m[1]}.upsample"),
    (r"conv_shortcut", lambda m: "nin_shortcut"),
    (r"conv_norm_out", lambda m: "norm_out"),
    (r"group_norm", lambda m: "norm"),
    (r"to_([qkv])\.", lambda m: f"{m[1]}."),
    (r"to_out\.0", lambda m: "proj_out"),
)


def diffusers_config(content: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """The AutoencoderKL config that a published YAML's `ddconfig` and `embed_dim` stand for.

    They are looked for at the top and under `model.params`; what this form cannot express raises ModelError.
    """
    model = content.get("model")
    for params in (content, model.get("params") if isinstance(model, dict) else None):
        if isinstance(params, dict) and isinstance(params.get("ddconfig"), dict) and "embed_dim" in params:
            dd, embed_dim = params["ddconfig"], params["embed_dim"]
            break
    else:
        raise ModelError(
            f"{origin}: lacks ddconfig and embed_dim, at the top or under model.params; take the one published"
        )
    if missing := [key for key in _NEEDED if key not in dd]:
        raise ModelError(f"{origin}: ddconfig lacks {missing[0]}; take the config published with the weights")
    if unknown := sorted(dd.keys() - {*_NEEDED, *_OPTIONAL}):
        raise ModelError(f"{origin}: ddconfig has '{unknown[0]}'; expected {', '.join((*_NEEDED, *_OPTIONAL))} only")
    counts = [*dd["ch_mult"]] if isinstance(dd["ch_mult"], list) else [None]
    counts += [dd[key] for key in _NEEDED if key != "ch_mult"]
    if not all(isinstance(count, int) and count > 0 for count in counts):
        raise ModelError(f"{origin}: ddconfig holds other than whole numbers above 0; take the one published")
    for key, value, only in (
        ("embed_dim", embed_dim, dd["z_channels"]),
        ("double_z", dd.get("double_z", True), True),
        ("attn_resolutions", list(dd.get("attn_resolutions") or []), []),
    ):
        if value != only:
            raise ModelError(f"{origin}: {key} is {value}, expected {only}: AutoencoderKL has no other form")
    levels = len(dd["ch_mult"])
    return {
        "in_channels": dd["in_channels"],
        "out_channels": dd["out_ch"],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [dd["ch"] * times for times in dd["ch_mult"]],
        "layers_per_block": dd["num_res_blocks"],
        "latent_channels": dd["z_channels"],
        "norm_num_groups": GROUPS,
    }


def full_size_config(
    *, factor: int, latent_channels: int, image_channels: int = 3, width: int = 128, blocks: int = 2
) -> dict[str, Any]:
    """The AutoencoderKL config of the published form: kl-f4's and medvae_4_3's at factor 4, Stable Diffusion's at 8.

    55.3 and 83.7 million parameters. OptionError for another factor, or a width that is no multiple of 32.
    """
    if factor not in MULTIPLES:
        raise OptionError(f"factor is {factor}: expected {' or '.join(map(str, MULTIPLES))} of architecture kl")
    if width % GROUPS:
        raise OptionError(f"width is {width}: expected a multiple of {GROUPS} of architecture kl")
    ddconfig = {
        "z_channels": latent_channels, "in_channels": image_channels, "out_ch": image_channels, "ch": width,
        "ch_mult": MULTIPLES[factor], "num_res_blocks": blocks,
    }  # fmt: skip
    return diffusers_config({"ddconfig": ddconfig, "embed_dim": latent_channels}, "architecture kl")


def diffusers_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The published tensors under diffusers' names and in its shapes; `expected` is the AutoencoderKL's state dict.

    LoRA pairs are folded into the weight they stand beside, 1x1 convolutions of attention become matrices. A tensor
    that is missing, surplus, misshapen or not finite raises ModelError with its published name.
    """
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(DROPPED)}
    check_finite(kept, origin)
    levels = 1 + max(int(m[1]) for name in expected if (m := re.match(r"decoder\.up_blocks\.(\d)", name)))
    names = {name: published_name(name, levels) for name in expected}
    shapes = {published: tuple(expected[name].shape) for name, published in names.items()}
    for name, published in names.items():
        if ".attentions." in name and len(shapes[published]) == 2:
            shapes[published] += (1, 1)
    check_family(kept, shapes, origin)
    folded = fold_lora(kept, origin)
    check_tensors(folded, shapes, origin, fix="take the config that belongs to it")
    return {name: folded[published].reshape(expected[name].shape) for name, published in names.items()}


def published_name(name: str, levels: int) -> str:
    """CompVis' name of a tensor that diffusers' AutoencoderKL of that many levels calls `name`."""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"^decoder\.up\.(\d)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}", name)


def fold_lora(tensors: Mapping[str, Tensor], origin: str) -> dict[str, Tensor]:
    """The tensors with every LoRA pair (Hu et al. 2021, scale 1) folded: W + up x down, named as without LoRA."""
    folded = dict(tensors)
    for layer in sorted({m[1] for name in tensors if (m := re.match(r"(.+)\.lora_(?:up|down)\.weight$", name))}):
        parts = [f"{layer}.{part}.weight" for part in ("conv", "lora_down", "lora_up")]
        if missing := [part for part in parts if part not in folded]:
            raise ModelError(f"{origin}: lacks tensor '{missing[0]}'; expected a LoRA pair beside its convolution")
        weight, down, up = (folded.pop(part) for part in parts)
        rank = down.shape[0] if down.ndim == 4 else 0
        for part, tensor, shape in (
            ("lora_down", down, (rank, *weight.shape[1:])),
            ("lora_up", up, (weight.shape[0], rank, 1, 1)),
        ):
            if tensor.shape != shape:
                expected = f"{tuple(tensor.shape)}, expected {tuple(shape)} beside a weight of {tuple(weight.shape)}"
                raise ModelError(f"{origin}: tensor '{layer}.{part}.weight' has shape {expected}; fetch it again")
        folded[f"{layer}.weight"] = weight + (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
        if f"{layer}.conv.bias" in folded:
            folded[f"{layer}.bias"] = folded.pop(f"{layer}.conv.bias")
    return folded


@dataclass(frozen=True)
class Files:
    """The files of a published autoencoder; `config` None where the form needs none."""

    weights: tuple[Path, ...]
    config: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """All files, the config last."""
        return self.weights if self.config is None else (*self.weights, self.config)


def given_files(published: Published, weights: Weights, config: Path | str | None) -> Files:
    """The files that a user gave: weights as a file, several, or a folder that holds them under a published name.

    A config that is not given is looked for beside the weights, under its published name. ModelError where there are
    none.
    """
    name, publication = published.spec.name, published.publication
    paths = [Path(weights)] if isinstance(weights, str | Path) else [Path(path) for path in weights]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        for names in (publication.weights, publication.aliases):
            paths = [
                folder / file if (folder / file).is_file() else folder / PurePosixPath(file).name for file in names
            ]
            if paths and all(path.is_file() for path in paths):
                break
        else:
            wanted = " and ".join(PurePosixPath(file).name for file in publication.weights)
            raise ModelError(f"{folder}: holds no weights of {name}; expected {wanted} in it, found {held(folder)}")
    if not publication.config:
        if config is not None:
            raise OptionError(f"{name}: takes no config, its form is fixed; leave the config of the weights out")
        return Files(tuple(paths))
    if len(paths) != 1:
        raise OptionError(f"{name}: {len(paths)} files of weights, expected one")
    if config is None:
        config = paths[0].parent / PurePosixPath(publication.config).name
        if not config.is_file():
            raise ModelError(f"{name}: no {config.name} beside {paths[0]}; put it there, or give it as weights_config")
    return Files(tuple(paths), Path(config))


def read_published(published: Published, files: Files) -> nn.Module:
    """The network with the files' weights, on the CPU; any fault is a ModelError that names file and tensor."""
    network = _READERS[published.publication.form](files)
    spec, own = published.spec, cast(Network, network)
    if own.kind != published.publication.kind:
        raise ModelError(
            f"{spec.name}: {files.all[-1]} is that of an {own.kind}, expected an {published.publication.kind}; "
            f"give the files of {spec.name}"
        )
    found = (image_channels(own), own.config["latent_channels"], own.factor)
    if found != (expected := (spec.image_channels, spec.latent_channels, spec.factor)):
        raise ModelError(
            f"{spec.name}: {files.all[-1]} makes an autoencoder of other image channels, latent channels and factor: "
            f"{found}, expected {expected}; give the files of {spec.name}"
        )
    return network


def _diffusers(files: Files) -> nn.Module:
    path = cast(Path, files.config)
    config = read_mapping(path)
    network = make_network(config.pop("_class_name", None), config, str(path))
    fill_network(network, read_tensors(files.weights[0]), str(files.weights[0]))
    return network


def _compvis(files: Files) -> nn.Module:
    path = cast(Path, files.config)
    try:
        content = read_yaml(path)
    except OptionError as error:
        raise ModelError(f"{error}; expected the config published with the weights") from error
    tensors = read_tensors(files.weights[0])
    network = make_network("AutoencoderKL", diffusers_config(content, str(path)), str(path))
    expected = network.get_submodule("kl").state_dict()
    fill_network(network, diffusers_tensors(tensors, expected, str(files.weights[0])), str(files.weights[0]))
    return network


def _taef2(files: Files) -> nn.Module:
    from latentsr.autoencoders.architectures import from_one_file, joined

    if len(files.weights) == 1:
        read = read_tensors(files.weights[0])
        check_family(read, ["encoder.layers.0.weight"], str(files.weights[0]))
        tensors = from_one_file(read)
    elif len(files.weights) == 2:
        encoder, decoder = sorted(files.weights, key=lambda path: "decoder" in path.name)
        tensors = joined(read_tensors(encoder), read_tensors(decoder))
    else:
        raise OptionError(f"taef2: {len(files.weights)} files of weights, expected one, or encoder and decoder")
    network = make_network("Taef2", {})
    fill_network(network, tensors, " and ".join(map(str, files.weights)))
    return network


_READERS = {"diffusers": _diffusers, "compvis": _compvis, "taef2": _taef2}
