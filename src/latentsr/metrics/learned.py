"""Perceptual distances of networks that learned on natural photographs: LPIPS and DISTS.

They take (batch, 1, rows, columns) in [0, 1], repeat grey to three channels and give (batch,), NaN for "no value".
Their weights are local files (`weights`); what they say of medical images is a comparison, not a verdict.
"""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentsr.errors import ModelError
from latentsr.metrics.images import check_pair, no_value, smaller_than
from latentsr.metrics.weights import load_tensors, packaged, weights_file

LPIPS_SIDE = 31  # under it AlexNet's poolings leave nothing
LPIPS_LAYERS = (1, 4, 7, 9, 11)
LPIPS_SHIFT = (-0.030, -0.088, -0.188)
LPIPS_SCALE = (0.458, 0.448, 0.450)
DISTS_SIDE = 16
DISTS_MOST = 1.124  # 1 + the share that structure has in the published weights, all of them 0 or more
DISTS_LAYERS = (3, 8, 15, 22, 29)
VGG_POOLS = (4, 9, 16, 23)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
EPSILON = 1e-6


@torch.no_grad()
def lpips(sr: Tensor, hr: Tensor) -> Tensor:
    """Learned perceptual image patch similarity, a distance of 0 or more; NaN for sides under 31 px.

    AlexNet, version 0.1, images in [-1, 1]. Source: Zhang et al. 2018, eq. 1.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, LPIPS_SIDE):
        return no_value(hr)
    path = weights_file("lpips")
    features, linear = _alexnet(path, path.stat().st_mtime_ns, hr.device)
    shift, scale = (hr.new_tensor(values)[:, None, None] for values in (LPIPS_SHIFT, LPIPS_SCALE))
    total = torch.zeros_like(hr[:, 0, 0, 0])
    mine, true = (((2 * image - 1).expand(-1, 3, -1, -1) - shift) / scale for image in (sr, hr))
    for number, layer in enumerate(features):
        mine, true = layer(mine), layer(true)
        if number in LPIPS_LAYERS:
            weight = linear[LPIPS_LAYERS.index(number)].to(hr.dtype)
            total += (weight * (_unit(mine) - _unit(true)).square()).sum(dim=1).mean(dim=(1, 2))
    return total


@torch.no_grad()
def dists(sr: Tensor, hr: Tensor) -> Tensor:
    """Deep image structure and texture similarity, a distance of 0 to DISTS_MOST; NaN for sides under 16 px.

    Above 1 are images whose structure is turned around, as in a negative: likeness of texture is 0 to 1, as no map is
    negative, that of structure, a correlation, -1 to 1. VGG-16 with Hann-windowed poolings, at the images' own size.
    Source: Ding et al. 2020, eq. 9.
    """
    sr, hr = check_pair(sr, hr)
    if smaller_than(hr, DISTS_SIDE):
        return no_value(hr)
    path = weights_file("dists")
    features, alpha, beta = _vgg(path, path.stat().st_mtime_ns, hr.device)
    total, first = torch.zeros_like(hr[:, 0, 0, 0]), 0
    for mine, true in zip(_dists_maps(sr, features), _dists_maps(hr, features), strict=True):
        chosen = slice(first, first + mine.shape[1])
        texture, structure = _texture_and_structure(mine, true)
        total += (alpha[chosen].to(hr.dtype) * texture + beta[chosen].to(hr.dtype) * structure).sum(dim=1)
        first += mine.shape[1]
    return (1 - total).clamp_min(0)  # of equal images the sum may be above 1 by rounding


def _texture_and_structure(mine: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Likeness of the means and of the variations of each feature map, each (batch, channels)."""
    first, second = mine.mean(dim=(2, 3)), true.mean(dim=(2, 3))
    variances = mine.var(dim=(2, 3), correction=0) + true.var(dim=(2, 3), correction=0)
    covariance = (mine * true).mean(dim=(2, 3)) - first * second
    texture = (2 * first * second + EPSILON) / (first.square() + second.square() + EPSILON)
    return texture, (2 * covariance + EPSILON) / (variances + EPSILON)


def _dists_maps(image: Tensor, features: nn.Sequential) -> list[Tensor]:
    """The image itself and the maps of VGG's five stages."""
    image = image.expand(-1, 3, -1, -1)
    mean, sd = (image.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_SD))
    maps, current = [image], (image - mean) / sd
    for number, layer in enumerate(features):
        current = _hann_pooled(current) if number in VGG_POOLS else layer(current)
        if number in DISTS_LAYERS:
            maps.append(current)
    return maps


def _hann_pooled(maps: Tensor) -> Tensor:
    """L2 pooling by half with a 3x3 Hann window, which keeps aliases out (Henaff and Simoncelli 2016)."""
    taps = maps.new_tensor((0.25, 0.5, 0.25))
    kernel = (taps[:, None] * taps[None, :]).expand(maps.shape[1], 1, 3, 3)
    pooled = F.conv2d(maps.square(), kernel, stride=2, padding=1, groups=maps.shape[1])
    return (pooled + 1e-12).sqrt()


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(dim=1, keepdim=True).sqrt() + 1e-8)


@lru_cache(maxsize=2)
def _alexnet(path: Path, _changed: int, device: torch.device) -> tuple[nn.Sequential, list[Tensor]]:
    """AlexNet's layers, and LPIPS's weight of each channel of its five maps, (channels, 1, 1)."""
    from torchvision.models import alexnet

    with torch.device("meta"):  # no time and memory for weights that are replaced or never used
        network = alexnet(weights=None)
    linear = load_tensors(packaged("functional/image/lpips_models/alex.pth"))
    weights = [linear[f"lin{number}.model.1.weight"][0].to(device) for number in range(len(LPIPS_LAYERS))]
    return _layers(network, path, device), weights


@lru_cache(maxsize=2)
def _vgg(path: Path, _changed: int, device: torch.device) -> tuple[nn.Sequential, Tensor, Tensor]:
    """VGG-16's layers, and DISTS's weights of texture and structure, each (channels,), together of sum 1."""
    from torchvision.models import vgg16

    with torch.device("meta"):
        network = vgg16(weights=None)
    learned = load_tensors(packaged("functional/image/dists_models/weights.pt"))
    alpha, beta = (learned[name].flatten().to(device) for name in ("alpha", "beta"))
    total = alpha.sum() + beta.sum()
    return _layers(network, path, device), alpha / total, beta / total


def _layers(network: nn.Module, path: Path, device: torch.device) -> nn.Sequential:
    """The convolutional layers of `network` with the weights of `path`, whose classifier may be missing."""
    given = {name.removeprefix("features."): value for name, value in load_tensors(path).items() if "features." in name}
    features: nn.Sequential = network.features  # type: ignore[assignment]
    try:
        features.load_state_dict(given, assign=True)
    except RuntimeError as error:
        raise ModelError(
            f"weights {path.name} do not fit: {str(error).splitlines()[-1].strip()}; fetch them again"
        ) from error
    for layer in features:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False
    return features.eval().requires_grad_(False).to(device)
