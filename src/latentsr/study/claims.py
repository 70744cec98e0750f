"""The claims of the published study, each judged by what a study here has measured.

One rule for differences: by patient, "holds" or "fails" where the 95 % interval lies on one side of zero and there are
FEWEST patients, else "cannot be told". One for equality: "holds" where the 90 % interval lies within the margin (TOST),
"fails" where it lies outside, else "cannot be told".
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from latentsr.stats.regression import fit_line, pearson
from latentsr.stats.significance import EQUIVALENT, FEWEST, tost
from latentsr.study.published import CORRECTED, MINUS, PROTOCOLS, PUBLISHED, Mean, Measured, mean_of, minus, publication

HOLDS, FAILS, OPEN, PRINTED = "holds", "fails", "cannot be told", "cannot hold as printed"
MARGIN = 0.15  # dB, the study's
SAME_SHARE = 0.01  # of the pixels: the published rates differ by half of it at most
MEDICAL, NATURAL, CONTROL = "MedVAE 4_3", "SD-VAE", "kl-f4"
GAP = MEDICAL + MINUS + NATURAL
LATENTS = (MEDICAL, NATURAL, CONTROL, "MedVAE 4_1", "MedVAE 8_4", "haar")  # with an adapted one the points were others
BANDS = tuple(f"{band}{level}" for level in (3, 2, 1) for band in ("LH", "HL", "HH"))
SCALES = ("64", "32", "16", "8", "4", "2", "1")
STEPS = ("16", "50", "250", "500", "1000")  # each against 100
TRAININGS = ("EMA", "SNR weight", "EMA and SNR weight", "L2", "linear", "epsilon", "v")
POINT_COLUMNS = ("protocol", "dataset", "method", "ceiling", "ceiling_low", "ceiling_high", "psnr", "low", "high")
LINE_COLUMNS = ("protocol", "x", "centre", "confidence_low", "confidence_high", "prediction_low", "prediction_high")
PLACES = 61  # along a line


class Claim(NamedTuple):
    """A claim's row. `ours`, with its interval, is what decides: a difference, a share, a correlation."""

    claim: str
    title: str
    dataset: str
    protocol: str
    quantity: str
    published: str
    ours: float
    low: float
    high: float
    n: int
    verdict: str
    reason: str


def judge_claims(measured: Measured, points: pd.DataFrame) -> pd.DataFrame:
    """One row per claim, dataset, protocol and, where several are asked, quantity: the fields of `Claim`.

    `points` of `ceiling_points`. A claim that no arm can answer has one row, which says what is missing.
    """
    rows = []
    for claim in publication().claims:
        answers = list(judge_ceiling(points)) if claim == "ceiling" else []
        for dataset in measured.roles.datasets if claim in JUDGES else ():
            answers += JUDGES[claim](claim, measured, dataset)
        own = [row for row in answers if row.n or row.verdict != OPEN] or answers[:1]
        rows += own or [_row(claim, "", "", "", "", Mean(), OPEN, "nothing of this study answers it")]
        for one in publication().cannot_hold:
            if one.claim == claim:
                rows.append(_row(claim, one.dataset, "", "", one.published, Mean(), PRINTED, one.reason))
    return pd.DataFrame([row._replace(title=publication().claims[row.claim]) for row in rows], columns=Claim._fields)


def _row(
    claim: str, dataset: str, protocol: str, quantity: str, published: str, mean: Mean, verdict: str, reason: str
) -> Claim:
    values = mean.ours, mean.low, mean.high, mean.n_patients
    return Claim(claim, "", dataset, protocol, quantity, published, *values, verdict, reason)


def _sign(mean: Mean) -> tuple[str, str]:
    """Whether a difference is above zero, and why so."""
    if not np.isfinite(mean.ours):
        return OPEN, "not measured"
    if mean.n_patients < FEWEST:
        return OPEN, f"{mean.n_patients} patients are fewer than {FEWEST}"
    if mean.low > 0:
        return HOLDS, "the interval lies above zero"
    return (FAILS, "the interval lies below zero") if mean.high < 0 else (OPEN, "the interval includes zero")


