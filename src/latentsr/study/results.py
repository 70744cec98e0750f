"""The tables of a study: what its arms' measures say together, as far as they are done."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from latentsr import __version__
from latentsr.bench.sets import SET_COLUMNS
from latentsr.config import read_signed_json, sha256_json, signed, write_json
from latentsr.data.records import read_dataset
from latentsr.errors import InputError
from latentsr.names import HR, STUDY_PAGE
from latentsr.stats.comparison import compare_shared
from latentsr.stats.significance import holm
from latentsr.stats.table import read_table, sorted_table, write_table
from latentsr.study.claims import ceiling_lines, ceiling_points, judge_claims
from latentsr.study.cost import estimated_seconds
from latentsr.study.defects import sampled, signal, what_defects_cost
from latentsr.study.design import Design
from latentsr.study.nodes import Node, jobs_of
from latentsr.study.published import PROTOCOLS, Measured, compare_outputs, compare_values
from latentsr.study.runner import done_before
from latentsr.upscalers import UPSCALERS

RECORD = "tables.json"


def results_key(design: Design, ends: Mapping[str, Sequence[Node]], root: Path) -> str:
    """The digest of what decides the tables and the report: the design, the jobs that are done, the version."""
    done = sorted(node.key for node in jobs_of(ends) if done_before(node, root))
    return sha256_json({"design": design, "done": done, "version": __version__})


def results_written(key: str, root: Path) -> bool:
    """Whether the tables and the report of this key are in the study's folder, as `note_results` noted."""
    try:
        return (root / STUDY_PAGE).is_file() and read_signed_json(root / RECORD)["key"] == key
    except InputError:
        return False


def note_results(key: str, root: Path) -> None:
    """Notes that the tables and the report of this key are written, so that nobody writes them again."""
    write_json(root / RECORD, signed({"key": key}))


def write_results(
    design: Design, ends: Mapping[str, Sequence[Node]], root: Path, *, asked: Mapping[str, Sequence[Node]] | None = None
) -> list[str]:
    """Writes the tables (Parquet and CSV) into the study's folder; sentences on contrasts that cannot be made yet.

    `summary`: the summary of each measured arm and seed, with columns `arm` and `seed`; `seeds`: mean and sd over an
    arm's seeds; `contrasts`: the design's, COMPARISON_COLUMNS by patient, over the images that both arms have, with the
    mean over seeds for each image, and p_holm over all contrasts in one measure of one dataset; `defects` and `signal`:
    see `latentsr.study.defects`; `claims`, and `ceilings` with `lines`, on which one rests: see
    `latentsr.study.claims`; `outputs` and `published`: see `latentsr.study.published`; `evaluations`: the folder of
    each that stands for a published method; `jobs`: step, name, measured and estimated seconds and peak memory of each
    job that is done. `asked`: the last jobs that were asked for, whose contrasts are missed if they cannot
    be made; None: all.
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
    wanted = {arm for arm, last in (asked or ends).items() if any(node.step == "measure" for node in last)}
    rows, missing = [], []
    for name, (a, b) in design.contrasts.items():
        compared = compare_shared(sampled(a, images), sampled(b, images), (a, b))
        if len(compared):
            rows.append(compared.assign(contrast=name))
        elif {text.partition(":")[0] for text in (a, b)} <= wanted:
            missing.append(f"contrast {name}: {a} and {b} are not both measured on one dataset yet")
    if rows:
        contrasts = pd.concat(rows, ignore_index=True).assign(family="contrasts")
        adjusted = contrasts.groupby(["dataset", "metric"], sort=False)["p"].transform(holm)
        found["contrasts"] = _first(contrasts.assign(p_holm=adjusted), "contrast")
    if design.defects:
        found["defects"] = what_defects_cost(design, measured, images, root)
    if len(signals := signal(measured, root)):
        found["signal"] = signals
    shown = _measured(design, measured, images, root)
    found["published"] = compare_values(shown)
    found["outputs"] = compare_outputs(found["published"])
    found["ceilings"] = ceiling_points(shown)
    found["lines"] = ceiling_lines(found["ceilings"])
    found["claims"] = judge_claims(shown, found["ceilings"])
    found["evaluations"] = _evaluations(design, measured)
    for name, table in found.items():
        write_table(table, root, name, overwrite=True)
    return missing


def _measured(
    design: Design, measured: Mapping[str, Sequence[Node]], images: Mapping[str, pd.DataFrame], root: Path
) -> Measured:
    """What the arms have measured, by the published names."""
    names: dict[str, str] = {}
    sets = [pd.DataFrame(columns=["arm", *SET_COLUMNS])]
    for arm, nodes in measured.items():
        for node in nodes:
            prepared = node.needs[0]
            names[prepared.name] = names.get(prepared.name) or read_dataset(root / prepared.place).name
            sets.append(read_table(root / node.place / "sets.parquet").assign(arm=arm))
            cost = read_table(root / node.place / "cost.parquet").rename(columns={"seconds": "value"})
            sets.append(cost.reindex(columns=sets[0].columns).assign(arm=arm, metric="seconds", patients=0))
    roles = design.stands_for
    known = {published: names[own] for published, own in roles.datasets.items() if own in names}
    return Measured(roles, images, pd.concat([one for one in sets if len(one)] or sets, ignore_index=True), known)


def _evaluations(design: Design, measured: Mapping[str, Sequence[Node]]) -> pd.DataFrame:
    """The folder of each evaluation of a sampling that stands for a published method."""
    roles = design.stands_for
    rows = [
        (protocol, dataset, method, text.partition(":")[2], node.place)
        for protocol in PROTOCOLS
        for method in getattr(roles, protocol)
        for text in roles.samplings(protocol, method)
        for node in measured.get(text.partition(":")[0], ())
        for dataset, own in roles.datasets.items()
        if node.needs[0].name == own
    ]
    table = pd.DataFrame(rows, columns=["protocol", "dataset", "method", "sampling", "folder"])
    return table.drop_duplicates(["protocol", "dataset", "method"], ignore_index=True)  # of several seeds the first


def _seed(node: Node) -> int:
    """The seed of the training that is measured; 0 where there is none."""
    return next((int(need.options["options"]["seed"]) for need in node.needs if need.step == "train"), 0)


def _images(nodes: Sequence[Node], root: Path) -> pd.DataFrame:
    """The tidy table of an arm, by sampling: of each image the mean over seeds."""
    tables = []
    for node in nodes:
        table, upscaler = read_table(root / node.place / "table.parquet"), node.options["upscaler"]
        if upscaler in UPSCALERS:  # whose own name its method has
            table["method"] = table["method"].replace({upscaler: next(iter(node.options["samplings"]))})
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    by = ["dataset", "id", "patient", "method", "metric"]
    return sorted_table([table.groupby(by, sort=False, as_index=False)["value"].mean()])


def _jobs(ends: Mapping[str, Sequence[Node]], root: Path) -> pd.DataFrame:
    estimated, measured = estimated_seconds(root), ("seconds", "cpu_seconds", "memory_mb")
    records = [(node, record) for node in jobs_of(ends) if (record := done_before(node, root))]
    return pd.DataFrame(
        [
            (node.step, node.name, *(record[key] for key in measured), estimated.get(node.key), node.place)
            for node, record in records
        ],
        columns=["step", "name", *measured, "estimated_seconds", "folder"],
    )


def _first(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    return table[[*names, *(name for name in table if name not in names)]]
