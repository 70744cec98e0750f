"""What is screened on what, checked before it begins, and the key by which screenings are told apart."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from latentsr.autoencoders import SPECS, Autoencoder, AutoencoderSpec, load_autoencoder
from latentsr.bench.prediction import COLUMNS, Baseline, find_baselines, read_points
from latentsr.config import Config, Count, Seed, sha256_json
from latentsr.data.records import Dataset, Record, check_names, spread
from latentsr.degrade import Degradation, parse_degradation
from latentsr.errors import OptionError
from latentsr.metrics import METRICS, Metric, find_metrics
from latentsr.metrics.learned import learned_available, weights_file
from latentsr.names import BICUBIC, HR
from latentsr.upscalers import shipped_models

TAKEN = (HR, BICUBIC, *shipped_models())  # names of a table's methods that no autoencoder may bear
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class Candidate:
    """An autoencoder under its label; `load` takes a device and gives it, so that only one lies in memory."""

    name: str
    load: Callable[[str], Autoencoder]


@dataclass(frozen=True)
class Identified:
    """What is known of a candidate once it has been loaded: the facts and the digest of what decides its latents."""

    name: str
    spec: AutoencoderSpec
    hash: str


def parse_candidates(
    texts: Sequence[str], *, weights: Sequence[str] = (), configs: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """The candidates of texts such as `haar`, a folder, or `LABEL=NAME_OR_FOLDER`, in their order.

    `weights` and `configs` are texts `LABEL=FILE`: the files that `load_autoencoder` takes for that candidate.

    Raises:
        OptionError: none, two of one label, a label that is no plain word, files for a label that is not screened.
    """
    sources = []
    for text in texts:
        label, equals, source = text.partition("=")
        if not equals:
            label, source = (text, text) if text in SPECS else (Path(text).resolve().name, text)
        if not LABEL.fullmatch(label) or label in TAKEN or not source:
            raise OptionError(
                f"autoencoder '{text}': expected NAME, FOLDER or LABEL=FOLDER, the label made of letters, digits and "
                f". _ + -, and not {', '.join(TAKEN)}"
            )
        sources.append((label, source))
    names = [name for name, _ in sources]
    if not names:
        raise OptionError(f"no autoencoder was given: expected folders, or names out of {', '.join(SPECS)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"autoencoder {', '.join(twice)} was given twice; name one of them, as LABEL=FOLDER")
    files: dict[str, dict[str, Path]] = {name: {} for name in names}
    for option, given in (("weights", weights), ("config", configs)):
        for text in given:
            label, _, file = text.partition("=")
            if label not in names or not file:
                raise OptionError(
                    f"the option {option} has '{text}': expected LABEL=FILE, the label one of {', '.join(names)}"
                )
            files[label][option] = Path(file)
    return tuple(Candidate(name, partial(_load, source, files[name])) for name, source in sources)


def _load(source: str, files: Mapping[str, Path], device: str) -> Autoencoder:
    return load_autoencoder(source, device=device, **files)


def identify(candidates: Sequence[Candidate], device: str) -> tuple[Identified, ...]:
    """Facts and hash of each: all are loaded once, one after the other, so that a fault shows before hours of work."""
    found = []
    for candidate in candidates:
        autoencoder = candidate.load(device)
        found.append(Identified(candidate.name, autoencoder.spec, autoencoder.hash))
    return tuple(found)


CEILING = ("psnr", "ms_ssim", "haarpsi")
BANDS, SPECTRUM = "subband_psnr", "radial_spectrum"
SCREENING_FORMAT = 4


class Screening(Config):
    """What is asked of a screening; every field decides its tables.

    Attributes:
        split: which images.
        reference: the autoencoder that others are compared with; None: the first that is not lossless.
        limit: so many images of each dataset, spread over its patients; None: all.
        metrics: measures of the ceiling beside PSNR; None: ms_ssim, haarpsi, and lpips where its weights are here.
        studies: CSV of finished studies, columns ceiling and sr in dB; None: the published ones.
        degradation: of the SR that is expected; what bicubic and a model shipped for it reach stands beside it.
        seed: of the bootstrap.
    """

    split: str = "valid"
    reference: str | None = None
    limit: Count | None = None
    metrics: tuple[str, ...] | None = None
    studies: Path | None = None
    degradation: str = "bicubic:4"
    seed: Seed = 0


@dataclass(frozen=True)
class ScreeningPlan:
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
            "format": SCREENING_FORMAT,
        }

    @property
    def key(self) -> str:
        """The digest of `facts`."""
        return sha256_json(self.facts)


def plan_screening(
    datasets: Sequence[Dataset], candidates: Sequence[Candidate], options: Screening, *, device: str = "cpu"
) -> ScreeningPlan:
    """The plan, if all can be done: each candidate is loaded once, so that a fault shows before hours of work.

    Raises:
        OptionError: an unknown metric, a seed or limit that cannot be used, a reference not screened, or lossless
            beside lossy ones.
        InputError: no images in the split, two datasets of one name, HR files that changed since they were prepared, a
            studies file that cannot be used.
        ModelError: an autoencoder, or the weights of a learned measure, that cannot be loaded.
    """
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
    return ScreeningPlan(
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
