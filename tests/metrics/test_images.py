import numpy as np
import pytest
import torch
from scipy.ndimage import correlate
from torch import Tensor

from latentsr.metrics.images import correlate_separable, doubled_edge, gaussian_taps, halvings, mirrored


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
