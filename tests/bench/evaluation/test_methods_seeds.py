"""Seeds of one method in an evaluation: named, read from a range, measured apart and told as one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.autoencoders.architectures import SmallKL
from latentsr.autoencoders.network import save_network
from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.methods import expanded, members
from latentsr.config import read_json
from latentsr.data.records import Dataset
from latentsr.errors import OptionError
from latentsr.io.raster import read_pixels, write_pixels
from latentsr.stats.table import read_table
from latentsr.upscalers.model import SuperResolver

NOISE = {"0": 3, "1": 9, "5": 6}


@dataclass(frozen=True)
class Named:
    name: str
    kind: str = "model"


def test_a_range_becomes_a_method_a_seed() -> None:
    assert expanded("a@0..2=model/?steps=4") == [f"a@{seed}=model/?steps=4&seed={seed}" for seed in range(3)]
    assert expanded("a@8..9=tiny") == ["a@8=tiny?seed=8", "a@9=tiny?seed=9"]
    for text in ("bicubic", "a=folder@0..2", "a@1=model/", "a@b..c=model/"):
        assert expanded(text) == [text]
    for text in ("a@3..3=tiny", "a@3..1=tiny", "a@0..100=tiny"):
        with pytest.raises(OptionError, match="expected a range of 2 to 100 seeds"):
            expanded(text)


def test_seeds_are_found_among_the_names() -> None:
    names = ["bicubic", "a@1", "b@home", "a@0", "c@3", "d@x@0", "d@x@1"]
    assert members([Named(name) for name in names]) == {
        "bicubic": ("bicubic",), "a": ("a@1", "a@0"), "b@home": ("b@home",), "c@3": ("c@3",),
        "d@x": ("d@x@0", "d@x@1"),
    }  # fmt: skip
    with pytest.raises(OptionError, match="method name a: of a method and of seeds, a@0, a; rename one"):
        members([Named("a@0"), Named("a")])
    with pytest.raises(OptionError, match="method a: its seeds a@0, a@1 are of several kinds, images and model"):
        members([Named("a@0"), Named("a@1", "images")])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, make_dataset: Callable[..., Dataset]) -> Dataset:
    rng = np.random.default_rng(0)
    images = [
        np.kron(rng.integers(40, 200, (8, 8), np.uint8), np.ones((4, 4), np.uint8))
        + rng.integers(0, 40, (32, 32), np.uint8)
        for _ in range(12)
    ]
    return make_dataset(tmp_path_factory.mktemp("seeds") / "set", images, [f"p{n // 2}" for n in range(12)], "blocks")


def given(dataset: Dataset, root: Path) -> dict[str, Path]:
    """Folders of HR with noise, of one method, by seed."""
    for seed, noise in NOISE.items():
        rng = np.random.default_rng(int(seed))
        for record in dataset.records:
            pixels = dataset.image(record) * 255 + rng.normal(0, noise, (record.rows, record.columns))
            write_pixels(root / seed / f"{record.id}.png", np.round(pixels).clip(0, 255).astype(np.uint8))
    return {seed: root / seed for seed in NOISE}


def asked(*methods: str, **options: object) -> Comparison:
    metrics = ("psnr", "haarpsi", "hallucinated", "lost", "mean_intensity")
    return Comparison(methods=methods, **{"metrics": metrics, "device": "cpu", "workers": 0, **options})


@pytest.fixture(scope="module")
def evaluated(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of an evaluation of three seeds of one method, and of one of the same as three methods."""
    root = tmp_path_factory.mktemp("evaluated")
    folders = given(dataset, root)
    save_network(SmallKL(width=4, blocks=1), root / "vae", facts={"domain": "medical"})
    more = {"reference_autoencoder": str(root / "vae"), "primary": "mine:haarpsi"}
    compare([dataset.root], root / "one", asked(*(f"mine@{seed}={at}" for seed, at in folders.items()), **more))
    more["primary"] = "s0:haarpsi"
    compare([dataset.root], root / "three", asked(*(f"s{seed}={at}" for seed, at in folders.items()), **more))
    return root / "one", root / "three"


