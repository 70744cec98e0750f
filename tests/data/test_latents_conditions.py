from typing import get_args

import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.data.latents import CONDITIONS, encode_roles
from latentsr.degrade import enlarge
from latentsr.diffusion.latents import Condition

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


def test_every_condition_of_a_latent_space_can_be_made() -> None:
    assert set(CONDITIONS) == set(get_args(Condition))
