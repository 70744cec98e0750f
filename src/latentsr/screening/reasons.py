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
    """A text a kind; the last one says what they do not tell, and of whom they are silent."""
    told = [_kind(kind, contrasts[contrasts["kind"] == kind]) for kind in TITLES if kind in set(contrasts["kind"])]
    silent = f"In no contrast, their domain not known: {listed(unplaced)}." if unplaced else ""
    if not told:
        none = "Domain and geometry cannot be told apart here: no two of these differ in one and agree in the other."
        return [f"{none} {silent}".strip()]
    told[-1] = " ".join(filter(None, (told[-1], CAVEAT, silent)))
    return told


def _kind(kind: str, rows: pd.DataFrame) -> str:
    """A sentence a group of pairs, in each the datasets one after the other."""
    return f"{TITLES[kind]}: {' '.join(_groups(rows))}"


def _groups(rows: pd.DataFrame) -> Iterator[str]:
    """Pairs of one source first; those of several, and those of as many numbers, are ranges of their own."""
    for (several, as_many), own in rows.groupby([~rows["one_source"].astype(bool), rows["as_many"].astype(bool)]):
        words = " ".join(filter(None, ("as many numbers in another shape" * as_many, "between sources" * several)))
        ranges = [
            f"on {dataset} {_range(list(here.to_dict(orient='records')))}"
            for dataset, here in own.groupby("dataset", sort=False)
        ]
        yield f"{words[:1].upper()}{words[1:]}{': ' * bool(words)}{'; '.join(ranges)}."


def _range(rows: Rows) -> str:
    """Such as "+4.54 to +5.12 dB (3 of 4 pairs told apart)"; of a single pair its interval and names."""
    if len(rows) == 1:
        return f"{gap(rows[0], '+')} ({rows[0]['a']} over {rows[0]['b']}, {_judged(rows)})"
    differences = [row["difference"] for row in rows]
    return f"{min(differences):+.2f} to {max(differences):+.2f} dB ({_judged(rows)})"


def _judged(rows: Rows) -> str:
    if not any(judgeable(row) for row in rows):
        return "not to be judged" if len(rows) == 1 else f"{len(rows)} pairs, not to be judged"
    apart = sum(told_apart(row) for row in rows)
    if len(rows) == 1:
        return "told apart" if apart else "not told apart"
    count = f"all {apart}" if apart == len(rows) else f"{apart or 'none'} of {len(rows)}"
    return f"{count} pairs told apart"