def frames(evaluated: tuple[Path, Path], name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    one, three = (read_table(folder / f"{name}.parquet") for folder in evaluated)
    return one, three


def test_one_method_stands_in_every_table(evaluated: tuple[Path, Path]) -> None:
    run = read_json(evaluated[0] / "run.json")
    for name in run["tables"]:
        table = read_table(evaluated[0] / f"{name}.parquet")
        names = {name for column in ("method", "a", "b") if column in table for name in table[column]}
        assert names <= {"mine", "bicubic", "hr"}
        assert "mine" in names
    (mine,) = (method for method in run["methods"] if method["name"] == "mine")
    assert [seed["name"] for seed in mine["seeds"]] == [f"mine@{seed}" for seed in NOISE]
    assert sorted(run["files"]["blocks"]) == sorted(f"mine@{seed}" for seed in NOISE)
    assert run["primary"] == {"a": "mine", "b": "bicubic", "metric": "haarpsi"}


def test_its_values_are_the_means_of_its_seeds(evaluated: tuple[Path, Path]) -> None:
    one, three = frames(evaluated, "table")
    keys, seeds = ["id", "metric"], [f"s{seed}" for seed in NOISE]
    own = one[one["method"] == "mine"].set_index(keys)["value"].sort_index()
    apart = three[three["method"].isin(seeds)].groupby(keys)["value"].mean()
    np.testing.assert_allclose(own, apart.loc[own.index])
    one, three = frames(evaluated, "sets")
    own = one[one["method"] == "mine"].set_index("metric")["value"]
    apart = three[three["method"].isin(seeds)].groupby("metric")["value"].mean()
    np.testing.assert_allclose(own, apart.loc[own.index])
    maps, others = (np.load(folder / "maps.npz") for folder in evaluated)
    np.testing.assert_allclose(maps["0.1"], np.mean([others[f"0.{n}"] for n in (1, 2, 3)], axis=0), atol=1e-7)


def test_how_far_seeds_lie_apart_is_a_table(evaluated: tuple[Path, Path]) -> None:
    spread = read_table(evaluated[0] / "seeds.parquet").set_index("metric")
    summary, sets = (frames(evaluated, name)[1] for name in ("summary", "sets"))
    for metric, values in (
        ("psnr", summary[summary["metric"] == "psnr"].set_index("method")["mean"]),
        ("swd", sets[sets["metric"] == "swd"].set_index("method")["value"]),
    ):
        apart = values[[f"s{seed}" for seed in NOISE]]
        row = spread.loc[metric]
        assert (row["seeds"], row["least"], row["greatest"]) == (3, apart.min(), apart.max())
        assert (row["mean"], row["sd"]) == pytest.approx((apart.mean(), apart.std(ddof=1)))
    assert not (evaluated[1] / "seeds.csv").exists()


def test_the_first_seed_is_pictured_with_its_own_psnr(evaluated: tuple[Path, Path], dataset: Dataset) -> None:
    case = read_json(evaluated[0] / "run.json")["pictures"]["cases"][0]
    number = list(case["files"].values()).index("mine") - 2
    shown = read_pixels(evaluated[0] / "pictures" / case["image"] / f"{number}.png")
    ids = [
        r.id for r in dataset.records if np.array_equal(read_pixels(evaluated[0].parent / "0" / f"{r.id}.png"), shown)
    ]
    table = frames(evaluated, "table")[1]
    own = table[(table["method"] == "s0") & (table["metric"] == "psnr") & table["id"].isin(ids)]
    assert case["psnr"]["mine"] == pytest.approx(own["value"].item())


def test_a_seed_whose_files_are_swapped_is_named(dataset: Dataset, tmp_path: Path) -> None:
    folders = given(dataset, tmp_path)
    first, second = (folders["1"] / f"{record.id}.png" for record in dataset.records[:2])
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)
    methods = (f"mine@{seed}={at}" for seed, at in folders.items())
    compare([dataset.root], tmp_path / "out", asked(*methods, metrics=("psnr",)))
    assert [doubt["method"] for doubt in read_json(tmp_path / "out" / "run.json")["pairing"]] == ["mine@1"]


