"""Data consistency: the projection of an SR result onto the images whose degradation is exactly the input."""

import torch
from torch import Tensor

from latentsr.degrade import Degradation


def project(image: Tensor, lr: Tensor, degradation: Degradation) -> Tensor:
    """The image nearest to `image` among those with A(image) = `lr`: x + A^+(lr - A x).

    Shapes (..., rows, columns), any one intensity scale. It is an orthogonal projection, so where `lr` is A(truth) it
    never raises the squared error against the truth. Computed in float64, since A^+ magnifies rounding.
    Source: range-null space decomposition (Wang 2023, DDNM, eq. 7).
    """
    x, y = image.double(), lr.double()
    return (x + degradation.pinv(y - degradation.apply(x))).to(image.dtype)


def residual(image: Tensor, lr: Tensor, degradation: Degradation) -> Tensor:
    """Largest abs(A(image) - lr) of each image, shape of the leading dimensions."""
    return torch.amax((degradation.apply(image.double()) - lr.double()).abs(), dim=(-2, -1)).to(image.dtype)
