"""The answer of an evaluation, a sentence a dataset: who is best in fidelity, in perceptual likeness, at what price."""

from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import NamedTuple

from latentsr.report.evaluation_data import BASELINE, SHARPNESS, Evaluation
from latentsr.report.evaluation_judgement import either_way, judgement, too_few
from latentsr.report.numbers import counted, listed, number

# What is told of each aspect: the first of its measures that was measured; all others are in the tables.
ASPECTS = {"fidelity": ("psnr",), "perceptual likeness": ("haarpsi", "gmsd", "ssim")}
FINEST = "swd/x1"
WHOLE = 100  # % of HR's sharpness
HALLUCINATED, LOST = "hallucinated/2sigma", "lost/2sigma"


class Lead(NamedTuple):
    """Who leads in one aspect: the best mean's method first in `names`, then all that it is not told apart from.

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
        if {a, b} & set(evaluation.truths(dataset)):
            continue
        if (found := judgement(evaluation, dataset, metric, (a, b))) is not None:
            patients = counted(evaluation.run["datasets"][dataset]["patients"], "patient")
            parts.append(f"on {dataset} ({patients}) {found.sentence(a, b)}")
    return f"Primary comparison, fixed in advance: {'; '.join(parts)}." if parts else ""


def answer(evaluation: Evaluation, dataset: str) -> str:
    """The sentence; nothing where neither aspect was measured."""
    if restoring(evaluation, dataset) in ([], [BASELINE]):
        counts = evaluation.run["datasets"][dataset]
        of = f"{counted(counts['images'], 'image')} of {counted(counts['patients'], 'patient')}"
        return f"On {dataset} only bicubic was measured, on {of}: there is nothing to compare."
    if not (found := leads(evaluation, dataset)):
        return ""
    return f"On {dataset}, {'; '.join([*_led(evaluation, dataset, found), *_paid(evaluation, dataset, found)])}."


def restoring(evaluation: Evaluation, dataset: str) -> list[str]:
    """The methods whose images are not the truth itself, the baseline first."""
    return [name for name in evaluation.methods if name not in evaluation.truths(dataset)]


def leads(evaluation: Evaluation, dataset: str) -> list[Lead]:
    """Who leads in each aspect, fidelity first, by the first of its measures that has values here."""
    found = []
    for aspect, names in ASPECTS.items():
        measured = [name for name in names if not evaluation.summary(dataset, name).empty][:1]
        found += [_lead(evaluation, dataset, aspect, metric) for metric in measured]
    return [lead for lead in found if lead is not None]


def _lead(evaluation: Evaluation, dataset: str, aspect: str, metric: str) -> Lead | None:
    means = evaluation.summary(dataset, metric)["mean"].reindex(restoring(evaluation, dataset)).dropna()
    if len(means) < 2:
        return None
    ranked = means.sort_values(ascending=evaluation.measures[metric]["better"] == "lower", kind="stable")
    first, *others = (str(name) for name in ranked.index)
    found = {name: judgement(evaluation, dataset, metric, (first, name)) for name in others}
    findings = {name: "few" if one is None else one.finding for name, one in found.items()}
    level = [name for name, finding in findings.items() if finding in ("open", "few")]
    above = [name for name, finding in findings.items() if finding == "worse"]
    rows = [row for name in others if (row := either_way(evaluation, dataset, metric, (first, name))) is not None]
    least = [row["detectable"] for row in rows if row["b"] in level and isfinite(row["detectable"])]
    judged = set(findings.values()) != {"few"}
    few = 0 if judged else max((int(row["n"]) for row in rows), default=evaluation.run["datasets"][dataset]["patients"])
    names = (first, *level)
    return Lead(aspect, metric, names, tuple(above), len(level) == len(others), few, max(least, default=nan))


def soles(found: list[Lead]) -> list[str]:
    """The methods that lead alone in some aspect, each once."""
    return list(dict.fromkeys(lead.sole for lead in found if lead.sole))


def _led(evaluation: Evaluation, dataset: str, found: list[Lead]) -> list[str]:
    """The leads in words, a method that leads alone in both named once."""
    measured = {lead.aspect: f"{lead.aspect} ({_mean(evaluation, dataset, lead)})" for lead in found}
    alone = {name: [measured[lead.aspect] for lead in found if lead.sole == name] for name in soles(found)}
    parts = [f"{name} is best in {listed(aspects)}" for name, aspects in alone.items()]
    if few := [lead for lead in found if lead.few]:
        firsts = dict.fromkeys(lead.names[0] for lead in few)
        theirs = {name: [measured[lead.aspect] for lead in few if lead.names[0] == name] for name in firsts}
        means = [f"{name} in {listed(aspects)}" for name, aspects in theirs.items()]
        parts.append(f"the best means are those of {listed(means)}, {too_few(max(lead.few for lead in few))}")
    return [*parts, *(_tied(evaluation, dataset, lead) for lead in found if not lead.sole and not lead.few)]


def _mean(evaluation: Evaluation, dataset: str, lead: Lead) -> str:
    """The best mean, and bicubic's beside that of another method that leads alone."""
    facts, means = evaluation.measures[lead.metric], evaluation.summary(dataset, lead.metric)["mean"]
    shown = f"{facts['title']} {number(means[lead.names[0]], facts['unit'], unit_shown=True)}"
    if lead.sole in ("", BASELINE) or BASELINE not in means.index:
        return shown
    return f"{shown}, bicubic {number(means[BASELINE], facts['unit'], unit_shown=True)}"


