"""Words against numbers: over 300 simulated studies no sentence and no cell of a page says what the values do not.

Every sentence is read, clause by clause, and one that cannot be read fails.
"""

import re
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise

import numpy as np
import pytest
from report_studies import LESS, SCALES, SETS, TITLES, Pair, Truth, simulated

from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.tables import (
    difference_table,
    equivalence_table,
    evenness_table,
    headline_table,
    main_table,
    metric_title,
    pair_table,
)
from latentsr.report.evaluation.verdict import details, verdict

STUDIES = 300
ASPECTS = {"fidelity": "psnr", "perceptual likeness": "haarpsi"}


def near(text: str, value: float) -> bool:
    """Whether a printed number is this value, rounded; a zero has no sign."""
    text = text.replace("−", "-").strip()
    decimals = len(text.partition(".")[2])
    if not text.strip("+-0."):
        assert text[0] not in "+-", text
    return abs(float(text) - value) <= 0.5000001 * 10**-decimals


def same(text: str, *values: float) -> bool:
    """Whether a cell such as "+0.31 [+0.10, +0.52]" holds these values, or a dash where they are none."""
    found = re.findall(NUMBER, text)
    known = [value for value in values if np.isfinite(value)]
    return len(found) == len(known) and all(map(near, found, known))


NUMBER = r"[-+]?\d+\.\d+|[-+]?\d+"
N = rf"(?:{NUMBER})"
LISTED = r"\w+(?:, \w+)*(?: and \w+)?"
TITLE = "|".join(map(re.escape, TITLES))
MEAN = rf"(?:PSNR|HaarPSI) {N}(?: dB)?(?:, bicubic {N}(?: dB)?)?"
LED = rf"(?:fidelity|perceptual likeness) \({MEAN}\)"
POWER = rf"(?:; unadjusted, 80 % power from (?P<power>{N})(?: dB)?)?"
CLAIM = re.compile(
    rf"(?:on (?P<set>\w+) \((?:(?P<compared>\d+) of )?(?P<patients>\d+) patients\) )?(?P<a>\w+) "
    r"(?P<verb>is better than|is worse than|is not "
    rf"told apart from|differs from) (?P<b>\w+) in (?P<title>{TITLE}) by (?P<value>{N})(?: dB)?(?P<ends> \[{N}, {N}\])?"
    rf"(?:, p (?P<p>= [\d.]+|< 0.001))?(?: adjusted for its family of tests)?{POWER}"
    r"(?:, which (?:(?P<few>\d+) patients are too few to judge|one patient cannot show))?"
)
VERBS = {"is better than": "better", "is worse than": "worse", "is not told apart from": "not told apart"}


