"""What a screening says in words: the ranking, the SR quality to expect, doubts, and domain against geometry."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import pandas as pd

from latentsr.autoencoders import AutoencoderSpec
from latentsr.bench.screening_plan import Identified
from latentsr.metrics import METRICS
from latentsr.names import BICUBIC, CAPPED, EXTRAPOLATED, listed
from latentsr.stats.regression import fit_line, pearson
from latentsr.stats.significance import FEWEST, LEVEL, judge, turned


def warnings(frames: Mapping[str, pd.DataFrame], lone: Collection[str] = ()) -> list[str]:
    """Sentences, of the `ceilings` and the `cost` of a screening, one dataset after the other.

    `lone` are the datasets in which no patient has two images.
    """
    found: list[str] = []
    for name, rows in frames["ceilings"].groupby("dataset", sort=False):
        images, excluded = int(rows["images"].iloc[0]), int(rows["excluded"].iloc[0])
        patients = int(rows["patients"].iloc[0])
        if excluded:
            found.append(
                f"{name}: {excluded} of {images} images are constant, or came back exactly from a lossy autoencoder: "
                "left out of the ceilings, differences and bands of all."
            )
        if patients == 1:
            found.append(
                f"{name}: all {images - excluded} images are of one patient: no interval can be given and nothing is "
                "told apart."
            )
        elif 1 < patients < FEWEST:
            found.append(
                f"{name}: only {patients} patients: intervals take their differences for normal, and differences are "
                f"not judged with fewer than {FEWEST}."
            )
        if name in lone:
            found.append(
                f"{name}: each image counts as a patient of its own; if some share one, intervals are too narrow."
            )
        for metric, missing in rows.groupby("metric", sort=False)["missing"].max().items():
            if missing:
                found.append(
                    f"{name}: {metric} has no value for {missing:.0f} of {images} images (too small or constant)."
                )
    found += _half_precision(frames["cost"])
    if len(frames["cost"][["device", "threads", "batch"]].drop_duplicates()) > 1:
        found.append("Times were measured on several devices, thread counts or batch sizes: compare those of one only.")
    return found


def _half_precision(cost: pd.DataFrame) -> list[str]:
    found = []
    for column in (name for name in cost.columns if name.startswith("nonfinite_")):
        worst = cost.groupby("method", sort=False)[column].max()
        if names := [f"{name} ({share:.0%})" for name, share in worst.items() if share > 0]:
            kind, probed = column.removeprefix("nonfinite_"), int(cost["probed"].max())
            tried = f"{probed} image{'' if probed == 1 else 's'} of a dataset"
            found.append(
                f"Latents with NaN or infinity in {kind}, tried on {tried}: {listed(names)}. Encode with these in "
                "float32."
            )
    return found


# Protocol sections 2 and 4 (3 and 7); MedVAE and SD-VAE against bicubic interpolation in each dataset's table.
WHAT_THE_POINTS_ARE = (
    "The published points are 2 autoencoders on 3 datasets, so not independent, as the interval of r takes them to be; "
    "SR lay below bicubic interpolation on two of the three (with SD-VAE on all), and its PSNR was taken against "
    "decode(encode(HR)), not HR."
)


def expectation_sentences(
    expected: pd.DataFrame, baselines: pd.DataFrame, points: pd.DataFrame, published: bool
) -> list[str]:
    """The best candidate of each dataset, what the baselines reach there, and what to hold against the points."""
    known = expected.dropna(subset=["expected"])
    if known.empty:
        return []
    line = fit_line(points["ceiling"], points["sr"])
    source = "six published points" if published else f"{len(points)} finished studies of your own"
    best = {
        str(name): dict(rows.sort_values("expected", ascending=False).iloc[0])
        for name, rows in known.groupby("dataset", sort=False)
    }
    overlap = known["low"].max() <= known["high"].min() and known["method"].nunique() > 1
    wide = "; all intervals overlap, so they say what to expect, not which is better" if overlap else ""
    several = {name for name, rows in known.groupby("dataset") if len(rows) > 1}
    told = "; ".join(f"on {name} {'at best ' * (name in several)}{_expected(row)}" for name, row in best.items())
    correlation = f"{pearson(points['ceiling'], points['sr']).words}, R2 = {line.r2:.2f}"
    text = f"Expected SR PSNR, from {source} ({correlation}): {told}{wide}."
    beyond = sorted(set(known.loc[known["note"].str.contains(EXTRAPOLATED), "method"]))
    extrapolated = f" Extrapolated beyond the points, so less sure still: {listed(beyond)}." if beyond else ""
    return [text + extrapolated, *_measured(best, baselines), *([WHAT_THE_POINTS_ARE] if published else [])]


def _expected(best: dict[str, Any]) -> str:
    capped = f", capped by its ceiling of {best['ceiling']:.1f} dB" if CAPPED in best["note"] else ""
    interval = f"95 % prediction interval {best['low']:.1f} to {best['high']:.1f} dB"
    return f"{best['expected']:.1f} dB with {best['method']} ({interval}{capped})"


def _measured(best: dict[str, dict[str, Any]], baselines: pd.DataFrame) -> list[str]:
    """What each baseline reaches on the same images, against the best of what is expected there."""
    told, below = [], []
    for name, row in best.items():
        here = baselines[(baselines["dataset"] == name) & baselines["mean"].notna()].to_dict(orient="records")
        if here:
            told.append(f"on {name} {listed([_against(one, row['expected']) for one in here])}")
        below += [one["mean"] > row["expected"] for one in here if one["method"] == BICUBIC]
    if not told:
        return []
    verdict = " So the line lies below what interpolation gives here: plan by what is measured, not by it."
    return [
        f"Measured on the same images, with the distance to that expectation: {'; '.join(told)}."
        + verdict * (bool(below) and all(below))
    ]


def _against(row: dict[str, Any], expected: float) -> str:
    """Such as "bicubic 27.6 dB [27.1, 28.2] (+1.1 dB)"."""
    name = row["method"] if row["method"] == BICUBIC else f"the shipped model {row['method']}"
    interval = f" [{row['low']:.1f}, {row['high']:.1f}]" if math.isfinite(row["low"]) else ""
    return f"{name} {row['mean']:.1f} dB{interval} ({row['mean'] - expected:+.1f} dB)"


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
    # The PSNR rows of the autoencoders that lose something, by dataset, the highest first.
    psnr = ceilings[(ceilings["metric"] == "psnr") & ~ceilings["lossless"]].dropna(subset=["mean"])
    psnr = psnr.sort_values("mean", ascending=False)
    ranked = {name: psnr[psnr["dataset"] == name].to_dict(orient="records") for name in names}
    several = [name for name in names if len(ranked[name]) > 1]
    sentences = [_headline(ranked, ceilings, differences)]
    if any(ranked.values()):
        sentences.append(f"{MEANING} {RULE}" if several else MEANING)
    sentences += [_ranking(name, ranked[name], ceilings, differences) for name in several]
    sentences += contrast_sentences(frames["contrasts"], unplaced) if several else []
    sentences += _lossless(ceilings)
    sentences += expectation_sentences(frames["expected"], frames["baselines"], points, published)
    return sentences


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
    interval = f"[{first['low']:.2f}, {first['high']:.2f}]" if math.isfinite(first["low"]) else "(no interval)"
    text = f"on {dataset} {first['method']}, {first['mean']:.2f} dB {interval}"
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
    lossy = ceilings[(ceilings["dataset"] == dataset) & ~ceilings["lossless"] & (ceilings["metric"] != "psnr")]
    for name, rows in lossy.dropna(subset=["mean"]).groupby("metric", sort=False):
        metric = METRICS[str(name)]
        if metric.better == "closer":  # neither side is known to be the better one
            continue
        first = rows.sort_values("mean", ascending=metric.better == "lower")["method"].iloc[0]
        if first == best:
            agreeing.append(metric.title)
        else:
            differing.append(f"{metric.title} is best for {first}")
    same = [f"{listed(agreeing)} name{'s' if len(agreeing) == 1 else ''} the same best"] if agreeing else []
    return "".join(f"; {text}" for text in [*same, *differing])


def _lossless(ceilings: pd.DataFrame) -> list[str]:
    names = list(dict.fromkeys(ceilings.loc[ceilings["lossless"], "method"]))
    if not names:
        return []
    verb, whose = ("is", "Its latent keeps") if len(names) == 1 else ("are", "Their latents keep")
    return [
        f"{listed(names)} {verb} lossless: without a ceiling, so neither ranked nor predicted here. {whose} "
        "the whole image; whether a denoiser does better there, only training can show."
    ]


RULE = (
    "Told apart means: the mean over patients of the paired difference is not zero, by Student's test with p adjusted "
    f"for all comparisons on the dataset (Holm) below {LEVEL:g}; intervals are of one difference alone."
)
Row = Mapping[str, Any]


def psnr_difference(differences: pd.DataFrame, dataset: str, a: str, b: str) -> Row | None:
    """The row of a minus b in PSNR, turned round where the table has b minus a; None if it has neither."""
    psnr = differences[(differences["dataset"] == dataset) & (differences["metric"] == "psnr")]
    for row in psnr[(psnr["a"] == a) & (psnr["b"] == b)].to_dict(orient="records"):
        return row
    for row in psnr[(psnr["a"] == b) & (psnr["b"] == a)].to_dict(orient="records"):
        return turned(row)
    return None


def judgeable(row: Row | None) -> bool:
    """Whether enough patients stand behind the difference to say anything."""
    return row is not None and judge(row, "higher") != "few"


def told_apart(row: Row | None) -> bool:
    """As RULE says."""
    return row is not None and judge(row, "higher") in ("better", "worse")


def gap(row: Row, sign: str = "") -> str:
    """The difference in dB with its interval."""
    interval = f"[{row['low']:.2f}, {row['high']:.2f}]" if math.isfinite(row["low"]) else "(no interval)"
    return f"{row['difference']:{sign}.2f} dB {interval}"


DOMAIN, GEOMETRY = "domain", "geometry"
DOMAINS = ("medical", "natural")
CONTRAST_COLUMNS = (
    "dataset", "kind", "a", "b", "domains", "geometries", "one_source", "as_many", "n", "difference", "low", "high",
    "p_holm",
)  # fmt: skip


def contrasts(identified: Sequence[Identified], differences: pd.DataFrame) -> pd.DataFrame:
    """One row a dataset and pair (a, b): the PSNR that a has over b, in dB with its 95 % interval.

    Kind `domain`: same geometry (channels and factor), a is medical and b natural. Kind `geometry`: same domain, a
    keeps more numbers of an image than b, or `as_many` on the finer grid. `one_source`: both say that they come from
    the same place. Those of `unplaced`, and lossless ones, are in none. Architecture, training and budget may differ
    too: only autoencoders that were trained alike tell the cause.
    """
    datasets = sorted(set(differences["dataset"]))
    found = [
        {**row, "dataset": dataset, "kind": kind, **_facts(a.spec, b.spec)}
        for dataset in datasets
        for kind, a, b in _pairs(identified)
        if (row := psnr_difference(differences, dataset, a.name, b.name)) is not None
    ]
    return pd.DataFrame(found, columns=list(CONTRAST_COLUMNS)).sort_values(
        ["dataset", "kind"], kind="stable", ignore_index=True
    )


def unplaced(identified: Sequence[Identified]) -> list[str]:
    """The autoencoders that lose something and are in no contrast, since nobody said on what they were trained."""
    return [one.name for one in identified if not one.spec.lossless and one.spec.domain not in DOMAINS]


def _pairs(identified: Sequence[Identified]) -> Iterator[tuple[str, Identified, Identified]]:
    placed = [one for one in identified if not one.spec.lossless and one.spec.domain in DOMAINS]
    for first, second in combinations(placed, 2):
        alike = _geometry(first.spec) == _geometry(second.spec)
        if alike and first.spec.domain != second.spec.domain:
            yield (DOMAIN, *sorted((first, second), key=lambda one: one.spec.domain != "medical"))  # type: ignore[misc]
        elif not alike and first.spec.domain == second.spec.domain:
            ordered = sorted((first, second), key=lambda one: (-_share(one.spec), one.spec.factor))
            yield (GEOMETRY, *ordered)  # type: ignore[misc]


def _geometry(spec: AutoencoderSpec) -> tuple[int, int]:
    return spec.latent_channels, spec.factor


def _share(spec: AutoencoderSpec) -> float:
    """Latent numbers for each pixel."""
    return spec.latent_channels / spec.factor**2


def _facts(a: AutoencoderSpec, b: AutoencoderSpec) -> dict[str, object]:
    """The labels of the pair."""
    shapes = (f"{one.latent_channels} channel{'s' * (one.latent_channels > 1)} at 1/{one.factor}" for one in (a, b))
    geometries = " - ".join(dict.fromkeys(shapes))
    as_many = _geometry(a) != _geometry(b) and _share(a) == _share(b)
    return {
        "domains": " - ".join(dict.fromkeys((a.domain, b.domain))),
        "geometries": f"{geometries} (as many numbers, other shape)" if as_many else geometries,
        "one_source": a.source == b.source,
        "as_many": as_many,
    }


TITLES = {
    DOMAIN: "Domain (medical minus natural at one geometry)",
    GEOMETRY: "Geometry (more latent numbers minus fewer in one domain)",
}
CAVEAT = "Only autoencoders trained alike, with one architecture and budget, tell the cause."


def contrast_sentences(contrasts: pd.DataFrame, unplaced: Sequence[str]) -> list[str]:
    """A text a kind; the last one says what they do not tell, and of whom they are silent."""
    told = [
        f"{title}: {' '.join(_groups(contrasts[contrasts['kind'] == kind]))}"
        for kind, title in TITLES.items()
        if kind in set(contrasts["kind"])
    ]
    silent = f"In no contrast, their domain not known: {listed(unplaced)}." if unplaced else ""
    if not told:
        none = "Domain and geometry cannot be told apart here: no two of these differ in one and agree in the other."
        return [f"{none} {silent}".strip()]
    told[-1] = " ".join(filter(None, (told[-1], CAVEAT, silent)))
    return told


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
