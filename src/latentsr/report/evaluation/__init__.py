"""The facts at the end of an evaluation's report: what it was made with and of, by hash."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from latentsr.names import EVALUATION_PAGE, SUPPLEMENT
from latentsr.report.evaluation.cases import case_blocks
from latentsr.report.evaluation.ceilings import ceiling_blocks
from latentsr.report.evaluation.checklist import checklist
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.evaluation.figures import (
    band_picture,
    forest_picture,
    intensity_picture,
    latent_picture,
    map_picture,
    mean_pictures,
    plane_picture,
    rate_picture,
    spectrum_picture,
    violin_picture,
)
from latentsr.report.evaluation.groups import (
    EXPLORATORY,
    seed_table,
    set_definitions,
    set_difference_table,
    set_table,
    subgroup_picture,
    subgroup_table,
)
from latentsr.report.evaluation.tables import (
    agreement_table,
    character_table,
    definition_table,
    difference_table,
    equivalence_table,
    evenness_table,
    families_text,
    headline_table,
    main_table,
    mean_table,
    null_space_table,
    pair_table,
    rate_table,
)
from latentsr.report.evaluation.verdict import details, verdict
from latentsr.report.page import Block, Page, Section, Table, Text, write_markdown, write_page
from latentsr.report.text import data_facts, run_facts


def evaluation_facts(evaluation: Evaluation) -> dict[str, str]:
    """Versions, options and hashes, of weights and files too; no path and no id."""
    run = evaluation.run
    facts = run_facts(run)
    facts |= {"degradation": run["degradation"], "seed": str(run["seed"]), "device": run["device"]}
    facts |= data_facts(run)
    facts |= {
        f"masks of {name}": f"from the {masks['from']}, SHA-256 {masks['hash']}" for name, masks in run["masks"].items()
    }
    sources = [one for method in run["methods"] for one in method.get("seeds", [method])]
    facts |= {f"method {one['name']}": _origin(evaluation, one) for one in sources}
    for key, title in (("reference_autoencoder", "reference autoencoder"), ("latent", "latent autoencoder")):
        if run[key]:
            facts[title] = f"{run[key]['name']}, hash {run[key]['hash']}"
    for name, digest in run["weights"].items():
        whose = f"feature extractor {run['features']}" if name == "features" else evaluation.measures[name]["title"]
        facts[f"weights of {whose}"] = f"SHA-256 {digest}"
    return facts


def _origin(evaluation: Evaluation, method: dict[str, object]) -> str:
    if method["kind"] == "model":
        options = dict(method["options"])  # type: ignore[call-overload]
        told = ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)
        return f"model {method['model']}, hash {method['hash']}, {told}"
    if method["kind"] == "images":
        hashes = [files[str(method["name"])] for files in evaluation.run["files"].values() if method["name"] in files]
        return f"images, SHA-256 of their contents {', '.join(hashes)}"
    return "baseline, from this package"


Maker = Callable[[Evaluation, str], Block | Iterable[Block] | None]  # of a dataset's blocks


def write_report(folder: Path, *, paper: bool = False) -> Page:
    """The page of the evaluation in `folder`, written to report.html and report/report.md beside its tables.

    With `paper` figures are written as PDF, too, and tables as LaTeX.

    InputError if the folder holds no finished evaluation.
    """
    page = evaluation_page(read_evaluation(folder))
    write_page(page, folder / EVALUATION_PAGE)
    write_markdown(page, folder / SUPPLEMENT, paper=paper)
    return page


def evaluation_page(evaluation: Evaluation) -> Page:
    """The page of an evaluation."""
    sections = tuple(_sections(evaluation))
    sets = [
        f"{name} ({facts['images']} images of {facts['patients']} {'blocks' if facts['block'] else 'patients'})"
        for name, facts in evaluation.run["datasets"].items()
    ]
    run = evaluation.run
    subtitle = (
        f"{', '.join(evaluation.methods)} on {', '.join(sets)}, split {run['split']}, degradation {run['degradation']}"
    )
    return Page(
        title="Which method restores best, and at what price?",
        subtitle=subtitle,
        verdict=verdict(evaluation),
        warnings=(*evaluation.run["warnings"], *evaluation.run["cautions"]),
        details=details(evaluation),
        sections=(*sections[:-1], checklist(evaluation, [section.title for section in sections]), sections[-1]),
        facts=evaluation_facts(evaluation),
    )


def _sections(evaluation: Evaluation) -> Iterator[Section]:
    """What answers the question first; what bears it out, folded, after it."""
    for title, blocks, note in SHOWN:
        yield from _section(title, _blocks(evaluation, blocks), note)
    for title, blocks in FOLDED.items():
        yield from _section(title, _blocks(evaluation, blocks), folded=True)
    yield from _section("Subgroups", _blocks(evaluation, (subgroup_picture, subgroup_table)), EXPLORATORY, folded=True)
    yield from _section("Seeds", _blocks(evaluation, (seed_table,)), folded=True)
    yield _methods_section(evaluation)


def _section(title: str, blocks: Iterable[Block], note: str = "", *, folded: bool = False) -> Iterator[Section]:
    """The section, unless it is empty."""
    if found := tuple(blocks):
        yield Section(title, found, note, folded)


def _blocks(evaluation: Evaluation, makers: Sequence[Maker]) -> Iterator[Block]:
    """What each of the makers gives of all datasets: figures beside each other, tables of the same columns as one."""
    for make in makers:
        found = {dataset: [*_each(make(evaluation, dataset))] for dataset in evaluation.datasets}
        tables = {dataset: one for dataset, blocks in found.items() for one in blocks if isinstance(one, Table)}
        alike = len({(table.columns, table.note) for table in tables.values()}) == 1 < len(tables)
        if alike and all(len(blocks) < 2 for blocks in found.values()):
            # The tables of several datasets, all of the same columns, as one that names the dataset in its first
            # column.
            rows = [(dataset, *row) for dataset, table in tables.items() for row in table.rows]
            strong: set[tuple[int, int]] = set()
            start = 0
            for table in tables.values():
                strong |= {(start + row, 1 + column) for row, column in table.strong}
                start += len(table.rows)
            (dataset, first), *_ = tables.items()
            title = first.title.replace(f" on {dataset}", "", 1)
            joined = Table(title, ("dataset", *first.columns), tuple(rows), first.note, frozenset(strong))
            yield joined
        else:
            yield from (block for blocks in found.values() for block in blocks)


def _each(made: Block | Iterable[Block] | None) -> Iterator[Block]:
    if isinstance(made, Block):
        yield made
    elif made is not None:
        yield from made


INVENTION = (
    "A pixel counts as hallucinated where SR is brighter than HR, and as lost where it is darker, by more than the "
    "reference autoencoder itself errs on that image: here two sigma, the mean + 2 sd of its absolute error."
)
SHOWN: tuple[tuple[str, tuple[Maker, ...], str], ...] = (
    ("The methods", (headline_table, plane_picture, set_difference_table), ""),
    ("How sure the differences are", (main_table, forest_picture, evenness_table, equivalence_table), ""),
    ("Pictures", (case_blocks,), ""),
    ("What was invented and what was lost", (rate_picture,), INVENTION),
)
FOLDED: dict[str, tuple[Maker, ...]] = {
    "All differences and all pairs": (difference_table, pair_table),
    "All means": (mean_pictures, violin_picture, set_table, mean_table),
    "Frequency, thresholds, places and what is added": (
        spectrum_picture, band_picture, rate_table, map_picture, null_space_table,
    ),
    "Latents and ceilings": (ceiling_blocks, latent_picture),
    "Place, blur, contrast and noise": (character_table,),
    "Agreement of intensity": (intensity_picture, agreement_table),
}  # fmt: skip


def _methods_section(evaluation: Evaluation) -> Section:
    """How it was done: pairing, statistics, definitions, and what could not be measured."""
    run = evaluation.run
    texts = (
        f"LR was made from HR by {run['degradation']} in float, not rounded; results were clamped to [0, 1] and "
        "measured against the true HR. Images are paired by id, never by position; a missing, surplus or doubled file "
        "ends the evaluation. Whether each image agrees with its own LR is checked against all LR images of the set.",
        "The patient is the unit: means, differences, intervals, tests, equivalence and agreement are of patients' "
        "means, each patient counting once however many images there are of it. Intervals and tests of a difference "
        "are Student's; means weighted by image stand beside them with an interval of a bootstrap of patients (10,000 "
        f"draws, seed {run['seed']}). Images with an infinite value (identical to HR) or none are left out, counted.",
        families_text(evaluation),
        "LR PSNR is the PSNR of SR, reduced again, against LR; of SR as the method gave it, neither clamped nor "
        "rounded (given images as stored). Of a projected result floating point alone limits it; the same image "
        "saved as an 8-bit PNG agrees with LR to some 55 to 70 dB.",
        *set_definitions(evaluation),
        "In this report images bear a hash. The tables beside it (table.csv and table.parquet) keep the dataset's own "
        "ids and patients, by which their owner can find an image; do not pass them on with the report.",
    )
    blocks: list[Block] = [Text(tuple(filter(None, texts))), definition_table(evaluation)]
    if run["not_measured"]:
        blocks.append(Text(("What could not be measured:",), tuple(run["not_measured"])))
    return Section("How it was measured", tuple(blocks), folded=True)
