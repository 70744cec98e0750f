import math

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.screening import judged


def table(**values: dict[str, list[float]]) -> pd.DataFrame:
    """Tidy rows of dataset d: `method={metric: a value an image}`; ids are 0, 1, ..."""
    rows = [
        ("d", str(number), "p", method, metric, value)
        for method, metrics in values.items()
        for metric, found in metrics.items()
        for number, value in enumerate(found)
    ]
    return pd.DataFrame(rows, columns=["dataset", "id", "patient", "method", "metric", "value"])


def of(found: pd.DataFrame, method: str, metric: str) -> list[float]:
    return found[(found["method"] == method) & (found["metric"] == metric)]["value"].tolist()


@pytest.mark.parametrize(("psnr", "excluded"), [(99.9, set()), (100.1, {"0"}), (math.inf, {"0"}), (math.nan, {"0"})])
def test_an_image_that_one_lossy_autoencoder_gives_back_counts_for_none(psnr: float, excluded: set[str]) -> None:
    given = table(a={"psnr": [psnr, 30.0]}, b={"psnr": [40.0, 31.0]}, haar={"psnr": [math.inf, math.inf]})
    found = judged(given, ["a", "b"], {})
    assert found.excluded == {"d": frozenset(excluded)}
    assert of(found.table, "b", "psnr") == pytest.approx([math.nan if excluded else 40.0, 31.0], nan_ok=True)
    assert set(found.kept["id"]) == {"0", "1"} - excluded


def test_a_mean_is_of_the_images_of_which_all_have_a_value() -> None:
    given = table(
        a={"psnr": [30.0, 31.0], "band": [math.inf, 20.0]},
        b={"psnr": [30.0, 31.0], "band": [50.0, 21.0]},
        haar={"band": [70.0, 71.0]},
    )
    found = judged(given, ["a", "b"], {})
    assert np.isnan(of(found.table, "b", "band")[0])
    assert of(found.table, "b", "band")[1] == 21.0
    assert of(found.table, "b", "psnr") == [30.0, 31.0]
    assert of(found.table, "haar", "band") == [70.0, 71.0]


def test_constant_images_are_excluded_where_anybody_is_ranked() -> None:
    given = table(a={"psnr": [60.0, 31.0]}, haar={"psnr": [math.inf, math.inf]})
    assert judged(given, ["a"], {"d": frozenset("0")}).excluded == {"d": frozenset("0")}
    assert judged(given, [], {"d": frozenset("0")}).excluded == {"d": frozenset()}
