import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import save_file
from typer.testing import CliRunner

from latentsr.autoencoders import SPECS, load_autoencoder
from latentsr.autoencoders.architectures import Taef2
from latentsr.commands.models import models_app
from latentsr.config import sha256
from latentsr.errors import ModelError, StaleError
from latentsr.upscalers.pretrained import KNOWN

HALVES = ("taef2_encoder.pth", "taef2_decoder.pth")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and an empty hub cache."""
    monkeypatch.setenv("LATENTSR_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "home"


@pytest.fixture
def halves(tmp_path: Path) -> list[Path]:
    """TAEF2's two published files, with made-up weights."""
    network, paths = Taef2(), [tmp_path / name for name in HALVES]
    for half, path in zip((network.encoder, network.decoder), paths, strict=True):
        torch.save(half.state_dict(), path)
    return paths


def said(*arguments: object) -> Result:
    """`latentsr models ARGUMENTS...`; an error of ours is raised, as the command line's edge sees it."""
    result = CliRunner().invoke(models_app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def shown(*arguments: object) -> Any:
    result = said(*arguments, "--json")
    assert result.exit_code == 0
    return json.loads(result.output)


def imported(halves: list[Path], *more: object) -> Any:
    return shown("import", "taef2", "--weights", halves[0], "--weights", halves[1], *more)


def test_list_has_every_autoencoder_and_says_what_is_here(halves: list[Path]) -> None:
    before = {row["name"]: row for row in shown("list")}
    assert list(before) == [*SPECS, *KNOWN]
    assert (before["haar"]["here"], before["taef2"]["here"]) == ("built in", "no")
    assert (before["medvae_4_3"]["latent"], before["taef2"]["latent"]) == ("3x64x64", "32x32x32")
    imported(halves)
    assert {row["name"]: row["here"] for row in shown("list")}["taef2"] == "store"


def test_list_is_a_table_with_a_row_each() -> None:
    output = said("list").output
    assert all(any(line.split()[:1] == [name] for line in output.splitlines()) for name in SPECS)
    assert all(
        any(line.split()[:2] == [name, one.architecture] for line in output.splitlines()) for name, one in KNOWN.items()
    )
    assert "medical" in output
    assert "MIT" in output


def test_an_upscaler_is_listed_described_imported_and_checked(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, known = "realesrgan-x4plus", KNOWN["realesrgan-x4plus"]
    facts = shown("info", name)
    assert (facts["kind"], facts["architecture"], facts["scale"], facts["here"]) == ("upscaler", "ESRGAN", 4, "no")
    assert facts["sha256"] == known.sha256
    assert f"fetch {known.file} from {known.where}" in facts["to get it"]
    file = tmp_path / "fetched.pth"
    torch.save({"params_ema": {"a": torch.zeros(1)}}, file)
    with pytest.raises(ModelError, match="SHA-256 is not 4fa0d38905f7"):
        said("import", name, "--weights", file)
    assert not (home / "upscalers").exists()
    monkeypatch.setattr("latentsr.upscalers.pretrained.KNOWN", {name: replace(known, sha256=sha256(file))})
    told = shown("import", name, "--weights", file)
    assert told == {"name": name, "folder": str(home / "upscalers"), "sources": {known.file: sha256(file)}}
    with pytest.raises(StaleError, match="the option overwrite"):
        said("import", name, "--weights", file)
    assert {row["name"]: row["here"] for row in shown("list")}[name] == "store"
    assert shown("info", name)["files"] == {str(home / "upscalers" / known.file): sha256(file)}
    (home / "upscalers" / known.file).write_bytes(file.read_bytes()[:-1])
    facts = shown("info", name)
    assert facts["here"] == "altered"
    assert "fetch again" in facts["to get it"]
    with pytest.raises(ModelError, match="is in no hub repository; fetch"):
        said("pull", name)


def test_info_says_what_to_fetch_and_later_where_the_files_are(halves: list[Path], home: Path) -> None:
    facts = shown("info", "taef2")
    assert (facts["licence"], facts["factor"], facts["here"]) == ("MIT", 8, "no")
    assert (facts["published"], facts["its files"]) == ("huggingface.co/madebyollin/taef2", ["taef2.safetensors"])
    assert "latentsr models import taef2 --weights FILE" in facts["to get it"]
    imported(halves)
    facts = shown("info", "taef2")
    assert facts["made from"] == {path.name: sha256(path) for path in halves}
    assert all(Path(path).is_relative_to(home) and sha256(Path(path)) == h for path, h in facts["files"].items())
    text = said("info", "taef2").output
    assert facts["made from"][HALVES[0]] in text
    assert "to get it" not in text


def test_info_of_what_is_all_code_names_no_files() -> None:
    facts = shown("info", "haar")
    assert facts["here"] == "built in"
    assert facts["lossless"] is True
    assert not {"files", "published", "to get it"} & facts.keys()
    assert "yes" in said("info", "haar").output


def test_import_says_hashes_and_place_and_the_name_is_then_known(halves: list[Path], home: Path) -> None:
    told = imported(halves)
    assert told["folder"] == str(home / "autoencoders" / "taef2")
    assert told["sources"] == {path.name: sha256(path) for path in halves}
    assert load_autoencoder("taef2").hash == load_autoencoder("taef2", weights=halves).hash
    with pytest.raises(StaleError, match="the option overwrite"):
        imported(halves)
    assert imported(halves, "--overwrite") == told


def test_import_of_one_file_in_words(tmp_path: Path, halves: list[Path]) -> None:
    result = said("import", "taef2", "--weights", tmp_path)
    assert f"{HALVES[0]}: SHA-256 {sha256(halves[0])}" in result.output
    assert "every command takes it by its name" in result.output


def test_a_wrong_file_is_refused_and_nothing_is_stored(tmp_path: Path, home: Path) -> None:
    save_file({"encoder.layers.0.weight": torch.zeros(1)}, tmp_path / "taef2.safetensors")
    with pytest.raises(ModelError, match=r"lacks tensor 'decoder\.1\.bias' and \d+ more"):
        said("import", "taef2", "--weights", tmp_path / "taef2.safetensors")
    assert not (home / "autoencoders").exists() or not list((home / "autoencoders").iterdir())


def test_pull_without_a_network_says_what_to_do() -> None:
    with pytest.raises(ModelError, match="cannot be fetched"):
        said("pull", "sdxl-vae")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "medvae43"), r"did you mean medvae_4_3\?"),
        (("pull", "taesd2"), r"expected one of sd-vae-ft-ema, .*; did you mean taesd"),
        (("import", "haar", "--weights", "x"), "'haar': has no weights, it can be used as it is"),
        (("import", "taef2", "--weights", "no.pth"), r"no\.pth: missing"),
        (("info", "realesrgan"), r"did you mean realesrgan-x4plus\?"),
        (("import", "swinir-l-x4-gan", "--weights", "no.pth"), r"no\.pth: missing"),
    ],
)
def test_wrong_names_and_files_are_errors_of_one_line(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        said(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", ["list", "info", "pull", "import"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: latentsr models {command}" in " ".join(said(command, "--help").output.split())
