import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from latentsr.degrade import parse_degradation, project
from latentsr.errors import InputError
from latentsr.metrics.fidelity import lr_psnr

X4 = parse_degradation("bicubic:4")


def test_it_equals_scikit_image_on_pillows_reduction(sr: Tensor, hr: Tensor) -> None:
    lr = X4.apply(hr)
    for number in range(3):
        again = Image.fromarray(sr[number, 0].numpy()).resize((64, 64), Image.Resampling.BICUBIC)
        expected = peak_signal_noise_ratio(lr[number, 0].numpy(), np.asarray(again), data_range=1.0)
        np.testing.assert_allclose(lr_psnr(sr, lr, X4)[number], expected, rtol=1e-4)


def test_a_projected_image_is_true_to_its_input_unclamped(sr: Tensor, hr: Tensor) -> None:
    lr = X4.apply(hr)
    projected = project(sr, lr, X4)
    assert (projected < 0).any()
    assert (lr_psnr(projected, lr, X4) > 100).all()


def test_rounding_to_eight_bits_costs_what_it_must(hr: Tensor) -> None:
    values = lr_psnr((hr * 255).round() / 255, X4.apply(hr), X4)
    assert (values > 54).all()
    exact = parse_degradation("area:4")
    assert (lr_psnr(torch.zeros_like(hr), exact.apply(torch.zeros_like(hr)), exact) == torch.inf).all()


def test_an_lr_of_another_scale_is_refused(hr: Tensor) -> None:
    with pytest.raises(InputError, match="check the degradation and its scale"):
        lr_psnr(hr, hr[..., ::2, ::2], X4)
