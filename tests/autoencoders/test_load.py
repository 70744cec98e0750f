import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from latentsr.autoencoders import SPECS, Autoencoder, load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.autoencoders.protocol import CATALOGUE
from latentsr.errors import ModelError, OptionError

CODE = [name for name in SPECS if name not in CATALOGUE]


def images(channels: int = 1, rows: int = 32, columns: int = 48) -> torch.Tensor:
    return torch.rand(2, channels, rows, columns, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("name", SPECS)
def test_every_entry_of_the_table_keeps_the_protocol(name: str, publish: Any) -> None:
    if name in CODE:
        autoencoder = load_autoencoder(name)
    else:
        weights, config = publish(name)
        autoencoder = load_autoencoder(name, weights=weights, config=config)
    spec = SPECS[name]
    assert isinstance(autoencoder, Autoencoder)
    assert autoencoder.spec == spec
    assert spec.name == name
    assert spec.has_weights is (name not in CODE)
    latents = autoencoder.encode(images())
    assert latents.shape == (2, spec.latent_channels, 32 // spec.factor, 48 // spec.factor)
    assert latents.dtype == torch.float32
    assert autoencoder.decode(latents).shape == (2, 1, 32, 48)
    assert torch.isfinite(latents).all()
    assert latents.std() > 0
    if spec.image_channels == 3:
        assert torch.equal(latents, autoencoder.encode(images().expand(-1, 3, -1, -1)))
    if spec.lossless:
        assert torch.allclose(autoencoder.decode(latents), images(), atol=1e-6)


@pytest.mark.parametrize("name", CATALOGUE)
def test_what_was_converted_is_saved_and_loaded_alike(name: str, publish: Any, tmp_path: Path) -> None:
    weights, config = publish(name)
    autoencoder = load_autoencoder(name, weights=weights, config=config)
    autoencoder.save(tmp_path / "copy")
    again = load_autoencoder(tmp_path / "copy")
    assert again.hash == autoencoder.hash
    assert again.spec == autoencoder.spec
    assert torch.equal(again.encode(images()), autoencoder.encode(images()))
    again.save(tmp_path / "second")
    assert load_autoencoder(tmp_path / "second").hash == autoencoder.hash


def test_hashes_tell_the_entries_apart(publish: Any, tmp_path: Path) -> None:
    assert len({load_autoencoder(name).hash for name in CODE}) == len(CODE)
    names = ("medvae_4_1", "medvae_4_3", "taesd", "taef2")
    written = {name: publish(name, tmp_path / name) for name in names}
    assert len({load_autoencoder(n, weights=w, config=c).hash for n, (w, c) in written.items()}) == len(names)


@pytest.mark.parametrize("name", CODE)
def test_what_is_all_code_has_nothing_to_save(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no files to write"):
        load_autoencoder(name).save(tmp_path / "copy")


def test_a_folder_loads(tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae")
    autoencoder = load_autoencoder(str(tmp_path / "vae"))
    assert isinstance(autoencoder, Autoencoder)
    assert autoencoder.folder == tmp_path / "vae"


def test_a_folder_keeps_its_name_and_is_signed_where_it_is_copied(tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae", facts={"domain": "medical", "steps": 3})
    (autoencoder := load_autoencoder(tmp_path / "vae")).save(tmp_path / "cache" / "autoencoder")
    copy = load_autoencoder(tmp_path / "cache" / "autoencoder")
    assert (copy.hash, copy.spec, copy.spec.domain) == (autoencoder.hash, autoencoder.spec, "medical")
    manifest = json.loads((tmp_path / "cache" / "autoencoder" / "manifest.json").read_text())
    assert (manifest["steps"], manifest["spec"]["name"], len(manifest["weights_sha256"])) == (3, "vae", 64)


def test_the_domain_of_a_folder_that_does_not_say_is_unknown(publish: Any, tmp_path: Path) -> None:
    _, config = publish("sd-vae-ft-ema")
    assert load_autoencoder(config.parent).spec.domain == "unknown"
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae")
    assert load_autoencoder(tmp_path / "vae").spec.domain == "unknown"
    load_autoencoder(tmp_path / "vae").save(tmp_path / "copy")
    assert load_autoencoder(tmp_path / "copy").spec.domain == "unknown"
    assert {name for name, spec in SPECS.items() if spec.domain == "none"} == set(CODE)
    assert "unknown" not in {spec.domain for spec in SPECS.values()}


def test_the_config_is_found_beside_the_weights(publish: Any) -> None:
    weights, config = publish("medvae_8_1")
    beside = load_autoencoder("medvae_8_1", weights=weights)
    assert beside.hash == load_autoencoder("medvae_8_1", weights=weights, config=config).hash
    assert beside.hash == load_autoencoder("medvae_8_1", weights=weights.parents[1]).hash  # the repository's folder
    assert beside.hash == load_autoencoder("medvae_8_1", weights=weights.parent).hash
    config.unlink()
    with pytest.raises(ModelError, match=r"no medvae_8x1\.yaml beside .*; put it there"):
        load_autoencoder("medvae_8_1", weights=weights)


def test_another_name_lists_what_there_is_and_the_nearest() -> None:
    with pytest.raises(ModelError, match=r"'harr': expected a folder, or one of identity, haar.*; did you mean haar\?"):
        load_autoencoder("harr")
    with pytest.raises(ModelError, match=r"did you mean medvae_4_3\?"):
        load_autoencoder("MedVAE-4-3")
    with pytest.raises(ModelError, match=r"taef2$"):
        load_autoencoder("xyzzy")


@pytest.mark.parametrize("name", CATALOGUE)
def test_without_weights_the_error_says_what_to_fetch_and_where_to_put_it(name: str, tmp_path: Path) -> None:
    publication = CATALOGUE[name].publication
    with pytest.raises(ModelError) as caught:
        load_autoencoder(name)
    message = str(caught.value)
    assert "\n" not in message
    assert all(file in message for file in publication.files)
    assert publication.where in message
    assert f"latentsr models import {name} --weights FILE" in message
    assert str(tmp_path / "home" / "autoencoders" / name) in message
    assert (f"latentsr models pull {name}" in message) is bool(publication.repository)


@pytest.mark.parametrize("name", ["haar", "identity"])
def test_weights_for_what_has_none_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"{name}: takes neither weights"):
        load_autoencoder(name, weights=tmp_path)


def test_weights_of_another_entry_are_refused(publish: Any) -> None:
    weights, config = publish("medvae_4_1")
    with pytest.raises(ModelError, match=r"medvae_4_3: .*\(1, 1, 4\), expected \(3, 3, 4\)"):
        load_autoencoder("medvae_4_3", weights=weights, config=config)


def test_a_config_without_weights_and_too_many_weights_are_refused(publish: Any) -> None:
    weights, config = publish("taesd")
    with pytest.raises(OptionError, match="config of weights without weights"):
        load_autoencoder("taesd", config=config)
    with pytest.raises(OptionError, match="2 files of weights, expected one"):
        load_autoencoder("taesd", weights=(weights, weights), config=config)
    with pytest.raises(OptionError, match="takes no config"):
        load_autoencoder("taef2", weights=weights, config=config)
    with pytest.raises(ModelError, match="holds no weights of taesd3"):
        load_autoencoder("taesd3", weights=weights.parent / "..")


def test_facts_are_frozen_and_one_table() -> None:
    assert {published.spec for published in CATALOGUE.values()} <= set(SPECS.values())
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPECS["haar"].factor = 2  # type: ignore[misc]
    assert json.dumps(dataclasses.asdict(SPECS["taef2"]))


SIZES = {"sd-vae-ft-ema": (128, 256, 512, 512), "sd-vae-ft-mse": (128, 256, 512, 512), "sdxl-vae": (128, 256, 512, 512)}


@pytest.mark.parametrize(("name", "widths"), SIZES.items())
def test_facts_of_the_large_ones_are_those_of_their_published_sizes(name: str, widths: tuple[int, ...]) -> None:
    """Shapes alone, on the meta device: 84 M parameters are not made."""
    from diffusers import AutoencoderKL

    spec = SPECS[name]
    with torch.device("meta"):
        kl = AutoencoderKL(
            block_out_channels=widths, layers_per_block=2, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
        latents = kl.encode(torch.zeros(1, spec.image_channels, 256, 256)).latent_dist.mean
    assert latents.shape == (1, spec.latent_channels, 256 // spec.factor, 256 // spec.factor)
    assert round(sum(p.numel() for p in kl.parameters()) / 1e6, 1) == 83.7