def _tied(evaluation: Evaluation, dataset: str, lead: Lead) -> str:
    """What is to be said where no method leads alone though there are patients enough."""
    unit = evaluation.measures[lead.metric]["unit"]
    power = f"; 80 % power from {number(lead.detectable, unit, unit_shown=True)}" if isfinite(lead.detectable) else ""
    mean, first = f"{_mean(evaluation, dataset, lead)}{power}", lead.names[0]
    if lead.above:
        verb = "is" if len(lead.above) == 1 else "are"
        better = f"{listed(lead.above)} {verb} better on the images where both have a value"
        return f"in {lead.aspect} {first} has the best mean ({_mean(evaluation, dataset, lead)}), but {better}"
    if lead.all:
        return f"in {lead.aspect} no method is told apart from the best mean ({first}, {mean})"
    return f"in {lead.aspect} {first} has the best mean ({mean}) and is not told apart from {listed(lead.names[1:])}"


def _paid(evaluation: Evaluation, dataset: str, found: list[Lead]) -> list[str]:
    """What the best ones pay: fidelity for likeness, measures that are worse than bicubic's, sharpness not restored."""
    best = soles(found)
    paid = [_less(evaluation, dataset, found[0].metric, best[0], best[1])] if len(best) == 2 else []
    losses = {name: worse(evaluation, dataset, name) for name in best}
    paid += [f"{name} is worse than bicubic in {listed(titles)}" for name, titles in losses.items() if titles]
    shares, unlike = sharpness(evaluation, dataset), unlike_hr(evaluation, dataset)
    kept = [_kept(name, shares[name], name in unlike) for name in best if name in shares]
    return [*paid, *([", ".join(kept)] if kept else [])]


def _kept(name: str, share: int, unlike: bool) -> str:
    """Such as "mine keeps 31 % of HR's sharpness", and no praise where it is more than there is, or other detail."""
    if unlike:
        return f"{name} has {share} % of HR's sharpness, but its detail is unlike HR's"
    if share > WHOLE:
        return f"{name} has {share} % of HR's sharpness, more than is there"
    return f"{name} keeps {share} % of HR's sharpness"


def false_sharpness(evaluation: Evaluation, dataset: str) -> str:
    """A sentence on the methods that are sharper than HR by detail which HR has not, such as grain; nothing if none."""
    shares, unlike = sharpness(evaluation, dataset), unlike_hr(evaluation, dataset)
    names = [name for name in unlike if shares.get(name, 0) > WHOLE]
    if not names:
        return ""
    told = [f"{name} ({shares[name]} % of its Laplacian variance, distance {number(unlike[name])})" for name in names]
    verb, whose = ("is", "its") if len(names) == 1 else ("are", "their")
    bicubics = number(_set_distances(evaluation, dataset)[BASELINE])
    return (
        f"On {dataset}, {listed(told)} {verb} sharper than HR, but {whose} detail is unlike HR's: sliced Wasserstein "
        f"distance above bicubic's ({bicubics}, at the finest level)."
    )


def _less(evaluation: Evaluation, dataset: str, metric: str, first: str, second: str) -> str:
    """By how much the second is behind the first, such as "sample pays with PSNR by 1.08 dB [0.80, 1.51]"."""
    behind = judgement(evaluation, dataset, metric, (second, first))
    return f"{second} pays with {behind.amount} less than {first}" if behind is not None else ""


def worse(evaluation: Evaluation, dataset: str, method: str) -> list[str]:
    """The titles of the measures in which a method is worse than bicubic: of the whole image, and of wrong pixels."""
    if method == BASELINE:
        return []
    names = (*evaluation.measures, HALLUCINATED, LOST)
    found = {name: judgement(evaluation, dataset, name, (method, BASELINE)) for name in names}
    chosen = [name.partition("/")[0] for name, one in found.items() if one is not None and one.finding == "worse"]
    return [str(evaluation.measures[name]["title"]) for name in chosen]


def unlike_hr(evaluation: Evaluation, dataset: str) -> Mapping[str, float]:
    """The methods whose finest detail is further from HR's than bicubic's, with their sliced Wasserstein distance."""
    distances = _set_distances(evaluation, dataset)
    return {name: value for name, value in distances.items() if value > distances.get(BASELINE, inf)}


def _set_distances(evaluation: Evaluation, dataset: str) -> Mapping[str, float]:
    """Each restoring method's sliced Wasserstein distance at the finest level, where sharpness lies, if measured."""
    rows = evaluation.frame("sets", dataset)
    values = {} if rows.empty else rows[rows["metric"] == FINEST].set_index("method")["value"].to_dict()
    return {name: values[name] for name in restoring(evaluation, dataset) if name in values}


def sharpness(evaluation: Evaluation, dataset: str) -> Mapping[str, int]:
    """Each restoring method's Laplacian variance in % of HR's, rounded, where both are known."""
    rows = evaluation.summary(dataset, SHARPNESS)
    shares = {} if rows.empty else rows["ratio_to_hr"].dropna().to_dict()
    return {name: round(100 * shares[name]) for name in restoring(evaluation, dataset) if name in shares}
