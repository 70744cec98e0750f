import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from latentsr.baselines import Method, bicubic
from latentsr.data.records import Dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.errors import InputError, OptionError
from latentsr.evaluation import evaluate
from latentsr.metrics import applicable, find_metrics, measure
from latentsr.stats import COLUMNS, check_table

X4 = parse_degradation("bicubic:4")
GIVEN = ({"hr": 0, "lr": 0, "degradation": 0}, {})


@pytest.fixture(scope="module")
def table(dataset: Dataset) -> pd.DataFrame:
    return evaluate(dataset, [bicubic(X4), bicubic(X4, projected=True)], X4, batch=2)


def values(table: pd.DataFrame, method: str, metric: str) -> pd.Series:
    return table[(table["method"] == method) & (table["metric"] == metric)].set_index("id")["value"]


def test_the_table_is_tidy_and_complete(table: pd.DataFrame, dataset: Dataset) -> None:
    assert tuple(table.columns) == COLUMNS
    check_table(table)
    assert set(table["method"]) == {"bicubic", "bicubic+projection", "hr"}
    of_pairs, own = ({name for metric in applicable(find_metrics(), given) for name in metric.names} for given in GIVEN)
    assert set(table["metric"]) == of_pairs | {"lr_psnr"}
    assert len(table) == len(dataset.records) * (2 * len(of_pairs | {"lr_psnr"}) + len(own))
    assert dict(zip(table["id"], table["patient"], strict=True)) == {r.id: r.patient for r in dataset.records}
    assert set(table["dataset"]) == {"abdomen"}


def test_values_are_those_of_the_measures(table: pd.DataFrame, dataset: Dataset) -> None:
    for record in dataset.records:
        hr = torch.from_numpy(dataset.image(record))[None, None]
        sr = enlarge(X4.apply(hr), 4).clamp(0, 1)
        for name, expected in measure(find_metrics(), sr, {"hr": hr}).items():
            found = values(table, "bicubic", name)[record.id]
            np.testing.assert_allclose(found, float(expected), rtol=1e-5, atol=1e-4, err_msg=name)
        for name, expected in measure(find_metrics(), hr, {}).items():
            assert values(table, "hr", name)[record.id] == pytest.approx(float(expected), rel=1e-5)


def test_an_image_too_small_has_no_ms_ssim(table: pd.DataFrame, dataset: Dataset) -> None:
    assert values(table, "bicubic", "ms_ssim").isna().tolist() == [r.rows < 161 for r in dataset.records]


def test_projection_makes_sr_true_to_lr_and_no_worse(table: pd.DataFrame) -> None:
    assert (values(table, "bicubic+projection", "lr_psnr") > 100).all()
    assert (values(table, "bicubic", "lr_psnr") < 55).all()
    assert (values(table, "bicubic+projection", "psnr") > values(table, "bicubic", "psnr")).all()


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_batches_change_nothing(batch: int, table: pd.DataFrame, dataset: Dataset) -> None:
    methods = [bicubic(X4, projected=True), bicubic(X4)]
    again = evaluate(dataset, methods, X4, batch=batch, metrics=["psnr", "haarpsi"])
    chosen = table[table["metric"].isin(["psnr", "haarpsi", "lr_psnr"]) & (table["method"] != "hr")]
    steady = chosen["metric"] != "lr_psnr"  # of a projected image it measures rounding alone
    chosen = chosen.reset_index(drop=True)
    steady = (again["metric"] != "lr_psnr") | (again["method"] == "bicubic")
    pd.testing.assert_frame_equal(again[steady], chosen[steady], rtol=1e-5)


def test_progress_counts_images_and_memory_holds_one_batch(dataset: Dataset) -> None:
    calls, sizes = [], []

    def restore(lr: Tensor, ids: list[str]) -> Tensor:
        sizes.append(len(ids))
        return enlarge(lr, 4)

    evaluate(
        dataset,
        [Method("mine", restore)],
        X4,
        metrics=["psnr"],
        batch=2,
        progress=lambda done, n: calls.append((done, n)),
    )
    assert max(sizes) == 2
    assert calls[-1] == (5, 5)
    assert [done for done, _ in calls] == np.cumsum(sizes).tolist()


def test_methods_are_told_the_ids_of_their_images(dataset: Dataset) -> None:
    by_id = {record.id: torch.from_numpy(dataset.image(record)) for record in dataset.records}
    perfect = Method("perfect", lambda lr, ids: torch.stack([by_id[name] for name in ids])[:, None])
    found = evaluate(dataset, [perfect], X4, metrics=["psnr"])
    assert values(found, "perfect", "psnr").tolist() == [math.inf] * 5


def test_a_method_of_another_size_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"'small' gave images of shape .* expected"):
        evaluate(dataset, [Method("small", lambda lr, ids: lr)], X4)


def test_values_that_are_not_finite_are_refused(dataset: Dataset) -> None:
    broken = Method("broken", lambda lr, ids: enlarge(lr, 4) * torch.nan)
    with pytest.raises(InputError, match="'broken' gave values that are not finite"):
        evaluate(dataset, [broken], X4)


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        ([bicubic(X4), bicubic(X4)], {}, "method name bicubic: expected names that differ"),
        ([Method("hr", lambda lr, ids: lr)], {}, "and not 'hr'"),
        ([bicubic(X4)], {"batch": 0}, "batch of 0"),
        ([bicubic(X4)], {"metrics": ["lpipz"]}, "'lpipz' is unknown"),
    ],
)
def test_wrong_options_are_refused(dataset: Dataset, methods: list[Method], options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        evaluate(dataset, methods, X4, **options)


def test_a_split_that_is_not_there_is_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="no images in split 'test'"):
        evaluate(dataset, [bicubic(X4)], X4, split="test")


def test_images_that_the_scale_does_not_divide_are_refused(dataset: Dataset) -> None:
    with pytest.raises(InputError, match="not a multiple of the scale 5"):
        evaluate(dataset, [bicubic(parse_degradation("bicubic:5"))], parse_degradation("bicubic:5"))
