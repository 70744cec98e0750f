import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.methods import from_model
from latentsr.config import checked, read_json
from latentsr.data.records import Dataset
from latentsr.degrade import parse_degradation
from latentsr.errors import InputError, LatentSRError, OptionError, StaleError
from latentsr.stats.table import short_hash
from latentsr.upscalers import Sampling
from latentsr.upscalers.model import SuperResolver


def comparison(*methods: str, **options: object) -> Comparison:
    return checked(
        Comparison, {"methods": methods, "metrics": ("psnr", "ssim"), "device": "cpu", **options}, "evaluate"
    )


def test_table_summary_and_record_are_written(
    dataset: Dataset, model_folder: Path, images: Path, tmp_path: Path
) -> None:
    out, told = tmp_path / "out", []
    methods = (f"mine={model_folder}", f"files={images}", "bicubic")
    record = compare([dataset.root], out, comparison(*methods), progress=lambda *counts: told.append(counts))
    assert {**record, "digest": ""} == {**read_json(out / "run.json"), "digest": ""}
    summary = pd.read_parquet(out / "summary.parquet")
    assert set(summary["method"]) >= {"bicubic", "mine", "files"}
    assert told[-1] == (5, 5)
    table = pd.read_parquet(out / "table.parquet")
    assert list(table.columns) == ["dataset", "id", "patient", "method", "metric", "value"]
    assert len(table[(table["method"] == "bicubic") & (table["metric"] == "psnr")]) == 5
    assert len(pd.read_csv(out / "table.csv")) == len(table)
    run = json.loads((out / "run.json").read_text())
    assert run["data"] == {"abdomen": dataset.hash}
    assert [method["name"] for method in run["methods"]] == ["bicubic", "mine", "files"]
    assert "Research use only" in run["note"]


