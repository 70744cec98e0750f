"""What a network is told of an LR image: the roles a condition can have, each made in one place."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from latentsr.degrade import enlarge

Encode = Callable[[Tensor], Tensor]

_MAKERS: Mapping[str, Callable[[Tensor, int, Encode], Tensor]] = {
    "latent-up": lambda lr, scale, encode: encode(enlarge(lr, scale)),
    "latent-native": lambda lr, scale, encode: encode(lr),
    "pixels": lambda lr, scale, encode: lr,
}
CONDITIONS = tuple(_MAKERS)


def encode_roles(roles: Sequence[str], lr: Tensor, scale: int, encode: Encode) -> dict[str, Tensor]:
    """Each role of LR images (batch, 1, rows, columns) in [-1, 1], unscaled.

    `latent-up`: latent of the bicubically enlarged LR; `latent-native`: latent of the LR as it is (the published way,
    arXiv 2604.12152's code); `pixels`: the LR itself.
    """
    return {role: _MAKERS[role](lr, scale, encode) for role in roles}
