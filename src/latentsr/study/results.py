"""The tables of a study: what its arms' measures say together, and what each defect of the published study costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from latentsr import __version__
from latentsr.bench.sets import SET_COLUMNS
from latentsr.config import checked, read_signed_json, sha256_json, signed, write_json
from latentsr.data.latents import open_cache
from latentsr.data.records import loaded, low_resolution, read_dataset
from latentsr.degrade import parse_degradation
from latentsr.diffusion.latents import Statistics
from latentsr.errors import InputError
from latentsr.metrics.fidelity import psnr
from latentsr.names import HR, STUDY_PAGE
from latentsr.stats.comparison import compare_shared
from latentsr.stats.significance import holm
from latentsr.stats.table import read_table, sorted_table, write_table
from latentsr.study.claims import ceiling_lines, ceiling_points, judge_claims
from latentsr.study.cost import estimated_seconds
from latentsr.study.design import DEFECTS, Design
from latentsr.study.nodes import Node, jobs_of, measured_model
from latentsr.study.published import PROTOCOLS, Measured, compare_outputs, compare_values
from latentsr.study.runner import done_before
from latentsr.upscalers import CONFIG, UPSCALERS, Sampling, load_upscaler
from latentsr.upscalers.restorer import ModelConfig

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
    see the functions `what_defects_cost` and `signal`; `claims`, and `ceilings` with `lines`, on which one rests: see
    `latentsr.study.claims`; `outputs` and `published`: see `latentsr.study.published`; `evaluations`: the folder of
    each that stands for a published method; `jobs`: step, name, measured and estimated seconds and peak memory of each
    job that is done. `asked`: the last jobs that were asked for, whose contrasts are missed if they cannot
    be made; None: all.
    """
    measured = {
        arm: [node for node in last if node.step == "measure" and done_before(node, root)] for arm, last in ends.items()
    }
    tables = []
    for arm, node in ((arm, node) for arm, nodes in measured.items() for node in nodes):
        seeds = [int(need.options["options"]["seed"]) for need in node.needs if need.step == "train"]
        table = read_table(root / node.place / "summary.parquet")
        tables.append(table.assign(arm=arm, seed=(seeds or [0])[0]))  # 0 where nothing is trained
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


DEFECT_COLUMNS = (
    "defect", "dataset", "with", "without", "metric", "difference", "low", "high", "p", "n_patients", "note",
)  # fmt: skip
SIGNAL_COLUMNS = ("arm", "dataset", "sampling", "latent_rms", "alpha", "snr")
METRICS = ("psnr", "ms_ssim", "lpips")
SELF_SCORES = {"self_psnr": "psnr", "self_ms_ssim": "ms_ssim"}


