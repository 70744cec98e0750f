"""Methods that make SR images from LR images, behind one protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from latentsr.autoencoders.protocol import Autoencoder
from latentsr.degrade import Degradation, enlarge, project

BICUBIC = "bicubic"
BICUBIC_PROJECTED = "bicubic+projection"


@dataclass(frozen=True)
class Method:
    """A way to make SR images, by the name that tables give it.

    `restore` takes LR images (batch, 1, rows, columns), float in [0, 1] but for the degradation's overshoot, and the
    record id of each; it gives SR images (batch, 1, scale x rows, scale x columns) on the same intensity scale.
    `autoencoder` is the one in whose latents a model works, None for all else; `bits` are the least of a pixel where
    the images are files, None where they are made in float.
    """

    name: str
    restore: Callable[[Tensor, Sequence[str]], Tensor]
    autoencoder: Autoencoder | None = None
    bits: int | None = None


def bicubic(degradation: Degradation, *, projected: bool = False) -> Method:
    """Bicubic enlargement, or with `projected` the image nearest to it whose degradation is exactly the LR."""

    def restore(lr: Tensor, ids: Sequence[str]) -> Tensor:  # noqa: ARG001 - every method is told the ids
        image = enlarge(lr, degradation.scale)
        return project(image, lr, degradation) if projected else image

    return Method(BICUBIC_PROJECTED if projected else BICUBIC, restore)