def _equal(rows: pd.DataFrame, margin: float = MARGIN) -> tuple[Mean, str, str]:
    """The mean of differences with the 90 % interval of TOST, and whether it is within the margin."""
    finite = rows[np.isfinite(rows["value"])]
    if finite.empty:
        return Mean(), OPEN, "not measured"
    found = tost(finite["value"], margin, patients=list(finite["patient"]))
    mean = Mean(found.difference, np.nan, found.low, found.high, found.p, found.n)
    if found.n < FEWEST:
        return mean, OPEN, f"{found.n} patients are fewer than {FEWEST}"
    if found.verdict == EQUIVALENT:
        return mean, HOLDS, f"within {margin:g}: TOST p {found.p:.2g}"
    if found.low > margin or found.high < -margin:
        return mean, FAILS, f"the 90 % interval lies outside {margin:g}"
    return mean, OPEN, f"the 90 % interval crosses {margin:g}"


def _published(output: str, method: str, metric: str, dataset: str) -> str:
    """A published value in words, with its interval; empty if it is not at hand."""
    value = publication().outputs[output].values[method].get(metric, {}).get(dataset)
    if value is None or isinstance(value, float):
        return "" if value is None else f"{value:g}"
    bracket = "" if value.low is None else f" [{value.low:g}, {value.high:g}]"
    return f"{value.value:g}{bracket}"


