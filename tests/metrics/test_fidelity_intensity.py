import numpy as np
from torch import Tensor

from latentsr.metrics.fidelity import intensity_bias, mean_intensity

Pairs = dict[str, tuple[Tensor, Tensor]]


def test_values_equal_numpy(pairs: Pairs) -> None:
    for sr, hr in pairs.values():
        means = [image[:, 0].double().numpy().mean(axis=(1, 2)) for image in (sr, hr)]
        np.testing.assert_allclose(mean_intensity(sr), means[0], rtol=1e-5)
        np.testing.assert_allclose(intensity_bias(sr, hr), means[0] - means[1], atol=1e-6)


def test_a_brighter_image_has_its_offset_as_bias(hr: Tensor) -> None:
    np.testing.assert_allclose(intensity_bias(0.5 * hr + 0.25, 0.5 * hr), 0.25, rtol=1e-5)
