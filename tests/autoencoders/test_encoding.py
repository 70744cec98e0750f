import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.encoding import decode_tiled, encode_roles, encode_tiled, from_network, to_network
from latentsr.degrade import enlarge
from latentsr.names import CONDITIONS

LR = torch.rand(2, 1, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_each_role_is_what_it_says() -> None:
    haar = load_autoencoder("haar")
    roles = encode_roles(CONDITIONS, LR, 4, haar.encode)
    assert torch.equal(roles["pixels"], LR)
    assert torch.equal(roles["latent-native"], haar.encode(LR))
    assert torch.equal(roles["latent-up"], haar.encode(enlarge(LR, 4)))
    assert roles["latent-up"].shape == (2, 16, 8, 12)
    assert roles["latent-native"].shape == (2, 16, 2, 3)


@pytest.mark.parametrize("name", CONDITIONS)
def test_only_what_is_asked_for_is_made(name: str) -> None:
    assert list(encode_roles([name], LR, 2, load_autoencoder("haar-2").encode)) == [name]


def test_pixels_need_no_autoencoder() -> None:
    def refuse(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("not to be encoded")

    assert torch.equal(encode_roles(("pixels",), LR, 4, refuse)["pixels"], LR)


@pytest.mark.parametrize("tile", [None, 64])
def test_tiles_of_a_transform_by_blocks_change_nothing(tile: int | None) -> None:
    """The range of pixels there and back, and tiles that Haar's blocks do not see."""
    haar, images = load_autoencoder("haar"), torch.rand(1, 1, 300, 320, generator=torch.Generator().manual_seed(1))
    latents = encode_tiled(haar, to_network(images), tile)
    assert torch.allclose(latents, haar.encode(2 * images - 1), atol=1e-5)
    assert torch.allclose(from_network(decode_tiled(haar, latents, tile)), images, atol=1e-5)
