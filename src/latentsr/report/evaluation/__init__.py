"""The page of an evaluation: what answers the question, what bears it out, what it was made with; a checklist."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from latentsr.names import EVALUATION_PAGE, LR_PSNR, SUPPLEMENT, listed
from latentsr.report.blocks import Block, Page, Section, Table, Text
from latentsr.report.evaluation import figures, groups, tables
from latentsr.report.evaluation.data import Evaluation, read_evaluation
from latentsr.report.evaluation.figures import case_blocks, ceiling_blocks
from latentsr.report.evaluation.verdict import details, verdict
from latentsr.report.page import write_markdown, write_page
from latentsr.report.text import counted, data_facts, run_facts

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


COVERED, NOT_COVERED, NOT_POSSIBLE = "covered", "not covered", "not possible here"
TOP, FACTS, MEASURED, SURE, HERE = (
    "the top of the page", "Facts", "How it was measured", "How sure the differences are", "What this report covers",
)  # fmt: skip


class Item(NamedTuple):
    """A row: what is asked for, its numbers in CLAIM 2024 (empty if it is none of these), and what there is of it.

    `covered` is None where a report on measured images cannot hold it; `place` is how the title of the section begins
    that has it; `clause` says what there is, or what is missing.
    """

    what: str
    claim: str
    covered: bool | None
    place: str
    clause: str


def checklist(evaluation: Evaluation, titles: Sequence[str]) -> Section:
    """The folded section: one row per item, and what no evaluation of this kind can say.

    Args:
        evaluation: what was evaluated.
        titles: those of the page's other sections; an item whose section is not among them is not covered.
    """
    rows = []
    for item in (*_data(evaluation), *_statistics(evaluation), *_results(evaluation)):
        places = [title for title in (TOP, *titles, HERE, FACTS) if item.covered and title.startswith(item.place)]
        state = NOT_POSSIBLE if item.covered is None else COVERED if places else NOT_COVERED
        rows.append((item.what, item.claim, state, (*places, "–")[0], item.clause))
    counts = [f"{sum(row[2] == state for row in rows)} {state}" for state in (COVERED, NOT_COVERED, NOT_POSSIBLE)]
    note = (
        "Items by number: CLAIM 2024 (Tejani et al., Radiology: Artificial Intelligence 2024), in other words; those "
        f"without: what is asked for besides. {', '.join(counts)}. Covered means that this page says it, not that it "
        "is good."
    )
    columns = ("item", "CLAIM 2024", "here", "where", "what")
    table = Table("Items of a reporting guideline", columns, tuple(rows), note)
    return Section(HERE, (table, Text(("What it cannot say:",), tuple(_limits(evaluation)))), folded=True)


def _data(evaluation: Evaluation) -> Iterator[Item]:
    run, datasets = evaluation.run, evaluation.run["datasets"]
    yield Item("Data sources, acquisition", "7, 13", None, "", "names and hashes alone stand in Facts")
    clause = "nothing of patients is read but who has which image" + (
        f", and the column {run['by']}" if run["by"] else ""
    )
    yield Item("Eligibility, demographics", "8, 36", None, "", clause)
    limit = "all of the split" if run["limit"] is None else f"at most {run['limit']} of each dataset, evenly spread"
    sizes = [f"{one['images']} images of {one['patients']} patients on {name}" for name, one in datasets.items()]
    yield Item("Numbers of patients and images, subsets", "10, 35", True, TOP, f"{listed(sizes)}; {limit}")
    resized = [f"{one['resized']} of {one['images']} on {name}" for name, one in datasets.items() if one["resized"]]
    clause = f"HR resized before: {listed(resized)}" if resized else "no HR image was resized before"
    yield Item("Preprocessing", "9", True, MEASURED, f"LR by {run['degradation']}; {clause}")
    yield Item("De-identification", "11", True, MEASURED, "images bear a hash; writing in pixels is not looked for")
    summaries = [evaluation.frame("summary", name) for name in evaluation.datasets]
    missing = sum(int((rows["missing"] + rows["infinite"]).sum()) for rows in summaries)
    clause = (
        f"{counted(missing, 'value')} of an image and measure left out and counted" if missing else "none is missing"
    )
    yield Item("Missing data", "12", True, MEASURED, clause)
    yield Item("Reference standard", "14, 15", True, MEASURED, "HR as prepared, of which LR was made")
    yield Item("Annotation, variability of readers", "16, 17, 18", None, "", "no reader took part")
    blocks, alone = _patients_unknown(evaluation)
    shared = [f"{one['shared_patients']} on {name}" for name, one in datasets.items() if one["shared_patients"]]
    clause = f"split {run['split']}; none of its patients is in another split of its dataset"
    if shared:
        clause = f"patients that stand in another split of the dataset too: {listed(shared)}"
    elif blocks:
        clause = f"on {listed(blocks)} blocks of files count as patients, who may then be in two splits"
    elif alone:
        clause = f"on {listed(alone)} each image counts as a patient, who may then be in two splits"
    yield Item("Partitions and their level", "19, 20", not (shared or blocks or alone), TOP, clause)
    known, used = run["training_known"], run["measured_in_training"]
    unknown = [name for name in evaluation.methods if name not in known]
    clause = f"not known of {listed(unknown)}" if unknown else "none of these images was used to train a method"
    if used:
        clause = f"images that a method was trained on are measured; see the warnings{f'; {clause}' if unknown else ''}"
    state = False if used else None if unknown else True
    place = TOP if used else "" if unknown else MEASURED
    yield Item("Leakage from training", "", state, place, clause)


def _patients_unknown(evaluation: Evaluation) -> tuple[list[str], list[str]]:
    """The datasets in which blocks of files count as patients, and those in which each of several images does."""
    datasets = evaluation.run["datasets"]
    blocks = [name for name, one in datasets.items() if one["block"]]
    alone = [name for name, one in datasets.items() if one["image_is_patient"] and one["images"] > 1]
    return blocks, [name for name in alone if name not in blocks]


def _statistics(evaluation: Evaluation) -> Iterator[Item]:
    rows = evaluation.frames.get("comparisons")
    has = rows is not None and bool(((rows["unit"] == "patient") & np.isfinite(rows["p"])).any())
    nothing = "there are not two methods, or not two patients, to compare"
    blocks, alone = _patients_unknown(evaluation)
    units = [f"on {listed(blocks)} a block of files counts as a patient"] if blocks else []
    units += [f"on {listed(alone)} each image counts as a patient"] if alone else []
    yield Item("Unit of analysis", "", not units, MEASURED, "; ".join(units) or "the patient")
    primary = evaluation.run["primary"] if rows is not None and rows["family"].eq("primary").any() else None
    clause = "none was tested"
    if primary is not None:
        clause = f"{evaluation.title(primary['metric'])} of {primary['a']} against {primary['b']}"
    yield Item("Primary comparison", "", primary is not None, TOP, clause)
    clause = "the difference found with 80 % power; no number of patients was planned" if has else nothing
    yield Item("Sample size, power", "21", has, SURE, clause)
    defined = f"{counted(len(evaluation.measures), 'measure')} with unit, direction and source"
    yield Item("Measures and their definitions", "28", len(evaluation.measures) > 0, MEASURED, defined)
    clause = "95 % intervals and tests over patients" if has else nothing
    yield Item("Uncertainty, significance", "29, 37, 38", has, SURE, clause)
    yield Item("Multiplicity", "", has, SURE, "Holm within families fixed before any data" if has else nothing)
    margins = ", ".join(f"{name} {margin:g}" for name, margin in evaluation.run["margins"].items())
    clause = f"within {margins}" if margins else "no margin was given"
    yield Item("Equivalence", "", "equivalence" in evaluation.frames, SURE, clause)
    clause = f"without any one patient, weighted by image; one degradation, {evaluation.run['degradation']}"
    yield Item("Robustness, sensitivity", "30", has, SURE, clause if has else nothing)
    by, there = evaluation.run["by"], len(evaluation.frames.get("subgroups", ())) > 0
    clause = f"by {by}, exploratory" if there else "no column of the datasets was named, or nothing compared"
    yield Item("Subgroups", "", there, "Subgroups", clause)
    seeds = {one["name"]: len(one["seeds"]) for one in evaluation.run["methods"] if "seeds" in one}
    clause = listed([f"{count} of {name}" for name, count in seeds.items()]) or "one of each method"
    yield Item("Seeds", "", len(seeds) > 0, "Seeds", clause)


def _results(evaluation: Evaluation) -> Iterator[Item]:
    run, methods = evaluation.run, evaluation.methods
    yield Item("Comparison with other methods", "", len(methods) > 1, "The methods", listed(methods))
    clause = f"{counted(len(evaluation.datasets), 'dataset')}; which is external to a method is not known here"
    yield Item("Internal and external testing", "32, 33", None, "", clause)
    cases = len(run["pictures"]["cases"])
    ranked = cases > 0 and run["pictures"]["chosen_by"] == "psnr"
    clause = f"{counted(cases, 'image')} by rule, the worst of each method too" if ranked else "no image ranked by PSNR"
    yield Item("Failure analysis", "39", ranked, "Pictures", clause)
    reference = run["reference_autoencoder"]
    clause = f"beyond the error of {reference['name']}" if reference else "no reference autoencoder was named"
    yield Item("Invented and lost detail", "", reference is not None, "What was invented", clause)
    clause = f"on {listed(list(run['masks']))}" if run["masks"] else "there are no masks"
    yield Item("Regions of interest", "", bool(run["masks"]), "All means", clause)
    clause = "LR PSNR of each method" if LR_PSNR in evaluation.measures else "not measured"
    yield Item("Agreement with the input", "", LR_PSNR in evaluation.measures, "The methods", clause)
    clause = "name, hash and options stand in Facts; architecture and training belong to a model's card"
    yield Item("Model, training, ensembles", "22, 24, 25, 26, 27", None, "", clause)
    clause = "versions, platform and seed; SHA-256 of data, models, images and weights"
    yield Item("Software, versions, hashes", "23", bool(evaluation.run["versions"]), FACTS, clause)
    limits = len(list(_limits(evaluation)))
    yield Item("Limitations", "40", limits > 0, HERE, f"{counted(limits, 'sentence')} below, beside those of the study")
    yield Item("Availability of software, model, data", "43", None, "", "for the authors to say")
    clause = "title, aims, design, explanation, registration, implications, protocol, funding: for the authors to say"
    yield Item("The study around it", "1, 2, 3, 4, 5, 6, 31, 34, 41, 42, 44", None, "", clause)


def _limits(evaluation: Evaluation) -> Iterator[str]:
    """What the report cannot say, a sentence each."""
    run = evaluation.run
    yield (
        "No reader looked at the images, and nothing was diagnosed: no measure here says that a finding is still seen, "
        "or that none was made up."
    )
    yield f"LR was made by {run['degradation']}: a scanner's own low resolution, its noise and artefacts are others."
    yield (
        f"Intervals are over the patients of {listed(evaluation.datasets)}: they say nothing of other institutions, "
        "scanners or diseases, and how many of these there are is not known here."
    )
    if "seeds" in evaluation.frames:
        yield "Intervals are for the seeds and the weights that were given: seeds vary apart from them, trainings not."
    else:
        yield "Each method stands here with one seed and one training, and intervals hold the chance of neither."
    if not run["masks"]:
        yield "Measures are of whole images: a lesion of a few pixels hardly moves them."
