import torch

from latentsr.autoencoders.haar import Identity


def test_images_are_their_own_latents() -> None:
    images = torch.rand(2, 1, 7, 5)
    assert torch.equal(Identity().encode(images), images)
    assert torch.equal(Identity().decode(images), images)
    assert (Identity.spec.factor, Identity.spec.latent_channels, Identity.spec.lossless) == (1, 1, True)
