"""The page of a screening: the verdict first, then what it rests on; nothing is computed again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.config import read_json
from latentsr.names import SCREENING, SCREENING_PAGE, SUPPLEMENT
from latentsr.report.page import Page, Section, write_markdown, write_page
from latentsr.report.screening.ceilings import (
    Told,
    ceiling_section,
    contrast_section,
    expectation_section,
    several_lossy,
)
from latentsr.report.screening.latents import cost_section, fingerprint_section, latent_section, worst_section
from latentsr.report.text import counted, data_facts, run_facts
from latentsr.stats.table import read_table


def write_screening_page(folder: Path, *, paper: bool = False) -> Path:
    """The path of the page that was written beside the tables of the screening in `folder`.

    The same is written to report/report.md with its figures, with `paper` also as PDF, and tables as LaTeX.

    InputError if the folder holds no finished screening.
    """
    told = read_json(folder / SCREENING)
    fingerprint = read_table(folder / "fingerprint.parquet")
    page = screening_page(told, fingerprint, folder / "pictures")
    write_markdown(page, folder / SUPPLEMENT, paper=paper)
    return write_page(page, folder / SCREENING_PAGE)


def screening_page(told: Told, fingerprint: pd.DataFrame, pictures: Path) -> Page:
    """The page of screening.json's content, the fingerprint table and the folder of pictures."""
    sets = [
        f"{name} ({facts['images']} images of {facts['patients']} patients)" for name, facts in told["datasets"].items()
    ]
    count = counted(len(told["methods"]), "autoencoder")
    subtitle = f"A screening of {count}, before any diffusion model is trained, on {', '.join(sets)}"
    # Versions, options and hashes.
    facts = run_facts(told) | {"reference": told["reference"], "seed of the bootstrap": str(told["seed"])}
    facts = facts | data_facts(told) | {f"autoencoder {name}": _origin(spec) for name, spec in told["methods"].items()}
    return Page(
        title="Which autoencoder?" if several_lossy(told) else "What does the autoencoder keep?",
        subtitle=subtitle,
        verdict=tuple(told["verdict"]),
        warnings=tuple(told["warnings"]),
        sections=tuple(_sections(told, fingerprint, pictures)),
        facts=facts,
    )


def _sections(told: Told, fingerprint: pd.DataFrame, pictures: Path) -> Iterator[Section]:
    yield ceiling_section(told)
    if told["contrasts"]:
        yield contrast_section(told)
    yield expectation_section(told)
    yield fingerprint_section(told, fingerprint)
    yield worst_section(told, pictures)
    yield latent_section(told)
    yield cost_section(told)


def _origin(spec: Mapping[str, Any]) -> str:
    return f"{spec['source']}, licence {spec['licence']}, domain {spec['domain']}, hash {spec['hash']}"
