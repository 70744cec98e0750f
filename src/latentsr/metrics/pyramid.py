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
    images: Tensor,
    generators: Sequence[torch.Generator],
    *,
    levels: int | None = None,
    patches: int = PATCHES_PER_IMAGE,
) -> dict[str, Tensor]:
    """7x7 patches at random places of each level of each image's Laplacian pyramid, by level: (batch, patches, 49).

    Levels are named by how much coarser their pixels are than the image's, fine to coarse: "x1", "x2", "x4" ...;
    so levels of one name hold the same frequencies, whatever the images' sizes. At 128 patches an image and level
    takes 25 kB.

    Args:
        images: (batch, 1, rows, columns) in [0, 1], sides of 16 px or more.
        generators: one an image, on the CPU, seeded from the image's id.
        levels: as of `laplacian_pyramid`; images of several sizes are comparable in as many as the smallest has.
        patches: of each image and level.
    """
    if len(generators) != len(check_image(images)):
        raise InputError(f"{len(generators)} generators for {len(images)} images: expected one an image")
    pyramid = laplacian_pyramid(images, levels)
    return {f"x{2**octave}": _drawn(level, generators, patches) for octave, level in enumerate(pyramid)}


def pyramid_levels(side: int) -> int:
    """How many levels the pyramid of an image has whose smaller side is `side` px: none of them is under 16 px."""
    levels = int(side >= SMALLEST_LEVEL)
    while side >= 2 * SMALLEST_LEVEL:
        levels, side = levels + 1, (side + 1) // 2
    return levels


def laplacian_pyramid(images: Tensor, levels: int | None = None) -> list[Tensor]:
    """The band-pass levels of `images` from fine to coarse, the coarsest one a low-pass; their sides halve.

    Each level is the image less its blurred, halved and again enlarged self; their (enlarged) sum is the image.
    As many levels as `pyramid_levels` says, or fewer if `levels` is given: then the last one is larger than 16 px.
    """
    most = pyramid_levels(min(images.shape[-2:]))
    if not most:
        raise InputError(f"images of {images.shape[-2]}x{images.shape[-1]} px: sides of {SMALLEST_LEVEL} px or more")
    if levels is not None and not 1 <= levels <= most:
        raise InputError(f"{levels} levels of images of {images.shape[-2]}x{images.shape[-1]} px: expected 1 to {most}")
    found = []
    for _ in range((levels or most) - 1):
        smaller = _blurred(images)[..., ::2, ::2]
        found.append(images - enlarged(smaller, (images.shape[-2], images.shape[-1])))
        images = smaller
    return [*found, images]


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
