import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom.data import get_testdata_file
from safetensors.torch import load_file

from latentsr import io
from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.config import read_signed_json, signed, write_json
from latentsr.degrade import enlarge
from latentsr.diffusion.denoiser import Denoiser, DenoiserSpec
from latentsr.diffusion.latents import LatentSpace, Statistics
from latentsr.errors import InputError, LatentSRError, ModelError, OptionError
from latentsr.upscalers import Sampling, load_upscaler, shipped_models
from latentsr.upscalers.model import SuperResolver, save_model
from latentsr.upscalers.restorer import ModelConfig
from latentsr.volume import Volume


def saved(folder: Path, autoencoder: Path | None = None) -> Denoiser:
    """Saves a model of random weights, in the Haar latent or in that of `autoencoder`, and gives its network."""
    inner = load_autoencoder(autoencoder or "haar")
    channels = inner.spec.latent_channels
    unit = Statistics(mean=(0.0,) * channels, sd=(0.1,) * channels)
    spec = DenoiserSpec(latent_channels=channels, condition_channels=1, channels=(4, 8), layers=1, groups=4)
    config = ModelConfig(
        name="tiny", degradation="bicubic:4", autoencoder="autoencoder" if autoencoder else "haar",
        autoencoder_hash=inner.hash, denoiser=spec, objective="x0", schedule="cosine", solver="dpm++",
        space=LatentSpace(
            conditions=("pixels",), target="residual",
            statistics={"residual": unit, "pixels": Statistics(mean=(0.0,), sd=(0.5,))},
        ),
    )  # fmt: skip
    torch.manual_seed(0)
    network = Denoiser(spec)
    save_model(folder, config, network.state_dict(), card="# tiny\n", autoencoder=autoencoder)
    return network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path / "tiny")
    return tmp_path / "tiny"


def edited(folder: Path, **changes: object) -> None:
    """Changes the config as its author would, its digest with it."""
    write_json(folder / "config.json", signed(read_signed_json(folder / "config.json") | changes))


def volume(slices: int = 3, rows: int = 7, columns: int = 13) -> Volume:
    return Volume.from_array(np.random.default_rng(0).normal(100, 30, (slices, rows, columns)), spacing=(0.8, 1.2))


def test_a_saved_model_loads_with_its_weights_and_facts(tmp_path: Path) -> None:
    network = saved(tmp_path / "tiny")
    model = SuperResolver.load(tmp_path / "tiny", device="cpu")
    assert (model.name, model.scale, model.degradation.text) == ("tiny", 4, "bicubic:4")
    for name, value in model.denoiser.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, network.state_dict()[name], rtol=1e-3, atol=1e-6)
    assert all(v.dtype == torch.float16 for v in load_file(tmp_path / "tiny" / "denoiser.safetensors").values())
    assert set(model.config.files) == {"denoiser.safetensors"}


