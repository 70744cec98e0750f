"""Judging as functions: `evaluate` compares methods, `screen` compares autoencoders; both write tables and a report.

The commands of these names are shells over them; `import latentsr` gives both.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from latentsr.config import checked, read_json
from latentsr.data.records import Dataset, read_dataset
from latentsr.device import resolve_device
from latentsr.errors import OptionError
from latentsr.names import EVALUATION_PAGE, RUN
from latentsr.stats.table import read_table

if TYPE_CHECKING:
    from latentsr.bench.methods import Source
    from latentsr.upscalers.model import SuperResolver

Folder = str | Path
Datasets = Folder | Dataset | Sequence[Folder | Dataset]
Named = Mapping[str, Folder] | Sequence[str]
Methods = Mapping[str, "Folder | SuperResolver"] | Sequence[str]
Margins = Mapping[str, float] | Iterable[tuple[str, float]]
Progress = Callable[[int, int], None]


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
    datasets: Datasets, methods: Methods, out: Folder, *, split: str = "valid", limit: int | None = None,
    degradation: str = "bicubic:4", metrics: Sequence[str] | None = None, mean: str | None = None,
    reference_autoencoder: str | None = None, latent: str | None = None, masks: Folder | None = None, features: str
    | None = None, margins: Margins = (), primary: str | None = None, pictured: str | None = None, by: str | None =
    None, batch: int = 8, workers: int | None = None, seed: int = 0, device: str = "auto", show_ids: bool = False,
    protocol: str = "corrected", keep_latents: bool = False, paper: bool = False, overwrite: bool = False, progress:
    Progress = lambda done, total: None, stage: Callable[[str], None] = lambda name: None,
) -> JobResult:  # fmt: skip
    """Compares methods with bicubic and the truth; `out` then holds tables, pictures and report.html.

    Called again after an interruption it goes on where it ended. Raises what `bench.evaluation.compare` raises.

        latentsr.evaluate("dataset/", {"posterior": "latentsr-tiny", "theirs": "sr/"}, "evaluation/").table("summary")

    Args:
        datasets: folders made by `prepare`, or what `read_dataset` gives; one or several.
        methods: by name, what makes the images: a folder of SR images named by id, a model's name or folder (with
            options as in "model/?steps=16"), a SuperResolver; or texts as the command takes them. Bicubic is added.
            Names such as sample@0 and sample@1, or sample@0..4 of a model, are seeds of sample, shown by their mean.
        out: the folder of the result.
        split: which images.
        limit: so many images of each dataset, evenly spread; None: all.
        degradation: how LR is made from HR.
        metrics: names of METRICS; None: all that can be measured here.
        mean: the method that estimates the posterior mean, for the null-space part of the others.
        reference_autoencoder: name or folder of the autoencoder whose error is the noise floor of hallucination.
        latent: name or folder of the autoencoder in whose latents images are compared.
        masks: folder of a mask for each image, named by id; None: those of the datasets, if any.
        features: "inception" or a folder of a vision network, for FID and KID.
        margins: by measure, the margin within which methods are tested to be equivalent.
        primary: METHOD:MEASURE or METHOD,OTHER:MEASURE, fixed in advance; None: PSNR of the first after bicubic.
        by: the datasets' own column, such as scanner, by whose values subgroups are compared.
        pictured: the method by whose PSNR pictures are chosen; None: the first after bicubic.
        batch: images at a time.
        workers: threads that measure; None: as many as cores, four at most.
        seed: of the bootstrap and of drawn patches.
        device: auto, cpu or cuda.
        show_ids: errors name images by id instead of a hash.
        protocol: "corrected", or "published": also the study's own scores and comparisons, to set beside its values.
        keep_latents: keep in `latents`, and measure, the latents that models' samplers draw.
        paper: write figures as PDF and tables as LaTeX, too; a finished evaluation is not measured again for it.
        overwrite: replace a result of other data, methods or options.
        progress: called with the numbers of images measured and of all.
        stage: called with what follows.
    """
    from latentsr.bench.evaluation import Comparison, compare
    from latentsr.report.evaluation import write_report

    asked = Comparison(
        _methods(methods, degradation), split, degradation, _tuple(metrics), batch, seed, device, limit, mean,
        reference_autoencoder, latent, masks=Path(masks) if masks else None, features=features, by=by, workers=workers,
        margins=_pairs(margins), primary=primary, pictured=pictured, show_ids=show_ids, protocol=protocol,
        keep_latents=keep_latents,
    )  # fmt: skip
    folder = Path(out)
    compare(_each(datasets), folder, asked, overwrite=overwrite, progress=progress, stage=stage)
    stage("report")
    page, record = write_report(folder, paper=paper), read_json(folder / RUN)
    return _result(folder / EVALUATION_PAGE, page.verdict, page.details, record["tables"], record)


def screen(
    datasets: Datasets, autoencoders: Named, out: Folder, *, weights: Named = (), configs: Named = (),
    split: str = "valid", reference: str | None = None, limit: int | None = None,
    metrics: Sequence[str] | None = None, studies: Folder | None = None, degradation: str = "bicubic:4",
    batch: int = 8, seed: int = 0, device: str = "auto", paper: bool = False, overwrite: bool = False,
    progress: Progress = lambda done, total: None,
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
        split: which images.
        limit: so many images of each dataset, spread over its patients; None: all.
        reference: the one that others are compared with; None: the first that is not lossless.
        metrics: measures of the ceiling beside PSNR; None: ms_ssim, haarpsi, and lpips where its weights are here.
        studies: CSV of finished studies, columns ceiling and sr in dB; None: the published ones.
        degradation: of the SR that is expected; what bicubic and a model shipped for it reach stands beside it.
        batch: images at a time.
        seed: of the bootstrap.
        device: auto, cpu or cuda.
        paper: write figures as PDF and tables as LaTeX, too; a finished screening is not measured again for it.
        overwrite: replace a result of other data, autoencoders or options.
        progress: called with the numbers of passes of an image through an autoencoder or a baseline, done and all.

    Raises what `latentsr.bench.plan_screening` and `latentsr.bench.screen` raise.
    """
    from latentsr.bench import Screening, parse_candidates, plan_screening
    from latentsr.bench import screen as run
    from latentsr.bench.ceilings import TABLES
    from latentsr.report.screening import write_screening_page

    where, folder = resolve_device(device), Path(out)
    asked = {"split": split, "reference": reference, "limit": limit, "metrics": _tuple(metrics), "studies": studies}
    options = checked(Screening, asked | {"degradation": degradation, "seed": seed}, "screen")
    candidates = parse_candidates(_texts(autoencoders), weights=_texts(weights), configs=_texts(configs))
    read = [one if isinstance(one, Dataset) else read_dataset(Path(one)) for one in _each(datasets)]
    plan = plan_screening(read, candidates, options, device=where)
    record = run(plan, folder, batch=batch, device=where, overwrite=overwrite, progress=progress)
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


