"""How true an SR image is to its input: its degradation against LR."""

from torch import Tensor

from latentsr.errors import InputError
from latentsr.metrics.hallucination import LinearOperator
from latentsr.metrics.images import precise


def lr_psnr(sr: Tensor, lr: Tensor, degradation: LinearOperator) -> Tensor:
    """PSNR in dB of A(SR) against LR, (batch,), peak 1; +inf where they are identical.

    `sr` is (batch, 1, rows, columns), and may lie outside [0, 1] here: clamping is what breaks the agreement of a
    projected image. Rounded 8-bit images reach 54 to 56 dB. Computed in float64.
    """
    again = degradation.apply(precise(sr))
    if again.shape != lr.shape:
        raise InputError(
            f"LR images of shape {tuple(lr.shape)}, but SR's degrade to {tuple(again.shape)}: "
            "check the degradation and its scale"
        )
    return -10 * (again - precise(lr)).square().mean(dim=(1, 2, 3)).log10().to(sr.dtype)