class Reader:
    """Reads the sentences of one evaluation and checks each clause.

    `lost` are the losses that were told, by dataset and method; `read` the patterns of the clauses that there were.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.truth, self.run, self.methods = Truth(evaluation), evaluation.run, evaluation.methods
        self.evaluation = evaluation
        self.lost: dict[tuple[str, str], set[str]] = {}
        self.read: set[str] = set()

    def sentence(self, text: str) -> None:
        if re.match(r"Primary comparison(, fixed in advance| \(the default, as none was named\)): ", text):
            self.claims(text.partition(": ")[2].removesuffix("."))
            return
        start = re.match(rf"On (\w+), (?!.* of its Laplacian variance)|({LISTED}): |On (\w+), ", text)
        assert start, text
        clauses = [text[start.end() :].removesuffix(".")]
        if start[1]:
            clauses = re.split(r"; (?![^(]*\))", clauses[0])
        for dataset in re.split(", | and ", next(filter(None, start.groups()))):
            for clause in clauses:
                self.clause(dataset, clause)

    def clause(self, dataset: str, text: str) -> None:
        for pattern, check in CLAUSES.items():
            if found := re.fullmatch(pattern, text):
                check(self, dataset, found)
                self.read.add(pattern)
                return
        pytest.fail(f"cannot be read: {text}")

    def claims(self, text: str) -> None:
        """The primary comparison on each dataset."""
        told = list(CLAIM.finditer(text))
        assert "; ".join(one[0] for one in told) == text, text
        assert [one["set"] for one in told] == [name for name in SETS if self.primary(name).n]
        for one in told:
            dataset, metric, found = one["set"], TITLES[one["title"]], self.primary(one["set"])
            assert int(one["patients"]) == self.run["datasets"][dataset]["patients"]
            assert int(one["compared"] or one["patients"]) == found.n
            assert (one["a"], one["b"], metric) == tuple(self.run["primary"].values())
            finding = self.truth.finding(dataset, metric, one["a"], one["b"])
            assert finding == VERBS.get(one["verb"], "too few patients"), text
            turn = -1 if finding in ("better", "worse") and found.difference < 0 else 1
            ends = sorted(turn * end for end in found.ends())
            assert same(f"{one['value']}{one['ends'] or ''}", turn * found.difference, *ends), text
            assert (finding in ("better", "worse")) == (found.n > 5 and found.p < 0.05)  # no adjustment
            if one["few"]:
                assert int(one["few"]) == found.n
            if one["p"]:
                assert found.p < 0.001 if one["p"] == "< 0.001" else near(one["p"][2:], found.p)

    def primary(self, dataset: str) -> Pair:
        asked = self.run["primary"]
        return self.truth.pair(dataset, asked["metric"], asked["a"], asked["b"])

    def best(self, dataset: str, found: re.Match[str]) -> None:
        for aspect, means in re.findall(rf"(fidelity|perceptual likeness) \(({MEAN})\)", found["aspects"]):
            self.leads(dataset, aspect, found["name"], means)
            for other in set(self.methods) - {found["name"]}:
                assert self.truth.finding(dataset, ASPECTS[aspect], found["name"], other) == "better", found[0]

    def leads(self, dataset: str, aspect: str, name: str, means: str) -> None:
        """The best mean, and the means that are printed."""
        ours = {one: self.truth.mean(dataset, ASPECTS[aspect], one) for one in self.methods}
        assert ours[name] == max(mean for mean in ours.values() if np.isfinite(mean)), (dataset, means)
        assert same(means, ours[name], *([ours["bicubic"]] if "bicubic" in means else [])), means

    def few(self, dataset: str, found: re.Match[str]) -> None:
        most = 0
        for name, aspects in re.findall(rf"(\w+) in ({LED}(?: and {LED})?)", found["firsts"]):
            for aspect, means in re.findall(rf"(fidelity|perceptual likeness) \(({MEAN})\)", aspects):
                self.leads(dataset, aspect, name, means)
                for other in set(self.methods) - {name}:
                    pair = self.truth.pair(dataset, ASPECTS[aspect], name, other)
                    most = max(most, pair.n)
                    assert pair.n < 6, found[0]
        assert int(found["count"] or 1) == most

    def tied(self, dataset: str, found: re.Match[str]) -> None:
        """Of all others: better, as they are not named, or not told apart."""
        metric, first = ASPECTS[found["aspect"]], found["first"]
        self.leads(dataset, found["aspect"], first, found["means"])
        judged = {one: self.truth.finding(dataset, metric, first, one) for one in self.methods if one != first}
        judged = {one: kind for one, kind in judged.items() if np.isfinite(self.truth.mean(dataset, metric, one))}
        named = found.groupdict().get("others")
        others = set(judged) if named is None else set(re.split(", | and ", named))
        expected = {one: "not told apart" if one in others else "better" for one in judged}
        if "above" in found.groupdict():
            expected = {one: "worse" if one in re.split(", | and ", found["above"]) else judged[one] for one in judged}
            assert "worse" not in {kind for one, kind in judged.items() if expected[one] != "worse"}
        assert {one: "not told apart" if kind == "too few patients" else kind for one, kind in judged.items()} == {
            one: "not told apart" if kind == "too few patients" else kind for one, kind in expected.items()
        }, found[0]

    def pays(self, dataset: str, found: re.Match[str]) -> None:
        pair = self.truth.pair(dataset, TITLES[found["title"]], found["b"], found["a"])
        assert self.truth.finding(dataset, TITLES[found["title"]], found["a"], found["b"]) == "worse"
        assert same(found["amount"], pair.difference, *pair.ends())

    def worse(self, dataset: str, found: re.Match[str]) -> None:
        self.lost[dataset, found["name"]] = set(re.split(", | and ", found["titles"]))

    def spared(self, dataset: str, found: re.Match[str]) -> None:
        for name in re.split(", | and ", found["names"]):
            assert (dataset, name) not in self.lost
            self.lost[dataset, name] = set()

    def identical(self, dataset: str, found: re.Match[str]) -> None:
        _, values = self.truth.values[dataset, "psnr", found["name"]]
        assert (int(found["count"]), int(found["of"])) == (np.isinf(values).sum(), len(values))
        if found["worse"]:
            self.clause(dataset, f"{found['name']} {found['worse']}")

    def sharpness(self, dataset: str, text: str) -> None:
        whole = self.truth.mean(dataset, "laplacian_variance", "hr")
        told = re.findall(r"(\w+) (?:keeps |has |\()?(\d+) %(?! power)", text)
        assert told
        for name, share in told:
            assert abs(int(share) - 100 * self.truth.mean(dataset, "laplacian_variance", name) / whole) <= 0.5001

    def kept(self, dataset: str, found: re.Match[str]) -> None:
        self.sharpness(dataset, found[0])

    def costs(self, dataset: str, found: re.Match[str]) -> None:
        if found["sharp"]:
            self.sharpness(dataset, found["sharp"])
        told = dict(re.findall(rf"(\w+) ({N}) %", found["lost"]))
        means = {one: self.truth.mean(dataset, "lost/2sigma", one) for one in self.methods}
        assert list(told) == [one for one in self.methods if np.isfinite(means[one])]
        assert all(near(share, 100 * means[one]) for one, share in told.items())

    def lr(self, dataset: str, found: re.Match[str]) -> None:
        told: dict[str, str] = {}
        for names, figure in re.findall(rf"((?:\w+(?:, | and )?)+?) (over 100|{N}) dB", found["told"]):
            told |= dict.fromkeys(re.split(", | and ", names.removeprefix(", ")), figure)
        values = {one: self.truth.values[dataset, "lr_psnr", one][1] for one in self.methods if one != "bicubic"}
        assert set(told) == {one for one, own in values.items() if not np.isnan(own).all()}
        for name, figure in told.items():
            least = np.nanmin(values[name])
            assert least > 100 if figure == "over 100" else near(figure, least)

    def within(self, dataset: str, found: re.Match[str]) -> None:
        shown = [tuple(one.split(" and ")) for one in (found["shown"] or "").split(", ") if one]
        pairs = list(combinations(self.methods, 2))
        for a, b in pairs:
            assert bool({(a, b), (b, a)} & set(shown)) == self.truth.pair(dataset, "psnr", a, b).equivalent
        if found["rest"]:
            assert int(found["rest"]) == len(pairs) - len(shown)


WORSE = rf"is worse than bicubic in (?P<titles>(?:{TITLE})(?:, (?:{TITLE}))*(?: and (?:{TITLE}))?)"
ASPECT = r"in (?P<aspect>fidelity|perceptual likeness)"
CLAUSES: dict[str, Callable[[Reader, str, re.Match[str]], None]] = {
    rf"(?P<name>\w+) is best in (?P<aspects>{LED}(?: and {LED})?)": Reader.best,
    r"the best means are those of (?P<firsts>.+), which (?:(?P<count>\d+) patients are too few to judge|one patient "
    r"cannot show)": Reader.few,
    rf"{ASPECT} no method is told apart from the best mean \((?P<first>\w+), (?P<means>{MEAN}){POWER}\)": Reader.tied,
    rf"{ASPECT} (?P<first>\w+) has the best mean \((?P<means>{MEAN}){POWER}\) and is not told apart from "
    rf"(?P<others>{LISTED})": Reader.tied,
    rf"{ASPECT} (?P<first>\w+) has the best mean \((?P<means>{MEAN})\), but (?P<above>{LISTED}) (?:is|are) better on "
    r"the images where both have a value": Reader.tied,
    rf"(?P<a>\w+) pays with (?P<title>{TITLE}) by (?P<amount>{N}(?: dB)? \[{N}, {N}\]) less than "
    r"(?P<b>\w+)": Reader.pays,
    rf"(?P<name>\w+) {WORSE}": Reader.worse,
    rf"(?P<name>\w+) (?:(?P<worse>{WORSE.replace('titles', 'more')}); it )?is identical to HR in (?P<count>\d+) of "
    r"(?P<of>\d+) images, which are left out of PSNR": Reader.identical,
    rf"(?P<names>{LISTED}) (?:is|are) not found worse than bicubic in any tested measure of the "
    r"whole image": Reader.spared,
    r"(?:(?:, )?\w+ (?:keeps|has) \d+ % of HR's sharpness(?:, more than is there|, but its detail is unlike HR's)?)+": (
        Reader.kept
    ),
    r"(?:\w+ \(\d+ % of its Laplacian variance, .*): sliced Wasserstein distance above bicubic's .*": Reader.kept,
    r"(?:Sharpness \(Laplacian variance over HR's\): (?P<sharp>.*); p|P)ixels lost: (?P<lost>.*), beyond "
    r"two sigma of the own error of reference autoencoder vae": Reader.costs,
    r"Before clamping and rounding, reduced again, the worst image matches LR to: (?P<told>.*)": Reader.lr,
    r"Within 0.15 dB in PSNR \(two one-sided tests by patient, not adjusted\), (?:no two methods are shown to be "
    r"equivalent|equivalent: (?P<shown>.*?)(?:; (?P<rest>\d+) other pairs? (?:is|are) not shown to be)?)": (
        Reader.within
    ),
}


def rows(table: object) -> Iterator[dict[str, str]]:
    """The rows of a table by its columns; none where there is no table."""
    if table is not None:
        yield from (dict(zip(table.columns, row, strict=True)) for row in table.rows)


def check_tables(evaluation: Evaluation, truth: Truth, dataset: str) -> None:
    names = {metric_title(evaluation, metric): metric for metric in SCALES}
    seen: dict[tuple[str, frozenset[str]], str] = {}

    def pair(row: dict[str, str]) -> tuple[str, str, str, Pair]:
        metric = names[row["measure"]]
        a, b = row["pair"].split(" – ") if "pair" in row else (row["method"], "bicubic")
        if "pair" in row:
            assert seen.setdefault((metric, frozenset((a, b))), row["pair"]) == row["pair"]  # one sign for one quantity
        return metric, a, b, truth.pair(dataset, metric, a, b)

    def shown(p: str, value: float) -> bool:
        return p == "–" if np.isnan(value) else value < 0.001 if p == "< 0.001" else near(p, value)

    main = main_table(evaluation, dataset)
    for row in rows(main):
        metric, a, b, found = pair(row)
        assert same(row["difference [95 % interval]"], found.difference, *found.ends()), row
        assert row["finding"] == truth.finding(dataset, metric, a, b), row
        assert shown(row["p"], truth.p_holm(dataset, metric, a, b)), row
        assert int(row["patients"]) == found.n
        assert same(row["d_z"], found.difference / (found.error * np.sqrt(found.n))), row
    bold = {main.rows[row][:2] for row, _ in main.strong}
    primary = evaluation.run["primary"]
    asked = primary and truth.pair(dataset, primary["metric"], primary["a"], primary["b"]).n
    assert len(bold) == bool(asked)
    assert all(primary["metric"] == names[title] and f"{primary['a']} – {primary['b']}" == two for title, two in bold)
    for row in rows(evenness_table(evaluation, dataset)):
        metric, a, b, found = pair(row)
        sign = 1 if metric in LESS else -1
        assert row["patients worse"] == f"{(sign * found.units > 0).sum()}/{found.n}"
        assert row["images worse"] == f"{(sign * found.images > 0).sum()}/{len(found.images)}"
        assert near(row["worst patient"], sign * max(sign * found.units)), row
        if found.n > 1:
            left = [np.delete(found.units, one).mean() for one in range(found.n)]
            assert same(row["one patient left out"], min(left), max(left)), row
        assert near(row["mean over images"].split(" ")[0], found.images.mean()), row
    for row in [*rows(pair_table(evaluation, dataset)), *rows(difference_table(evaluation, dataset))]:
        metric, a, b, found = pair(row)
        assert same(row["difference"], found.difference)
        assert same(row["95 % interval"], *(found.ends() if found.n > 1 else ()))
        assert shown(row["p"], truth.p_holm(dataset, metric, a, b))
    for row in rows(equivalence_table(evaluation, dataset)):
        *_, found = pair(row)
        assert same(row["difference"], found.difference)
        assert same(row["90 % interval"], *(found.ends(0.9) if found.n > 1 else ()))
        assert row["finding"] == ("equivalent" if found.equivalent else "not shown")


def check_bold(evaluation: Evaluation, truth: Truth, dataset: str) -> None:
    """Bold cells are the best that are printed, and all methods stand in their order."""
    table = headline_table(evaluation, dataset)
    assert [row[0] for row in table.rows] == evaluation.methods
    for column, head in enumerate(table.columns):
        metric = next((name for title, name in TITLES.items() if head.startswith(f"{title} ")), None)
        if metric in ("psnr", "haarpsi", "gmsd"):
            cells = [re.match(N, row[column]) for row in table.rows]
            printed = {row: float(cell[0]) * (-1 if metric in LESS else 1) for row, cell in enumerate(cells) if cell}
            best = {row for row, value in printed.items() if value == max(printed.values())}
            bold = {row for row, at in table.strong if at == column}
            assert bold == (best if len(set(printed.values())) > 1 else set())
            assert all(
                near(cell[0], truth.mean(dataset, metric, evaluation.methods[row]))
                for row, cell in enumerate(cells)
                if cell
            )


@pytest.mark.slow
def test_no_word_of_300_studies_contradicts_its_numbers() -> None:
    findings: list[str] = []
    read: set[str] = set()
    for number in range(STUDIES // len(SETS)):
        evaluation = simulated(number)
        reader = Reader(evaluation)
        for sentence in (*verdict(evaluation), *details(evaluation)):
            reader.sentence(sentence)
            assert not re.search(r"[-+−]0(\.0*)?(?![\d.])", sentence), sentence
        for dataset in SETS:
            check_tables(evaluation, reader.truth, dataset)
            check_bold(evaluation, reader.truth, dataset)
            judged = [reader.truth.finding(dataset, "psnr", a, b) for a, b in pairwise(evaluation.methods)]
            findings += judged
            for method in evaluation.methods[1:]:
                losses = reader.truth.worse(dataset, method)  # told of each method, unless nothing could be judged
                assert reader.lost.get((dataset, method), set()) == losses, (dataset, method)
                assert (dataset, method) in reader.lost or set(judged) == {"too few patients"}
        read |= reader.read
    assert all(findings.count(kind) > 20 for kind in ("better", "worse", "not told apart", "too few patients"))
    assert read == set(CLAUSES)
