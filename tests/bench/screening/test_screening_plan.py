from pathlib import Path

import pytest

from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.bench.screening_plan import identify, parse_candidates
from latentsr.errors import ModelError, OptionError


def test_names_folders_and_labels(tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae", facts={"domain": "medical"})
    candidates = parse_candidates(["haar", str(tmp_path / "vae"), f"mine={tmp_path / 'vae'}", "h8=haar-8"])
    assert [one.name for one in candidates] == ["haar", "vae", "mine", "h8"]
    found = identify(candidates, "cpu")
    assert [one.spec.name for one in found] == ["haar", "vae", "vae", "haar-8"]
    assert found[1].hash == found[2].hash
    assert found[1].spec.domain == "medical"


def test_an_unknown_name_lists_the_valid_ones_and_the_nearest() -> None:
    with pytest.raises(
        ModelError, match=r"autoencoder 'medvae_4_2': expected a folder, or one of identity.*did you mean medvae_4"
    ):
        identify(parse_candidates(["medvae_4_2"]), "cpu")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "no autoencoder was given"),
        (["haar", "haar"], "autoencoder haar was given twice; name one of them, as LABEL=FOLDER"),
        (["hr=haar"], "and not hr, bicubic, latentsr-tiny"),
        (["a/b=haar"], "the label made of letters"),
        (["x="], "expected NAME, FOLDER or LABEL=FOLDER"),
    ],
)
def test_texts_that_do_not_serve_are_one_line(texts: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_candidates(texts)


def test_weights_go_to_the_autoencoder_of_their_label(shared: Path) -> None:
    (candidate,) = parse_candidates(["taef2"], weights=[f"taef2={shared / 'weights'}"])
    (found,) = identify([candidate], "cpu")
    assert (found.spec.latent_channels, found.spec.factor) == (32, 8)
    with pytest.raises(OptionError, match="the option weights has 'b=x': expected LABEL=FILE, the label one of taef2"):
        parse_candidates(["taef2"], weights=["b=x"])
