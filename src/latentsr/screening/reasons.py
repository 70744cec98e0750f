"""Domain and geometry in words: the range of each contrast, and how many of its pairs are told apart."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from latentsr.screening.apart import gap, judgeable, listed, told_apart
from latentsr.screening.contrasts import DOMAIN, GEOMETRY

TITLES = {
    DOMAIN: "Domain (medical minus natural at one geometry)",
    GEOMETRY: "Geometry (more latent numbers minus fewer in one domain)",
}
CAVEAT = "Only autoencoders trained alike, with one architecture and budget, tell the cause."
Rows = Sequence[dict[str, Any]]


def contrast_sentences(contrasts: pd.DataFrame, unplaced: Sequence[str]) -> list[str]:
    """A sentence a kind, the datasets one after the other; then what they do not tell, and of whom they are silent."""
    told = [_kind(kind, contrasts[contrasts["kind"] == kind]) for kind in TITLES if kind in set(contrasts["kind"])]
    silent = f"In no contrast, their domain not known: {listed(unplaced)}." if unplaced else ""
    if not told:
        none = "Domain and geometry cannot be told apart here: no two of these differ in one and agree in the other."
        return [f"{none} {silent}".strip()]
    told[-1] = " ".join(filter(None, (told[-1], CAVEAT, silent)))
    return told


def _kind(kind: str, rows: pd.DataFrame) -> str:
    parts = [
        f"on {dataset}: {', and '.join(_groups(kind, own))}" for dataset, own in rows.groupby("dataset", sort=False)
    ]
    return f"{TITLES[kind]} {'; '.join(parts)}."


def _groups(kind: str, rows: pd.DataFrame) -> Iterator[str]:
    """Pairs of one source first; those of several, and those of as many numbers, are ranges of their own."""
    for (several, as_many), own in rows.groupby([~rows["one_source"].astype(bool), rows["as_many"].astype(bool)]):
        words = ("with as many numbers in another shape " if as_many else "") + ("between sources " if several else "")
        yield words + _range(kind, list(own.to_dict(orient="records")))


def _range(kind: str, rows: Rows) -> str:
    if len(rows) == 1:
        return f"{_named(rows[0])}, {_judged(rows)}"
    ordered = sorted(rows, key=lambda row: row["difference"])
    text = f"{ordered[0]['difference']:+.2f} to {ordered[-1]['difference']:+.2f} dB over {len(rows)} pairs"
    largest = f", the largest {_named(max(rows, key=lambda row: abs(row['difference'])))}" if kind == GEOMETRY else ""
    return f"{text}, {_judged(rows)}{largest}"


def _named(row: dict[str, Any]) -> str:
    return f"{gap(row, '+')} ({row['a']} over {row['b']})"


def _judged(rows: Rows) -> str:
    if not any(judgeable(row) for row in rows):
        return "which cannot be judged"
    apart = sum(told_apart(row) for row in rows)
    if len(rows) == 1:
        return "told apart from 0" if apart else "not told apart from 0"
    count = "all" if apart == len(rows) else f"{apart} of them" if apart else "none"
    return f"{count} told apart from 0"
