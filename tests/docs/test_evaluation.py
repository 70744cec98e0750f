"""The page on evaluation says of every measure what the METRICS table says, and names every table that is written."""

from pathlib import Path

import pytest

from latentsr.bench.evaluation import TABLES
from latentsr.bench.tables import MAIN_METRICS
from latentsr.metrics import METRICS, Metric
from latentsr.report.evaluation.tables import BETTER, UNDIRECTED

NEEDS = {
    "mask": "`--masks`",
    "threshold": "`--reference-autoencoder`",
    "mean": "`--mean`",
    "hr_latent": "`--latent`",
    "reconstruction": "a model in a lossy latent",
    "hr_decoded": "a model, one sample",
    "sampled": "`--keep-latents`",
    "interval": "a calibrated model",
    "following": "slices of volumes",
}


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "evaluation.md").read_text(encoding="utf-8")


def _row(metric: Metric) -> str:
    needs = ["weights"] if metric.group == "learned" else [text for need, text in NEEDS.items() if need in metric.needs]
    side = f"{metric.smallest_side} px" if metric.smallest_side > 1 else ""
    parts = f" ({metric.parts[0]} to {metric.parts[-1]})" if metric.parts else ""
    better = "neither" if metric.name in UNDIRECTED else BETTER[metric.better]
    cells = (f"`{metric.name}`", metric.title + parts, metric.unit, better, side, ", ".join(needs))
    return f"| {' | '.join(cells)} | {metric.source} |".replace("  ", " ")


def test_the_table_of_measures_is_that_of_the_code(page: str) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| `") and line.count("|") == 8]
    assert rows == [_row(metric) for metric in METRICS.values()]


def test_every_table_and_primary_measure_is_named(page: str) -> None:
    assert [name for name in TABLES if f"`{name}`" not in page] == []
    assert f"main measures ({' and '.join(METRICS[name].title for name in MAIN_METRICS)})" in page