def _tuple(metrics: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if metrics is None else tuple(metrics)


def _pairs(margins: Margins) -> tuple[tuple[str, float], ...]:
    return tuple(margins.items() if isinstance(margins, Mapping) else margins)


def _texts(named: Named) -> list[str]:
    """The texts NAME=PLACE of a mapping, and texts as they are."""
    if isinstance(named, str):
        raise OptionError(f"'{named}' is one text: expected a mapping from names to folders, or a list of texts")
    if not isinstance(named, Mapping):
        return list(named)
    if wrong := [name for name in named if "=" in name]:
        raise OptionError(f"name {', '.join(wrong)}: expected names without =")
    return [f"{name}={place}" for name, place in named.items()]


def _methods(methods: Methods, degradation: str) -> "tuple[str | Source, ...]":
    """Texts for `parse_method`, and a source for each model that is loaded already."""
    from latentsr.bench.methods import from_model
    from latentsr.degrade import parse_degradation
    from latentsr.upscalers import Sampling
    from latentsr.upscalers.model import SuperResolver

    if not isinstance(methods, Mapping):
        return tuple(_texts(methods))
    operator = parse_degradation(degradation)
    return tuple(
        from_model(name, one, operator, Sampling()) if isinstance(one, SuperResolver) else _texts({name: one})[0]
        for name, one in methods.items()
    )
