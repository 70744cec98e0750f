"""The tables of a study: what its arms' measures say together, as far as they are done."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from latentsr.names import HR
from latentsr.stats.comparison import compare_methods
from latentsr.stats.significance import holm
from latentsr.stats.table import read_table, sorted_table, write_table
from latentsr.study.design import Design
from latentsr.study.nodes import Node, before
from latentsr.study.runner import done_before

TABLES = ("summary", "seeds", "contrasts", "jobs")


def write_results(design: Design, ends: Mapping[str, Sequence[Node]], root: Path) -> list[str]:
    """Writes the TABLES (Parquet and CSV) into the study's folder; sentences on contrasts that cannot be made yet.

    `summary`: the summary of each measured arm and seed, with columns `arm` and `seed`; `seeds`: mean and sd over an
    arm's seeds; `contrasts`: the design's, COMPARISON_COLUMNS by patient, over the images that both arms have, with the
    mean over seeds for each image, and p_holm over all contrasts in one measure of one dataset; `jobs`: step, name,
    seconds and peak memory of each job that is done.
    """
    measured = {
        arm: [node for node in last if node.step == "measure" and done_before(node, root)] for arm, last in ends.items()
    }
    tables = [
        read_table(root / node.place / "summary.parquet").assign(arm=arm, seed=_seed(node))
        for arm, nodes in measured.items()
        for node in nodes
    ]
    found: dict[str, pd.DataFrame] = {"jobs": _jobs(ends, root)}
    if tables:
        found["summary"] = _first(pd.concat(tables, ignore_index=True), "arm", "seed")
        by = ["arm", "dataset", "method", "metric"]
        own = found["summary"][~found["summary"]["method"].isin([HR])]
        several = own.groupby(by, sort=False)["mean"].agg(seeds="count", mean="mean", sd="std").reset_index()
        found["seeds"] = several[several["seeds"] > 1]
    images = {arm: _images(nodes, root) for arm, nodes in measured.items() if nodes}
    rows, missing = [], []
    for name, (a, b) in design.contrasts.items():
        if compared := _contrast(a, b, images):
            rows += [one.assign(contrast=name) for one in compared]
        else:
            missing.append(f"contrast {name}: {a} and {b} are not both measured on one dataset yet")
    if rows:
        contrasts = pd.concat(rows, ignore_index=True).assign(family="contrasts")
        adjusted = contrasts.groupby(["dataset", "metric"], sort=False)["p"].transform(holm)
        found["contrasts"] = _first(contrasts.assign(p_holm=adjusted), "contrast")
    for name, table in found.items():
        write_table(table, root, name, overwrite=True)
    return missing


def _seed(node: Node) -> int:
    """The seed of the training that is measured; 0 where there is none."""
    return next((int(need.options["options"]["seed"]) for need in node.needs if need.step == "train"), 0)


def _images(nodes: Sequence[Node], root: Path) -> pd.DataFrame:
    """The tidy table of an arm: of each image the mean over seeds."""
    table = pd.concat([read_table(root / node.place / "table.parquet") for node in nodes], ignore_index=True)
    by = ["dataset", "id", "patient", "method", "metric"]
    return sorted_table([table.groupby(by, sort=False, as_index=False)["value"].mean()])


def _contrast(a: str, b: str, images: Mapping[str, pd.DataFrame]) -> list[pd.DataFrame]:
    """The comparison of two samplings, ARM:SAMPLING each, on each dataset that both have."""
    tables = []
    for text in (a, b):
        arm, _, sampling = text.partition(":")
        table = images.get(arm, pd.DataFrame(columns=["method", "dataset", "metric", "id"]))
        tables.append(table[table["method"] == sampling].assign(method=text))
    keys = ["dataset", "metric", "id"]
    both = tables[0].merge(tables[1][keys], on=keys)[keys]
    return [
        compare_methods(sorted_table([one.merge(part[keys], on=keys) for one in tables]), pairs=[(a, b)])
        for _, part in both.groupby(["dataset", "metric"], sort=False)
    ]


def _jobs(ends: Mapping[str, Sequence[Node]], root: Path) -> pd.DataFrame:
    nodes = before([node for last in ends.values() for node in last])
    records = [(node, record) for node in nodes if (record := done_before(node, root))]
    return pd.DataFrame(
        [(node.step, node.name, record["seconds"], record["memory_mb"], node.place) for node, record in records],
        columns=["step", "name", "seconds", "memory_mb", "folder"],
    )


def _first(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    return table[[*names, *(name for name in table if name not in names)]]