def test_a_range_loads_its_model_once(
    dataset: Dataset, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = SuperResolver.load
    monkeypatch.setattr(SuperResolver, "load", lambda place, **more: loaded.append(place) or load(place, **more))
    methods = (f"mean={model_folder}", f"sample@4..5={model_folder}?steps=2")
    compare([dataset.root], tmp_path / "out", asked(*methods, metrics=("psnr",), limit=3))
    found = read_json(tmp_path / "out" / "run.json")["methods"]
    seeds = [[one["options"]["seed"] for one in method.get("seeds", ())] for method in found]
    assert seeds == [[], [], [4, 5]]
    assert loaded == [str(model_folder)]
    (spread,) = read_table(tmp_path / "out" / "seeds.parquet").query("metric == 'psnr'")["sd"]
    assert spread > 0


def test_seeds_that_do_not_differ_are_told_and_one_alone_is_a_method_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    folders = given(dataset, tmp_path)
    methods = (f"mine@0={folders['1']}", f"mine@1={folders['1']}", f"other@3={folders['5']}")
    compare([dataset.root], tmp_path / "out", asked(*methods, metrics=("psnr",)))
    assert set(read_table(tmp_path / "out" / "table.parquet")["method"]) == {"bicubic", "mine", "other@3"}
    assert set(read_table(tmp_path / "out" / "seeds.parquet")["method"]) == {"mine"}
    told = [one for one in read_json(tmp_path / "out" / "run.json")["cautions"] if "seed" in one]
    assert told == [
        "On 'blocks' all seeds of method 'mine' are the same in every measure: it does not depend on the seed."
    ]


@pytest.mark.parametrize(
    ("methods", "options", "told"),
    [
        (("a@0..1=MODEL",), {"mean": "a"}, "the option mean is a: no such method; expected one of bicubic"),
        (("a@0..1=MODEL",), {"mean": "a@0"}, "the option mean is a@0: no such method; expected one of bicubic"),
        (
            ("a@0..1=MODEL",),
            {"pictured": "a@0"},
            "the option pictured is a@0: no such method; expected one of bicubic, a",
        ),
        (("a@0..1=MODEL?seed=3",), {}, "method 'a@0': option seed is given twice"),
        (("a@0..1=IMAGES",), {}, "method 'a@0': options seed are for models"),
        (("hr@0..1=MODEL",), {}, "method name hr@0: hr is that of the truth; rename it"),
        (("bicubic@0..1=MODEL",), {}, "method name bicubic@0: bicubic is that of a baseline; rename it"),
        (("bicubic@3=IMAGES",), {}, "method name bicubic@3: bicubic is that of a baseline; rename it"),
        (("a@0=MODEL", "a@1=IMAGES"), {}, "method a: its seeds a@0, a@1 are of several kinds"),
        (("a@0=MODEL", "a@0=MODEL?steps=2"), {}, "method name a@0: expected names that differ"),
    ],
)
def test_what_is_wrong_is_one_line(
    dataset: Dataset, model_folder: Path, tmp_path: Path, methods: tuple[str, ...], options: dict, told: str
) -> None:
    (tmp_path / "images").mkdir()
    texts = [text.replace("MODEL", str(model_folder)).replace("IMAGES", str(tmp_path / "images")) for text in methods]
    with pytest.raises(OptionError, match=told) as caught:
        compare([dataset.root], tmp_path / "out", asked(*texts, metrics=("psnr",), **options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
