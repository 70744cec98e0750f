import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentsr import terminal
from latentsr.autoencoders import load_autoencoder
from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.config import read_signed_json, read_yaml, sha256, write_json
from latentsr.data.duplicates import pixel_digest
from latentsr.data.latents import LatentCache, fill_cache
from latentsr.data.records import Record, write_dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.diffusion.denoiser import DenoiserSpec
from latentsr.diffusion.latents import LatentSpace
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.job import JobFolder, run_folder
from latentsr.provenance import ESTIMATE, RESEARCH_USE
from latentsr.training.crops import LatentCrops
from latentsr.training.denoiser import TrainConfig
from latentsr.training.fit_denoiser import (
    calibrated_spread,
    fit_denoiser,
    model_card,
    trained_inputs,
    training_state,
)
from latentsr.upscalers import Sampling
from latentsr.upscalers.inputs import LrKind
from latentsr.upscalers.model import SuperResolver
from latentsr.upscalers.restorer import ModelConfig, Restorer
from latentsr.volume import Volume

TINY = TrainConfig(channels=(8, 8), layers=1, groups=4, crop=8, batch=2, steps=8, validate_every=4, seed=3)


def picture(seed: int, side: int = 32) -> np.ndarray:
    smooth = np.random.default_rng(seed).normal(size=(side, side)).cumsum(0).cumsum(1)
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def fitted(cache: LatentCache, out: Path, **options: object) -> Path:
    return fit_denoiser(cache, out, TINY.model_copy(update=options), device="cpu")


def copied(model: Path, folder: Path) -> Path:
    """A model and the run beside it, copied into a folder, where they may be changed."""
    for path in (model, run_folder(model)):
        shutil.copytree(path, folder / path.name)
    return folder / model.name


