from collections.abc import Callable

import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.bench.roundtrip import cost_of, parameters_of

SIDE, WIDTH, CHANNELS, FACTOR = 32, 4, 3, 4


def convolution(layer: torch.nn.Conv2d, side: int) -> int:
    """FLOPs at an output of side x side, by hand: two for each weight and output pixel; the bias is not counted."""
    kernel = layer.kernel_size[0] * layer.kernel_size[1]
    return 2 * kernel * layer.in_channels // layer.groups * layer.out_channels * side**2


@pytest.fixture
def small(tmp_path: object) -> object:
    """A SmallKL of random weights: all its convolutions run at the latent's resolution, 8 x 8."""
    torch.manual_seed(0)
    network = SmallKL(width=WIDTH, blocks=1, latent_channels=CHANNELS, factor=FACTOR)
    save_network(network, tmp_path / "vae")
    return load_autoencoder(tmp_path / "vae")


def of(module: torch.nn.Module) -> list[torch.nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)]


def test_flops_and_parameters_are_those_counted_by_hand(small: object) -> None:
    cost = cost_of(small, torch.rand(2, 1, SIDE, SIDE))
    network, side = small.network, SIDE // FACTOR
    encoding = [*of(network.encoder), network.to_latents]
    decoding = [*of(network.decoder), network.to_patches]
    assert cost.encode_flops == sum(convolution(layer, side) for layer in encoding)
    assert cost.decode_flops == sum(convolution(layer, side) for layer in decoding)
    linear = 2 * FACTOR**2 * CHANNELS * side**2
    assert convolution(network.to_latents, side) == linear
    biases_and_weights = [layer.weight.numel() + len(layer.bias) for layer in (*encoding, *decoding)]
    others = [m for m in network.modules() if not list(m.children()) and not isinstance(m, torch.nn.Conv2d)]
    rest = sum(parameter.numel() for module in others for parameter in module.parameters())
    assert cost.parameters == parameters_of(small) == sum(biases_and_weights) + rest
    assert cost.shape == (CHANNELS, side, side)
    assert cost.probed == 2


def test_a_network_beyond_float16_is_found_by_running_it(small: object) -> None:
    """The linear map's bias of 1e5 is infinite in float16 and finite in bfloat16; one of three channels has it."""
    images = torch.rand(2, 1, SIDE, SIDE)
    assert cost_of(small, images).nonfinite == {"float16": 0.0, "bfloat16": 0.0}
    with torch.no_grad():
        small.network.to_latents.bias[1] = 1e5
    found = cost_of(small, images)
    assert found.nonfinite == {"float16": pytest.approx(1 / 3), "bfloat16": 0.0}
    assert next(small.network.parameters()).dtype == torch.float32


def test_an_autoencoder_without_weights_has_no_parameters(pooling: Callable) -> None:
    cost = cost_of(pooling(2), torch.rand(1, 1, SIDE, SIDE))
    assert (cost.parameters, cost.encode_flops) == (0, 0)
