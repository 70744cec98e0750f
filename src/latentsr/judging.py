"""Judging as functions: `evaluate` compares methods, `screen` compares autoencoders; both write tables and a report.

The commands of these names are shells over them; `import latentsr` gives both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr.config import checked
from latentsr.data.records import Dataset, read_dataset
from latentsr.device import resolve_device
from latentsr.errors import OptionError
from latentsr.job import Progress, silent
from latentsr.names import EVALUATION_PAGE
from latentsr.stats.table import read_table
from latentsr.workers import Workers

if TYPE_CHECKING:
    from latentsr.upscalers.model import SuperResolver

Folder = str | Path
Datasets = Folder | Dataset | Sequence[Folder | Dataset]
Named = Mapping[str, Folder] | Sequence[str]
Methods = Mapping[str, "Folder | SuperResolver"] | Sequence[str]


@dataclass(frozen=True, repr=False)
class JobResult:
    """A finished evaluation or screening.

    Attributes:
        folder: where tables, pictures and the report are.
        report: the HTML page, which needs no network.
        verdict: what came out, in sentences, the most important first.
        details: sentences that bear the verdict out (of an evaluation).
        warnings: what to know before relying on it.
        tables: the names that `table` takes.
        record: run.json or screening.json: options, versions, hashes and results.
    """

    folder: Path
    report: Path
    verdict: tuple[str, ...]
    details: tuple[str, ...]
    warnings: tuple[str, ...]
    tables: tuple[str, ...]
    record: Mapping[str, Any]

    def table(self, name: str) -> pd.DataFrame:
        """One of `tables`, such as "summary" (a row for each dataset, method and metric); OptionError for others."""
        if name not in self.tables:
            raise OptionError(f"table '{name}' was not written: choose from {', '.join(self.tables)}")
        return read_table(self.folder / f"{name}.parquet")

    def __repr__(self) -> str:
        methods = [one["name"] if isinstance(one, dict) else one for one in self.record["methods"]]
        datasets = ", ".join(self.record["datasets"])
        return f"<{', '.join(methods)} on {datasets}; report in {self.report}; tables {', '.join(self.tables)}>"


def evaluate(
    datasets: Datasets, methods: Methods, out: Folder, *, paper: bool = False, overwrite: bool = False,
    cluster: Workers = Workers(), progress: Progress = silent, stage: Callable[[str], None] = lambda name: None,
    **options: Any,
) -> JobResult:  # fmt: skip
    """Compares methods with bicubic and the truth; `out` then holds tables, pictures and report.html.

    Called again after an interruption it goes on where it ended; a finished evaluation is read. Raises what
    `latentsr.bench.evaluation.compare` raises.

        latentsr.evaluate("dataset/", {"posterior": "latentsr-tiny", "theirs": "sr/"}, "evaluation/").table("summary")

    Args:
        datasets: folders made by `prepare`, or what `read_dataset` gives; one or several.
        methods: by name, what makes the images: a folder of SR images named by id, a model's name or folder (with
            options as in "model/?realism=1"), a SuperResolver; or texts as the command takes them. Bicubic is added.
            Names such as sample@0 and sample@1, or sample@0..4 of a model, are seeds of sample, shown by their mean.
        out: the folder of the result.
        paper: write figures as PDF and tables as LaTeX, too; a finished evaluation is not measured again for it.
        overwrite: replace a result of other data, methods or options.
        cluster: processes of a Ray cluster, of which each restores and measures; default: this process alone.
        progress: called with the numbers of images measured and of all.
        stage: called with what is made after that.
        options: the other fields of `latentsr.bench.Comparison`, such as metrics=["psnr"] or limit=20.
    """
    from latentsr.bench.evaluation import Comparison, compare
    from latentsr.bench.methods import Source, from_model
    from latentsr.degrade import parse_degradation
    from latentsr.report.evaluation import write_report
    from latentsr.upscalers import Sampling
    from latentsr.upscalers.model import SuperResolver

    # A model that is loaded already becomes a source, which is checked against the degradation.
    plain = checked(Comparison, options, "evaluate")
    given: list[str | Source] = []
    if isinstance(methods, Mapping):
        operator = parse_degradation(plain.degradation)
        for name, one in methods.items():
            if isinstance(one, SuperResolver):
                given.append(from_model(name, one, operator, Sampling()))
            else:
                given += _texts({name: one})
    else:
        given += _texts(methods)
    asked = plain.model_copy(update={"methods": tuple(given)})
    folder = Path(out)
    record = compare(
        _each(datasets), folder, asked, overwrite=overwrite, cluster=cluster, progress=progress, stage=stage
    )
    stage("report")
    page = write_report(folder, paper=paper)
    return _result(folder / EVALUATION_PAGE, page.verdict, page.details, record["tables"], record)


def screen(
    datasets: Datasets, autoencoders: Named, out: Folder, *, weights: Named = (), configs: Named = (), batch: int = 8,
    device: str = "auto", paper: bool = False, overwrite: bool = False, workers: Workers = Workers(),
    progress: Progress = silent, **options: Any,
) -> JobResult:  # fmt: skip
    """Measures what each autoencoder keeps of the images; `out` then holds tables, pictures and screening.html.

    Called again after an interruption it goes on where it ended; a finished screening is read.

        result = latentsr.screen("dataset/", ["haar", "vae/"], "screening/")
        result.table("ceilings")

    Args:
        datasets: folders made by `prepare`, or what `read_dataset` gives; one or several.
        autoencoders: by label, a name or folder; or texts such as "haar", "vae/" and "mine=vae/".
        out: the folder of the result.
        weights: by label, the file or folder of published weights.
        configs: by label, the config of these weights.
        batch: images at a time.
        device: auto, cpu or cuda.
        paper: write figures as PDF and tables as LaTeX, too; a finished screening is not measured again for it.
        overwrite: replace a result of other data, autoencoders or options.
        workers: which processes measure; default: this one.
        progress: called with the numbers of passes of an image through an autoencoder or a baseline, done and all.
        options: the fields of `latentsr.bench.Screening`, such as split="test" or limit=20.

    Raises what `latentsr.bench.plan_screening` and `latentsr.bench.screen` raise.
    """
    from latentsr.bench import Screening, parse_candidates, plan_screening
    from latentsr.bench import screen as run
    from latentsr.bench.screening import TABLES
    from latentsr.report.screening import write_screening_page

    where, folder = resolve_device(device), Path(out)
    asked = checked(Screening, options, "screen")
    candidates = parse_candidates(_texts(autoencoders), weights=_texts(weights), configs=_texts(configs))
    read = [one if isinstance(one, Dataset) else read_dataset(Path(one)) for one in _each(datasets)]
    plan = plan_screening(read, candidates, asked, device=where)
    record = run(plan, folder, batch=batch, device=where, overwrite=overwrite, workers=workers, progress=progress)
    return _result(write_screening_page(folder, paper=paper), record["verdict"], (), TABLES, record)


def _result(
    page: Path, verdict: Iterable[str], details: Iterable[str], tables: Iterable[str], record: Mapping[str, Any]
) -> JobResult:
    """The finished job whose report is `page`, in the job's folder."""
    return JobResult(
        page.parent, page, tuple(verdict), tuple(details), tuple(record["warnings"]), tuple(tables), record
    )


def _each(datasets: Datasets) -> list[Folder | Dataset]:
    return [datasets] if isinstance(datasets, str | Path | Dataset) else list(datasets)


def _texts(named: Named) -> list[str]:
    """The texts NAME=PLACE of a mapping, and texts as they are."""
    if isinstance(named, str):
        raise OptionError(f"'{named}' is one text: expected a mapping from names to folders, or a list of texts")
    if not isinstance(named, Mapping):
        return list(named)
    if wrong := [name for name in named if "=" in name]:
        raise OptionError(f"name {', '.join(wrong)}: expected names without =")
    return [f"{name}={place}" for name, place in named.items()]