@pytest.fixture
def tiny(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return copied(trained, tmp_path)


@pytest.fixture(scope="module")
def extended(cache: LatentCache, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It after an undisturbed extension to 14 steps, the last epoch a short one; to be read only."""
    return fitted(cache, copied(trained, tmp_path_factory.mktemp("extended")), steps=14)


def end_of(model: Path) -> dict:
    """What the run says of the end of its training."""
    return json.loads((run_folder(model) / "manifest.json").read_text())


def contents(folder: Path) -> dict[str, bytes]:
    """All but the card, which tells the minutes, and the config, which has the card's hash."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("README.md", "config.json")}


def test_a_training_leaves_a_model_that_restores_and_says_how_it_was_made(cache: LatentCache, trained: Path) -> None:
    model, run = SuperResolver.load(trained, device="cpu"), run_folder(trained)
    assert (model.name, model.scale, model.config.modalities) == ("tiny", 4, ("MR",))
    assert (model.config.trained_on, model.config.size, model.config.solver) == (("made",), (32, 32), "dpm++")
    assert model.restore(torch.rand(1, 1, 5, 7), ids=["a"]).image.shape == (1, 1, 20, 28)
    assert model.training_images == {pixel_digest(picture(n)) for n in range(3)}  # not those of valid
    facts = json.loads((run / "manifest.json").read_text())
    assert (facts["steps"], facts["images"], facts["cache"]) == (8, {"made": 3}, cache.hash)
    assert TrainConfig.model_validate(read_yaml(run / "train.yaml")) == TINY
    assert "8 steps of 2 crops of 8 latent px" in (trained / "README.md").read_text()
    logged = (run / "logs" / "version_0" / "metrics.csv").read_text()
    assert "psnr_bicubic" in logged.splitlines()[0]
    assert list((run / "logs" / "version_0").glob("events.out.tfevents.*"))
    assert read_signed_json(run / "facts.json") == {"config": TINY.facts, "cache": cache.hash}
    assert sorted(path.name for path in (run / "pictures").iterdir()) == ["step-000004.png", "step-000008.png"]
    shown = read_pixels(run / "pictures" / "step-000008.png")
    assert shown.shape == (96, 96)
    assert np.array_equal(shown[:, 64:], np.concatenate([picture(10 + n) for n in range(3)]))


def test_a_model_knows_what_its_training_images_looked_like(tmp_path: Path, trained: Path) -> None:
    assert "inputs" not in read_signed_json(
        trained / "config.json"
    )  # three small pictures without a spacing say nothing
    records = []
    for number in range(50):
        path, spacing = tmp_path / "data" / f"{number:02}.png", (0.5, 0.4 + number / 100)
        write_pixels(path, picture(number, 64))
        records.append(Record(path.stem, path.stem, "train", path.name, 64, 64, sha256(path), spacing))
    dataset = write_dataset(tmp_path / "data", "mm", records, {})
    cache = fill_cache([dataset], load_autoencoder("haar"), parse_degradation("bicubic:4"), tmp_path / "cache")
    assert cache.spacing == (0.4, 0.89)
    made = fitted(cache, tmp_path / "model", steps=1, calibrate=False)
    model = SuperResolver.load(made, device="cpu")
    assert model.inputs == model.config.inputs
    assert (model.inputs.spacing, list(model.inputs.kinds)) == (pytest.approx((1.6, 3.56)), ["mm"])
    lr = torch.from_numpy(np.array(cache.array("train", "pixels")))
    assert model.inputs.kinds["mm"] == LrKind.of((lr + 1) / 2)
    tuned = TINY.model_copy(update={"degradations": ("kspace:4",)})
    assert trained_inputs(cache, tuned, None).kinds == {}  # LR of the training is of several kinds
    assert trained_inputs(cache, tuned, model).kinds == {}
    pictures = [dataset.image(record) for record in records[:3]]
    shown = Volume.from_array(np.stack(pictures)[:, ::4, ::4], spacing=(9.0, 9.0))
    found = model.unlike(shown)
    assert found[-1].startswith("noise unlike training")  # LR without the filter
    assert found[-2] == "pixel spacing unlike training (1.6 to 3.56 mm): structures of another size in pixels"
    assert model.undoing(parse_degradation("kspace:4")).unlike(shown) == found[:-1]


def test_the_scores_are_those_of_the_model_that_is_saved(cache: LatentCache, trained: Path) -> None:
    said = end_of(trained)["validation"]
    hr = torch.from_numpy(np.array(cache.array("valid", "image")))
    model = SuperResolver.load(trained, device="cpu")
    lr = model.degradation.apply(hr)
    scores = {
        "psnr": model.restore(lr, ids=cache.ids("valid")).image, "psnr_bicubic": enlarge(lr, 4)
    }  # fmt: skip
    for name, image in scores.items():
        errors = (image.clamp(0, 1) - hr).square().mean(dim=(1, 2, 3))
        assert said[name] == pytest.approx(float(-10 * errors.log10().mean()), abs=0.05)  # float16 weights


SLOW = pytest.mark.slow


KILLED = """
import os, signal
from pathlib import Path
from types import SimpleNamespace
from latentsr.data.latents import open_cache
from latentsr.training import crops, fit_denoiser
from latentsr.training.denoiser import TrainConfig
cache, out, options, place = arguments
def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
draw = crops.LatentCrops.__getitem__
if place == "save":
    fit_denoiser.save_model = kill
else:
    crops.LatentCrops.__getitem__ = lambda self, n: kill() if n == int(place) else draw(self, n)
fit_denoiser.fit_denoiser(open_cache(cache), Path(out), TrainConfig.model_validate_json(options), device="cpu")
"""


@pytest.fixture
def killed(cache: LatentCache, untrained: Callable[..., int]) -> Callable[..., None]:
    """(out, place, **options): a training in its own process that is killed at a sample, or before it saves."""

    def train(out: Path, place: int | str, **options: object) -> None:
        text = TINY.model_copy(update=options).model_dump_json()
        assert untrained(KILLED, cache.root, out, text, place) == -signal.SIGKILL

    return train


@pytest.mark.parametrize(
    ("place", "held"), [pytest.param(3, None, marks=SLOW), (13, 4), pytest.param("save", 8, marks=SLOW)]
)
def test_resume_after_sigkill_equals_an_undisturbed_run(
    cache: LatentCache, trained: Path, tmp_path: Path, killed: Callable, place: int | str, held: int | None
) -> None:
    out = tmp_path / "tiny"
    killed(out, place)
    checkpoint = run_folder(out) / "checkpoints" / "last.ckpt"
    assert not out.exists()
    assert checkpoint.is_file() == (held is not None)
    if held:
        assert torch.load(checkpoint, weights_only=True)["global_step"] == held
    ends = [end_of(fitted(cache, out)), end_of(trained)]
    assert ends[0]["steps"] == ends[1]["steps"] == 8
    assert ends[0]["validation"] == ends[1]["validation"]
    assert contents(out) == contents(trained)


def test_a_finished_training_is_left_and_another_is_stale(
    made: Callable[..., LatentCache], cache: LatentCache, tiny: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert fitted(cache, tiny) == fitted(cache, tiny, workers=3) == tiny
    with pytest.raises(StaleError, match="of other options, cache or scores"):
        fitted(cache, tiny, seed=4)
    other = made(tmp_path / "other", ("train",))
    with pytest.raises(StaleError, match="of other options, cache or scores"):
        fitted(other, tiny)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_training_is_new_unfinished_finished_or_extended(cache: LatentCache, tiny: Path, tmp_path: Path) -> None:
    facts, more = ({"config": TINY.model_copy(update={"steps": steps}).facts, "cache": cache.hash} for steps in (8, 9))

    def state(out: Path, facts: dict) -> tuple:
        folder = JobFolder(run_folder(out), "training", "facts.json", frozenset(), "options", shared=True)
        return training_state(folder, out, facts)

    assert state(tmp_path / "other", facts) == ("new", None)
    assert state(tiny, facts) == ("finished", None)
    assert state(tiny, more) == ("extended", facts)
    run = run_folder(tiny)
    whole, record = contents(tiny), (run / "facts.json").read_bytes()
    (run / "facts.json").unlink()  # killed after its model was written, before its record
    assert state(tiny, facts) == ("unfinished", None)
    assert contents(fitted(cache, tiny)) == whole
    assert (run / "facts.json").read_bytes() == record
    (run / "facts.json").unlink()
    tiny.rename(tmp_path / "away")
    assert state(tiny, facts) == ("unfinished", None)
    tiny.mkdir()
    with pytest.raises(StaleError):
        state(tiny, facts)


def test_an_unfinished_training_is_not_gone_on_with_under_other_options(
    cache: LatentCache, tiny: Path, tmp_path: Path
) -> None:
    tiny.rename(tmp_path / "away")
    with pytest.raises(StaleError, match=r"last\.ckpt: was made with other options"):
        fitted(cache, tiny, learning_rate=1e-3)
    assert not tiny.exists()


def test_training_lowers_the_error_on_what_it_sees(made: Callable[..., LatentCache], tmp_path: Path) -> None:
    """Enough steps on three images, and the restored training image is nearer to the truth than bicubic."""
    cache = made(tmp_path, ("train",))
    options = {
        "channels": (8, 8),
        "steps": 60,
        "validate_every": 60,
        "batch": 8,
        "pure_noise_share": 1.0,
        "ema": 0.9,
    }
    model = SuperResolver.load(fitted(cache, tmp_path / "tiny", **options, learning_rate=1e-2), device="cpu")
    hr = torch.from_numpy(np.stack([picture(n) for n in range(3)]))[:, None].float() / 255
    lr = model.degradation.apply(hr)
    errors = [
        float((image - hr).square().mean()) for image in (model.restore(lr, ids=list("abc")).image, enlarge(lr, 4))
    ]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize(
    "options",
    [
        {"objective": "epsilon"}, {"objective": "v", "schedule": "linear"}, {"objective": "flow", "schedule": "flow"},
        {"conditions": ("latent-up", "pixels"), "target": "latent", "loss": "l1", "snr_weight": True},
    ],
    ids=str,
)  # fmt: skip
def test_every_objective_trains_to_a_model_that_restores(cache: LatentCache, tmp_path: Path, options: dict) -> None:
    out = fitted(cache, tmp_path / "tiny", steps=2, validate_every=2, **options)
    model = SuperResolver.load(out, device="cpu")
    assert model.config.objective == options.get("objective", "x0")
    restored = model.restore(torch.rand(1, 1, 8, 8), ids=["a"], sampling=Sampling(steps=2))
    assert restored.image.shape == (1, 1, 32, 32)


def test_a_regression_network_is_trained_and_applied_like_a_model(cache: LatentCache, tmp_path: Path) -> None:
    small = {"channels": (8,), "layers": 2, "batch": 4, "steps": 60, "ema": 0.9, "learning_rate": 3e-3}
    config = TrainConfig(family="regression", validate_every=60, **small)
    out = fit_denoiser(cache, tmp_path / "edsr", config, device="cpu")
    model = SuperResolver.load(out, device="cpu")
    hr = torch.from_numpy(np.stack([picture(n) for n in range(3)]))[:, None].float() / 255
    lr = model.degradation.apply(hr)
    image = model.restore(lr, ids=list("abc")).image
    assert torch.equal(image, model.restore(lr, ids=list("def"), sampling=Sampling(seed=5)).image)
    assert (image - hr).square().mean() < (enlarge(lr, 4) - hr).square().mean()
    assert (model.image_kind(Sampling()), model.evaluations(Sampling())) == (ESTIMATE, 1)
    for options in ({"steps": 4}, {"solver": "ddim"}, {"steps": 4, "samples": 2}):
        with pytest.raises(OptionError, match="regression network"):
            model.check(Sampling(**options))
    assert "EDSR, 2 blocks of 8 channels" in (out / "README.md").read_text()


def test_a_regression_needs_a_latent_that_loses_nothing(made: Callable[..., LatentCache], tmp_path: Path) -> None:
    save_network(SmallKL(width=4, blocks=1, latent_channels=2), tmp_path / "vae")
    cache, config = made(tmp_path, autoencoder=tmp_path / "vae"), TrainConfig(family="regression", crop=8, steps=1)
    with pytest.raises(OptionError, match="haar"):
        fit_denoiser(cache, tmp_path / "edsr", config, device="cpu")
    assert not (tmp_path / "edsr.run").exists()


def test_in_the_latent_of_a_trained_autoencoder_the_model_needs_nothing_else(
    made: Callable[..., LatentCache], tmp_path: Path
) -> None:
    save_network(SmallKL(width=4, blocks=1, latent_channels=2), tmp_path / "vae")
    cache = made(tmp_path, autoencoder=tmp_path / "vae")
    out = fitted(cache, tmp_path / "tiny", steps=2, validate_every=2)
    out.rename(tmp_path / "moved")
    for gone in ("vae", "cache"):
        (tmp_path / gone).rename(tmp_path / f"{gone}-gone")
    model = SuperResolver.load(tmp_path / "moved", device="cpu")
    assert model.restore(torch.rand(1, 1, 5, 6), ids=["a"]).image.shape == (1, 1, 20, 24)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"crop": 16}, OptionError, "crop 16: latents are 8 px wide"),
        ({"conditions": ("latent-native",)}, InputError, "the condition latent-native"),
        ({"steps": None}, OptionError, "by the option steps or minutes"),
    ],
)
def test_bad_options_are_one_line_and_nothing_is_written(
    cache: LatentCache, tmp_path: Path, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        fitted(cache, tmp_path / "tiny", **options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", [pytest.param(27, marks=SLOW), "save"])
def test_a_killed_extension_goes_on_and_equals_an_undisturbed_one(
    cache: LatentCache, tiny: Path, extended: Path, killed: Callable, place: int | str
) -> None:
    """From 8 steps to 14, two samples a step."""
    before = contents(tiny)
    killed(tiny, place, steps=14)
    assert contents(tiny) == before
    SuperResolver.load(tiny, device="cpu")
    fitted(cache, tiny, steps=14)
    assert [end_of(out)["steps"] for out in (tiny, extended)] == [14, 14]
    assert contents(tiny) == contents(extended) != before
    assert "14 steps of" in (tiny / "README.md").read_text()
    assert not (run_folder(tiny) / "earlier").exists()


def test_a_finished_training_is_extended_by_more_steps_alone(cache: LatentCache, tiny: Path) -> None:
    first = contents(tiny)
    assert contents(fitted(cache, tiny, steps=4)) == contents(fitted(cache, tiny, steps=8)) == first
    with pytest.raises(StaleError, match="of other options, cache or scores"):
        fitted(cache, tiny, steps=12, learning_rate=1e-3)
    fitted(cache, tiny, steps=10)
    longer = contents(tiny)
    assert longer != first
    assert end_of(tiny)["steps"] == 10
    assert TrainConfig.model_validate(read_yaml(run_folder(tiny) / "train.yaml")).steps == 10
    assert contents(fitted(cache, tiny)) == longer
    (run_folder(tiny) / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(StaleError, match=r"its last checkpoint is missing"):
        fitted(cache, tiny, steps=12)


def test_an_extension_that_is_killed_between_the_two_models_is_made_whole(
    cache: LatentCache, tiny: Path, extended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if target == tiny:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(Path, "replace", stop)
        fitted(cache, tiny, steps=14)
    assert not tiny.exists()
    assert contents(fitted(cache, tiny, steps=14)) == contents(extended)


def test_a_model_is_fine_tuned_from_its_weights_and_statistics(
    made: Callable[..., LatentCache], trained: Path, tmp_path: Path
) -> None:
    parent = SuperResolver.load(trained, device="cpu")
    other = made(tmp_path / "other", ("valid", "train"))
    options = {"init": str(trained), "steps": 1, "learning_rate": 1e-12}
    child = SuperResolver.load(fitted(other, tmp_path / "child", **options), device="cpu")
    for name, value in child.denoiser.state_dict().items():
        assert torch.allclose(value, parent.denoiser.state_dict()[name], atol=1e-6), name
    assert child.config.space == parent.config.space
    assert child.training_images == {pixel_digest(picture(n)) for n in (0, 1, 2, 10, 11, 12)}
    assert child.config.parent is not None
    assert (child.config.parent.name, child.config.parent.hash) == ("tiny", parent.hash)
    assert f"fine-tuned from | tiny, SHA-256 {parent.hash}" in (tmp_path / "child" / "README.md").read_text()
    assert fitted(other, tmp_path / "child", **options) == tmp_path / "child"
    with pytest.raises(StaleError, match="of other options"):
        fitted(other, tmp_path / "child", **{**options, "init": None})


def test_init_of_another_form_says_what_differs(
    made: Callable[..., LatentCache], cache: LatentCache, trained: Path, tmp_path: Path
) -> None:
    for options, words in (
        ({"channels": (8, 12)}, r"channels is \(8, 12\), its own \(8, 8\)"),
        ({"objective": "v", "layers": 2}, "objective is v, its own x0; layers is 2, its own 1"),
        ({"conditions": ("latent-up",)}, r"conditions is \('latent-up',\), its own \('pixels',\); condition_channels"),
    ):
        with pytest.raises(OptionError, match=words) as caught:
            fitted(cache, tmp_path / "child", init=str(trained), **options)
        assert "\n" not in str(caught.value)
    haar2 = made(tmp_path / "haar2", autoencoder="haar-2")
    with pytest.raises(OptionError, match=r"autoencoder is haar-2 \(haar-2\), its own haar \(haar-4\)"):
        fitted(haar2, tmp_path / "child", init=str(trained))
    assert not (tmp_path / "child.run").exists()


def test_minutes_include_the_calibration(cache: LatentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three seconds, what a slow sampler will take for three images is left when the training ends.

    By a clock of its own, which a busy machine does not move: 10 ms each time it is read, 200 ms for each image.
    """
    sampled, left, now = Restorer.mean_and_sample, [], [0.0]

    def clock(seconds: float = 0.01) -> float:
        now[0] += seconds
        return now[0]

    def slow(*arguments: object, **options: object) -> object:
        clock(0.2)
        return sampled(*arguments, **options)

    monkeypatch.setattr(Restorer, "mean_and_sample", slow)

    def timed(*arguments: object, seconds: float | None = None, **options: object) -> object:
        left.append(seconds)
        return calibrated_spread(*arguments, **options)

    monkeypatch.setattr("latentsr.training.fit_denoiser.calibrated_spread", timed)
    for module in ("trainer", "fit_denoiser"):
        monkeypatch.setattr(f"latentsr.training.{module}.time", SimpleNamespace(monotonic=clock))
    fitted(cache, tmp_path / "tiny", steps=None, minutes=0.05, validate_every=10_000)
    assert left[0] is None  # of one image, to know how long it takes
    assert 0.6 < left[1] < 0.75


def test_calibration_ends_with_its_time_and_shows_where_it_is(cache: LatentCache, trained: Path) -> None:
    restorer = SuperResolver.load(trained, device="cpu")
    whole = calibrated_spread(restorer, cache, batch=1)
    told: list[tuple[int, int]] = []
    cut = calibrated_spread(restorer, cache, batch=1, seconds=0.0, progress=lambda *one: told.append(one))
    assert told == [(0, 3), (1, 3)]
    assert cut != whole == calibrated_spread(restorer, cache, batch=1)


def test_a_spoilt_array_of_the_cache_is_noticed_before_the_training(
    made: Callable[..., LatentCache], tmp_path: Path
) -> None:
    cache = made(tmp_path)
    path = cache.root / "train" / "pixels.npy"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"pixels\.npy: cut off or altered since 'encode'"):
        fitted(cache, tmp_path / "tiny")
    assert not (tmp_path / "tiny.run").exists()


@pytest.mark.parametrize("splits", [("train",), ("train", "valid")])
def test_a_training_that_diverges_is_told_so_and_leaves_no_checkpoint(
    made: Callable[..., LatentCache], tmp_path: Path, splits: tuple[str, ...]
) -> None:
    cache = made(tmp_path, splits)
    with pytest.raises(InputError, match="the training diverged, its weights are not finite at step 4; set a smaller"):
        fitted(cache, tmp_path / "tiny", weight_decay=1e30)
    assert not (tmp_path / "tiny.run" / "checkpoints" / "last.ckpt").exists()


def test_an_interruption_is_told_as_one(
    cache: LatentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(LatentCrops, "__getitem__", lambda self, n: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        fit_denoiser(cache, tmp_path / "tiny", TINY, device="cpu", progress=terminal.progress)
    signal.signal(signal.SIGINT, handler)  # Lightning ignores it from then on
    assert "interrupted: the same command goes on where it was" in capsys.readouterr().err


class Code:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("run-by-a-checkpoint",)


def test_a_checkpoint_with_code_is_one_line_and_nothing_is_run(
    cache: LatentCache, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.rename(tmp_path / "away")
    path = run_folder(tiny) / "checkpoints" / "last.ckpt"
    torch.save({"state_dict": Code()}, path)
    with pytest.raises(InputError, match=r"last\.ckpt: cut off or altered"):
        fitted(cache, tiny)
    write_json(path.with_name("last.json"), {"sha256": [sha256(path)]})
    with pytest.raises(InputError, match=r"last\.ckpt: asks for code beside tensors and was not loaded") as caught:
        fitted(cache, tiny)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run-by-a-checkpoint").exists()


def test_the_card_says_on_what_how_long_how_good_and_for_what_not() -> None:
    model = ModelConfig(
        name="knee-x4", degradation="lanczos:4", autoencoder="haar", autoencoder_hash="h", objective="x0",
        denoiser=DenoiserSpec(latent_channels=16, condition_channels=1, channels=(24, 40)), schedule="cosine",
        solver="dpm++", size=(320, 256), space=LatentSpace(conditions=("pixels",), target="residual", statistics={}),
    )  # fmt: skip
    facts = {"steps": 1234, "minutes": 56.7, "images": {"knees": 89}, "validation": {"psnr": 31.239}}
    card = model_card(model, TrainConfig(batch=5, crop=24), facts)
    assert card.startswith("# knee-x4\n")
    for said in (
        RESEARCH_USE, "`lanczos:4`", "`haar`, 16 channels", "channels 24, 40", "1234 steps of 5 crops of 24",
        "56.7 minutes", "320 x 256 px", "| knees | 89 |", "| psnr | 31.24 dB |", "target: residual",
        "| condition | pixels |", "Not for: diagnosis",
    ):  # fmt: skip
        assert said in card
