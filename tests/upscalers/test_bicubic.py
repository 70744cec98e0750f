import numpy as np
import torch
from PIL import Image

from latentsr.degrade import parse_degradation
from latentsr.upscalers import bicubic

X4 = parse_degradation("bicubic:4")


def test_bicubic_equals_pillow() -> None:
    lr = torch.rand(2, 1, 12, 9)
    sr = bicubic(X4).restore(lr, ["a", "b"]).image
    for image, expected in zip(sr[:, 0], lr[:, 0], strict=True):
        enlarged = Image.fromarray(expected.numpy()).resize((36, 48), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(image, np.asarray(enlarged), atol=1e-6)


def test_the_projected_form_is_true_to_lr() -> None:
    lr = torch.rand(2, 1, 12, 9)
    method = bicubic(X4, projected=True)
    assert method.name == "bicubic+projection"
    torch.testing.assert_close(X4.apply(method.restore(lr, ["a", "b"]).image), lr, rtol=0, atol=1e-5)
