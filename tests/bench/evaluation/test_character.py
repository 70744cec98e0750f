"""Planted methods are named for what they are, on made and on real images, and restorations for nothing."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from latentsr.bench import measure_dataset
from latentsr.bench.character import CHARACTER, characters, distortion_cautions, truth_facts, truth_warnings
from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.methods import parse_method
from latentsr.config import read_json, sha256
from latentsr.data.records import Dataset, Record, write_dataset
from latentsr.degrade import parse_degradation
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.metrics import METRICS
from latentsr.report.evaluation.data import read_evaluation
from latentsr.report.evaluation.verdict import verdict
from latentsr.stats.comparison import summarise
from latentsr.stats.table import COLUMNS
from latentsr.upscalers import Method, Restored, bicubic

X4 = parse_degradation("bicubic:4")
MEASURES = ("psnr", "intensity_bias", "shift", "blur", "contrast", "noise", "detail_frc", "laplacian_variance")
IMAGES = 14
INF, NAN = float("inf"), float("nan")


def made(rng: np.random.Generator, side: int = 128) -> np.ndarray:
    """Ellipses of soft edges over a texture whose power falls with the cube of frequency, in [0, 1]."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)) + 1 / side
    texture = np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) * frequency**-1.5).real
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    image = 0.02 * texture / texture.std() + 0.3
    for _ in range(5):
        centre, axes = rng.uniform(-0.25, 0.25, 2), rng.uniform(0.05, 0.3, 2)
        distance = np.hypot((rows - centre[0]) / axes[0], (columns - centre[1]) / axes[1])
        image += rng.uniform(-0.1, 0.15) / (1 + np.exp(40 * (distance - 1)))
    return image.clip(0.05, 0.95)


