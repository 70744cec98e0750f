"""The page of a screening: the verdict first, then what it rests on; nothing is computed again."""

from pathlib import Path

import pandas as pd

from latentsr.config import read_json
from latentsr.names import PICTURES, SCREENING, SCREENING_PAGE, SUPPLEMENT
from latentsr.report.blocks import Page
from latentsr.report.page import write_markdown, write_page
from latentsr.report.screening.sections import (
    Results,
    ceiling_section,
    contrast_section,
    cost_section,
    expectation_section,
    fingerprint_section,
    latent_section,
    several_lossy,
    worst_section,
)
from latentsr.report.text import counted, data_facts, run_facts
from latentsr.stats.table import read_table


def write_screening_page(folder: Path, *, paper: bool = False) -> Path:
    """The path of the page that was written beside the tables of the screening in `folder`.

    The same is written to report/report.md with its figures, with `paper` also as PDF, and tables as LaTeX.

    InputError if the folder holds no finished screening.
    """
    results = read_json(folder / SCREENING)
    fingerprint = read_table(folder / "fingerprint.parquet")
    page = screening_page(results, fingerprint, folder / PICTURES)
    write_markdown(page, folder / SUPPLEMENT, paper=paper)
    return write_page(page, folder / SCREENING_PAGE)


def screening_page(results: Results, fingerprint: pd.DataFrame, pictures: Path) -> Page:
    """The page of screening.json's content, the fingerprint table and the folder of pictures."""
    sets = [
        f"{name} ({facts['images']} images of {facts['patients']} patients)"
        for name, facts in results["datasets"].items()
    ]
    count = counted(len(results["methods"]), "autoencoder")
    subtitle = f"A screening of {count}, before any diffusion model is trained, on {', '.join(sets)}"
    # Versions, options and hashes.
    facts = run_facts(results) | {"reference": results["reference"], "seed of the bootstrap": str(results["seed"])}
    facts |= data_facts(results)
    for name, spec in results["methods"].items():
        origin = f"{spec['source']}, licence {spec['licence']}, domain {spec['domain']}, hash {spec['hash']}"
        facts[f"autoencoder {name}"] = origin
    return Page(
        title="Which autoencoder?" if several_lossy(results) else "What does the autoencoder keep?",
        subtitle=subtitle,
        verdict=tuple(results["verdict"]),
        warnings=tuple(results["warnings"]),
        sections=(
            ceiling_section(results),
            *([contrast_section(results)] if results["contrasts"] else []),
            expectation_section(results),
            fingerprint_section(results, fingerprint),
            worst_section(results, pictures),
            latent_section(results),
            cost_section(results),
        ),
        facts=facts,
    )