def judge_gap(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """The gap as the study scores it, and against true HR."""
    for protocol, metric in ((PUBLISHED, "self_psnr"), (PUBLISHED, "psnr"), (CORRECTED, "psnr")):
        mean = measured.mean(protocol, GAP, dataset, metric)
        verdict, reason = _sign(mean)
        output = "table-2" if metric == "self_psnr" else "revision-gaps"
        reason = reason if mean.n_patients else measured.lacks(protocol, GAP, dataset, metric)
        printed = _published(output, GAP, metric, dataset)
        quantity = "dB, self-referential" if metric == "self_psnr" else "dB"
        yield _row(claim, dataset, protocol, quantity, printed, mean, verdict, reason)


def judge_ceiling(points: pd.DataFrame) -> Iterator[Claim]:
    """Pearson's r over models and datasets: as it is, within datasets, and of ranks with the lossless latent."""
    for protocol in PROTOCOLS:
        own = points[points["protocol"] == protocol]
        lossy = own[np.isfinite(own["ceiling"])]
        values = {"r, lossless latents left out": lossy[["ceiling", "psnr"]]}
        values["r within datasets"] = values["r, lossless latents left out"] - lossy.groupby("dataset")[
            ["ceiling", "psnr"]
        ].transform("mean")
        if len(lossy) < len(own):
            values["r of ranks within datasets, lossless latents in"] = own.groupby("dataset")[
                ["ceiling", "psnr"]
            ].rank()
        for quantity, pair in values.items():
            found = pearson(pair["ceiling"], pair["psnr"])
            mean = Mean(found.r, np.nan, found.low, found.high, found.p, found.n)
            verdict = HOLDS if found.low > 0 else FAILS if found.high < 0 else OPEN
            about = f"{found.n} points of {pair.join(own[['method']])['method'].nunique()} latents; Fisher's interval "
            about += {HOLDS: "lies above zero", FAILS: "lies below zero", OPEN: "does not exclude zero"}[verdict]
            printed = "0.82, n 6; revision: 0.83 [0.55, 0.94], n 15" if quantity.startswith("r,") else ""
            yield _row("ceiling", "", protocol, quantity, printed, mean, verdict, about)


def _headlines(measured: Measured, protocol: str) -> list[str]:
    """The methods of a protocol that stand for a latent, not for a setting in one."""
    roles = measured.roles.published if protocol == PUBLISHED else measured.roles.corrected
    return [name for name in roles if name in LATENTS]


def ceiling_points(measured: Measured) -> pd.DataFrame:
    """One row per protocol, dataset and latent: POINT_COLUMNS; a lossless latent's ceiling is +inf."""
    rows = []
    for protocol in PROTOCOLS:
        for method in _headlines(measured, protocol):
            for dataset in measured.roles.datasets:
                result = measured.mean(protocol, method, dataset, "psnr")
                ceiling = measured.mean(protocol, method, dataset, "ceiling_psnr")
                if not result.n_patients:
                    continue
                value = ceiling.ours if ceiling.n_patients and method != "haar" else np.inf
                rows.append((protocol, dataset, method, value, ceiling.low, ceiling.high, *result[:1], *result[2:4]))
    return pd.DataFrame(rows, columns=list(POINT_COLUMNS)).astype(dict.fromkeys(POINT_COLUMNS[3:], float))


def ceiling_lines(points: pd.DataFrame) -> pd.DataFrame:
    """The least-squares line of each protocol with its 95 % bands: LINE_COLUMNS; none of fewer than three points."""
    found = [pd.DataFrame(columns=list(LINE_COLUMNS))]
    for protocol, own in points[np.isfinite(points["ceiling"])].groupby("protocol", sort=False):
        if own["ceiling"].nunique() > 2:
            x = np.linspace(own["ceiling"].min(), own["ceiling"].max(), PLACES)
            bands = vars(fit_line(own["ceiling"], own["psnr"]).predict(x))
            found.append(pd.DataFrame({"protocol": protocol, "x": x, **bands}))
    return pd.concat([one for one in found if len(one)] or found, ignore_index=True)


def judge_best_latent(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """The best latent less the one with the highest ceiling, or, if that is the best, it less the second."""
    for protocol in PROTOCOLS:
        names = _headlines(measured, protocol)
        means = {name: measured.mean(protocol, name, dataset, "psnr").ours for name in names}
        order = sorted((name for name in names if np.isfinite(means[name])), key=lambda name: -means[name])
        if len(order) < 2:
            continue
        ceilings = {name: measured.mean(protocol, name, dataset, "ceiling_psnr").ours for name in order}
        highest = max(order, key=lambda name: np.inf if np.isnan(ceilings[name]) else ceilings[name])
        other = next(name for name in order if name != highest)
        mean = measured.mean(protocol, highest + MINUS + other, dataset, "psnr")
        verdict, reason = _sign(mean)
        ranks = ", ".join(f"{name} {means[name]:.2f} dB" for name in order)
        reason = f"{highest} has the highest ceiling; {ranks}; {reason}"
        yield _row(claim, dataset, protocol, f"dB, {highest} - {other}", "", mean, verdict, reason)


def judge_finest_band(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """The gap in HH1 less that in the other band where it is largest."""
    for protocol in PROTOCOLS:
        gaps = {name: measured.rows(protocol, GAP, dataset, f"subband_psnr/{name}") for name in ("LL3", *BANDS)}
        others = [name for name in gaps if name != "HH1" and mean_of(gaps[name]).n_patients]
        if not others:
            yield _row(claim, dataset, protocol, "dB", "", Mean(), OPEN, "subband_psnr is not measured of both")
            continue
        second = max(others, key=lambda name: mean_of(gaps[name]).ours)
        mean = mean_of(minus(gaps["HH1"], gaps[second]))
        verdict, reason = _sign(mean)
        texts = [f"{name} {mean_of(gaps[name]).ours:+.2f} dB" for name in ("HH1", second, "LL3")]
        printed = _published("table-S6", GAP, "subband_psnr/HH1", dataset)
        quantity = f"dB, gap in HH1 - gap in {second}"
        reason = f"gaps: {', '.join(dict.fromkeys(texts))}; {reason}"
        yield _row(claim, dataset, protocol, quantity, f"HH1 +{printed}", mean, verdict, reason)


def judge_independent(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """Whether rates of hallucination are alike where PSNR is not."""
    for protocol in PROTOCOLS:
        gap, _ = _sign(measured.mean(protocol, GAP, dataset, "psnr"))
        for metric in ("hallucinated/2sigma", "lost/2sigma"):
            mean, verdict, reason = _equal(measured.rows(protocol, GAP, dataset, metric), SAME_SHARE)
            if gap == OPEN and verdict != OPEN:
                verdict, reason = OPEN, f"no gap in PSNR was found; {reason}"
            shares = [_published("table-S7", one, metric, dataset) for one in (MEDICAL, NATURAL)]
            yield _row(claim, dataset, protocol, f"{metric} of pixels", " and ".join(shares), mean, verdict, reason)


def judge_alike(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """Pairs of methods that shall be alike within MARGIN, against HR."""
    for protocol in PROTOCOLS:
        trained = f"{MEDICAL}, 100 steps" if protocol == PUBLISHED else MEDICAL
        pairs = {
            "stable-steps": [(f"{MEDICAL}, {steps} steps", f"{MEDICAL}, 100 steps") for steps in STEPS],
            "stable-training": [(f"{MEDICAL}, {change}", trained) for change in TRAININGS],
            "flow": [(f"{MEDICAL}, flow", f"{MEDICAL}, 100 steps")],
            "equal-geometry": [(MEDICAL, CONTROL), ("MedVAE 8_4", NATURAL)],
        }
        for a, b in pairs[claim]:
            mean, verdict, reason = _equal(measured.rows(protocol, a + MINUS + b, dataset, "psnr"))
            printed = "within 0.15"
            if claim == "equal-geometry":
                output = "revision-control" if b == CONTROL else "revision-decomposition"
                printed = _published(output, a + MINUS + b, "psnr", dataset)
            yield _row(claim, dataset, protocol, f"dB, ({a}) - ({b})", printed, mean, verdict, reason)


def judge_stable_gap(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """The gap at each number of steps less that at 100."""
    for protocol in PROTOCOLS:
        gaps = {
            steps: measured.rows(protocol, f"{MEDICAL}, {steps} steps{MINUS}{NATURAL}, {steps} steps", dataset, "psnr")
            for steps in ("100", *STEPS)
        }
        for steps in STEPS:
            mean, verdict, reason = _equal(minus(gaps[steps], gaps["100"]))
            if mean.n_patients:
                reason = f"gaps {mean_of(gaps[steps]).ours:+.2f} and {mean_of(gaps['100']).ours:+.2f} dB; {reason}"
            quantity = f"dB, gap at {steps} steps - gap at 100"
            yield _row(claim, dataset, protocol, quantity, "within 0.15", mean, verdict, reason)


def judge_fid_order(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """In the published order; told only where intervals of neighbours do not overlap."""
    printed = {
        name: float(str(metrics["fid"][dataset]))
        for name, metrics in publication().outputs["table-S12"].values.items()
        if dataset in metrics["fid"]
    }
    for protocol in PROTOCOLS:
        found = {name: measured.of_set(protocol, name, dataset, "fid") for name in printed}
        order = sorted((name for name in found if np.isfinite(found[name].ours)), key=lambda name: printed[name])
        text = " < ".join(f"{name} {printed[name]:g}" for name in sorted(printed, key=lambda name: printed[name]))
        if len(order) < 2:
            yield _row(claim, dataset, protocol, "FID", text, Mean(), OPEN, "fid is not measured of two methods")
            continue
        pairs = [(found[a], found[b]) for a, b in pairwise(order)]
        verdict = HOLDS if all(a.high < b.low for a, b in pairs) else OPEN
        verdict = FAILS if any(b.high < a.low for a, b in pairs) else verdict
        reason = ", ".join(f"{name} {found[name].ours:.1f}" for name in order)
        mean = Mean(n_patients=found[order[0]].n_patients)
        yield _row(claim, dataset, protocol, "FID in the published order", text, mean, verdict, reason)


def judge_coarse_scales(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """From each scale to the next coarser one; the row is of the coarsest less the finest."""
    for protocol in PROTOCOLS:
        scales = {
            scale: rows
            for scale in SCALES
            if len(rows := measured.rows(protocol, MEDICAL, dataset, f"latent_cosine/{scale}"))
            and mean_of(rows).n_patients
        }
        if len(scales) < 2:
            yield _row(claim, dataset, protocol, "cosine", "", Mean(), OPEN, "latent_cosine is not measured")
            continue
        steps = [_sign(mean_of(minus(scales[b], scales[a])))[0] for a, b in pairwise(scales)]
        verdict = FAILS if FAILS in steps else OPEN if OPEN in steps else HOLDS
        fine, *_, coarse = scales
        means = ", ".join(f"{mean_of(rows).ours:.3f}" for rows in scales.values())
        metric = "latent_cosine" if dataset == "cxr" else "sampled_cosine"
        printed = ", ".join(_published("table-S8", MEDICAL, f"{metric}/{scale}", dataset) for scale in SCALES)
        reason = f"{means} from {fine} to {coarse}; {steps.count(HOLDS)} of {len(steps)} steps rise"
        mean = mean_of(minus(scales[coarse], scales[fine]))
        yield _row(claim, dataset, protocol, f"cosine at {coarse} - at {fine}", printed, mean, verdict, reason)


def judge_decomposition(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """By 8_4 and 4_1, or by the control of equal geometry: sums over one and the same images."""
    ways = {
        "domain, resolution, capacity": (
            f"MedVAE 8_4{MINUS}{NATURAL}", f"MedVAE 4_1{MINUS}MedVAE 8_4", f"{MEDICAL}{MINUS}MedVAE 4_1",
        ),
        "domain, geometry": (f"{MEDICAL}{MINUS}{CONTROL}", f"{CONTROL}{MINUS}{NATURAL}"),
    }  # fmt: skip
    for protocol in PROTOCOLS:
        gap = measured.mean(protocol, GAP, dataset, "psnr")
        for way, parts in ways.items():
            means = [measured.mean(protocol, part, dataset, "psnr").ours for part in parts]
            total = gap._replace(ours=float(sum(means)))
            if not np.isfinite(total.ours):
                yield _row(claim, dataset, protocol, f"dB, {way}", "", Mean(), OPEN, "an arm of it is not measured")
                continue
            outputs = "revision-decomposition" if len(parts) == 3 else "revision-control"
            printed = " + ".join(_published(outputs, part, "psnr", dataset) for part in parts)
            reason = f"{' + '.join(f'{one:.2f}' for one in means)} = {total.ours:.2f} dB, the gap is {gap.ours:.2f}"
            verdict = HOLDS if abs(total.ours - gap.ours) < 0.005 else FAILS
            yield _row(claim, dataset, protocol, f"dB, {way}", printed, total, verdict, reason)


def judge_pass_through(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """What adaptation gains in SR, of what it gains in the ceiling."""
    method = f"{CONTROL} adapted{MINUS}{CONTROL}"
    for protocol in PROTOCOLS:
        gain, ceiling = (measured.mean(protocol, method, dataset, one) for one in ("psnr", "ceiling_psnr"))
        verdict, reason = _sign(gain)
        if verdict == HOLDS and ceiling.ours > 0:
            reason = f"{gain.ours / ceiling.ours:.0%} of {ceiling.ours:+.2f} dB in the ceiling; {reason}"
        printed = [_published("revision-adaptation", method, one, dataset) for one in ("psnr", "ceiling_psnr")]
        yield _row(claim, dataset, protocol, "dB in SR", " of ".join(printed), gain, verdict, reason)


def judge_near_noise(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """One evaluation less the published sampler at 100 steps, in latents as they are and of the published rms."""
    one = f"{MEDICAL}, one evaluation"
    for published in (f"{MEDICAL}, 100 steps", f"{MEDICAL}, rms 8, 100 steps"):
        ours, theirs = (
            measured.rows(protocol, method, dataset, "psnr")
            for protocol, method in ((CORRECTED, one), (PUBLISHED, published))
        )
        mean, verdict, reason = _equal(minus(ours, theirs))
        quantity = f"dB, ({one}) - ({published})"
        yield _row(claim, dataset, "both", quantity, "", mean, verdict, reason)


def judge_realism(claim: str, measured: Measured, dataset: str) -> Iterator[Claim]:
    """Distances of whole sets, told only where their intervals do not overlap."""
    ours = measured.of_set(CORRECTED, f"{MEDICAL}, 16 steps", dataset, "swd")
    theirs = measured.of_set(PUBLISHED, f"{MEDICAL}, 100 steps", dataset, "swd")
    if not np.isfinite(ours.ours) or not np.isfinite(theirs.ours):
        yield _row(claim, dataset, "both", "SWD", "", Mean(), OPEN, "swd is not measured of both")
        return
    verdict = HOLDS if ours.high < theirs.low else FAILS if theirs.high < ours.low else OPEN
    words = f"{ours.ours:.1f} [{ours.low:.1f}, {ours.high:.1f}] and {theirs.ours:.1f} [{theirs.low:.1f}, "
    reason = f"{words}{theirs.high:.1f}]; told only where the intervals do not overlap"
    difference = Mean(ours.ours - theirs.ours, n_patients=ours.n_patients)
    yield _row(claim, dataset, "both", "SWD x 1000, corrected - published", "", difference, verdict, reason)


JUDGES: Mapping[str, Callable[[str, Measured, str], Iterator[Claim]]] = {
    "gap": judge_gap, "best-latent": judge_best_latent, "finest-band": judge_finest_band,
    "independent": judge_independent,
    "stable-steps": judge_alike, "stable-training": judge_alike, "stable-gap": judge_stable_gap, "flow": judge_alike,
    "fid-order": judge_fid_order, "coarse-scales": judge_coarse_scales, "decomposition": judge_decomposition,
    "equal-geometry": judge_alike, "pass-through": judge_pass_through, "near-noise": judge_near_noise,
    "realism": judge_realism,
}  # fmt: skip
