"""The report of an evaluation, the verdict first: one page, and the same as Markdown; from what the job wrote."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from latentsr.report.evaluation_cases import case_section
from latentsr.report.evaluation_ceiling import ceiling_blocks
from latentsr.report.evaluation_checklist import checklist
from latentsr.report.evaluation_data import Evaluation, read_evaluation
from latentsr.report.evaluation_facts import evaluation_facts
from latentsr.report.evaluation_figures import (
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
from latentsr.report.evaluation_headline import headline_table
from latentsr.report.evaluation_means import mean_table
from latentsr.report.evaluation_seeds import seed_table
from latentsr.report.evaluation_sets import set_definitions, set_difference_table, set_table
from latentsr.report.evaluation_subgroups import EXPLORATORY, subgroup_picture, subgroup_table
from latentsr.report.evaluation_tables import (
    agreement_table,
    definition_table,
    difference_table,
    equivalence_table,
    evenness_table,
    main_table,
    null_space_table,
    pair_table,
    rate_table,
)
from latentsr.report.evaluation_verdict import details, verdict
from latentsr.report.page import Block, Page, Section, Text, write_markdown, write_page

PAGE, SUPPLEMENT = "report.html", "report"


def write_report(folder: Path, *, paper: bool = False) -> Page:
    """The page of the evaluation in `folder`, written to report.html and report/report.md beside its tables.

    With `paper` figures are written as PDF, too, and tables as LaTeX.

    InputError if the folder holds no finished evaluation.
    """
    page = evaluation_page(read_evaluation(folder))
    write_page(page, folder / PAGE)
    write_markdown(page, folder / SUPPLEMENT, paper=paper)
    return page


def evaluation_page(evaluation: Evaluation) -> Page:
    """The page of an evaluation."""
    sections = tuple(_sections(evaluation))
    return Page(
        title="Which method restores best, and at what price?",
        subtitle=_subtitle(evaluation),
        verdict=verdict(evaluation),
        warnings=(*evaluation.run["warnings"], *evaluation.run["cautions"]),
        details=details(evaluation),
        sections=(*sections[:-1], checklist(evaluation, [section.title for section in sections]), sections[-1]),
        facts=evaluation_facts(evaluation),
    )


def _subtitle(evaluation: Evaluation) -> str:
    sets = [
        f"{name} ({facts['images']} images of {facts['patients']} patients)"
        for name, facts in evaluation.run["datasets"].items()
    ]
    run = evaluation.run
    return (
        f"{', '.join(evaluation.methods)} on {', '.join(sets)}, split {run['split']}, degradation {run['degradation']}"
    )


def _sections(evaluation: Evaluation) -> Iterator[Section]:
    """What answers the question first; what bears it out, folded, after it."""
    yield from _section("The methods", _per_dataset(evaluation, _methods))
    yield from _section("How sure the differences are", _per_dataset(evaluation, _differences))
    for dataset in evaluation.datasets:
        if (cases := case_section(evaluation, dataset)) is not None:
            yield cases
    yield from _section("Where in frequency", _per_dataset(evaluation, _spectra))
    note = INVENTION if evaluation.run["reference_autoencoder"] else ""
    yield from _section("What was invented and what was lost", _per_dataset(evaluation, _invention), note)
    for title, blocks in FOLDED.items():
        yield from _section(title, _per_dataset(evaluation, blocks), folded=True)
    yield from _section("Subgroups", _per_dataset(evaluation, _subgroups), EXPLORATORY, folded=True)
    yield from _section("Seeds", _per_dataset(evaluation, _seeds), folded=True)
    yield _methods_section(evaluation)


INVENTION = (
    "A pixel counts as hallucinated where SR is brighter than HR, and as lost where it is darker, by more than the "
    "reference autoencoder itself errs on that image: mean + k sd of its absolute error."
)


def _section(title: str, blocks: Iterable[Block], note: str = "", *, folded: bool = False) -> Iterator[Section]:
    """The section, unless it is empty."""
    if found := tuple(blocks):
        yield Section(title, found, note, folded)


def _per_dataset(evaluation: Evaluation, blocks: object) -> Iterator[Block]:
    for dataset in evaluation.datasets:
        yield from (block for block in blocks(evaluation, dataset) if block is not None)  # type: ignore[operator]


def _methods(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield headline_table(evaluation, dataset)
    yield plane_picture(evaluation, dataset)
    yield set_difference_table(evaluation, dataset)


def _differences(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield forest_picture(evaluation, dataset)
    yield main_table(evaluation, dataset)
    yield evenness_table(evaluation, dataset)
    yield equivalence_table(evaluation, dataset)


def _spectra(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield spectrum_picture(evaluation, dataset)


def _invention(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield rate_picture(evaluation, dataset)
    yield rate_table(evaluation, dataset)


def _all_differences(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield difference_table(evaluation, dataset)
    yield pair_table(evaluation, dataset)


def _means(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield from mean_pictures(evaluation, dataset)
    yield violin_picture(evaluation, dataset)
    yield set_table(evaluation, dataset)
    yield mean_table(evaluation, dataset)


def _places(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield band_picture(evaluation, dataset)
    yield map_picture(evaluation, dataset)
    yield null_space_table(evaluation, dataset)


def _latents(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield from ceiling_blocks(evaluation, dataset)
    yield latent_picture(evaluation, dataset)


def _agreement(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield intensity_picture(evaluation, dataset)
    yield agreement_table(evaluation, dataset)


FOLDED = {
    "All differences and all pairs": _all_differences,
    "All means": _means,
    "Bands, places and what is added": _places,
    "Latents and ceilings": _latents,
    "Agreement of intensity": _agreement,
}


def _subgroups(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield subgroup_picture(evaluation, dataset)
    yield subgroup_table(evaluation, dataset)


def _seeds(evaluation: Evaluation, dataset: str) -> Iterator[Block | None]:
    yield seed_table(evaluation, dataset)


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
        "LR PSNR is the PSNR of SR, reduced again, against LR; of SR as the method gave it, neither clamped nor "
        "rounded (given images as stored). Of a projected result floating point alone limits it; the same image "
        "saved as an 8-bit PNG agrees with LR to some 55 to 70 dB.",
        *set_definitions(evaluation),
        "In this report images bear a hash. The tables beside it (table.csv and table.parquet) keep the dataset's own "
        "ids and patients, by which their owner can find an image; do not pass them on with the report.",
    )
    blocks: list[Block] = [Text(texts), definition_table(evaluation)]
    if run["not_measured"]:
        blocks.append(Text(("What could not be measured:",), tuple(run["not_measured"])))
    return Section("How it was measured", tuple(blocks), folded=True)