def real(folder: Path) -> list[np.ndarray]:
    """Images of 8 bits, spread over a folder, with grey levels made up between theirs: HR of 16 bits."""
    rng, files = np.random.default_rng(0), sorted(folder.glob("*.png"))
    chosen = files[:: len(files) // IMAGES][:IMAGES]
    return [((read_pixels(file) + rng.uniform(-0.5, 0.5, (256, 256))) / 255).clip(0, 1) for file in chosen]


@pytest.fixture(scope="module", params=["made", "brain-mri", "chest-xray"])
def hr_set(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Fourteen images of seven patients in 16 bits; those of `../shared/data` where it is there."""
    if request.param == "made":
        images = [made(np.random.default_rng(number)) for number in range(IMAGES)]
    else:
        images = real(request.getfixturevalue("shared") / "data" / request.param / "valid")
    return written(tmp_path_factory.mktemp("data") / "hr", images)


def written(root: Path, images: Sequence[np.ndarray]) -> Dataset:
    records = []
    for number, image in enumerate(images):
        file = f"images/{number:02}.png"
        write_pixels(root / file, np.round(image * 65535).astype(np.uint16))
        records.append(Record(f"{number:02}", f"p{number // 2}", "valid", file, *image.shape, sha256(root / file)))
    return write_dataset(root, "set", records, {})


def blurred(image: Tensor) -> Tensor:
    return torch.from_numpy(gaussian_filter(image.numpy(), (0, 0, 1, 1)))


def to_the_right(image: Tensor) -> Tensor:
    return torch.cat([image[..., :1], image[..., :-1]], dim=-1)


def grain(image: Tensor, sd: float) -> Tensor:
    return image + sd * torch.randn(image.shape, generator=torch.Generator().manual_seed(4))


def swapped(image: Tensor) -> Tensor:
    """Six of the images have changed places."""
    return torch.cat([image[:6].roll(1, 0), image[6:]])


def to_the_sides(image: Tensor) -> Tensor:
    """Every other image to the right, the rest to the left."""
    return torch.stack(
        [to_the_right(one) if n % 2 else to_the_right(one.flip(-1)).flip(-1) for n, one in enumerate(image)]
    )


ONE = r"(0\.9[5-9]|1\.0[0-5])"  # px
# What is done to HR, or to a restoration, and all that is said of it.
OF_HR: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "itself": (lambda hr: hr, "HR itself: this"),
    "noise of 66 dB": (lambda hr: grain(hr, 10 ** (-66 / 20)), r"noise or rounding \(PSNR 66\.\d dB\): this"),
    "8 bits": (lambda hr: (255 * hr).round() / 255, r"noise or rounding \(PSNR (58\.9|59\.\d|6\d\.\d) dB\): this"),
    "16 bits": (lambda hr: (hr + 2e-6).clamp(0, 1), "but for rounding: this"),
    "blur": (blurred, r"a blur \(Gaussian of sigma (0\.9[7-9]|1\.0[0-2]) px\): this"),
    "shift": (to_the_right, rf"a shift by {ONE} px to the right: this"),
    "mean": (lambda hr: hr + 0.05, r"the mean \(\+(4\.[89]|5\.0) % of the range\): this"),
    "contrast": (lambda hr: 0.9 * hr, r"contrast \(90 % of HR's, mean -\d+\.\d % of the range\): this"),
    "swapped": (swapped, "8 of 14 images .* HR itself: this"),
}
OF_SR: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "restored": (lambda sr: sr, ""),
    "restored, 8 bits": (lambda sr: (255 * sr).round() / 255, ""),
    "restored, blur": (blurred, ""),
    "restored, swapped": (swapped, ""),
    "another image": (lambda sr: sr.roll(1, 0), ""),
    "restored, shift": (to_the_right, rf"shifted against HR by {ONE} px to the right \(14 of 14 images by 0\.25 px or"),
    "restored, apart": (to_the_sides, rf"shifted against HR by {ONE} px in directions that differ \(14 of 14 images"),
    "restored, mean": (lambda sr: sr + 0.05, r"mean that is \+(4\.[89]|5\.0) % of the range off HR's \(14 of 14"),
    "restored, contrast": (lambda sr: 0.9 * sr, r"have 90 % of HR's contrast \(14 of 14 images"),
    "restored, noise": (lambda sr: grain(sr, 0.05), r"hold noise or aliasing: .* 0\.0[45]\d of the range \(sd; 14 of"),
}  # fmt: skip


class Planted(NamedTuple):
    """The tidy table of all planted methods, the facts of truths and all sentences."""

    table: pd.DataFrame
    truths: list[dict]
    told: list[str]


def given(name: str, dataset: Dataset, images: Tensor) -> Method:
    """A method that gives these images."""
    of = {record.id: image for record, image in zip(dataset.records, images, strict=True)}
    return Method(name, lambda lr, ids: Restored(torch.stack([of[one] for one in ids])))


@pytest.fixture(scope="module")
def planted(hr_set: Dataset) -> Planted:
    hr = torch.stack([torch.from_numpy(hr_set.image(record)) for record in hr_set.records])[:, None].float()
    sr = bicubic(X4, projected=True).restore(X4.apply(hr), []).image
    methods = [bicubic(X4), bicubic(X4, projected=True)]
    methods += [given(name, hr_set, change(hr)) for name, (change, _) in OF_HR.items()]
    methods += [given(name, hr_set, change(sr)) for name, (change, _) in OF_SR.items()]
    table = measure_dataset(hr_set, methods, X4, metrics=MEASURES)
    truths = truth_facts(table)
    return Planted(table, truths, [*truth_warnings(truths), *distortion_cautions(table, truths)])


class TestPlantedMethods:
    def test_each_is_named_for_what_it_is_and_nothing_else(self, planted: Planted) -> None:
        expected = {name: text for name, (_, text) in (OF_HR | OF_SR).items()}
        for name, text in (expected | {"bicubic": "", "bicubic+projection": ""}).items():
            told = [one for one in planted.told if f"'{name}'" in one]
            assert len(told) == bool(text), (name, told)
            assert not text or re.search(text, told[0]), (name, told)

    def test_those_made_from_hr_are_truths(self, planted: Planted) -> None:
        assert {truth["method"] for truth in planted.truths} == set(OF_HR)
        assert [one["images"] for one in planted.truths if one["method"] in ("itself", "swapped")] == [14, 8]
        assert {one["method"] for one in planted.truths if one["exact"]} == {"itself", "swapped"}

    def test_what_kind_of_images_each_gives_is_the_summary_s(self, planted: Planted) -> None:
        summary = summarise(planted.table)
        told = {one["method"]: one for one in characters(summary)}
        assert set(told) == {*OF_HR, *OF_SR, "bicubic", "bicubic+projection"}
        values, means = told["blur"]["values"], summary[summary["method"] == "blur"].set_index("metric")
        assert values["blur"] == means["mean"]["blur"] == pytest.approx(1.0, abs=0.03)
        assert values["laplacian_variance"] == means["ratio_to_hr"]["laplacian_variance"] < 0.6
        assert (
            f"blur on set: shift 0.0{100 * values['shift/length']:.0f} px, blur {values['blur']:.2f} px, "
            in (told["blur"]["sentence"])
        )
        assert "-0.0000" not in " ".join(one["sentence"] for one in told.values())

    def test_the_shipped_model_is_named_for_nothing(self, hr_set: Dataset) -> None:
        models = [
            parse_method(text, degradation=X4, device="cpu").bind(None)[0]  # type: ignore[arg-type]
            for text in ("mean=latentsr-tiny", "sample=latentsr-tiny?steps=2")
        ]
        table = measure_dataset(hr_set, [bicubic(X4), *models], X4, metrics=MEASURES)
        assert truth_facts(table) == distortion_cautions(table, []) == []


def tidy(values: dict[str, list[float]], metric: str = "psnr") -> pd.DataFrame:
    """The tidy table of methods' values, an image a patient."""
    rows = [("set", f"i{n}", f"p{n}", name, metric, one) for name, row in values.items() for n, one in enumerate(row)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


class TestTheTruth:
    @pytest.mark.parametrize(
        ("values", "images", "exact"),
        [
            ([INF, INF, INF], 3, True),
            ([INF, 107.2, 90.0], 3, False),
            ([INF, INF, 89.9], 2, True),
            ([107.0, 95.0, NAN], 2, False),
            ([INF, 40.0, 89.9], 0, False),
        ],
    )
    def test_is_what_is_hr_in_most_images(self, values: list[float], images: int, exact: bool) -> None:
        told = truth_facts(tidy({"bicubic": [27.0, 28.0, 29.0], "given": values}))
        changes = [] if exact else ["rounding"]
        facts = {"dataset": "set", "method": "given", "images": images, "of": 3, "exact": exact, "changes": changes}
        assert told == ([facts] if images else [])

    def test_hr_itself_is_no_method(self) -> None:
        assert truth_facts(tidy({"hr": [INF, INF]})) == []

    @pytest.mark.parametrize(("bicubic_has", "known"), [(0.6, True), (0.97, False)])
    def test_detail_that_bicubic_has_too_proves_nothing(self, bicubic_has: float, known: bool) -> None:
        """Where HR is itself an enlargement, what makes its detail from LR is a restoration."""
        frc = tidy({"bicubic": [bicubic_has] * 3, "given": [0.999] * 3}, "detail_frc")
        psnr = tidy({"bicubic": [39.0] * 3, "given": [69.0] * 3})
        assert bool(truth_facts(pd.concat([psnr, frc]))) == known

    def test_an_enlargement_is_restored_and_not_called_the_truth(self, tmp_path: Path) -> None:
        images = [made(np.random.default_rng(number), 64) for number in range(3)]
        double = bicubic(parse_degradation("bicubic:2"))
        small = torch.from_numpy(np.stack(images))[:, None].float()
        dataset = written(tmp_path, list(double.restore(small, []).image[:, 0].clamp(0, 1).numpy()))
        methods = [double, bicubic(parse_degradation("bicubic:2"), projected=True)]
        table = measure_dataset(dataset, methods, parse_degradation("bicubic:2"), metrics=MEASURES)
        psnr = table[table["metric"] == "psnr"].groupby("method")["value"].median()
        assert psnr["bicubic+projection"] > max(55, psnr["bicubic"] + 15)  # by PSNR alone it would be the truth
        assert truth_facts(table) == []

    def test_what_has_no_detail_beyond_lr_is_restored_and_not_called_the_truth(self, tmp_path: Path) -> None:
        """HR zero-filled to 47 % of its width, as clinical MR often is, and LR at scale 2 zero-filled again."""

        def zero_filled(images: Tensor, side: int, kept: int) -> Tensor:
            start, edge = (side - images.shape[-1]) // 2, (images.shape[-1] - kept) // 2
            spectrum = torch.fft.fftshift(torch.fft.fft2(images.double(), norm="forward"), dim=(-2, -1))
            inner = spectrum[..., edge : edge + kept, edge : edge + kept]
            padded = torch.nn.functional.pad(inner, (start + edge,) * 4)
            return torch.fft.ifft2(torch.fft.ifftshift(padded, dim=(-2, -1)), norm="forward").real.clamp(0, 1).float()

        images = torch.from_numpy(np.stack([made(np.random.default_rng(number)) for number in range(3)]))[:, None]
        dataset = written(tmp_path, list(zero_filled(images, 128, 60)[:, 0].numpy()))
        operator = parse_degradation("kspace:2")
        method = Method("zero-filled", lambda lr, ids: Restored(zero_filled(lr, 128, 60)))
        table = measure_dataset(dataset, [bicubic(operator), method], operator, metrics=MEASURES)
        assert table.loc[table["metric"] == "detail_frc", "value"].isna().all()
        assert truth_facts(table) == []

    def test_hr_with_little_noise_is_the_truth_though_noise_covers_its_detail(self) -> None:
        frc = tidy({"bicubic": [0.5] * 3, "given": [0.94] * 3}, "detail_frc")
        psnr = tidy({"bicubic": [29.0] * 3, "given": [55.2] * 3})
        (told,) = truth_facts(pd.concat([psnr, frc]))
        assert told["changes"] == ["noise or rounding (PSNR 55.2 dB)"]

    @pytest.mark.parametrize(
        ("images", "of", "changes", "expected"),
        [
            (3, 3, [], "All 3 images of method 'given' on 'set' are HR itself: this is the truth, not a restoration;"),
            (1, 1, [], "The one image of method 'given' on 'set' is HR itself: this is the truth"),
            (8, 9, ["rounding"], "8 of 9 images of method 'given' on 'set' are HR itself, but for rounding: this is"),
            (3, 3, ["a blur", "the mean"], "are HR itself, but for a blur and the mean: this is the truth, not a"),
        ],
    )
    def test_is_called_so(self, images: int, of: int, changes: list[str], expected: str) -> None:
        truth = {"dataset": "set", "method": "given", "images": images, "of": of, "changes": changes}
        assert expected in truth_warnings([truth])[0]


class TestCautions:
    @pytest.mark.parametrize(
        ("metric", "values", "told"),
        [
            ("intensity_bias", [0.02] * 4, True),
            ("intensity_bias", [-0.02] * 4, True),
            ("intensity_bias", [0.02, 0.02, -0.02, -0.02], False),
            ("intensity_bias", [0.008] * 4, False),
            ("contrast", [0.93] * 4, True),
            ("contrast", [1.07] * 4, True),
            ("contrast", [0.97] * 4, False),
            ("contrast", [0.9, NAN, NAN, NAN], False),
            ("noise", [0.02] * 4, True),
            ("noise", [0.02, NAN, NAN, NAN], False),
        ],
    )
    def test_need_most_images_beyond_the_limit(self, metric: str, values: list[float], told: bool) -> None:
        assert bool(distortion_cautions(tidy({"mine": values}, metric), [])) == told

    def test_noise_is_told_from_what_bicubic_has(self) -> None:
        assert distortion_cautions(tidy({"bicubic": [0.03] * 3, "mine": [0.05] * 3}, "noise"), []) == []

    def test_a_truth_is_told_by_its_warning_alone(self) -> None:
        table = tidy({"mine": [0.05] * 3}, "intensity_bias")
        assert distortion_cautions(table, [{"dataset": "set", "method": "mine"}]) == []


def test_what_is_told_of_each_method_are_measures() -> None:
    names = {name for metric in METRICS.values() for name in metric.names}
    assert set(CHARACTER) <= names


def test_near_copies_are_not_praised(tmp_path: Path) -> None:
    """By the whole job: copies of 8 bits, with noise of 66 dB and blurred ones win nothing, and the verdict says so."""
    dataset = written(tmp_path / "hr", [made(np.random.default_rng(number), 64) for number in range(IMAGES)])
    for name, change in (("noisy", OF_HR["noise of 66 dB"][0]), ("eight", lambda hr: hr), ("soft", blurred)):
        levels, dtype = (255, np.uint8) if name == "eight" else (65535, np.uint16)
        for record in dataset.records:
            image = change(torch.from_numpy(dataset.image(record))[None, None].float())[0, 0].numpy().clip(0, 1)
            write_pixels(tmp_path / name / f"{record.id}.png", np.round(levels * image).astype(dtype))
    asked = tuple(f"{name}={tmp_path / name}" for name in ("noisy", "eight", "soft"))
    compare(
        [dataset.root], tmp_path / "out", Comparison(methods=(*asked, "bicubic+projection"), device="cpu", workers=0)
    )
    run = read_json(tmp_path / "out" / "run.json")
    assert {truth["method"] for truth in run["truth"]} == {"noisy", "eight", "soft"}
    assert sum("HR itself, but for" in one for one in run["warnings"]) == 2  # eight and noisy in one sentence
    assert {one["method"] for one in run["character"]} == {"bicubic", "bicubic+projection", "noisy", "eight", "soft"}
    told = verdict(read_evaluation(tmp_path / "out"))
    assert told[0].startswith(
        "On set, eight, noisy and soft are the truth or made from it, not restorations: left aside"
    )
    assert not [one for one in told if re.search(r"(noisy|eight|soft) (is best|is better|keeps)", one)]
