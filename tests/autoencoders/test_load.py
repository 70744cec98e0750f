from pathlib import Path

import pytest
import torch

from latentsr.autoencoders import SPECS, Autoencoder, load_autoencoder
from latentsr.autoencoders.kl import save_kl
from latentsr.autoencoders.small_kl import SmallKL
from latentsr.errors import ModelError


@pytest.mark.parametrize("name", SPECS)
def test_every_entry_of_the_table_keeps_the_protocol(name: str) -> None:
    autoencoder, spec = load_autoencoder(name), SPECS[name]
    assert isinstance(autoencoder, Autoencoder)
    assert autoencoder.spec == spec
    assert spec.name == name
    images = torch.rand(2, spec.image_channels, 4 * spec.factor, 6 * spec.factor) * 2 - 1
    latents = autoencoder.encode(images)
    assert latents.shape == (2, spec.latent_channels, 4, 6)
    assert autoencoder.decode(latents).shape == images.shape
    assert torch.isfinite(latents).all()
    if spec.lossless:
        assert torch.allclose(autoencoder.decode(latents), images, atol=1e-6)


def test_hashes_tell_the_entries_apart() -> None:
    assert len({load_autoencoder(name).hash for name in SPECS}) == len(SPECS)


def test_a_folder_loads(tmp_path: Path) -> None:
    save_kl(SmallKL(width=4, blocks=1), tmp_path / "vae")
    autoencoder = load_autoencoder(str(tmp_path / "vae"))
    assert isinstance(autoencoder, Autoencoder)
    assert autoencoder.folder == tmp_path / "vae"


def test_another_name_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match="autoencoder 'harr': expected a folder, or one of identity, haar"):
        load_autoencoder("harr")
