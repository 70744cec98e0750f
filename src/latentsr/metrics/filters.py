"""Filters that several measures share, batched so that a CPU runs them fast.

torch convolves a batch of one-channel images on a CPU more than ten times slower than one image of as many channels,
each with its own kernel; so the batch is moved to the channels here.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor


def correlate(image: Tensor, kernel: Tensor) -> Tensor:
    """`image` (batch, 1, rows, columns) correlated with `kernel` (rows, columns), where the kernel lies inside it."""
    batch = image.shape[0]
    weights = kernel.to(image).expand(batch, 1, *kernel.shape)
    return F.conv2d(image.transpose(0, 1), weights, groups=batch).transpose(0, 1)


def correlate_separable(image: Tensor, taps: Tensor) -> Tensor:
    """`image` correlated with `taps` along columns, then rows, where they lie inside the image."""
    return correlate(correlate(image, taps[None, :]), taps[:, None])


def gaussian_taps(size: int, sigma: float) -> Tensor:
    """`size` samples of a Gaussian about its centre, of sum 1, float64."""
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = torch.exp(-offsets.square() / (2 * sigma**2))
    return taps / taps.sum()


def mirrored(image: Tensor, border: int) -> Tensor:
    """`image` with a border mirrored about the edge pixel's centre (numpy's "reflect")."""
    return F.pad(image, (border,) * 4, mode="reflect")


def doubled_edge(image: Tensor, border: int) -> Tensor:
    """`image` with a border mirrored about the edge itself, so that edge pixels repeat (numpy's "symmetric")."""
    for axis in (-2, -1):
        side = image.shape[axis]
        inside = torch.arange(-border, side + border, device=image.device).remainder(2 * side)
        image = image.index_select(axis, torch.minimum(inside, 2 * side - 1 - inside))
    return image


def halvings(image: Tensor) -> Iterator[Tensor]:
    """`image` averaged over blocks of 2x2 pixels on each of the four grids of such: from pixel (0, 0), then from
    (0, 1), (1, 0) and (1, 1) on, what lies before them left out; a block that an odd side cuts is filled with zeros.
    """
    padded = F.pad(image, (0, 1, 0, 1))
    for top in (0, 1):
        rows = padded[..., top:-1:2, :] + padded[..., top + 1 :: 2, :]
        for left in (0, 1):
            yield (rows[..., left:-1:2] + rows[..., left + 1 :: 2]) / 4
