import numpy as np
import piq
import torch
from torch import Tensor
from torchmetrics.functional.image import visual_information_fidelity

from latentsr.metrics.perceptual import vif

Pairs = dict[str, tuple[Tensor, Tensor]]


def test_vif_equals_piq_and_torchmetrics(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        exact = piq.vif_p(sr[:1].double(), hr[:1].double(), data_range=1.0, reduction="none")
        np.testing.assert_allclose(vif(sr.double(), hr.double())[0], exact[0] if exact.ndim else exact, rtol=1e-9)
        np.testing.assert_allclose(vif(sr, hr)[0], exact[0] if exact.ndim else exact, rtol=5e-4)
        second = visual_information_fidelity(sr[:1] * 255, hr[:1] * 255)
        np.testing.assert_allclose(vif(sr, hr)[0], second, rtol=5e-4)


def test_identical_images_carry_all_and_more_contrast_carries_more(hr: Tensor) -> None:
    np.testing.assert_allclose(vif(hr, hr), 1, rtol=1e-5)
    assert (vif((0.5 * hr) * 1.5, 0.5 * hr) > 1).all()


def test_a_constant_hr_has_nothing_to_carry(hr: Tensor) -> None:
    assert vif(hr, torch.full_like(hr, 0.5)).isnan().all()
    assert vif(hr[..., :40], hr[..., :40]).isnan().all()
