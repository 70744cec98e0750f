"""What a screening says in words: the ranking, the SR quality to expect, doubts, and domain against geometry."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, pairwise, product
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
    cost = frames["cost"]
    for column in (name for name in cost.columns if name.startswith("nonfinite_")):
        worst = cost.groupby("method", sort=False)[column].max()
        if names := [f"{name} ({share:.0%})" for name, share in worst.items() if share > 0]:
            kind, probed = column.removeprefix("nonfinite_"), int(cost["probed"].max())
            tried = f"{probed} image{'' if probed == 1 else 's'} of a dataset"
            found.append(
                f"Latents with NaN or infinity in {kind}, tried on {tried}: {listed(names)}. Encode with these in "
                "float32."
            )
    if len(cost[["device", "threads", "batch"]].drop_duplicates()) > 1:
        found.append("Times were measured on several devices, thread counts or batch sizes: compare those of one only.")
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
    told = []
    for name, row in best.items():
        capped = f", capped by its ceiling of {row['ceiling']:.1f} dB" if CAPPED in row["note"] else ""
        interval = f"95 % prediction interval {row['low']:.1f} to {row['high']:.1f} dB"
        centre = f"{row['expected']:.1f} dB with {row['method']}"
        told.append(f"on {name} {'at best ' * (name in several)}{centre} ({interval}{capped})")
    correlation = f"{pearson(points['ceiling'], points['sr']).words}, R2 = {line.r2:.2f}"
    text = f"Expected SR PSNR, from {source} ({correlation}): {'; '.join(told)}{wide}."
    beyond = sorted(set(known.loc[known["note"].str.contains(EXTRAPOLATED), "method"]))
    extrapolated = f" Extrapolated beyond the points, so less sure still: {listed(beyond)}." if beyond else ""
    return [text + extrapolated, *_measured(best, baselines), *([WHAT_THE_POINTS_ARE] if published else [])]


def _measured(best: dict[str, dict[str, Any]], baselines: pd.DataFrame) -> list[str]:
    """What each baseline reaches on the same images, against the best of what is expected there."""
    told, below = [], []
    for name, row in best.items():
        here = baselines[(baselines["dataset"] == name) & baselines["mean"].notna()].to_dict(orient="records")
        reached = []  # such as "bicubic 27.6 dB [27.1, 28.2] (+1.1 dB)"
        for one in here:
            method = BICUBIC if one["method"] == BICUBIC else f"the shipped model {one['method']}"
            interval = f" [{one['low']:.1f}, {one['high']:.1f}]" if math.isfinite(one["low"]) else ""
            reached.append(f"{method} {one['mean']:.1f} dB{interval} ({one['mean'] - row['expected']:+.1f} dB)")
        told += [f"on {name} {listed(reached)}"] if reached else []
        below += [one["mean"] > row["expected"] for one in here if one["method"] == BICUBIC]
    if not told:
        return []
    verdict = " So the line lies below what interpolation gives here: plan by what is measured, not by it."
    return [
        f"Measured on the same images, with the distance to that expectation: {'; '.join(told)}."
        + verdict * (bool(below) and all(below))
    ]


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
    if lossless := list(dict.fromkeys(ceilings.loc[ceilings["lossless"], "method"])):
        verb, whose = ("is", "Its latent keeps") if len(lossless) == 1 else ("are", "Their latents keep")
        sentences.append(
            f"{listed(lossless)} {verb} lossless: without a ceiling, so neither ranked nor predicted here. {whose} "
            "the whole image; whether a denoiser does better there, only training can show."
        )
    sentences += expectation_sentences(frames["expected"], frames["baselines"], points, published)
    return sentences


def _headline(ranked: Mapping[str, Rows], ceilings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """The best of each dataset in one sentence, and the datasets that have none."""
    if ceilings["lossless"].all():
        return "Only lossless autoencoders were screened: none has an AE ceiling to rank by."
    told = []
    for dataset, (first, *others) in ((name, rows) for name, rows in ranked.items() if rows):
        best = first["method"]
        pairs = {row["method"]: psnr_difference(differences, dataset, best, row["method"]) for row in others}
        interval = f"[{first['low']:.2f}, {first['high']:.2f}]" if math.isfinite(first["low"]) else "(no interval)"
        text = f"on {dataset} {best}, {first['mean']:.2f} dB {interval}"
        ties = [name for name, row in pairs.items() if not told_apart(row)]
        if pairs and not any(judgeable(row) for row in pairs.values()):
            text += ", the differences not to be judged"
        elif ties:
            text += f", not told apart from {listed(ties)}"
        told.append(text)
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


def _ranking(dataset: str, ranked: Rows, ceilings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """All of a dataset in order, what other measures say of the best, and what lies between each and the next."""
    order = ", ".join(f"{row['method']} {row['mean']:.2f}" for row in ranked)
    agreeing: list[str] = []  # measures that name the same best
    clauses: list[str] = []
    lossy = ceilings[(ceilings["dataset"] == dataset) & ~ceilings["lossless"] & (ceilings["metric"] != "psnr")]
    for name, rows in lossy.dropna(subset=["mean"]).groupby("metric", sort=False):
        metric = METRICS[str(name)]
        if metric.better == "closer":  # neither side is known to be the better one
            continue
        first = rows.sort_values("mean", ascending=metric.better == "lower")["method"].iloc[0]
        if first == ranked[0]["method"]:
            agreeing.append(metric.title)
        else:
            clauses.append(f"; {metric.title} is best for {first}")
    if agreeing:
        clauses.insert(0, f"; {listed(agreeing)} name{'s' if len(agreeing) == 1 else ''} the same best")
    text = f"Ranking on {dataset}, mean PSNR in dB: {order}{''.join(clauses)}."
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
    pairs: list[tuple[str, Identified, Identified]] = []
    placed = [one for one in identified if not one.spec.lossless and one.spec.domain in DOMAINS]
    for first, second in combinations(placed, 2):
        alike = _geometry(first.spec) == _geometry(second.spec)
        if alike and first.spec.domain != second.spec.domain:
            pairs.append((DOMAIN, first, second) if first.spec.domain == "medical" else (DOMAIN, second, first))
        elif not alike and first.spec.domain == second.spec.domain:
            a, b = sorted((first, second), key=lambda one: (-_share(one.spec), one.spec.factor))
            pairs.append((GEOMETRY, a, b))
    found = []
    for dataset, (kind, a, b) in product(sorted(set(differences["dataset"])), pairs):
        if (row := psnr_difference(differences, dataset, a.name, b.name)) is None:
            continue
        specs = (a.spec, b.spec)
        shapes = [f"{s.latent_channels} channel{'s' * (s.latent_channels > 1)} at 1/{s.factor}" for s in specs]
        as_many = kind == GEOMETRY and _share(a.spec) == _share(b.spec)
        labels = {
            "domains": " - ".join(dict.fromkeys(spec.domain for spec in specs)),
            "geometries": " - ".join(dict.fromkeys(shapes)) + " (as many numbers, other shape)" * as_many,
            "one_source": a.spec.source == b.spec.source,
            "as_many": as_many,
        }
        found.append({**row, "dataset": dataset, "kind": kind, **labels})
    return pd.DataFrame(found, columns=list(CONTRAST_COLUMNS)).sort_values(
        ["dataset", "kind"], kind="stable", ignore_index=True
    )


def unplaced(identified: Sequence[Identified]) -> list[str]:
    """The autoencoders that lose something and are in no contrast, since nobody said on what they were trained."""
    return [one.name for one in identified if not one.spec.lossless and one.spec.domain not in DOMAINS]


def _geometry(spec: AutoencoderSpec) -> tuple[int, int]:
    return spec.latent_channels, spec.factor


def _share(spec: AutoencoderSpec) -> float:
    """Latent numbers for each pixel."""
    return spec.latent_channels / spec.factor**2


TITLES = {
    DOMAIN: "Domain (medical minus natural at one geometry)",
    GEOMETRY: "Geometry (more latent numbers minus fewer in one domain)",
}
CAVEAT = "Only autoencoders trained alike, with one architecture and budget, tell the cause."


def contrast_sentences(contrasts: pd.DataFrame, unplaced: Sequence[str]) -> list[str]:
    """A text a kind; the last one says what they do not tell, and of whom they are silent."""
    told = []
    for kind, rows in contrasts.groupby("kind", sort=True):  # domain, then geometry
        sentences = []
        # Pairs of one source first; those of several, and those of as many numbers, are ranges of their own.
        for (several, as_many), own in rows.groupby([~rows["one_source"].astype(bool), rows["as_many"].astype(bool)]):
            words = " ".join(filter(None, ("as many numbers in another shape" * as_many, "between sources" * several)))
            ranges = []  # such as "on brain +4.54 to +5.12 dB (3 of 4 pairs told apart)"
            for dataset, here in own.groupby("dataset", sort=False):
                pairs = here.to_dict(orient="records")
                text = f"{here['difference'].min():+.2f} to {here['difference'].max():+.2f} dB ({_judged(pairs)})"
                if len(pairs) == 1:
                    text = f"{gap(pairs[0], '+')} ({pairs[0]['a']} over {pairs[0]['b']}, {_judged(pairs)})"
                ranges.append(f"on {dataset} {text}")
            sentences.append(f"{words[:1].upper()}{words[1:]}{': ' * bool(words)}{'; '.join(ranges)}.")
        told.append(f"{TITLES[str(kind)]}: {' '.join(sentences)}")
    silent = f"In no contrast, their domain not known: {listed(unplaced)}." if unplaced else ""
    if not told:
        none = "Domain and geometry cannot be told apart here: no two of these differ in one and agree in the other."
        return [f"{none} {silent}".strip()]
    told[-1] = " ".join(filter(None, (told[-1], CAVEAT, silent)))
    return told


def _judged(rows: Rows) -> str:
    if not any(judgeable(row) for row in rows):
        return "not to be judged" if len(rows) == 1 else f"{len(rows)} pairs, not to be judged"
    apart = sum(told_apart(row) for row in rows)
    if len(rows) == 1:
        return "told apart" if apart else "not told apart"
    count = f"all {apart}" if apart == len(rows) else f"{apart or 'none'} of {len(rows)}"
    return f"{count} pairs told apart"
