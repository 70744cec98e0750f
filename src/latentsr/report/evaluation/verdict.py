"""The verdict of an evaluation in sentences: doubts, the primary comparison, the answer for each dataset."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf, isfinite, nan
from typing import NamedTuple

from latentsr.names import BICUBIC, LR_PSNR, SHARPNESS, listed
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.text import counted, estimate, number, p_value
from latentsr.stats.significance import LEVEL, Finding, judge, turned

FINDINGS: Mapping[Finding, str] = {
    "better": "better", "worse": "worse", "open": "not told apart", "few": "too few patients",
}  # fmt: skip


class Judgement(NamedTuple):
    """What is said of a pair's first method against its second in a measure.

    `amount` is the difference with its interval: its size where the first is better or worse, such as "PSNR by 1.58 dB
    [1.41, 1.75]", with its sign otherwise; `why` a clause that says what keeps it from being a finding.
    """

    finding: Finding
    amount: str
    p: str
    why: str = ""

    def sentence(self, first: str, second: str) -> str:
        """Such as "mine is better than bicubic in PSNR by 1.58 dB [1.41, 1.75], p < 0.001"."""
        verb = {"open": "is not told apart from", "few": "differs from"}.get(
            self.finding, f"is {FINDINGS[self.finding]} than"
        )
        return f"{first} {verb} {second} in {self.amount}{self.p}{self.why}"


def judgement(evaluation: Evaluation, dataset: str, metric: str, pair: tuple[str, str]) -> Judgement | None:
    """What is to be said of a pair of methods in one measure; None where they were not compared."""
    row = evaluation.compared(dataset, metric, *pair)
    if row is None or not isfinite(row["difference"]):
        return None
    facts, title = evaluation.measure(metric), evaluation.title(metric)
    finding = judge(row, facts["better"])
    p = f", p {p_value(row['p_holm'], sign=True)}" if isfinite(row["p_holm"]) else ""
    found = finding in ("better", "worse")
    shown = turned(row) if found and row["difference"] <= 0 else row
    value, low, high = (shown[name] for name in ("difference", "low", "high"))
    amount = f"{title} by {estimate(value, low, high, facts['unit'], signed=not found, unit_shown=True)}"
    if found:
        return Judgement(finding, amount, p)
    if finding == "few":
        return Judgement(finding, amount, "", f", {too_few(int(row['n']))}")
    adjusted = " adjusted for its family of tests" if row["p"] < LEVEL else ""
    power = f"{adjusted}; unadjusted, 80 % power from {number(row['detectable'], facts['unit'], unit_shown=True)}"
    return Judgement(finding, amount, p, power)


def too_few(patients: int) -> str:
    """Such as "which 3 patients are too few to judge"."""
    return "which one patient cannot show" if patients == 1 else f"which {patients} patients are too few to judge"


# The verdict speaks of the first of an aspect's measures that was measured; all others are in the tables.
ASPECTS = {"fidelity": ("psnr",), "perceptual likeness": ("haarpsi", "gmsd", "ssim")}
FINEST = "swd/x1"
WHOLE = 100  # % of HR's sharpness
HALLUCINATED, LOST, NOISE_FLOOR = "hallucinated/2sigma", "lost/2sigma", "noise_floor/2sigma"


class Lead(NamedTuple):
    """Who leads in one aspect: the best mean's method first in `names`, then those that no test tells apart from it.

    `above`: those that are better than it all the same, on the images where both have a value; `all`: whether `names`
    are all methods; `few`: the patients that were compared, if they are too few to judge any pair, else 0;
    `detectable`: the least difference to any of the others in `names` that the test finds with 80 % power.
    """

    aspect: str
    metric: str
    names: tuple[str, ...]
    above: tuple[str, ...]
    all: bool
    few: int
    detectable: float

    @property
    def sole(self) -> str:
        """The method that is better than all others, or nothing."""
        return self.names[0] if len(self.names) == 1 and not self.above else ""


def primary(evaluation: Evaluation) -> str:
    """The sentence on the comparison that was specified in advance, on all datasets; nothing where there is none."""
    chosen = evaluation.run["primary"]
    if chosen is None:
        return ""
    a, b, metric = chosen["a"], chosen["b"], chosen["metric"]
    parts = []
    for dataset in evaluation.datasets:
        row, found = evaluation.compared(dataset, metric, a, b), judgement(evaluation, dataset, metric, (a, b))
        if row is not None and found is not None and not {a, b} & set(evaluation.truths(dataset)):
            patients = evaluation.run["datasets"][dataset]["patients"]
            compared = "" if row["n"] == patients else f"{int(row['n'])} of "
            parts.append(f"on {dataset} ({compared}{counted(patients, 'patient')}) {found.sentence(a, b)}")
    fixed = ", fixed in advance" if evaluation.run["primary_given"] else " (the default, as none was named)"
    return f"Primary comparison{fixed}: {'; '.join(parts)}." if parts else ""


def answer(evaluation: Evaluation, dataset: str) -> str:
    """The sentence; nothing where neither aspect was measured."""
    if restoring(evaluation, dataset) in ([], [BICUBIC]):
        counts = evaluation.run["datasets"][dataset]
        of = f"{counted(counts['images'], 'image')} of {counted(counts['patients'], 'patient')}"
        return f"On {dataset} only bicubic was measured, on {of}: there is nothing to compare."
    if not (found := leads(evaluation, dataset)):
        return ""
    best, parts = soles(found), _led(evaluation, dataset, found)
    # What the best ones pay: fidelity for likeness, measures worse than bicubic's, sharpness not restored.
    if len(best) == 2 and (behind := judgement(evaluation, dataset, found[0].metric, (best[1], best[0]))) is not None:
        parts.append(f"{best[1]} pays with {behind.amount} less than {best[0]}")
    losses = {name: worse(evaluation, dataset, name) for name in best}
    parts += [f"{name} is worse than bicubic in {listed(titles)}" for name, titles in losses.items() if titles]
    shares, unlike = sharpness(evaluation, dataset), unlike_hr(evaluation, dataset)
    kept = []
    for name in best:
        if name in unlike and name in shares:
            kept.append(f"{name} has {shares[name]} % of HR's sharpness, but its detail is unlike HR's")
        elif shares.get(name, 0) > WHOLE:
            kept.append(f"{name} has {shares[name]} % of HR's sharpness, more than is there")
        elif name in shares:
            kept.append(f"{name} keeps {shares[name]} % of HR's sharpness")
    return f"On {dataset}, {'; '.join([*parts, *([', '.join(kept)] if kept else [])])}."


def restoring(evaluation: Evaluation, dataset: str) -> list[str]:
    """The methods whose images are not the truth itself, the baseline first."""
    return [name for name in evaluation.methods if name not in evaluation.truths(dataset)]


def leads(evaluation: Evaluation, dataset: str) -> list[Lead]:
    """Who leads in each aspect, fidelity first, by the first of its measures that has values here."""
    leading = []
    for aspect, names in ASPECTS.items():
        metric = next(iter(evaluation.measured(dataset, names)), "")
        means = evaluation.summary(dataset, metric)["mean"].reindex(restoring(evaluation, dataset)).dropna()
        if len(means) < 2:
            continue
        ranked = means.sort_values(ascending=evaluation.measures[metric]["better"] == "lower", kind="stable")
        first, *others = (str(name) for name in ranked.index)
        found = {name: judgement(evaluation, dataset, metric, (first, name)) for name in others}
        findings = {name: "few" if one is None else one.finding for name, one in found.items()}
        level = [name for name, finding in findings.items() if finding in ("open", "few")]
        above = [name for name, finding in findings.items() if finding == "worse"]
        rows = evaluation.comparisons(dataset, [metric], [(first, name) for name in others])
        least = [row["detectable"] for row in rows if row["b"] in level and isfinite(row["detectable"])]
        few = 0
        if set(findings.values()) == {"few"}:
            patients = evaluation.run["datasets"][dataset]["patients"]
            few = max((int(row["n"]) for row in rows), default=patients)
        names, all_level = (first, *level), len(level) == len(others)
        leading.append(Lead(aspect, metric, names, tuple(above), all_level, few, max(least, default=nan)))
    return leading


def soles(found: list[Lead]) -> list[str]:
    """The methods that lead alone in some aspect, each once."""
    return list(dict.fromkeys(lead.sole for lead in found if lead.sole))


def _led(evaluation: Evaluation, dataset: str, found: list[Lead]) -> list[str]:
    """The leads in words, a method that leads alone in both named once."""
    means = {}
    for lead in found:  # the best mean, and bicubic's beside that of another method that leads alone
        facts, values = evaluation.measures[lead.metric], evaluation.summary(dataset, lead.metric)["mean"]
        means[lead.aspect] = f"{facts['title']} {number(values[lead.names[0]], facts['unit'], unit_shown=True)}"
        if lead.sole not in ("", BICUBIC) and BICUBIC in values.index:
            means[lead.aspect] += f", bicubic {number(values[BICUBIC], facts['unit'], unit_shown=True)}"
    measured = {aspect: f"{aspect} ({mean})" for aspect, mean in means.items()}
    alone = {name: [measured[lead.aspect] for lead in found if lead.sole == name] for name in soles(found)}
    parts = [f"{name} is best in {listed(aspects)}" for name, aspects in alone.items()]
    if few := [lead for lead in found if lead.few]:
        theirs: dict[str, list[str]] = {}
        for lead in few:
            theirs.setdefault(lead.names[0], []).append(measured[lead.aspect])
        shown = [f"{name} in {listed(aspects)}" for name, aspects in theirs.items()]
        parts.append(f"the best means are those of {listed(shown)}, {too_few(max(lead.few for lead in few))}")
    for lead in found:  # those of no single method, though there are patients enough
        if lead.sole or lead.few:
            continue
        first, mean = lead.names[0], means[lead.aspect]
        unit, power = evaluation.measures[lead.metric]["unit"], ""
        if isfinite(lead.detectable):
            power = f"; unadjusted, 80 % power from {number(lead.detectable, unit, unit_shown=True)}"
        if lead.above:
            better = f"{_are(lead.above)} better on the images where both have a value"
            parts.append(f"in {lead.aspect} {first} has the best mean ({mean}), but {better}")
        elif lead.all:
            parts.append(f"in {lead.aspect} no method is told apart from the best mean ({first}, {mean}{power})")
        else:
            level = f"is not told apart from {listed(lead.names[1:])}"
            parts.append(f"in {lead.aspect} {first} has the best mean ({mean}{power}) and {level}")
    return parts


def _are(names: Sequence[str]) -> str:
    """Such as "a is" and "a and b are"."""
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'}"


def false_sharpness(evaluation: Evaluation, dataset: str) -> str:
    """A sentence on the methods that are sharper than HR by detail which HR has not, such as grain; nothing if none."""
    shares, unlike = sharpness(evaluation, dataset), unlike_hr(evaluation, dataset)
    names = [name for name in unlike if shares.get(name, 0) > WHOLE]
    if not names:
        return ""
    shown = [f"{name} ({shares[name]} % of its Laplacian variance, distance {number(unlike[name])})" for name in names]
    bicubics, whose = number(evaluation.set_values(dataset, FINEST)[BICUBIC]), "its" if len(names) == 1 else "their"
    return (
        f"On {dataset}, {_are(shown)} sharper than HR, but {whose} detail is unlike HR's: sliced Wasserstein "
        f"distance above bicubic's ({bicubics}, at the finest level)."
    )


def worse(evaluation: Evaluation, dataset: str, method: str) -> list[str]:
    """The titles of the measures in which a method is worse than bicubic: of the whole image, and of wrong pixels."""
    if method == BICUBIC:
        return []
    names = (*evaluation.measures, HALLUCINATED, LOST)
    found = {name: judgement(evaluation, dataset, name, (method, BICUBIC)) for name in names}
    chosen = [name for name, one in found.items() if one is not None and one.finding == "worse"]
    return [str(evaluation.measure(name)["title"]) for name in chosen]


def unlike_hr(evaluation: Evaluation, dataset: str) -> Mapping[str, float]:
    """The methods whose finest detail is further from HR's than bicubic's, with their sliced Wasserstein distance.

    That is the distance at the finest level, where sharpness lies.
    """
    distances, names = evaluation.set_values(dataset, FINEST), restoring(evaluation, dataset)
    most = distances.get(BICUBIC, inf) if BICUBIC in names else inf
    return {name: distances[name] for name in names if distances.get(name, -inf) > most}


def sharpness(evaluation: Evaluation, dataset: str) -> Mapping[str, int]:
    """Each restoring method's Laplacian variance in % of HR's, rounded, where both are known."""
    rows = evaluation.summary(dataset, SHARPNESS)
    shares = {} if rows.empty else rows["ratio_to_hr"].dropna().to_dict()
    return {name: round(100 * shares[name]) for name in restoring(evaluation, dataset) if name in shares}


TRUE_TO_INPUT, UNTRUE_TO_INPUT = 50.0, 30.0  # dB, of the worst image
FIDELITIES = (
    (TRUE_TO_INPUT, inf, "true to"),
    (UNTRUE_TO_INPUT, TRUE_TO_INPUT, "not wholly true to"),
    (-inf, UNTRUE_TO_INPUT, "not true to"),
)


def verdict(evaluation: Evaluation) -> tuple[str, ...]:
    """Doubts, the primary comparison, one answer per dataset, then the methods that are sharp but wrong."""
    sentences = []
    where: dict[str, dict[str, None]] = {}
    for doubt in evaluation.run["pairing"]:
        where.setdefault(f"'{doubt['method']}'", {})[f"'{doubt['dataset']}'"] = None
    if where:
        named = ", ".join(f"{method} on {listed(list(sets))}" for method, sets in where.items())
        sentences.append(f"Do not rely on this yet: images of {named} do not agree with their inputs (see below).")
    for dataset in evaluation.datasets:
        if truths := evaluation.truths(dataset):
            one = "is the truth or made from it, not a restoration"
            many = "are the truth or made from it, not restorations"
            made = f"{listed(truths)} {one if len(truths) == 1 else many}"
            sentences.append(f"On {dataset}, {made}: left aside in this verdict.")
    sentences.append(primary(evaluation))
    sentences += [answer(evaluation, dataset) for dataset in evaluation.datasets]
    sentences += [false_sharpness(evaluation, dataset) for dataset in evaluation.datasets]
    return tuple(filter(None, sentences))


def details(evaluation: Evaluation) -> tuple[str, ...]:
    """What bears the answers out, sentences; where there are several datasets each names its own, all that share it."""
    where: dict[str, list[str]] = {}
    for dataset in evaluation.datasets:
        for sentence in _details(evaluation, dataset):
            where.setdefault(sentence, []).append(dataset)
    several = len(evaluation.datasets) > 1
    sentences = (f"{listed(names)}: {sentence}" if several else sentence for sentence, names in where.items())
    images = (row for row in evaluation.run["character"] if row["dataset"] in evaluation.datasets)
    return (*sentences, *(row["sentence"] for row in images if row["method"] != BICUBIC))


def _details(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """Measures that got worse, images that are HR itself, what it cost, agreement with LR, and equivalence."""
    found = leads(evaluation, dataset)
    best = soles(found)  # of which the answer tells what got worse
    methods = [method for method in restoring(evaluation, dataset) if method != BICUBIC]
    losses = {method: worse(evaluation, dataset, method) for method in methods}
    psnr, images = evaluation.summary(dataset, "psnr"), evaluation.run["datasets"][dataset]["images"]
    for method in methods:
        parts = []
        if losses[method] and method not in best:
            parts.append(f"is worse than bicubic in {listed(losses[method])}")
        if method in psnr.index and (count := int(psnr.loc[method, "infinite"])):
            parts.append(f"is identical to HR in {count} of {images} images, which are left out of PSNR")
        if parts:
            yield f"{method} {'; it '.join(parts)}."
    judged = any(not lead.few for lead in found)
    if judged and (spared := [method for method in methods if not losses[method]]):
        yield f"{_are(spared)} not found worse than bicubic in any tested measure of the whole image."
    yield from _costs(evaluation, dataset)
    yield from _consistency(evaluation, dataset)
    # One sentence per measure with a margin: the pairs that are equivalent, and how many are not shown to be.
    rows = evaluation.equivalence(dataset)
    for metric in dict.fromkeys(row["metric"] for row in rows):
        part = [row for row in rows if row["metric"] == metric]
        margin = number(part[0]["margin"], evaluation.measure(metric)["unit"], unit_shown=True)
        shown = [f"{row['a']} and {row['b']}" for row in part if row["verdict"] == "equivalent"]
        rest = len(part) - len(shown)
        what = f"equivalent: {', '.join(shown)}" if shown else "no two methods are shown to be equivalent"
        others = f"; {rest} other {'pair is' if rest == 1 else 'pairs are'} not shown to be" if shown and rest else ""
        title = evaluation.title(metric)
        yield f"Within {margin} in {title} (two one-sided tests by patient, not adjusted), {what}{others}."


def _costs(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """Sharpness, hallucinated and lost pixels of all methods, in one sentence."""
    parts = []
    unlike, shares = unlike_hr(evaluation, dataset), sharpness(evaluation, dataset)
    kept = [f"{name} {share} %{' (detail unlike HR)' * (name in unlike)}" for name, share in shares.items()]
    if kept:
        parts.append(f"sharpness (Laplacian variance over HR's): {', '.join(kept)}")
    rates = []
    for metric in evaluation.measured(dataset, (HALLUCINATED, LOST)):
        means = evaluation.summary(dataset, metric)["mean"].dropna()
        shown = [f"{name} {100 * means[name]:.1f} %" for name in restoring(evaluation, dataset) if name in means]
        rates.append(f"{metric.partition('/')[0]}: {', '.join(shown)}")
    if rates:
        reference, floor = evaluation.run["reference_autoencoder"]["name"], evaluation.summary(dataset, NOISE_FLOOR)
        # How large an error must be to be counted, where that was measured.
        least = "" if floor.empty else f" ({number(floor['mean'].iloc[0])} of the range on average)"
        beyond = f"beyond two sigma of the own error of reference autoencoder {reference}{least}"
        parts.append(f"pixels {'; '.join(rates)}, {beyond}")
    if parts:
        joined = "; ".join(parts)
        yield f"{joined[0].upper()}{joined[1:]}."


def _consistency(evaluation: Evaluation, dataset: str) -> Iterator[str]:
    """Whether each method's worst image agrees with its LR: a mean of decibels would hide one that does not."""
    rows = evaluation.frame("table", dataset)
    least = rows[rows["metric"] == LR_PSNR].groupby("method")["value"].min().dropna()
    names = [name for name in restoring(evaluation, dataset) if name != BICUBIC and name in least.index]
    parts = []
    for low, high, words in FIDELITIES:
        values: dict[str, list[str]] = {}
        for name in names:
            if low <= least[name] < high:
                values.setdefault("over 100 dB" if least[name] > 100 else f"{least[name]:.1f} dB", []).append(name)
        if values:
            shown = ", ".join(f"{listed(group)} {value}" for value, group in values.items())
            parts.append(f"{shown} ({words} {'its' if sum(map(len, values.values())) == 1 else 'their'} input)")
    if parts:
        yield f"Before clamping and rounding, reduced again, the worst image matches LR to: {'; '.join(parts)}."
