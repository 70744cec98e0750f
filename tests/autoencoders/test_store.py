import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils import logging as hub_logging
from safetensors.torch import load_file, save_file

from latentsr.autoencoders import load_autoencoder, store
from latentsr.autoencoders.protocol import CATALOGUE, WEIGHTS
from latentsr.config import sha256
from latentsr.errors import ModelError, StaleError

IMAGES = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and an empty store beside it."""
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(hub: Path, repository: str, source: Path) -> Path:
    """A repository's files as the hub's cache lays them out: links to blobs, large ones named by their SHA-256."""
    root = hub / f"models--{repository.replace('/', '--')}"
    revision = "0123456789abcdef0123456789abcdef01234567"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(revision)
    snapshot = root / "snapshots" / revision
    for path in (p for p in source.rglob("*") if p.is_file()):
        large = path.suffix in (".safetensors", ".ckpt")
        name = sha256(path) if large else hashlib.sha1(path.read_bytes()).hexdigest()
        blob, link = root / "blobs" / name, snapshot / path.relative_to(source)
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link.symlink_to(blob)
    return snapshot


@pytest.mark.parametrize("name", ["sd-vae-ft-ema", "medvae_4_3", "taesd3", "taef2"])
def test_what_lies_in_the_hub_cache_is_used(name: str, hub: Path, publish: Any, tmp_path: Path) -> None:
    weights, config = publish(name, tmp_path / "repository")
    expected = load_autoencoder(name, weights=weights, config=config)
    cached(hub, CATALOGUE[name].publication.repository, tmp_path / "repository")
    place = store.find(name)
    assert place is not None
    assert place.kind == "hub cache"
    found = load_autoencoder(name)
    assert (found.hash, found.spec, found.folder) == (expected.hash, expected.spec, None)
    assert torch.equal(found.encode(IMAGES), expected.encode(IMAGES))


def test_a_hub_cache_that_lacks_a_file_is_as_good_as_none(hub: Path, publish: Any, tmp_path: Path) -> None:
    _, config = publish("sd-vae-ft-mse", tmp_path / "repository")
    config.unlink()
    cached(hub, "stabilityai/sd-vae-ft-mse", tmp_path / "repository")
    assert store.find("sd-vae-ft-mse") is None
    with pytest.raises(ModelError, match="weights are not on this machine; fetch"):
        load_autoencoder("sd-vae-ft-mse")


@pytest.mark.parametrize("harm", ["altered", "cut"])
def test_a_harmed_file_in_the_hub_cache_is_named(harm: str, hub: Path, publish: Any, tmp_path: Path) -> None:
    publish("taesd", tmp_path / "repository")
    blob = (cached(hub, "madebyollin/taesd", tmp_path / "repository") / WEIGHTS).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content if harm == "altered" else content[:-100])
    with pytest.raises(ModelError, match=rf"{WEIGHTS}: cut off or altered"):
        load_autoencoder("taesd")


@pytest.mark.parametrize("name", ["sdxl-vae", "kl-f8", "medvae_8_4", "taef1", "taef2"])
def test_what_is_imported_is_used_under_its_name(name: str, publish: Any, tmp_path: Path) -> None:
    weights, config = publish(name)
    expected = load_autoencoder(name, weights=weights, config=config)
    folder = store.import_weights(name, weights, config)
    assert folder == tmp_path / "home" / "autoencoders" / name
    shutil.rmtree(weights.parent)
    found = load_autoencoder(name)
    assert (found.hash, found.spec, found.folder) == (expected.hash, expected.spec, folder)
    assert torch.equal(found.encode(IMAGES), expected.encode(IMAGES))


def test_the_store_keeps_the_hash_of_every_file_it_came_from(publish: Any) -> None:
    weights, config = publish("medvae_4_4")
    store.import_weights("medvae_4_4", weights, config)
    assert store.imported_from("medvae_4_4") == {weights.name: sha256(weights), config.name: sha256(config)}
    assert store.imported_from("medvae_4_1") == {}


def test_one_altered_number_in_the_store_is_refused(publish: Any) -> None:
    folder = store.import_weights("medvae_4_1", *publish("medvae_4_1"))
    tensors = load_file(folder / WEIGHTS)
    tensors["decoder.conv_out.bias"] += 1e-6
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(ModelError, match=r"altered, its SHA-256 is not that in manifest\.json"):
        load_autoencoder("medvae_4_1")


def test_an_import_replaces_only_when_told(publish: Any, tmp_path: Path) -> None:
    given = publish("taesd")
    folder = store.import_weights("taesd", *given)
    with pytest.raises(StaleError, match="is in the store already; set the option overwrite"):
        store.import_weights("taesd", *given)
    hash = load_autoencoder("taesd").hash
    (folder / "config.json").unlink()
    store.import_weights("taesd", *given, overwrite=True)
    assert load_autoencoder("taesd").hash == hash


@pytest.mark.parametrize("file", ["config.json", WEIGHTS])
def test_what_is_broken_in_the_store_is_named_whatever_the_hub_cache_has(
    file: str, hub: Path, publish: Any, tmp_path: Path
) -> None:
    folder = store.import_weights("taesd", *publish("taesd", tmp_path / "repository"))
    cached(hub, "madebyollin/taesd", tmp_path / "repository")
    (folder / file).unlink()
    with pytest.raises(ModelError, match=str(folder / file)):
        load_autoencoder("taesd")


def test_a_failed_import_leaves_the_old_one_and_nothing_half(publish: Any, tmp_path: Path) -> None:
    folder = store.import_weights("medvae_8_1", *publish("medvae_8_1"))
    before = sha256(folder / WEIGHTS)
    weights, config = publish("medvae_8_1")
    weights.write_bytes(weights.read_bytes()[:-500])
    with pytest.raises(ModelError, match="not a whole file of weights"):
        store.import_weights("medvae_8_1", weights, config, overwrite=True)
    assert sha256(folder / WEIGHTS) == before
    assert [path.name for path in folder.parent.iterdir()] == ["medvae_8_1"]


def test_home_is_the_variable_or_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.home() == tmp_path / "home"
    monkeypatch.delenv("LATENTSR_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert store.home() == tmp_path / "cache" / "latentsr"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.home() == Path.home() / ".cache" / "latentsr"


def test_pull_fetches_exactly_the_files_of_the_catalogue(
    publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, config = publish("medvae_4_3", tmp_path / "repository")
    asked = []

    def fetch(repository: str, file: str, *, local_dir: Path) -> str:
        asked.append((repository, file))
        target = Path(local_dir) / file
        target.parent.mkdir(parents=True, exist_ok=True)
        return shutil.copy(tmp_path / "repository" / file, target)

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: url)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    folder = store.pull("medvae_4_3")
    files = ("model_weights/vae_4x_3c_2D.ckpt", "model_weights/medvae_4x3.yaml")
    assert asked == [("stanfordmimi/MedVAE", file) for file in files]
    assert load_autoencoder("medvae_4_3").hash == load_autoencoder("medvae_4_3", weights=weights, config=config).hash
    assert json.loads((folder / "manifest.json").read_text())["sources"][weights.name] == sha256(weights)
    assert not (tmp_path / "home" / "downloads" / "medvae_4_3").exists()
    with pytest.raises(StaleError, match="already"):
        store.pull("medvae_4_3")


@pytest.mark.parametrize("came", [False, True])
def test_a_pull_that_is_cut_off_keeps_what_came_and_nothing_else(
    came: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = hub_logging.get_verbosity()
    shown = []

    def fetch(repository: str, file: str, *, local_dir: Path) -> str:
        shown.append(hub_logging.get_verbosity())
        folder = Path(local_dir) / ".cache" / "huggingface" / "download"
        folder.mkdir(parents=True)
        (folder / f"{file}.lock").touch()
        if came:
            (folder / "x.0123.incomplete").write_bytes(b"part")
        raise OSError("connection lost")

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: url)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetch)
    with pytest.raises(ModelError, match="connection lost"):
        store.pull("taesd")
    assert (tmp_path / "home" / "downloads" / "taesd").exists() is came
    assert (tmp_path / "home" / "downloads").exists() is came
    assert (shown, hub_logging.get_verbosity()) == ([hub_logging.ERROR], loud)


def test_pull_without_a_network_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("asked twice"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://hub.invalid")  # never a name, RFC 2606
    with pytest.raises(ModelError, match=r"cannot be fetched .*; with no network, fetch .* from huggingface\.co/") as e:
        store.pull("sd-vae-ft-ema")
    assert "\n" not in str(e.value)
    assert not (tmp_path / "home").exists()


def test_pull_of_what_is_in_no_hub_says_where_it_is() -> None:
    with pytest.raises(ModelError, match=r"kl-f4: is in no hub repository; fetch model\.ckpt and config\.yaml from"):
        store.pull("kl-f4")
