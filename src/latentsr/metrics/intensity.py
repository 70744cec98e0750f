"""Agreement of overall intensity; Bland-Altman limits of the bias are the work of `stats.agreement`."""

from torch import Tensor

from latentsr.metrics.images import check_image, check_pair


def mean_intensity(image: Tensor) -> Tensor:
    """Mean of each image, (batch,), in [0, 1]."""
    return check_image(image).mean(dim=(1, 2, 3))


def intensity_bias(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean SR minus mean HR, (batch,), in [-1, 1]: 0 is best. Source: Bland and Altman 1986."""
    sr, hr = check_pair(sr, hr)
    return (sr - hr).mean(dim=(1, 2, 3))
