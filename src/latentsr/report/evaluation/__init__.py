"""The page of an evaluation: what answers the question, what bears it out, and what it was made with and of."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from latentsr.names import EVALUATION_PAGE, SUPPLEMENT
from latentsr.report.blocks import Block, Page, Section, Table, Text
from latentsr.report.evaluation import figures, groups, tables
from latentsr.report.evaluation.ceilings import ceiling_blocks
from latentsr.report.evaluation.checklist import checklist
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.evaluation.figures import case_blocks
from latentsr.report.evaluation.verdict import details, verdict
from latentsr.report.page import write_markdown, write_page
from latentsr.report.text import data_facts, run_facts

Maker = Callable[[Evaluation, str], Block | Iterable[Block] | None]  # of a dataset's blocks
INVENTION = (
    "A pixel counts as hallucinated where SR is brighter than HR, and as lost where it is darker, by more than the "
    "reference autoencoder itself errs on that image: here two sigma, the mean + 2 sd of its absolute error."
)
# The sections: what answers the question, then, folded, what bears it out.
SHOWN: tuple[tuple[str, tuple[Maker, ...], str], ...] = (
    ("The methods", (tables.headline_table, figures.plane_picture, groups.set_difference_table), ""),
    (
        "How sure the differences are",
        (tables.main_table, figures.forest_picture, tables.evenness_table, tables.equivalence_table),
        "",
    ),
    ("Pictures", (case_blocks,), ""),
    ("What was invented and what was lost", (figures.rate_picture,), INVENTION),
)
FOLDED: tuple[tuple[str, tuple[Maker, ...], str], ...] = (
    ("All differences and all pairs", (tables.difference_table, tables.pair_table), ""),
    ("All means", (figures.mean_pictures, figures.violin_picture, groups.set_table, tables.mean_table), ""),
    (
        "Frequency, thresholds, places and what is added",
        (
            figures.spectrum_picture, figures.band_picture, tables.rate_table, figures.map_picture,
            tables.null_space_table,
        ),
        "",
    ),
    ("Whether intervals hold", (tables.coverage_table,), ""),
    ("Latents and ceilings", (ceiling_blocks, figures.latent_picture), ""),
    ("Place, blur, contrast and noise", (tables.character_table,), ""),
    ("Agreement of intensity", (figures.intensity_picture, tables.agreement_table), ""),
    ("Subgroups", (groups.subgroup_picture, groups.subgroup_table), groups.EXPLORATORY),
    ("Seeds", (groups.seed_table,), ""),
    ("What it costs", (tables.cost_table,), ""),
    ("As published", (tables.published_table,), ""),
)  # fmt: skip


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
    run = evaluation.run
    sets = [
        f"{name} ({facts['images']} images of {facts['patients']} {'blocks' if facts['block'] else 'patients'})"
        for name, facts in run["datasets"].items()
    ]
    sections = []
    for chosen, folded in ((SHOWN, False), (FOLDED, True)):
        for title, makers, note in chosen:
            if blocks := tuple(block for make in makers for block in _blocks(evaluation, make)):
                sections.append(Section(title, blocks, note, folded))
    methods = _methods_section(evaluation)
    titles = [section.title for section in (*sections, methods)]
    return Page(
        title="Which method restores best, and at what price?",
        subtitle=f"{', '.join(evaluation.methods)} on {', '.join(sets)}, split {run['split']}, "
        f"degradation {run['degradation']}{', published protocol beside the corrected one' * ('protocol' in run)}",
        verdict=verdict(evaluation),
        warnings=(*run["warnings"], *run["cautions"]),
        details=details(evaluation),
        sections=(*sections, checklist(evaluation, titles), methods),
        facts=evaluation_facts(evaluation),
    )


def _blocks(evaluation: Evaluation, make: Maker) -> Iterator[Block]:
    """What the maker returns for all datasets; tables of the same columns as one, which names the dataset first."""
    found: dict[str, tuple[Block, ...]] = {}
    for dataset in evaluation.datasets:
        made = make(evaluation, dataset)
        found[dataset] = () if made is None else (made,) if isinstance(made, Block) else tuple(made)
    joined = {dataset: one for dataset, blocks in found.items() for one in blocks if isinstance(one, Table)}
    alike = len({(table.columns, table.note) for table in joined.values()}) == 1 < len(joined)
    if not alike or any(len(blocks) > 1 for blocks in found.values()):
        yield from (block for blocks in found.values() for block in blocks)
        return
    rows: list[tuple[str, ...]] = []
    strong: set[tuple[int, int]] = set()
    for dataset, table in joined.items():
        strong |= {(len(rows) + row, 1 + column) for row, column in table.strong}
        rows += [(dataset, *row) for row in table.rows]
    (dataset, first), *_ = joined.items()
    title = first.title.replace(f" on {dataset}", "", 1)
    yield Table(title, ("dataset", *first.columns), tuple(rows), first.note, frozenset(strong))


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
        tables.families_text(evaluation),
        "LR PSNR is the PSNR of SR, reduced again, against LR; of SR as the method gave it, neither clamped nor "
        "rounded (given images as stored). Of a projected result floating point alone limits it; the same image "
        "saved as an 8-bit PNG agrees with LR to some 55 to 70 dB.",
        *groups.set_definitions(evaluation),
        "In this report images bear a hash. The tables beside it (table.csv and table.parquet) keep the dataset's own "
        "ids and patients, by which their owner can find an image; do not pass them on with the report.",
    )
    blocks: list[Block] = [Text(tuple(filter(None, texts))), tables.definition_table(evaluation)]
    if run["not_measured"]:
        blocks.append(Text(("What could not be measured:",), tuple(run["not_measured"])))
    return Section("How it was measured", tuple(blocks), folded=True)


def evaluation_facts(evaluation: Evaluation) -> dict[str, str]:
    """Versions, options and hashes, of weights and files too; no path and no id."""
    run = evaluation.run
    facts = run_facts(run)
    facts |= {"degradation": run["degradation"], "seed": str(run["seed"]), "device": run["device"]}
    facts |= {"protocol": "corrected" + ", and published beside it" * ("protocol" in run)}
    facts |= data_facts(run)
    for name, masks in run["masks"].items():
        facts[f"masks of {name}"] = f"from the {masks['from']}, SHA-256 {masks['hash']}"
    for one in (source for method in run["methods"] for source in method.get("seeds", [method])):
        origin = "baseline, from this package"
        if one["kind"] == "model":
            options = [f"{key} {value}" for key, value in one["options"].items() if value is not None]
            origin = f"model {one['model']}, hash {one['hash']}, {', '.join(options)}"
        elif one["kind"] == "network":
            origin = f"network {one['model']}, SHA-256 {one['hash']}"
        elif one["kind"] == "images":
            hashes = [files[one["name"]] for files in run["files"].values() if one["name"] in files]
            origin = f"images, SHA-256 of their contents {', '.join(hashes)}"
        facts[f"method {one['name']}"] = origin
    for key, title in (("reference_autoencoder", "reference autoencoder"), ("latent", "latent autoencoder")):
        if run[key]:
            facts[title] = f"{run[key]['name']}, hash {run[key]['hash']}"
    for name, digest in run["weights"].items():
        whose = f"feature extractor {run['features']}" if name == "features" else evaluation.measures[name]["title"]
        facts[f"weights of {whose}"] = f"SHA-256 {digest}"
    return facts