def test_an_existing_evaluation_is_kept_unless_asked(dataset: Dataset, tmp_path: Path) -> None:
    compare([dataset.root], tmp_path / "out", comparison())
    before = (tmp_path / "out" / "table.csv").read_bytes()
    with pytest.raises(
        StaleError, match="holds another evaluation, of other data, methods or options: choose another output folder"
    ):
        compare([dataset.root], tmp_path / "out", comparison(metrics=("mae",)))
    assert (tmp_path / "out" / "table.csv").read_bytes() == before
    compare([dataset.root], tmp_path / "out", comparison(metrics=("mae",)), overwrite=True)
    assert set(pd.read_csv(tmp_path / "out" / "table.csv")["metric"]) >= {"mae"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_enhance_wrote_is_refused_and_left(dataset: Dataset, tmp_path: Path, overwrite: bool) -> None:
    """Its record has the name of an evaluation's, and somebody may have put a report beside it."""
    (tmp_path / "out" / "report").mkdir(parents=True)
    (tmp_path / "out" / "report" / "thesis.tex").write_text("mine")
    (tmp_path / "out" / "run.json").write_text('{"model": "latentsr-tiny", "files": []}')
    with pytest.raises(StaleError, match=r"its run\.json is of no evaluation; choose an output folder that is new"):
        compare([dataset.root], tmp_path / "out", comparison(), overwrite=overwrite)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["report", "run.json", "thesis.tex"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_things_is_refused_and_left(dataset: Dataset, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(StaleError, match="evaluation; choose an output folder that is new or empty"):
        compare([dataset.root], tmp_path / "out", comparison(), overwrite=overwrite)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("methods", "options", "error", "message"),
    [
        ((), {"metrics": ("psnrr",)}, OptionError, "psnrr"),
        ((), {"split": "test"}, InputError, "no images in split 'test'; there are valid"),
        ((), {"degradation": "nearest:4"}, OptionError, "nearest:4"),
        ((), {"degradation": "bicubic:7"}, LatentSRError, "7"),
        ((), {"device": "tpu"}, OptionError, "device.* tpu"),
        ((), {"seed": -1}, OptionError, "seed is -1; expected greater than or equal to 0"),
        ((), {"protocol": "paper"}, OptionError, "expected 'corrected' or 'published'"),
        ((), {"metric": "psnr"}, OptionError, "unknown key 'metric'; expected the keys .* did you mean metrics"),
        (
            (),
            {"margins": (("lr_psnr", 1.0),)},
            OptionError,
            "the option margin has lr_psnr, which is not tested, since a projection",
        ),
        (
            (),
            {"margins": (("lr_psnr", 1.0),), "metrics": ("psnr", "lr_psnr")},
            OptionError,
            "lr_psnr, which is not tested",
        ),
        ((), {"margins": (("mae", 1.0),), "metrics": ("psnr", "lr_psnr")}, OptionError, "choose from psnr$"),
        (("lanczos",), {}, OptionError, "method 'lanczos': expected bicubic"),
        (("a=nowhere",), {}, LatentSRError, "nowhere"),
        (("a=MODEL?steps=0",), {}, OptionError, "steps"),
        (("a=MODEL?epsilon=1",), {}, OptionError, "unknown key 'epsilon'"),
        (("a=MODEL?steps=1&samples=2",), {}, LatentSRError, "leave steps out, or give more"),
        (("a=MODEL?solver=foo",), {}, OptionError, "solver 'foo'"),
        (("a=MODEL",), {"degradation": "bicubic:2"}, OptionError, "enlarges 4 times"),
        (("a=MODEL", "a=MODEL?steps=2"), {}, OptionError, "method name a"),
        (("hr=MODEL",), {}, OptionError, "method name hr"),
    ],
)
def test_a_wrong_option_is_one_line_and_nothing_is_written(
    dataset: Dataset, model_folder: Path, tmp_path: Path, methods: tuple[str, ...], options: dict,
    error: type[Exception], message: str,
) -> None:  # fmt: skip
    texts = [text.replace("MODEL", str(model_folder)) for text in methods]
    with pytest.raises(error, match=message) as caught:
        compare([dataset.root], tmp_path / "out", comparison(*texts, **options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (("b=bicubic",), "method 'b': bicubic is always called bicubic"),
        (("bicubic=MODEL",), "method name bicubic: bicubic is that of a baseline; rename it"),
        (("bicubic+projection@0..1=MODEL",), r"name bicubic\+projection@0: bicubic\+projection is that of a baseline"),
        (("a=MODEL", "a=MODEL?steps=2"), "method name a: expected names that differ"),
        (("a=MODEL", "b=MODEL?epsilon=1"), "method 'b': unknown key 'epsilon'"),
    ],
)
def test_texts_are_checked_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, methods: tuple[str, ...], message: str
) -> None:
    monkeypatch.setattr("latentsr.bench.evaluation_plan.read_dataset", lambda _: pytest.fail("a dataset was read"))
    with pytest.raises(OptionError, match=message):
        compare([tmp_path], tmp_path / "out", comparison(*methods))


def test_a_loaded_model_takes_no_name_of_a_baseline(dataset: Dataset, model_folder: Path, tmp_path: Path) -> None:
    loaded, operator = SuperResolver.load(model_folder, device="cpu"), parse_degradation("bicubic:4")
    model = from_model("bicubic+projection", loaded, operator, Sampling())
    with pytest.raises(OptionError, match=" is that of a baseline; rename it"):
        compare([dataset], tmp_path / "out", Comparison(methods=(model,)))


def test_a_method_folder_with_a_missing_file_is_named(dataset: Dataset, images: Path, tmp_path: Path) -> None:
    (images / "008.png").unlink()
    with pytest.raises(InputError, match=rf"missing: {short_hash('abdomen', '008')}\).*the option show_ids"):
        compare([dataset.root], tmp_path / "out", comparison(f"files={images}"))
    with pytest.raises(InputError, match=r"missing: 008\)$"):
        compare([dataset.root], tmp_path / "out", comparison(f"files={images}", show_ids=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(66, 64), (64, 66)])
@pytest.mark.parametrize("limit", [None, 1])
def test_sides_that_the_scale_does_not_divide_are_told_before_any_work(
    tmp_path: Path, make_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int], limit: int | None,
) -> None:  # fmt: skip
    """Also of an image that a limit leaves out: its LR thumbnail is compared with."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, sides, np.uint8) for sides in ((64, 64), (64, 64), size)]
    odd = make_dataset(tmp_path / "odd", noise, ["a", "b", "c"])
    monkeypatch.setattr("latentsr.bench.evaluation_plan.parse_method", lambda *given, **options: pytest.fail("a model"))
    hashed = (
        rf"1 of 3 images have a side that is not a multiple of 4, .*\({short_hash('abdomen', '002')}\).* multiple 4"
    )
    with pytest.raises(InputError, match=hashed) as caught:
        compare([odd.root], tmp_path / "out", comparison(limit=limit))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"needs \(002\); prepare it again with the option multiple 4$"):
        compare([odd.root], tmp_path / "out", comparison(limit=limit, show_ids=True))
    assert not (tmp_path / "out").exists()


def test_a_dataset_given_twice_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected different names"):
        compare([dataset.root, dataset.root], tmp_path / "out", comparison())


def test_a_replaced_image_of_the_dataset_is_refused_also_when_all_is_done(dataset: Dataset, tmp_path: Path) -> None:
    compare([dataset.root], tmp_path / "out", comparison())
    path, other = (dataset.root / record.file for record in dataset.records[:2])
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    try:
        with pytest.raises(InputError, match="changed since they were prepared"):
            compare([dataset.root], tmp_path / "out", comparison())
    finally:
        path.write_bytes(content)


def test_a_missing_image_of_the_dataset_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    path = dataset.root / dataset.records[0].file
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(InputError, match=rf"1 of 5 image files are missing .*\({short_hash('abdomen', '007')}\)"):
            compare([dataset.root], tmp_path / "out", comparison())
    finally:
        path.write_bytes(content)
    assert not (tmp_path / "out").exists()
