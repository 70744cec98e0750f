from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import Tensor

from latentsr.metrics.images import (
    Memo,
    correlate_separable,
    doubled_edge,
    gaussian_taps,
    halvings,
    mirrored,
    once,
    sharing,
)


@pytest.mark.parametrize(("border", "mode"), [(mirrored, "mirror"), (doubled_edge, "reflect")])
def test_filters_equal_scipy(hr: Tensor, border, mode: str) -> None:
    image, taps = hr.double(), gaussian_taps(11, 1.5)
    kernel = taps[:, None] * taps[None, :]
    for found, one in zip(correlate_separable(border(image, 5), taps), image[:, 0].numpy(), strict=True):
        np.testing.assert_allclose(found[0], correlate(one, kernel.numpy(), mode=mode), atol=1e-12)


def test_taps_sum_to_one() -> None:
    assert gaussian_taps(17, 3.4).sum() == pytest.approx(1)


def test_a_border_may_be_wider_than_the_image() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    np.testing.assert_array_equal(doubled_edge(image, 4)[0, 0], np.pad(image[0, 0].numpy(), 4, mode="symmetric"))


def test_halvings_average_blocks_from_each_of_four_pixels_on() -> None:
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    found = list(halvings(image))
    assert len(found) == 4
    for halved, top, left in zip(found, (0, 0, 1, 1), (0, 1, 0, 1), strict=True):
        cropped = image[0, 0, top:, left:].numpy()
        rows, columns = (-(-side // 2) for side in cropped.shape)
        filled = np.zeros((2 * rows, 2 * columns))
        filled[: cropped.shape[0], : cropped.shape[1]] = cropped  # a cut block is filled with zeros
        np.testing.assert_array_equal(halved[0, 0], filled.reshape(rows, 2, columns, 2).mean(axis=(1, 3)))


def test_what_is_made_of_the_images_of_an_open_memo_is_made_once(hr: Tensor, sr: Tensor) -> None:
    made = []

    def scaled(*images: Tensor, factor: int = 2) -> Tensor:
        made.append(factor)
        return factor * sum(images, torch.zeros(()))

    memo, copy = Memo(hr), hr.clone()
    for _ in range(2):  # a method each
        with sharing(memo, Memo(sr, hr)):
            assert once(scaled, hr) is once(scaled, hr)
            assert once(scaled, sr, hr) is once(scaled, sr, hr)
    assert made == [2, 2, 2]
    with sharing(memo):
        torch.testing.assert_close(once(scaled, hr, factor=3), 3 * hr, rtol=0, atol=0)
        assert once(scaled, copy) is not once(scaled, copy)  # not known: it may change
    assert once(scaled, hr) is not once(scaled, hr)
    assert made == [2, 2, 2, 3, 2, 2, 2, 2]


def test_threads_wait_for_what_one_of_them_makes(hr: Tensor) -> None:
    made, memo = [], Memo(hr)

    def mean(image: Tensor) -> Tensor:
        made.append(len(image))
        return image.double().cumsum(dim=-1).mean()

    def measured(_: int) -> Tensor:
        with sharing(memo):
            return once(mean, hr)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(measured, range(16)))
    assert made == [3]
    assert all(one is found[0] for one in found)
