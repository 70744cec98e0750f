"""Patches of Laplacian pyramids: the descriptors that sliced Wasserstein distance compares.

One image at a time or a batch, each by its own generator, so that order and batches change nothing.
Source: Karras et al. 2018, section 5 and its published code.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.filters import correlate_separable, mirrored
from latentsr.metrics.images import check_image

SMALLEST_LEVEL = 16
PATCH = 7
PATCHES_PER_IMAGE = 128
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def patch_descriptors(
    images: Tensor, generators: Sequence[torch.Generator], *, patches: int = PATCHES_PER_IMAGE
) -> dict[str, Tensor]:
    """7x7 patches at random places of each level of each image's Laplacian pyramid, by level: (batch, patches, 49).

    Levels are named by their smaller side, such as "256", "128", ... "16"; levels under 16 px are not taken.
    At 128 patches an image and level takes 25 kB.

    Args:
        images: (batch, 1, rows, columns) in [0, 1], sides of 16 px or more.
        generators: one an image, on the CPU, seeded from the image's id.
        patches: of each image and level.
    """
    if len(generators) != len(check_image(images)):
        raise InputError(f"{len(generators)} generators for {len(images)} images: expected one an image")
    return {str(min(level.shape[-2:])): _drawn(level, generators, patches) for level in laplacian_pyramid(images)}


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """The band-pass levels of `images` from fine to coarse, the coarsest one a low-pass; their sides halve.

    Each level is the image less its blurred, halved and again enlarged self; their (enlarged) sum is the image.
    """
    if min(images.shape[-2:]) < SMALLEST_LEVEL:
        raise InputError(f"images of {images.shape[-2]}x{images.shape[-1]} px: sides of {SMALLEST_LEVEL} px or more")
    levels = []
    while min(images.shape[-2:]) >= 2 * SMALLEST_LEVEL:
        smaller = _blurred(images)[..., ::2, ::2]
        levels.append(images - enlarged(smaller, (images.shape[-2], images.shape[-1])))
        images = smaller
    return [*levels, images]


def enlarged(image: Tensor, size: tuple[int, int]) -> Tensor:
    """`image` brought to `size` (rows, columns), twice its own: zeros between the pixels, then blurred."""
    spread = torch.zeros(*image.shape[:-2], *size, dtype=image.dtype, device=image.device)
    spread[..., ::2, ::2] = image
    return 4 * _blurred(spread)


def _blurred(image: Tensor) -> Tensor:
    taps = torch.tensor(BINOMIAL, dtype=torch.float64)
    return correlate_separable(mirrored(image, len(BINOMIAL) // 2), taps)


def _drawn(level: Tensor, generators: Sequence[torch.Generator], patches: int) -> Tensor:
    rows, columns = (side - PATCH + 1 for side in level.shape[-2:])
    places = torch.stack([torch.randint(rows * columns, (patches,), generator=source) for source in generators])
    inside = torch.arange(PATCH)
    steps = (inside[:, None] * level.shape[-1] + inside[None, :]).flatten()
    first = places // columns * level.shape[-1] + places % columns
    pixels = (first[..., None] + steps).flatten(1).to(level.device)
    return level.flatten(1).gather(1, pixels).unflatten(1, (patches, PATCH * PATCH))
