"""A screening before it begins: what is screened on what, checked, and the key by which screenings are told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.config import Config, sha256_json
from latentsr.data.records import Dataset, Record, check_names, spread
from latentsr.degrade import Degradation, parse_degradation
from latentsr.errors import OptionError
from latentsr.metrics import METRICS, Metric, find_metrics
from latentsr.metrics.learned import learned_available, weights_file
from latentsr.screening.candidates import Candidate, Identified, identify
from latentsr.screening.prediction import COLUMNS, Baseline, find_baselines, read_points
from latentsr.stats.table import check_seed

CEILING = ("psnr", "ms_ssim", "haarpsi")
BANDS, SPECTRUM = "subband_psnr", "radial_spectrum"
FORMAT = 4


class Screening(Config):
    """What is asked of a screening; every field decides its tables.

    `degradation` is that of the SR which is expected: what bicubic and a model shipped for it reach under it stands
    beside the expectation.
    """

    split: str = "valid"
    reference: str | None = None
    limit: int | None = None
    metrics: tuple[str, ...] | None = None
    studies: Path | None = None
    degradation: str = "bicubic:4"
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """A checked screening.

    `records` are those of each dataset; `ceiling` names the measures of the AE ceiling; the PSNR of `baselines` stands
    beside what is expected.
    """

    datasets: tuple[Dataset, ...]
    records: tuple[tuple[Record, ...], ...]
    candidates: tuple[Candidate, ...]
    identified: tuple[Identified, ...]
    reference: str
    ceiling: tuple[str, ...]
    metrics: tuple[Metric, ...]
    points: pd.DataFrame
    degradation: Degradation
    baselines: tuple[Baseline, ...]
    options: Screening

    @property
    def images(self) -> int:
        """How many passes of an image through an autoencoder or a baseline there are."""
        return sum(len(records) for records in self.records) * (len(self.candidates) + len(self.baselines))

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that decides the tables."""
        return {
            "data": {dataset.name: dataset.hash for dataset in self.datasets},
            "hashes": {one.name: one.hash for one in self.identified},
            "split": self.options.split,
            "limit": self.options.limit,
            "reference": self.reference,
            "metrics": list(self.ceiling),
            "points": self.points[list(COLUMNS)].to_numpy().tolist(),
            "degradation": self.degradation.text,
            "baseline_methods": {one.name: {"about": one.about, "hash": one.hash} for one in self.baselines},
            "seed": self.options.seed,
            "format": FORMAT,
        }

    @property
    def key(self) -> str:
        """The digest of `facts`."""
        return sha256_json(self.facts)


def make_plan(
    datasets: Sequence[Dataset], candidates: Sequence[Candidate], options: Screening, *, device: str = "cpu"
) -> Plan:
    """The plan, if all can be done: each candidate is loaded once, so that a fault shows before hours of work.

    Raises:
        OptionError: an unknown metric, a seed or limit that cannot be used, a reference not screened, or lossless
            beside lossy ones.
        InputError: no images in the split, two datasets of one name, HR files that changed since they were prepared, a
            studies file that cannot be used.
        ModelError: an autoencoder, or the weights of a learned measure, that cannot be loaded.
    """
    check_seed(options.seed)
    check_names(datasets)
    names = [candidate.name for candidate in candidates]
    if options.reference not in (None, *names):
        raise OptionError(
            f"the option reference is {options.reference}, which is not screened; expected one of {', '.join(names)}"
        )
    ceiling = _ceiling_measures(options.metrics)
    metrics = find_metrics(dict.fromkeys((*ceiling, BANDS, SPECTRUM)))
    for metric in metrics:
        if metric.group == "learned":
            weights_file(metric.name)
    points, degradation = read_points(options.studies), parse_degradation(options.degradation)
    records = tuple(spread(dataset.select(options.split), options.limit) for dataset in datasets)
    for dataset, chosen in zip(datasets, records, strict=True):
        dataset.check(chosen)
    identified = identify(candidates, device)
    reference = options.reference or next((one.name for one in identified if not one.spec.lossless), identified[0].name)
    # OptionError for a lossless one beside lossy ones: its bands have no finite dB to compare with.
    lossy = [one.name for one in identified if not one.spec.lossless]
    if lossy and reference not in lossy:
        raise OptionError(
            f"the option reference is {reference}, which is lossless: nothing compares with it; choose "
            f"{', '.join(lossy)}"
        )
    return Plan(
        tuple(datasets),
        records,
        tuple(candidates),
        identified,
        reference,
        ceiling,
        metrics,
        points,
        degradation,
        find_baselines(degradation, device),
        options,
    )


def _ceiling_measures(asked: Sequence[str] | None) -> tuple[str, ...]:
    """PSNR, then what was asked for, or else CEILING and LPIPS where its weights lie on this machine.

    OptionError for measures that are no comparison of two images with one value.
    """
    wanted = asked if asked is not None else (*CEILING, *(("lpips",) if learned_available("lpips") else ()))
    found = find_metrics(dict.fromkeys(("psnr", *wanted)))
    if wrong := [metric.name for metric in found if metric.needs != ("hr",) or metric.parts]:
        fit = [metric.name for metric in METRICS.values() if metric.needs == ("hr",) and not metric.parts]
        raise OptionError(
            f"the option metric has {', '.join(wrong)}: is no measure of a ceiling; choose from {', '.join(fit)}"
        )
    return tuple(metric.name for metric in found)