def test_saving_again_gives_the_same_bytes_and_hash(tmp_path: Path, folder: Path) -> None:
    saved(tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    hashes = {SuperResolver.load(f, device="cpu").hash for f in (folder, tmp_path / "again")}
    assert len(hashes) == 1


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentsr.upscalers.model.write_json", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(LatentSRError, match="cannot write"):
        saved(tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_trained_autoencoder_comes_with_the_model(tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1, latent_channels=2), tmp_path / "vae")
    saved(tmp_path / "tiny", tmp_path / "vae")
    (tmp_path / "tiny").rename(tmp_path / "moved")
    (tmp_path / "vae").rename(tmp_path / "gone")
    model = SuperResolver.load(tmp_path / "moved", device="cpu")
    assert model.restore(torch.rand(1, 1, 5, 6), ids=["a"]).image.shape == (1, 1, 20, 24)
    assert "autoencoder/config.json" in model.config.files


def test_the_card_may_be_edited(folder: Path) -> None:
    before = SuperResolver.load(folder, device="cpu").hash
    (folder / "README.md").write_text("a better card")
    assert SuperResolver.load(folder, device="cpu").hash == before


@pytest.mark.parametrize("name", ["denoiser.safetensors"])
@pytest.mark.parametrize("way", ["missing", "altered", "cut"])
def test_a_missing_or_altered_file_is_named(folder: Path, name: str, way: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if way != "missing":
        (folder / name).write_bytes(content + b" " if way == "altered" else content[:-3])
    with pytest.raises(ModelError, match=f"{name} {'is missing' if way == 'missing' else 'was altered'}"):
        SuperResolver.load(folder, device="cpu")


def test_a_missing_file_of_the_autoencoder_is_named(tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1), tmp_path / "vae")
    saved(tmp_path / "tiny", tmp_path / "vae")
    weights = next((tmp_path / "tiny" / "autoencoder").glob("*.safetensors"))
    weights.unlink()
    with pytest.raises(ModelError, match=f"autoencoder/{weights.name} is missing"):
        SuperResolver.load(tmp_path / "tiny", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"autoencoder_hash": "haar-8"}, "made for another autoencoder than haar"),
        ({"autoencoder": "haar-2"}, "made for another autoencoder than haar-2"),
        ({"autoencoder": "harr"}, "autoencoder 'harr': expected a folder, or one of"),
        ({"format": 2}, "format is 2"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"files": {}}, "does not name denoiser.safetensors"),
        ({"denoiser": {"latent_channels": 16, "condition_channels": 2, "channels": [4, 8], "layers": 1, "groups": 4}},
         "condition_channels|does not fit|misshap|shape|expected"),
        ({"denoiser": {"latent_channels": 16, "condition_channels": 1, "layers": 1_000_000}},
         "denoiser.layers is 1000000; expected less than or equal to 64; get"),
        ({"degradation": "nearest:4"}, "nearest:4"),
        ({"objective": "x1"}, "objective is 'x1'"),
        ({"schedule": "flow"}, "solver 'dpm\\+\\+' does not fit"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_is_a_model_error_on_one_line(folder: Path, changes: dict, message: str) -> None:
    edited(folder, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        SuperResolver.load(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_an_altered_byte_of_the_config_is_noticed(folder: Path) -> None:
    path = folder / "config.json"
    whole = path.read_bytes()
    places = [whole.index(text) + 1 for text in (b'"realism": 0.2', b"0.1", b'"x0"', b'"name": "t', b'"digest": "')]
    for place in (*places, whole.index(b"0.27") + 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match=r"config\.json.*get the whole model again"):
            SuperResolver.load(folder, device="cpu")
    path.write_bytes(whole)
    SuperResolver.load(folder, device="cpu")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_config_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json.*get the whole model again"):
        SuperResolver.load(folder, device="cpu")


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_a_name_that_is_no_model_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=r"expected a model folder with config\.json, or one of"):
        SuperResolver.load(name, device="cpu")


def test_enhance_keeps_values_geometry_and_slices(folder: Path) -> None:
    model, source = SuperResolver.load(folder, device="cpu"), volume()
    enhanced = model.enhance(source)
    assert enhanced.volume.pixels.shape == (3, 28, 52)
    assert enhanced.volume.spacing == (0.2, 0.3)
    assert enhanced.volume.scale == 4
    assert enhanced.uncertainty is None
    back = model.degradation.apply(torch.from_numpy(enhanced.volume.pixels).double()).numpy()
    assert np.abs(back - source.pixels).max() < 1e-4 * (source.window.high - source.window.low)


def test_batches_order_and_names_change_nothing(folder: Path) -> None:
    model, source, sampling = SuperResolver.load(folder, device="cpu"), volume(), Sampling(steps=3)
    together = model.enhance(source, sampling=sampling).volume.pixels
    apart = model.enhance(source, sampling=sampling, batch=1).volume.pixels
    turned = Volume(source.pixels[::-1].copy(), source.spacing, source.window, source.source)
    assert np.allclose(together, apart, atol=2e-3)
    assert np.allclose(model.enhance(turned, sampling=sampling).volume.pixels[::-1], together, atol=2e-3)


def test_uncertainty_is_in_the_units_of_the_file(folder: Path) -> None:
    model, sampling = SuperResolver.load(folder, device="cpu"), Sampling(steps=3, samples=4)
    source = volume(1)
    doubled = Volume.from_array(2 * source.pixels + 7)
    first, second = (model.enhance(v, sampling=sampling).uncertainty for v in (source, doubled))
    assert first.pixels.shape == (1, 28, 52)
    assert first.pixels.min() >= 0
    assert first.pixels.mean() > 0
    unit = torch.from_numpy(source.window.apply(source.pixels))[:, None]
    spread = model.restore(unit, ids=["x"], sampling=sampling).spread
    width = source.window.high - source.window.low
    assert first.pixels.mean() == pytest.approx(float(spread.mean()) * width, rel=0.2)  # other noise, like size
    assert second.pixels.mean() == pytest.approx(2 * first.pixels.mean(), rel=0.2)


def test_provenance_says_how_it_was_made(folder: Path) -> None:
    model = SuperResolver.load(folder, device="cpu")
    said = model.enhance(volume(1), sampling=Sampling(steps=2, seed=9)).provenance
    assert (said.model, said.model_hash, said.seed, said.synthetic) == ("tiny", model.hash, 9, True)
    assert json.loads(said.options)["steps"] == 2
    assert json.loads(said.options)["degradation"] == "bicubic:4"
    images = {
        "posterior mean": [Sampling(), Sampling(steps=2, realism=0)],
        "sample": [Sampling(steps=2)],
        "mean of 3 samples": [Sampling(steps=2, samples=3)],
    }
    for image, samplings in images.items():
        assert {model.provenance(sampling).image for sampling in samplings} == {image}


def test_progress_counts_the_slices(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    model = SuperResolver.load(folder, device="cpu")
    model.enhance(volume(5), batch=2, progress=lambda *counts: told.append(counts))
    assert told == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_a_real_image_is_enlarged(folder: Path) -> None:
    enhanced = SuperResolver.load(folder, device="cpu").enhance(io.read(Path(get_testdata_file("MR_small.dcm"))))
    assert enhanced.volume.pixels.shape == (1, 256, 256)
    assert enhanced.volume.spacing == (0.078125, 0.078125)


def test_a_path_an_array_and_a_volume_are_enhanced_alike(folder: Path) -> None:
    model, path = SuperResolver.load(folder, device="cpu"), Path(get_testdata_file("MR_small.dcm"))
    read = io.read(path)
    expected = model.enhance(read, sampling=Sampling(steps=2, seed=3))
    for source in (path, str(path), read.pixels, read.pixels[0], read.pixels[0].astype(np.int16)):
        found = model.enhance(source, steps=2, seed=3)
        assert np.array_equal(found.volume.pixels, expected.volume.pixels)
        assert found.provenance == expected.provenance
    assert model.enhance(path).volume.source.kind == "dicom"


def test_options_of_enhance_are_those_of_sampling(folder: Path) -> None:
    model = SuperResolver.load(folder, device="cpu")
    several = model.enhance(volume(1), samples=2)
    assert json.loads(several.provenance.options)["steps"] == 16
    assert several.uncertainty is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stepz": 2}, "enhance: unknown key 'stepz'; expected the keys samples, steps, realism"),
        ({"steps": 0}, "enhance: steps is 0"),
        ({"sampling": Sampling(), "steps": 2}, "enhance: sampling and steps are given"),
        ({"batch": 0}, "enhance: batch is 0; expected 1 or more"),
    ],
)
def test_wrong_options_of_enhance_are_errors(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SuperResolver.load(folder, device="cpu").enhance(volume(1), **options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.arange(120.0).reshape(2, 3, 4, 5), "expected"),
        (np.full((4, 4), "a"), "array of <U1: expected real numbers"),
        (np.full((4, 4), np.nan), "NaN or infinite"),
        ([[1, 2], [3, 4]], "image of type list: expected a path, a numpy array or a Volume"),
        ("nowhere.dcm", "nowhere.dcm cannot be read"),
    ],
    ids=["4-D", "text", "nan", "list", "path"],
)
def test_what_is_no_image_is_an_error(folder: Path, source: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SuperResolver.load(folder, device="cpu").enhance(source)


@pytest.fixture(scope="module")
def abdomen() -> torch.Tensor:
    """A real MR image in [0, 1], (1, 1, 256, 448)."""
    mr = io.read(Path(get_testdata_file("examples_overlay.dcm")))
    return torch.from_numpy(mr.window.apply(mr.pixels))[:, None, :256, :448]


def decibel(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


def test_the_shipped_model_is_there() -> None:
    assert shipped_models() == ["latentsr-tiny"]


def test_the_shipped_model_beats_bicubic_and_keeps_the_lr(abdomen: torch.Tensor) -> None:
    model = SuperResolver.load("latentsr-tiny", device="cpu")
    lr = model.degradation.apply(abdomen)
    image = model.restore(lr, ids=["a"]).image
    assert decibel(image, abdomen) > decibel(enlarge(lr, 4), abdomen) + 2
    assert decibel(model.degradation.apply(image.double()), lr) > 100


@pytest.mark.parametrize("realism", [0.0, 1.0])
def test_the_shipped_model_tiles_without_seam(abdomen: torch.Tensor, realism: float) -> None:
    """At least 40 dB to the image in one piece, and gradients across tile borders as there, to 5 %."""
    model = SuperResolver.load("latentsr-tiny", device="cpu")
    lr = model.degradation.apply(abdomen)
    samplings = [Sampling(tile=tile, realism=realism) for tile in (None, 64)]
    whole, tiled = (model.restore(lr, ids=["a"], sampling=one).image for one in samplings)
    assert decibel(whole, tiled) >= 40
    assert not torch.equal(whole, tiled)
    borders = [4 * edge - 1 for edge in (48, 64)]  # tiles at 0 and 48 of 112 latent px
    gradients = [image.diff(dim=-1).abs().mean(dim=(0, 1, 2)) for image in (whole, tiled)]
    at_borders = [float(gradient[borders].mean() / gradient.mean()) for gradient in gradients]
    assert at_borders[1] / at_borders[0] == pytest.approx(1, abs=0.05)


def test_a_folder_named_like_a_shipped_model_must_be_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "latentsr-tiny")
    with pytest.raises(ModelError, match=r"give \./latentsr-tiny for the folder"):
        SuperResolver.load("latentsr-tiny", device="cpu")
    assert SuperResolver.load("./latentsr-tiny", device="cpu").name == "tiny"


def test_a_model_of_another_scale_is_refused(model_folder: Path) -> None:
    assert load_upscaler(model_folder, device="cpu").scale == load_upscaler(model_folder, scale=4).scale == 4
    with pytest.raises(OptionError, match="scale 2: model small enlarges 4 times"):
        load_upscaler(model_folder, scale=2)


@pytest.fixture
def depths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many functions of this package each evaluation of a network was reached through, its own among them."""
    found: list[int] = []
    forward = Denoiser.forward

    def counted(*arguments: object) -> object:
        files = [frame.filename for frame in traceback.extract_stack()]
        found.append(sum(f"{os.sep}latentsr{os.sep}" in file for file in files) + 1)
        return forward(*arguments)

    monkeypatch.setattr(Denoiser, "forward", counted)
    return found


@pytest.mark.parametrize("steps", [1, 2])
def test_six_functions_lead_from_enhance_to_the_network(model_folder: Path, depths: list[int], steps: int) -> None:
    """Tiled or not, so that a reader can follow an image to the network."""
    model = SuperResolver.load(model_folder, device="cpu")
    model.enhance(np.random.default_rng(0).random((9, 300)), steps=steps, tile=64)
    assert max(depths) <= 6


def test_ten_functions_lead_from_the_command_line_to_the_network(
    model_folder: Path, depths: list[int], run: Callable, tmp_path: Path
) -> None:
    file = get_testdata_file("MR_small.dcm", download=False)
    assert run("enhance", file, "-o", tmp_path / "out", "--model", model_folder, "--samples", 2).status == 0
    assert max(depths) <= 10
