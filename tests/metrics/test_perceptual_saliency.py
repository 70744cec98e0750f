import numpy as np
import piq
import pytest
import torch
from torch import Tensor

from latentsr.metrics.perceptual import saliency, vsi

Pairs = dict[str, tuple[Tensor, Tensor]]


@pytest.mark.filterwarnings("ignore:The original VSI supports only RGB")
def test_vsi_equals_piq_up_to_its_prior_for_colours(pairs: Pairs) -> None:
    large = {"large": tuple(image.repeat(1, 1, 2, 2)[:1, :, :450, :400] for image in pairs["abdomen"])}
    for sr, hr in (pairs | large).values():
        second = piq.vsi(sr, hr, data_range=1.0, reduction="none")
        np.testing.assert_allclose(vsi(sr, hr), second.reshape(-1), atol=2e-4)


def test_identical_images(hr: Tensor) -> None:
    np.testing.assert_allclose(vsi(hr, hr), 1, rtol=1e-6)


def test_saliency_spans_zero_to_one_and_finds_the_bright_spot(hr: Tensor) -> None:
    image = torch.zeros_like(hr[:1])
    image[..., 100:120, 140:160] = 1
    found = saliency(image)
    assert (found.min(), found.max()) == (0, pytest.approx(1))
    row, column = divmod(int(found.argmax()), 256)
    assert 90 < row < 130
    assert 130 < column < 170


def test_constant_images_have_no_value(hr: Tensor) -> None:
    constant = torch.full_like(hr, 0.4)
    assert vsi(constant, constant).isnan().all()
    assert vsi(hr[..., :2], hr[..., :2]).isnan().all()
