import numpy as np
import pytest
import torch
from scipy.ndimage import convolve
from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.sets import enlarged, laplacian_pyramid, patch_descriptors, pyramid_levels

TAPS = np.array([1, 4, 6, 4, 1]) / 16


def pyramid_of_the_paper(image: np.ndarray) -> list[np.ndarray]:
    """Karras et al. 2018 as their code has it: 5x5 binomial filter, mirrored border."""
    kernel = np.outer(TAPS, TAPS)
    levels = [image]
    while min(levels[-1].shape) >= 32:
        smaller = convolve(levels[-1], kernel, mode="mirror")[::2, ::2]
        spread = np.zeros_like(levels[-1])
        spread[::2, ::2] = smaller
        levels[-1] = levels[-1] - convolve(spread, 4 * kernel, mode="mirror")
        levels.append(smaller)
    return levels


@pytest.mark.parametrize("size", [(256, 256), (131, 200)])
def test_levels_are_those_of_the_paper(hr: Tensor, size: tuple[int, int]) -> None:
    image = hr[:1, :, : size[0], : size[1]].double()
    expected = pyramid_of_the_paper(image[0, 0].numpy())
    found = laplacian_pyramid(image)
    assert len(found) == len(expected)
    for level, second in zip(found, expected, strict=True):
        np.testing.assert_allclose(level[0, 0], second, atol=1e-12)


def test_levels_sum_to_the_image(hr: Tensor) -> None:
    *fine, total = laplacian_pyramid(hr)
    for level in reversed(fine):
        total = level + enlarged(total, (level.shape[-2], level.shape[-1]))
    torch.testing.assert_close(total, hr, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("side", "levels"), [(1, 0), (15, 0), (16, 1), (31, 1), (32, 2), (63, 3), (64, 3), (256, 5)])
def test_no_level_is_under_16_px(hr: Tensor, side: int, levels: int) -> None:
    assert pyramid_levels(side) == levels
    if levels:
        found = laplacian_pyramid(hr[..., :side, :])
        assert len(found) == levels
        assert min(found[-1].shape[-2:]) >= 16


def test_fewer_levels_are_the_finest_ones_and_still_sum_to_the_image(hr: Tensor) -> None:
    whole, (first, second, last) = laplacian_pyramid(hr), laplacian_pyramid(hr, 3)
    torch.testing.assert_close([first, second], whole[:2], rtol=0, atol=0)
    assert last.shape[-2:] == (64, 64)
    total = second + enlarged(last, (128, 128))
    torch.testing.assert_close(first + enlarged(total, (256, 256)), hr, rtol=0, atol=1e-6)
    assert list(patch_descriptors(hr, sources(1, 2, 3), levels=2, patches=4)) == ["x1", "x2"]


def sources(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_patches_are_drawn_by_each_images_own_generator(hr: Tensor) -> None:
    together = patch_descriptors(hr, sources(1, 2, 3), patches=20)
    assert {level: patches.shape for level, patches in together.items()} == dict.fromkeys(
        ("x1", "x2", "x4", "x8", "x16"), (3, 20, 49)
    )
    alone = patch_descriptors(hr[[2]], sources(3), patches=20)
    for level, patches in alone.items():
        torch.testing.assert_close(patches[0], together[level][2], rtol=0, atol=1e-6)


def test_each_patch_is_a_window_of_its_level(hr: Tensor) -> None:
    *_, coarsest = laplacian_pyramid(hr[:1])
    windows = coarsest.unfold(2, 7, 1).unfold(3, 7, 1).reshape(-1, 49)
    patches = patch_descriptors(hr[:1], sources(4))["x16"][0]
    assert ((patches[:, None] - windows[None]).abs().amax(dim=2).amin(dim=1) < 1e-6).all()


def test_unusable_images_are_refused(hr: Tensor) -> None:
    with pytest.raises(InputError, match="1 generators for 3 images"):
        patch_descriptors(hr, sources(1))
    with pytest.raises(InputError, match="6 levels of images of 256x256 px: expected 1 to 5"):
        laplacian_pyramid(hr, 6)
    with pytest.raises(InputError, match="0 levels"):
        patch_descriptors(hr, sources(1, 2, 3), levels=0)
    with pytest.raises(InputError, match="sides of 16 px or more"):
        laplacian_pyramid(hr[..., :15])
