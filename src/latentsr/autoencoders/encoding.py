"""Images to latents and back: the range of pixels that networks see, tiles, and the roles of LR."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from latentsr.autoencoders.network import FrozenAutoencoder
from latentsr.autoencoders.protocol import Autoencoder
from latentsr.degrade import enlarge
from latentsr.tiling import OVERLAP, apply_tiled


def to_network(images: Tensor) -> Tensor:
    """[-1, 1] of images in [0, 1]; values outside are not clipped."""
    return 2 * images - 1


def from_network(images: Tensor) -> Tensor:
    """[0, 1] of images in [-1, 1]: the inverse of `to_network`."""
    return (images + 1) / 2


def encode_tiled(autoencoder: Autoencoder, images: Tensor, tile: int | None) -> Tensor:
    """The latents of images in [-1, 1], as of `autoencoder.encode`, in tiles of `tile` latent px; None: whole.

    Of one without a network always whole, which takes no more memory than the image.
    """
    factor, tile = autoencoder.spec.factor, tile if autoencoder.spec.has_weights else None
    return apply_tiled(
        autoencoder.encode, images, tile=None if tile is None else tile * factor, overlap=OVERLAP * factor,
        enlarges=1 / factor,
    )  # fmt: skip


def decode_tiled(
    autoencoder: Autoencoder, latents: Tensor, tile: int | None, *, grey: bool = True, check: bool = True
) -> Tensor:
    """The images in [-1, 1], as of `autoencoder.decode`, in tiles of `tile` latent px; None: whole.

    `grey` False: all channels of a network that has several. `check` False: they may not be finite.
    """
    decode, tile = autoencoder.decode, tile if autoencoder.spec.has_weights else None
    if isinstance(autoencoder, FrozenAutoencoder):
        decode = partial(autoencoder.decode, grey=grey, check=check)
    return apply_tiled(decode, latents, tile=tile, overlap=OVERLAP, enlarges=float(autoencoder.spec.factor))


def encode_roles(roles: Sequence[str], lr: Tensor, scale: int, encode: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """What a network is given of LR images (batch, 1, rows, columns) in [-1, 1], by role, unscaled.

    `latent-up`: the latent of the images enlarged `scale` times; `latent-native`: that of LR itself, as in the code of
    arXiv 2604.12152; `pixels`: LR.
    """
    made: dict[str, Callable[[], Tensor]] = {
        "latent-up": lambda: encode(enlarge(lr, scale)), "latent-native": lambda: encode(lr), "pixels": lambda: lr,
    }  # fmt: skip
    return {role: made[role]() for role in roles}
