"""What a screening says, in words: who ranks where, who is not told apart, domain and geometry, what SR to expect."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd

from latentsr.metrics import METRICS
from latentsr.screening.apart import RULE, gap, judgeable, listed, psnr_difference, told_apart
from latentsr.screening.outlook import expectation_sentences
from latentsr.screening.reasons import contrast_sentences
from latentsr.stats.significance import FEWEST

MEANING = (
    "The AE ceiling is how closely an image matches itself after encoding and decoding (mean PSNR with its 95 % "
    "interval): what is lost there, in practice no denoiser brings back."
)
Rows = list[dict[str, Any]]


def verdict(
    frames: Mapping[str, pd.DataFrame], points: pd.DataFrame, published: bool, unplaced: Sequence[str] = ()
) -> list[str]:
    """Sentences, the most important first: the best autoencoder of each dataset, then the rankings, then the reasons.

    Args:
        frames: `ceilings`, `differences`, `contrasts`, `expected` and `baselines` of the screening.
        points: what the expectation rests on.
        published: whether these are the published points.
        unplaced: the autoencoders that are in no contrast.
    """
    ceilings, differences = frames["ceilings"], frames["differences"]
    names = list(dict.fromkeys(ceilings["dataset"]))
    ranked = {name: _ranked(ceilings, name) for name in names}
    several = [name for name in names if len(ranked[name]) > 1]
    sentences = [_headline(ranked, ceilings, differences)]
    if any(ranked.values()):
        sentences.append(f"{MEANING} {RULE}" if several else MEANING)
    sentences += [_ranking(name, ranked[name], ceilings, differences) for name in several]
    sentences += contrast_sentences(frames["contrasts"], unplaced) if several else []
    sentences += _lossless(ceilings)
    sentences += expectation_sentences(frames["expected"], frames["baselines"], points, published)
    return sentences


def _ranked(ceilings: pd.DataFrame, dataset: str) -> Rows:
    """The PSNR rows of the autoencoders that lose something, the highest first."""
    here = ceilings[(ceilings["dataset"] == dataset) & (ceilings["metric"] == "psnr") & ~ceilings["lossless"]]
    return list(here.dropna(subset=["mean"]).sort_values("mean", ascending=False).to_dict(orient="records"))


def _headline(ranked: Mapping[str, Rows], ceilings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """The best of each dataset in one sentence, and the datasets that have none."""
    if ceilings["lossless"].all():
        return "Only lossless autoencoders were screened: none has an AE ceiling to rank by."
    told = [_best(name, rows, differences) for name, rows in ranked.items() if rows]
    several = any(len(rows) > 1 for rows in ranked.values())
    silent = [name for name, rows in ranked.items() if not rows]
    opening = (
        "Highest AE ceiling" if several else "One autoencoder that loses anything makes no ranking; its AE ceiling"
    )
    sentences = [f"{opening}: {'; '.join(told)}."] if told else []
    if silent:
        sentences.append(
            f"No image of {listed(silent)} can rank an autoencoder: all are constant or came back exactly."
        )
    return " ".join(sentences)


def _best(dataset: str, ranked: Rows, differences: pd.DataFrame) -> str:
    first = ranked[0]
    pairs = {row["method"]: psnr_difference(differences, dataset, first["method"], row["method"]) for row in ranked[1:]}
    text = f"on {dataset} {first['method']}, {_mean(first)}"
    if pairs and not any(judgeable(row) for row in pairs.values()):
        return f"{text}, the differences not to be judged"
    ties = [name for name, row in pairs.items() if not told_apart(row)]
    return f"{text}, not told apart from {listed(ties)}" if ties else text


def _ranking(dataset: str, ranked: Rows, ceilings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """All of a dataset in order, what other measures say of the best, and what lies between each and the next."""
    order = ", ".join(f"{row['method']} {row['mean']:.2f}" for row in ranked)
    text = f"Ranking on {dataset}, mean PSNR in dB: {order}{_others(dataset, ranked[0]['method'], ceilings)}."
    names = list(pairwise(row["method"] for row in ranked))
    neighbours = {pair: row for pair in names if (row := psnr_difference(differences, dataset, *pair)) is not None}
    if not any(judgeable(row) for row in neighbours.values()):
        few = f", fewer than {FEWEST}" if ranked[0]["patients"] < FEWEST else ""
        count = int(ranked[0]["patients"])
        patients = f"{count} patient{'' if count == 1 else 's'}"
        return f"{text} The differences cannot be judged: {patients}{few}."
    if ties := [pair for pair in names if not told_apart(neighbours.get(pair))]:
        told = [f"{a} from {b} ({gap(neighbours[a, b])})" for a, b in ties if (a, b) in neighbours]
        return f"{text} Not told apart: {listed(told)}."
    closest = min(neighbours, key=lambda pair: neighbours[pair]["difference"])
    return (
        f"{text} Each is told apart from the next; the closest are {closest[0]} and {closest[1]}, "
        f"{gap(neighbours[closest])} apart."
    )


def _others(dataset: str, best: str, ceilings: pd.DataFrame) -> str:
    """Whether the other measures name the same best, as a clause."""
    agreeing: list[str] = []
    differing: list[str] = []
    for title, name in _bests(dataset, ceilings):
        if name == best:
            agreeing.append(title)
        else:
            differing.append(f"{title} is best for {name}")
    same = [f"{listed(agreeing)} name{'s' if len(agreeing) == 1 else ''} the same best"] if agreeing else []
    return "".join(f"; {text}" for text in [*same, *differing])


def _bests(dataset: str, ceilings: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """(title, best autoencoder) of each measure but PSNR whose better side is known."""
    lossy = ceilings[(ceilings["dataset"] == dataset) & ~ceilings["lossless"] & (ceilings["metric"] != "psnr")]
    for name, rows in lossy.dropna(subset=["mean"]).groupby("metric", sort=False):
        metric = METRICS[str(name)]
        if metric.better != "closer":
            ordered = rows.sort_values("mean", ascending=metric.better == "lower")
            yield metric.title, str(ordered["method"].iloc[0])


def _lossless(ceilings: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(ceilings.loc[ceilings["lossless"], "method"]))
    if not names:
        return []
    verb, whose = ("is", "Its latent keeps") if len(names) == 1 else ("are", "Their latents keep")
    return [
        f"{listed(names)} {verb} lossless: without a ceiling, so neither ranked nor predicted here. {whose} "
        "the whole image; whether a denoiser does better there, only training can show."
    ]


def _mean(row: Mapping[str, Any]) -> str:
    interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if row["low"] == row["low"] else " (no interval)"
    return f"{row['mean']:.2f} dB{interval}"
