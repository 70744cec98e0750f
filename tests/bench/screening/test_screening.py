import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from latentsr.autoencoders import load_autoencoder
from latentsr.bench import Candidate, Screening, plan_screening, screen
from latentsr.config import read_signed_json
from latentsr.data.records import Dataset, padded
from latentsr.degrade import parse_degradation
from latentsr.errors import InputError, OptionError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.report.screening import screening_page
from latentsr.stats.table import COLUMNS, check_table, read_table, short_hash
from latentsr.upscalers import bicubic

Made, Of = Callable[..., dict], Callable[..., list[Candidate]]
BY_FOUR = parse_degradation("bicubic:4")
TABLES = ("table", "ceilings", "differences", "fingerprint", "latents", "cost", "expected", "baselines", "contrasts")


def test_everything_is_written_and_told(dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made) -> None:
    told = made(dataset, pair, tmp_path)
    assert told == read_signed_json(tmp_path / "screening.json")
    table = check_table(read_table(tmp_path / "table.parquet"))
    assert tuple(table.columns) == COLUMNS
    assert set(table["method"]) == {"fine", "coarse", "haar", "hr", "bicubic"}
    assert {path.name for path in tmp_path.iterdir()} == {
        "screening.json", "pictures", *(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet"))
    }  # fmt: skip
    assert told["reference"] == "fine"
    assert told["datasets"]["abdomen"] == {"images": 5, "excluded": 0, "patients": 3, "sizes": ["176x192", "65x97"]}
    assert told["note"].startswith("Research use only")


def test_means_are_numpys_and_a_lossless_ceiling_is_no_number(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made
) -> None:
    made(dataset, pair, tmp_path)
    table, ceilings = read_table(tmp_path / "table.parquet"), read_table(tmp_path / "ceilings.parquet")
    psnr = ceilings[ceilings["metric"] == "psnr"].set_index("method")
    for name in ("fine", "coarse"):
        own = table[(table["method"] == name) & (table["metric"] == "psnr")]
        patients = own.groupby("patient")["value"].mean()
        assert psnr.loc[name, "mean"] == pytest.approx(patients.mean())
        assert psnr.loc[name, "mean_images"] == pytest.approx(own["value"].mean())
        assert psnr.loc[name, "low"] < patients.mean() < psnr.loc[name, "high"]
    assert psnr.loc["haar", "lossless"]
    assert math.isnan(psnr.loc["haar", "mean"])
    assert psnr.loc["haar", "infinite"] == 5
    assert "100" not in (tmp_path / "ceilings.csv").read_text()
    missing = ceilings[ceilings["metric"] == "ms_ssim"]["missing"]
    assert (missing == 1).all()  # the image under 161 px


def test_differences_are_paired_and_fingerprints_stand_against_the_reference(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made
) -> None:
    made(dataset, pair, tmp_path)
    whole = read_table(tmp_path / "table.parquet")
    table = whole.groupby(["method", "metric", "patient"])["value"].mean()
    differences = read_table(tmp_path / "differences.parquet")
    row = differences[differences["metric"] == "psnr"].iloc[0]
    assert (row["a"], row["b"], row["n"]) == ("coarse", "fine", 3)  # patients
    assert row["difference"] == pytest.approx((table["coarse", "psnr"] - table["fine", "psnr"]).mean())
    assert row["d_z"] < -1
    bands = read_table(tmp_path / "fingerprint.parquet").set_index(["method", "metric"]).sort_index()
    expected = (table["coarse", "subband_psnr/HH1"] - table["fine", "subband_psnr/HH1"]).mean()
    assert bands.loc[("coarse", "subband_psnr/HH1"), "difference"] == pytest.approx(expected)
    assert math.isnan(bands.loc[("fine", "subband_psnr/HH1"), "difference"])
    assert ("hr", "radial_spectrum/01") in bands.index


def test_latents_and_cost_are_those_of_the_autoencoder(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made
) -> None:
    made(dataset, pair, tmp_path)
    latents = read_table(tmp_path / "latents.parquet").set_index(["method", "channel"])
    haar = load_autoencoder("haar")
    hr = [padded(torch.from_numpy(dataset.image(record))[None, None], 4) for record in dataset.records]
    z = torch.cat([haar.encode(2 * image - 1).transpose(0, 1).flatten(1) for image in hr], dim=1)
    assert latents.loc["haar", "mean"].to_numpy() == pytest.approx(z.mean(dim=1).numpy(), abs=1e-5)
    assert latents.loc["haar", "sd"].to_numpy() == pytest.approx(z.std(dim=1, correction=0).numpy(), abs=1e-5)
    assert latents.loc[("fine", 0), "correlation_rows"] > 0.8
    cost = read_table(tmp_path / "cost.parquet").set_index("method")
    assert cost.loc["haar", "latent"] == "16x44x48"
    assert cost.loc["haar", "numbers"] == 16 * 44 * 48
    assert cost.loc["fine", "share"] == 0.25
    assert (cost[["encode_seconds", "decode_seconds"]] > 0).all(axis=None)
    assert (cost["nonfinite_float16"] == 0).all()


def test_one_that_loses_anything_is_not_ranked_and_bicubic_is_measured_on_the_same_images(
    dataset: Dataset, pooling: type, tmp_path: Path, made: Made, of: Of
) -> None:
    candidates = [*of(pooling(2, "medical", name="alone")), *of(load_autoencoder("haar"))]
    told = made(dataset, candidates, tmp_path)
    words = " ".join(told["verdict"])
    assert told["verdict"][0].startswith("One autoencoder that loses anything makes no ranking; its AE ceiling: on ")
    assert not [word for word in ("Highest", "Ranking", "best", "which is better") if word in words]
    psnr = []
    for record in dataset.records:
        hr = torch.from_numpy(dataset.image(record))[None, None, : record.rows // 4 * 4, : record.columns // 4 * 4]
        sr = bicubic(BY_FOUR).restore(BY_FOUR.apply(hr), [record.id]).image.clamp(0, 1)
        psnr.append(-10 * math.log10(float((sr - hr).double().square().mean())))
    mean = np.mean(list(pd.Series(psnr).groupby([record.patient for record in dataset.records]).mean()))
    assert [(row["method"], row["mean"]) for row in told["baselines"]] == [("bicubic", pytest.approx(mean, abs=1e-4))]
    assert "with alone (95 % prediction interval" in words
    assert f"with the distance to that expectation: on abdomen bicubic {mean:.1f} dB [" in words
    table = read_table(tmp_path / "table.parquet")
    assert list(table.loc[table["method"] == "bicubic", "value"]) == pytest.approx(psnr, abs=1e-4)
    assert screening_page(told, read_table(tmp_path / "fingerprint.parquet"), tmp_path / "pictures").title == (
        "What does the autoencoder keep?"
    )


def test_latents_beyond_float16_are_told(dataset: Dataset, pooling: type, tmp_path: Path, made: Made, of: Of) -> None:
    told = made(dataset, of(pooling(2, gain=1e6)), tmp_path)
    cost = told["cost"][0]
    assert cost["nonfinite_float16"] > 0.5
    assert cost["nonfinite_bfloat16"] == 0
    assert any(
        "NaN or infinity in float16, tried on 1 image of a dataset: pooling" in text for text in told["warnings"]
    )


def test_the_worst_images_are_those_of_the_reference_and_bear_no_name(
    dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made
) -> None:
    told = made(dataset, pair, tmp_path)
    table = read_table(tmp_path / "table.parquet")
    own = table[(table["method"] == "fine") & (table["metric"] == "psnr")].sort_values("value")
    assert [row["psnr"]["fine"] for row in told["worst"]] == list(own["value"].head(2))
    assert all(row["psnr"]["haar"] is None for row in told["worst"])
    folder = tmp_path / "pictures" / told["worst"][0]["image"]
    assert read_pixels(folder / "haar" / "error.png").max() == 0
    assert read_pixels(folder / "coarse" / "error.png").max() > 20
    assert np.array_equal(read_pixels(folder / "haar" / "decoded.png"), read_pixels(folder / "hr.png"))
    assert "abdomen" not in " ".join(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))


def test_batches_change_nothing(dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made) -> None:
    for batch in (1, 4):
        made(dataset, pair, tmp_path / str(batch), batch=batch)
    first, second = (read_table(tmp_path / name / "table.parquet") for name in ("1", "4"))
    pd.testing.assert_frame_equal(first, second, rtol=1e-5)


def test_a_limit_is_spread_over_the_images(dataset: Dataset, pair: list[Candidate], tmp_path: Path, made: Made) -> None:
    made(dataset, pair, tmp_path, limit=3)
    assert sorted(set(read_table(tmp_path / "table.parquet")["id"])) == ["000", "001", "003"]


def test_one_image_and_one_patient_give_no_interval(
    windows: list[np.ndarray], pair: list[Candidate], make_dataset: Callable, tmp_path: Path, made: Made
) -> None:
    single = make_dataset(tmp_path / "one", windows[:1], ["a"])
    told = made(single, pair, tmp_path / "out1")
    assert any("all 1 images are of one patient" in text for text in told["warnings"])
    assert all(row["low"] is None for row in told["ceilings"])
    lone = make_dataset(tmp_path / "two", windows[:3], ["a", "a", "a"])
    told = made(lone, pair, tmp_path / "out2")
    assert "no interval" in told["verdict"][0]
    assert "the differences not to be judged" in told["verdict"][0]


def test_constant_images_poison_nothing(
    windows: list[np.ndarray], pair: list[Candidate], make_dataset: Callable, tmp_path: Path, made: Made
) -> None:
    images = [np.zeros_like(windows[0]), np.full_like(windows[0], 128), *windows[:3]]
    told = made(make_dataset(tmp_path / "data", images, list("aabbc")), pair, tmp_path / "out")
    by = {(row["method"], row["metric"]): row for row in told["ceilings"]}
    alone = made(make_dataset(tmp_path / "alone", windows[:3], list("bbc")), pair, tmp_path / "out-alone")
    for row in alone["ceilings"]:
        assert by[row["method"], row["metric"]]["mean"] == pytest.approx(row["mean"]), row["metric"]
        assert by[row["method"], row["metric"]]["n"] == row["n"]
    assert by["haar", "psnr"]["lossless"]
    assert told["datasets"]["abdomen"]["excluded"] == 2
    assert told["warnings"][0].startswith("abdomen: 2 of 5 images are constant")
    assert "only 2 patients" in told["warnings"][1]


class Blank:
    """Wraps an autoencoder: `black` images come back exactly, or off by so much that they are at 46 dB."""

    folder = None

    def __init__(self, inner: object, off: float) -> None:
        self.inner, self.off, self.spec, self.hash = inner, off, inner.spec, f"{inner.hash}-{off}"

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.inner.encode(images)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        black = (latents <= -0.999).all(dim=(1, 2, 3), keepdim=True)
        return torch.where(black, -1 + 2 * self.off, self.inner.decode(latents))


def test_an_image_that_one_gives_back_exactly_ranks_nobody(
    windows: list[np.ndarray], pooling: type, make_dataset: Callable, tmp_path: Path, made: Made, of: Of
) -> None:
    """The worse one is at 156 dB on a black image, the better one exact: the mean over own images was the worse's."""
    better, worse = Blank(pooling(2, name="better"), 0.0), Blank(pooling(4, name="worse"), 1.5e-8)
    images = [np.zeros_like(windows[0]), *windows[:3]]
    told = made(make_dataset(tmp_path / "data", images, list("abcd")), of(worse, better), tmp_path / "out")
    table = read_table(tmp_path / "out" / "table.parquet").set_index(["method", "metric", "id"])["value"]
    assert table["worse", "psnr", "000"] > 100
    psnr = {row["method"]: row for row in told["ceilings"] if row["metric"] == "psnr"}
    assert psnr["better"]["mean"] > psnr["worse"]["mean"]
    assert psnr["better"]["n"] == psnr["worse"]["n"] == 3
    assert "on abdomen better," in told["verdict"][0]
    assert "mean PSNR in dB: better " in told["verdict"][2]
    (row,) = [row for row in told["differences"] if row["metric"] == "psnr"]
    assert abs(row["difference"]) == pytest.approx(psnr["better"]["mean"] - psnr["worse"]["mean"])


def test_constant_images_alone_give_no_ceiling_and_words(
    windows: list[np.ndarray], pair: list[Candidate], make_dataset: Callable, tmp_path: Path, made: Made
) -> None:
    images = [np.zeros_like(windows[0]), np.full_like(windows[0], 128)]
    told = made(make_dataset(tmp_path / "data", images, list("ab")), pair, tmp_path / "out")
    assert all(row["mean"] is None for row in told["ceilings"])
    assert "No image of abdomen can rank an autoencoder" in told["verdict"][0]
    lossless = {row["method"]: row["lossless"] for row in told["ceilings"]}
    assert lossless == {"fine": False, "coarse": False, "haar": True}
    assert all(row["expected"] is None for row in told["expected"])


def test_bad_input_is_one_line_and_nothing_is_written(
    dataset: Dataset,
    pair: list[Candidate],
    make_dataset: Callable,
    windows: list[np.ndarray],
    tmp_path: Path,
    made: Made,
) -> None:
    cases = [
        ({"split": "train"}, InputError, "no images in split 'train'; there are valid"),
        (
            {"reference": "fien"},
            OptionError,
            "the option reference is fien, which is not screened; expected one of fine, coarse, haar",
        ),
        ({"reference": "haar"}, OptionError, "the option reference is haar, which is lossless: .*choose fine, coarse"),
        ({"seed": -1}, OptionError, "seed is -1; expected greater than or equal to 0"),
        ({"limit": 0}, OptionError, "limit is 0; expected greater than or equal to 1"),
        ({"metrics": ("pnsr",)}, OptionError, "metric 'pnsr' is unknown: choose from psnr"),
        ({"metrics": ("lr_psnr",)}, OptionError, "lr_psnr: is no measure of a ceiling; choose from psnr, ssim"),
        ({"studies": tmp_path / "none.csv"}, InputError, "none.csv: cannot be read as CSV"),
    ]
    for options, error, message in cases:
        with pytest.raises(error, match=message):
            made(dataset, pair, tmp_path / "out", **options)
    with pytest.raises(OptionError, match="the option batch is 0"):
        made(dataset, pair, tmp_path / "out", batch=0)
    other = make_dataset(tmp_path / "other", windows[:1], ["a"])
    with pytest.raises(InputError, match="datasets named abdomen, abdomen"):
        plan_screening([dataset, other], pair, Screening())
    assert not (tmp_path / "out").exists()


def test_images_that_changed_since_they_were_prepared_are_refused_before_any_work(
    windows: list[np.ndarray], pair: list[Candidate], make_dataset: Callable, tmp_path: Path
) -> None:
    """A file that is not screened may be what it likes."""
    data = make_dataset(tmp_path / "data", windows[:4], list("aabb"))
    write_pixels(data.root / data.records[2].file, windows[0])
    with pytest.raises(InputError, match=r"'abdomen': 1 of 4 image files are missing or changed since") as caught:
        plan_screening([data], [], Screening())  # before an autoencoder is loaded
    assert "002" not in str(caught.value).replace(short_hash("abdomen", "002"), "")
    assert len(plan_screening([data], pair, Screening(limit=1)).records[0]) == 1


def test_an_image_that_breaks_meanwhile_is_named_by_its_hash(
    windows: list[np.ndarray], pair: list[Candidate], make_dataset: Callable, tmp_path: Path
) -> None:
    data = make_dataset(tmp_path / "data", windows[:2], ["a", "b"])
    plan = plan_screening([data], pair, Screening())
    (data.root / data.records[1].file).write_bytes(b"cut")
    with pytest.raises(InputError, match=f"'abdomen': image {short_hash('abdomen', '001')} is missing, cut") as caught:
        screen(plan, tmp_path / "out", batch=1)
    assert str(tmp_path) not in str(caught.value)
