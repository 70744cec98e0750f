"""`latentsr calibrate` and what `enhance` makes of a calibrated model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import tifffile
import torch
from PIL import Image
from pydicom.data import get_testdata_file

from latentsr.bench.evaluation import Comparison, compare
from latentsr.calibrate import Calibrating, calibrate
from latentsr.data.duplicates import pixel_digest
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.io.raster import write_pixels
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.evaluation.tables import coverage_table
from latentsr.stats.intervals import SCALES
from latentsr.upscalers import Sampling
from latentsr.upscalers.calibration import raw_width
from latentsr.upscalers.model import SuperResolver

OPTIONS = Calibrating(alpha=0.3, samples=2, steps=2, batch=3)
ENHANCE = ("--samples", 2, "--steps", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable) -> Dataset:
    """Ten 8-bit images of five patients, parts of an abdominal MR."""
    pixels = pydicom.dcmread(get_testdata_file("examples_overlay.dcm", download=False)).pixel_array
    grey = np.round((pixels - pixels.min()) / np.ptp(pixels) * 255).astype(np.uint8)
    images = [grey[40 + 12 * n : 104 + 12 * n, 60 + 14 * n : 124 + 14 * n] for n in range(10)]
    return make_dataset(tmp_path_factory.mktemp("calibrate") / "set", images, [f"p{n // 2}" for n in range(10)])


@pytest.fixture(scope="module")
def calibrated(dataset: Dataset, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("calibrated") / "model"
    calibrate(dataset, model_folder, out, OPTIONS, device="cpu")
    return out


def record(out: Path) -> dict[str, Any]:
    return json.loads((out.with_name(f"{out.name}.run") / "calibration.json").read_text())


def test_the_copy_holds_the_scale_at_which_the_risk_is_controlled(
    calibrated: Path, dataset: Dataset, model_folder: Path
) -> None:
    model, own = (SuperResolver.load(folder, device="cpu") for folder in (calibrated, model_folder))
    assert own.calibration is None  # the model itself stays as it is
    made = model.calibration
    assert made is not None
    assert (made.patients, made.images, made.dataset, made.dataset_hash) == (5, 10, dataset.name, dataset.hash)
    assert made.sampling == Sampling(samples=2, steps=2, realism=own.config.realism)
    assert "5 patients of abdomen" in (calibrated / "README.md").read_text()

    hr = torch.stack([torch.from_numpy(dataset.image(one)) for one in dataset.records])[:, None]
    lr = parse_degradation("bicubic:4").apply(hr.double()).float()
    ids = [one.id for one in dataset.records]
    restored = model.restore(lr, ids=ids, sampling=made.sampling)
    scores = (restored.image.clamp(0, 1) - hr).abs() / raw_width(restored.spread)
    torch.testing.assert_close(restored.interval, made.scale * raw_width(restored.spread))

    def risk(scale: float) -> float:
        return float((scores > scale).double().mean(dim=(1, 2, 3)).view(5, 2).mean(dim=1).mean())

    place = int(np.abs(SCALES - made.scale).argmin())
    assert made.risk == pytest.approx(risk(made.scale), abs=2e-4)
    assert (5 * risk(made.scale) + 1) / 6 <= 0.3 + 1e-4
    assert (5 * risk(SCALES[place - 1]) + 1) / 6 > 0.3 - 1e-4
    assert made.half_width == pytest.approx(float(restored.interval.mean()), rel=1e-3)


def test_a_killed_run_goes_on_and_samples_nothing_twice(
    calibrated: Path, dataset: Dataset, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate(dataset, model_folder, tmp_path / "model", OPTIONS, device="cpu", progress=stop)
    assert not (tmp_path / "model").exists()
    seen, restore = [], SuperResolver.restore

    def counted(self: SuperResolver, lr: torch.Tensor, **options: Any) -> Any:
        seen.extend(options["ids"])
        return restore(self, lr, **options)

    monkeypatch.setattr(SuperResolver, "restore", counted)
    calibrate(dataset, model_folder, tmp_path / "model", OPTIONS, device="cpu")
    assert len(seen) == 4
    assert (tmp_path / "model" / "config.json").read_bytes() == (calibrated / "config.json").read_bytes()
    calibrate(dataset, model_folder, tmp_path / "model", OPTIONS, device="cpu")
    # Other levels need no sample; the earlier result is replaced only where that was asked for.
    other = OPTIONS.model_copy(update={"alpha": 0.5, "delta": 0.5})
    with pytest.raises(StaleError, match="holds another calibration"):
        calibrate(dataset, model_folder, tmp_path / "model", other, device="cpu")
    calibrate(dataset, model_folder, tmp_path / "model", other, device="cpu", overwrite=True)
    assert len(seen) == 4
    made = SuperResolver.load(tmp_path / "model", device="cpu").calibration
    assert made is not None
    assert (made.alpha, made.delta) == (0.5, 0.5)
    assert record(tmp_path / "model")["calibration"]["scale"] == made.scale
    # Another sampling is another calibration.
    with pytest.raises(StaleError, match="holds another calibration"):
        calibrate(dataset, model_folder, tmp_path / "model", OPTIONS.model_copy(update={"seed": 1}), device="cpu")


def test_what_cannot_be_calibrated_is_told_before_any_image(
    dataset: Dataset, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_dataset: Callable
) -> None:
    def refused(error: type[Exception], message: str, out: Path = tmp_path / "out", **options: Any) -> None:
        with pytest.raises(error, match=message):
            calibrate(dataset, model_folder, out, OPTIONS.model_copy(update=options), device="cpu")

    refused(InputError, r"5 patients .* 9 or more are needed for alpha 0\.1", alpha=0.1)
    refused(InputError, r"7 or more are needed for alpha 0\.3 and delta 0\.1", delta=0.1)
    refused(OptionError, "alpha is 2", alpha=2.0)
    refused(OptionError, "enlarges 4 times", degradation="bicubic:2")
    refused(OptionError, "is the model itself", out=model_folder)
    (tmp_path / "mine").mkdir()
    refused(StaleError, "holds no model with `calibration`", out=tmp_path / "mine")
    for foreign in (tmp_path / "mine", model_folder.parent, dataset.root):  # which no option replaces
        with pytest.raises(StaleError, match="choose an output folder that is new"):
            calibrate(dataset, model_folder, foreign, OPTIONS, device="cpu", overwrite=True)
        assert foreign.exists()
    small = make_dataset(tmp_path / "small", [np.eye(60, dtype=np.uint8)] * 5, "abcde", "small")
    with pytest.raises(InputError, match="5 images have a side under 64 px"):
        calibrate(small, model_folder, tmp_path / "out", OPTIONS, device="cpu")
    # Two patients' images were trained on: they are left out, and the others are too few for this alpha.
    trained = frozenset(pixel_digest(dataset.pixels(one)) for one in dataset.records[:4])
    load = SuperResolver.load

    def loaded(*arguments: Any, **options: Any) -> SuperResolver:
        model = load(*arguments, **options)
        model.training_images = trained
        return model

    monkeypatch.setattr(SuperResolver, "load", loaded)
    refused(InputError, "3 patients in split 'valid' on which the model was not trained", alpha=0.2)
    calibrate(dataset, model_folder, tmp_path / "rest", OPTIONS, device="cpu")
    made = record(tmp_path / "rest")["calibration"]
    assert (made["patients"], made["images"], made["left_out"]) == (3, 6, 4)


def enhanced(run: Callable, source: Path, out: Path, model: Path, *options: object) -> dict[str, Any]:
    said = run("enhance", source, "-o", out, "--model", model, *options)
    assert said.status == 0, said
    (outcome,) = json.loads((out.with_name(f"{out.name}.run") / "run.json").read_text())["files"]
    return {**outcome, "said": said.err}


def test_enhance_writes_intervals_and_a_mask_and_says_what_holds(
    calibrated: Path, model_folder: Path, dataset: Dataset, tmp_path: Path, run: Callable
) -> None:
    hr = torch.from_numpy(dataset.image(dataset.records[0]))[None, None].double()
    lr = parse_degradation("bicubic:4").apply(hr)[0, 0].clamp(0, 1).numpy()
    Image.fromarray(np.round(lr * 65535).astype(np.uint16)).save(tmp_path / "a.png")
    told = enhanced(run, tmp_path / "a.png", tmp_path / "out", calibrated, *ENHANCE)
    assert sorted(told["output_sha256"]) == ["a.png", "a_trust.tif", "a_uncertainty.tif"]
    checks = told["checks"]
    assert checks["guarantee"] == {
        "alpha": 0.3, "delta": None, "patients": 5, "images": 10, "dataset": "abdomen", "degradation": "bicubic:4",
        "trusted_up_to": 0.05,
    }  # fmt: skip
    assert checks["outside"] == {}
    assert checks["lr_psnr"] > 80
    assert checks["null_space"] > 0
    model, plain = (SuperResolver.load(folder, device="cpu") for folder in (calibrated, model_folder))
    made, without = (one.enhance(tmp_path / "a.png", samples=2, steps=2) for one in (model, plain))
    scale, span = model.calibration.scale, np.ptp(np.round(lr * 65535))
    width = span * scale * raw_width(torch.from_numpy(without.uncertainty.pixels / span)[None])[0].numpy()
    found, trust = (tifffile.imread(tmp_path / "out" / f"a_{name}.tif") for name in ("uncertainty", "trust"))
    np.testing.assert_allclose(found, width[0], rtol=1e-4)
    np.testing.assert_array_equal(trust, found <= 0.05 * span)
    assert checks["trusted"] == pytest.approx(trust.mean(), abs=1e-4)
    np.testing.assert_array_equal(made.volume.pixels, without.volume.pixels)

    told = enhanced(run, tmp_path / "a.png", tmp_path / "plain", model_folder, *ENHANCE)
    assert sorted(told["output_sha256"]) == ["a.png", "a_uncertainty.tif"]
    assert told["checks"]["guarantee"] == "not calibrated"
    told = enhanced(run, tmp_path / "a.png", tmp_path / "mean", calibrated, "--device", "cpu")
    assert sorted(told["output_sha256"]) == ["a.png"]
    assert told["checks"]["guarantee"] == "not calibrated for these options: samples 1, not 2; steps 1, not 2"
    assert told["checks"]["null_space"] == 0  # it is the posterior mean itself
    assert "calibrated" not in told["said"]
    told = enhanced(run, tmp_path / "a.png", tmp_path / "three", calibrated, "--samples", 3, *ENHANCE[2:])
    assert sorted(told["output_sha256"]) == ["a.png", "a_uncertainty.tif"]
    assert "not calibrated for these options: samples 3, not 2: the map is a spread" in told["said"]


def test_an_input_unlike_the_calibration_is_told_with_the_test_that_it_fails(
    calibrated: Path, tmp_path: Path, run: Callable
) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (20, 24)).astype(np.uint8) * 255
    Image.fromarray(noise).save(tmp_path / "noise.png")
    told = enhanced(run, tmp_path / "noise.png", tmp_path / "out", calibrated, *ENHANCE)
    assert told["checks"]["outside"] == {"intensity": 1, "spectrum": 1}
    assert "outside the range of the calibration (spectrum): no guarantee" in told["warnings"]
    assert "outside the range of the calibration (intensity): no guarantee" in told["said"]


def test_intervals_of_dicom_say_what_they_are(calibrated: Path, tmp_path: Path, run: Callable) -> None:
    source = Path(get_testdata_file("MR_small.dcm", download=False))
    enhanced(run, source, tmp_path / "out", calibrated, *ENHANCE, "--parametric-map")
    kinds = {}
    for name in ("uncertainty", "trust", "uncertainty_parametric"):
        found = pydicom.dcmread(tmp_path / "out" / f"MR_small_{name}.dcm")
        kinds[name] = found
    assert kinds["uncertainty"].ImageType[3] == "INTERVAL"
    assert kinds["trust"].ImageType[3] == "TRUST MASK"
    assert len({one.SOPInstanceUID for one in kinds.values()}) == 3
    assert len({one.SeriesNumber for one in kinds.values()}) == 3
    assert kinds["uncertainty_parametric"].ContentDescription.startswith("Half-width of the interval")
    mask = kinds["trust"]
    assert np.unique(mask.pixel_array * mask.RescaleSlope).round(4).tolist() in ([0, 1], [0], [1])


def test_the_command_tells_the_result(dataset: Dataset, model_folder: Path, tmp_path: Path, run: Callable) -> None:
    given = ("calibrate", dataset.root, "--model", model_folder, "-o", tmp_path / "model", "--alpha", 0.3)
    said = run(*given, *ENHANCE, "--batch", 3)
    assert said.status == 0, said
    assert "alpha 0.3 (conformal risk control), patients 5, images 10" in said.out
    assert "1000 re-splits by patient" in said.out
    told = json.loads(run(*given, *ENHANCE, "--json").out)
    assert told["calibration"]["alpha"] == 0.3
    assert 0 <= told["resplits"]["mean"] <= 1


def compared(dataset: Dataset, out: Path, **options: Any) -> Evaluation:
    """The evaluation of some methods in coverage and half-width."""
    metrics = ("coverage", "half_width", *(("roi_coverage",) if "masks" in options else ()))
    asked = Comparison(metrics=metrics, device="cpu", workers=0, **options)
    compare([dataset], out, asked)
    return read_evaluation(out)


def test_evaluate_measures_how_often_the_truth_is_inside(calibrated: Path, dataset: Dataset, tmp_path: Path) -> None:
    made = SuperResolver.load(calibrated, device="cpu").calibration
    assert made is not None
    methods = (f"mine={calibrated}?samples=2&steps=2", f"mean={calibrated}")
    for one in dataset.records:  # all of each image is its region
        write_pixels(tmp_path / "masks" / f"{one.id}.png", np.ones((64, 64), np.uint8))
    evaluation = compared(dataset, tmp_path / "out", methods=methods, masks=tmp_path / "masks")
    whole, width = (evaluation.summary("abdomen", name) for name in ("coverage/all", "half_width"))
    assert whole.index.tolist() == ["mine"]  # the mean is sampled otherwise than was calibrated
    row = whole.loc["mine"]
    assert row["mean"] == pytest.approx(1 - made.risk, abs=1e-3)  # the same images and seed
    assert row["mean_low"] < row["mean"] < row["mean_high"]
    assert width.loc["mine", "mean"] == pytest.approx(made.half_width, rel=1e-4)
    by_quarter = [evaluation.summary("abdomen", f"coverage/width{quarter}")["mean"]["mine"] for quarter in range(1, 5)]
    assert np.mean(by_quarter) == pytest.approx(row["mean"], abs=0.02)
    (caution,) = [one for one in evaluation.run["cautions"] if "calibrated" in one]
    assert caution.startswith("On 'abdomen' the intervals of method 'mine' were calibrated on these very images")
    facts = {one["name"]: one.get("calibration") for one in evaluation.run["methods"]}
    assert facts["mine"]["patients"] == 5
    assert facts["mean"] is None
    table = coverage_table(evaluation, "abdomen")
    assert table is not None
    ((name, promised, patients, share, region, *_),) = table.rows
    assert (name, promised, patients, region) == ("mine", "0.7", "5", share)
    assert float(share.partition(" ")[0]) == pytest.approx(row["mean"], abs=0.005)


def test_coverage_under_another_degradation_is_cautioned(calibrated: Path, dataset: Dataset, tmp_path: Path) -> None:
    methods = (f"mine={calibrated}?samples=2&steps=2",)
    evaluation = compared(dataset, tmp_path / "out", methods=methods, degradation="area:4", limit=3)
    assert [one for one in evaluation.run["cautions"] if "calibrated for bicubic:4" in one]