def sampled(text: str, images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The rows of ARM:SAMPLING in the tidy tables of arms, whose methods are samplings; none where it is not measured.

    A copy, with the images' own ids.
    """
    arm, _, sampling = text.partition(":")
    table = images.get(arm, pd.DataFrame(columns=["dataset", "id", "patient", "method", "metric", "value"]))
    return table[table["method"] == sampling].copy()


def what_defects_cost(
    design: Design, measured: Mapping[str, Sequence[Node]], images: Mapping[str, pd.DataFrame], root: Path
) -> pd.DataFrame:
    """One row per defect of the design, dataset and measure: DEFECT_COLUMNS.

    `with` and `without` are means over patients, `difference` = with - without with its interval and two-sided p by
    patient (`compare_methods`). Of images taken as patients they are the width of a contrast's interval and its p, by
    image and by patient. `measured` are the jobs of each arm that are done, `images` the tidy tables of each.
    """
    parts = [pd.DataFrame(columns=list(DEFECT_COLUMNS))]
    for defect, shown in design.defects.items():
        first = other = sampled(shown[0], images)
        if defect == "self-score":
            first = first[first["metric"].isin(SELF_SCORES)].replace({"metric": SELF_SCORES})
        elif defect == "mis-pairing" and len(first):
            first = _mispaired(measured[shown[0].partition(":")[0]], other, root)
        elif len(shown) == 2:
            other = sampled(shown[1], images)
        first, other = (table[table["metric"].isin(METRICS)] for table in (first, other))
        unit = "both" if defect == "images-as-patients" else "patient"
        rows = compare_shared(first, other, ("with", "without"), unit=unit)
        if defect == "images-as-patients":
            rows = _by_image_and_patient(rows)
        else:
            rows = rows.rename(columns={"mean_a": "with", "mean_b": "without", "n": "n_patients"})
        parts.append(rows.assign(defect=defect, note=f"{' and '.join(shown)}: {DEFECTS[defect][1]}"))
    return pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)[list(DEFECT_COLUMNS)]


def _by_image_and_patient(compared: pd.DataFrame) -> pd.DataFrame:
    """The width of intervals and p, with images as units beside patients."""
    keys = ["dataset", "metric"]
    width = compared.assign(width=compared["high"] - compared["low"])
    both = width[width["unit"] == "image"].merge(width[width["unit"] == "patient"], on=keys, suffixes=("", "_patient"))
    return pd.concat(
        [
            pd.DataFrame({
                "dataset": both["dataset"], "metric": both["metric"] + f" {words}", "with": both[what],
                "without": both[f"{what}_patient"], "difference": both[what] - both[f"{what}_patient"],
                "low": float("nan"), "high": float("nan"), "p": float("nan"), "n_patients": both["n_patient"],
            })
            for what, words in (("width", "width of interval"), ("p", "p"))
        ],
        ignore_index=True,
    )  # fmt: skip


def text_order(count: int) -> list[int]:
    """The numbers below `count` as text is sorted, without zeros before them: 0, 1, 10, 11, ..., 19, 2, 20."""
    return sorted(range(count), key=str)


@torch.inference_mode()
def _mispaired(nodes: Sequence[Node], own: pd.DataFrame, root: Path) -> pd.DataFrame:
    """PSNR of an arm's images, whose tidy table is `own`, against HR in `text_order`.

    So the study paired the SR images of one set. Of ten images or fewer none is paired wrongly.
    Only images of the first one's size count. Scores are kept in `root`: no image is restored twice.
    """
    method, parts = own["method"].iloc[0], []
    for node in {node.needs[0]: node for node in nodes}.values():  # of several seeds one
        dataset = read_dataset(root / node.needs[0].place)
        ids = set(own.loc[own["dataset"] == dataset.name, "id"])
        records = [record for record in dataset.records if record.id in ids]
        size = {(record.rows, record.columns) for record in records[:1]}
        records = [record for record in records if (record.rows, record.columns) in size]
        key = sha256_json({"job": node.key, "sampling": method, "ids": [record.id for record in records]})
        kept = root / "mis-pairing" / f"{node.name}-{key[:10]}.json"
        try:
            scores = read_signed_json(kept)["psnr"]
        except InputError:
            operator = parse_degradation(node.options["degradation"])
            upscaler = load_upscaler(measured_model(node, root), scale=operator.scale)
            sampling, scores = checked(Sampling, node.options["samplings"][method], method), []
            for record, number in zip(records, text_order(len(records)), strict=True):
                hr, other = (loaded(dataset, [one], upscaler.device) for one in (record, records[number]))
                lr = low_resolution(dataset, [record], operator, hr)
                sr = upscaler.restore(lr, ids=[record.id], sampling=sampling).image.clamp(0, 1)
                scores.append(str(float(psnr(sr, other.to(sr)))))  # as text, since it may be infinite
            write_json(kept, signed({"psnr": scores}))
        rows = zip(records, map(float, scores), strict=True)
        parts += [(dataset.name, one.id, one.patient, method, "psnr", score) for one, score in rows]
    return pd.DataFrame(parts, columns=list(own))


def signal(measured: Mapping[str, Sequence[Node]], root: Path) -> pd.DataFrame:
    """One row per arm with a published sampler, dataset and sampling: SIGNAL_COLUMNS.

    `latent_rms` is the root mean square of the HR latents as the network sees them, over the training images; `alpha`
    the share of signal in the noise table at the last evaluation, and `snr` = alpha / (1 - alpha) latent_rms^2: far
    below 1 the sampler stops in noise.
    """
    rows = []
    for arm, nodes in measured.items():
        for node in nodes:
            dataset = read_dataset(root / node.needs[0].place).name
            for train in (need for need in node.needs if need.step == "train"):
                config = checked(ModelConfig, read_signed_json(root / train.place / CONFIG), train.name)
                if config.published is None:
                    continue
                role = "residual" if config.space.target == "residual" else "hr"
                data = Statistics.model_validate(open_cache(root / train.needs[0].place).statistics[role])
                unit = config.space.target_statistics
                mean = ((own - one) / sd for own, one, sd in zip(data.mean, unit.mean, unit.sd, strict=True))
                state = Statistics(mean=tuple(mean), sd=tuple(a / b for a, b in zip(data.sd, unit.sd, strict=True)))
                for name, options in node.options["samplings"].items():
                    sampling = checked(Sampling, options, name)
                    alpha = config.published.last_alpha(sampling.steps or config.steps, sampling.solver)
                    snr = alpha / (1 - alpha) * state.rms**2
                    rows.append((arm, dataset, name, state.rms, alpha, snr))
    return pd.DataFrame(rows, columns=list(SIGNAL_COLUMNS)).drop_duplicates(ignore_index=True)  # of several seeds
