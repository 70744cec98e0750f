"""What an autoencoder costs beside its quality: parameters, FLOPs, a denoiser step, and what half precision breaks."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from latentsr.autoencoders import Autoencoder
from latentsr.autoencoders.encoding import to_network
from latentsr.autoencoders.network import Network
from latentsr.data.records import padded
from latentsr.diffusion.denoiser import published_step

HALF = {"float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Cost:
    """Computed, not measured, for one image of `rows` x `columns`; `shape` is that of its latent.

    FLOPs count a multiply-add as two; the denoiser is the published UNet at the latent's size. `nonfinite` is the share
    of latent values that are NaN or infinite when the network runs in that type, on `probed` images.
    """

    rows: int
    columns: int
    shape: tuple[int, int, int]
    parameters: int
    encode_flops: int
    decode_flops: int
    denoiser_parameters: int
    denoiser_flops: int
    nonfinite: dict[str, float]
    probed: int


@torch.inference_mode()
def cost_of(autoencoder: Autoencoder, hr: Tensor) -> Cost:
    """The cost at the size of `hr` (batch, 1, rows, columns) in [0, 1], images on which the half types are tried."""
    spec, (rows, columns) = autoencoder.spec, hr.shape[-2:]
    images = padded(to_network(hr), spec.factor)
    latents, encode_flops = _counted(lambda: autoencoder.encode(images[:1]))
    _, decode_flops = _counted(lambda: autoencoder.decode(latents))
    shape = latent_shape(spec.latent_channels, spec.factor, rows, columns)
    step = published_step(*shape)
    return Cost(
        rows=rows,
        columns=columns,
        shape=shape,
        parameters=parameters_of(autoencoder),
        encode_flops=encode_flops,
        decode_flops=decode_flops,
        denoiser_parameters=step.parameters,
        denoiser_flops=step.flops,
        nonfinite={name: _nonfinite(autoencoder, images, dtype) for name, dtype in HALF.items()},
        probed=len(hr),
    )


def latent_shape(channels: int, factor: int, rows: int, columns: int) -> tuple[int, int, int]:
    """(channels, rows, columns) of the latent of an image of that many pixels, padded to the factor."""
    return channels, -(-rows // factor), -(-columns // factor)


def parameters_of(autoencoder: Autoencoder) -> int:
    """How many numbers it learned: 0 for haar and identity."""
    network = _network(autoencoder)
    return 0 if network is None else sum(parameter.numel() for parameter in network.parameters())


def _network(autoencoder: Autoencoder) -> nn.Module | None:
    return cast(nn.Module | None, getattr(autoencoder, "network", None))


def _counted(work: Callable[[], Tensor]) -> tuple[Tensor, int]:
    """What the work gives, and its FLOPs."""
    with FlopCounterMode(display=False) as counter:
        result = work()
    return result, int(counter.get_total_flops())


def _nonfinite(autoencoder: Autoencoder, images: Tensor, dtype: torch.dtype) -> float:
    """Share of latent values that are not finite where the network computes in `dtype`, one image at a time.

    Of an autoencoder without a network the latents are cast.
    """
    network = _network(autoencoder)
    if network is None:
        latents = autoencoder.encode(images).to(dtype)
        return float((~latents.isfinite()).double().mean())
    half = copy.deepcopy(network).to(dtype)
    channels = autoencoder.spec.image_channels
    device = next(network.parameters()).device
    shares = []
    for image in images.split(1):
        mean = cast(Network, half).mean(image.expand(-1, channels, -1, -1).to(device, dtype))
        shares.append(float((~mean.isfinite()).double().mean()))
    return sum(shares) / len(shares)
