"""The calibrate job: a dataset and a model in, a copy of the model whose intervals have a guarantee out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field

from latentsr.config import Config, Count, Seed, manifest, read_signed_json, sha256_json
from latentsr.data.duplicates import pixel_digest
from latentsr.data.records import Dataset, Record, batches, loaded, low_resolution, read_dataset, spread
from latentsr.degrade import parse_degradation
from latentsr.errors import InputError, OptionError, StaleError
from latentsr.job import JobFolder, Part, Parts, Progress, run_folder, silent
from latentsr.metrics.frequency import RADIAL_SIDE
from latentsr.provenance import PIXELS, RESEARCH_USE
from latentsr.stats.intervals import SCALES, controlled_scale, patients_needed, resplit_risks, risk_curve
from latentsr.stats.paired import unit_means
from latentsr.upscalers import CONFIG, Sampling
from latentsr.upscalers.calibration import FLOOR, Calibration, InputRange, lr_features, raw_width
from latentsr.upscalers.model import SuperResolver, refuse_foreign, write_calibrated

RECORD = "calibration.json"


class Calibrating(Config):
    """How a model is calibrated.

    Attributes:
        alpha: the share of a patient's pixels, in the mean, that may lie outside their intervals.
        delta: None for conformal risk control; else the probability with which that mean may be above alpha (RCPS).
        split: which images of the dataset; the model must not have been trained on them.
        limit: of them so many, evenly spread; None: all.
        degradation: how LR is made from HR; None: as the model was trained.
        samples, steps, realism, seed: of the sampling for which the intervals hold, as in `Sampling`.
        batch: images at a time.
    """

    alpha: float = 0.1
    delta: float | None = None
    split: str = "valid"
    limit: Count | None = None
    degradation: str | None = None
    samples: int = Field(8, ge=2)
    steps: int | None = Field(None, ge=2)
    realism: float | None = Field(None, gt=0, le=1)
    seed: Seed = 0
    batch: Count = 4

    def sampling(self, realism: float) -> Sampling:
        """The sampling for which the intervals hold, of a model with that realism of its own."""
        realism = realism if self.realism is None else self.realism
        return Sampling(samples=self.samples, steps=self.steps, realism=realism, seed=self.seed)


def calibrate(
    dataset: str | Path | Dataset, model: str | Path, out: Path, options: Calibrating, *, device: str = "auto",
    overwrite: bool = False, progress: Progress = silent,
) -> dict[str, Any]:  # fmt: skip
    """The record of the calibration; `out` is then a copy of the model that holds it, `out`.run all images' risks.

    A killed run goes on where it was. Another alpha or delta samples nothing anew. Images that the model is known to
    be trained on are left out.

    Raises:
        OptionError: a model without samples, levels outside (0, 1), or the model's own folder as `out`
        InputError: fewer patients than the levels need, or images that are missing or altered
        StaleError: `out` is another calibration, and not `overwrite`; or anything else, `overwrite` or not
    """
    out, needed = out.resolve(), patients_needed(options.alpha, options.delta)
    resolver = SuperResolver.load(model, device=device)
    if not resolver.has_samples:
        raise OptionError(f"{resolver.name} draws no samples, so that it has no spread to calibrate; choose another")
    if resolver.folder.resolve() == out:
        raise OptionError(f"output {out}: is the model itself, which stays as it is; give another folder")
    resolver.check(options.sampling(resolver.realism))
    sampling = resolver.settled(options.sampling(resolver.realism))
    degradation = parse_degradation(options.degradation or resolver.degradation.text)
    resolver = resolver.undoing(degradation)
    read = dataset if isinstance(dataset, Dataset) else read_dataset(dataset)
    records, left_out = _usable(read, resolver, options, needed)
    facts = {
        "model": resolver.hash, "data": read.hash, "split": options.split, "limit": options.limit,
        "degradation": degradation.text, "sampling": sampling.model_dump(), "pixels": [PIXELS, FLOOR],
    }  # fmt: skip
    folder = JobFolder(run_folder(out), "calibration", RECORD, frozenset(), "data, model or options")
    parts = _claimed(folder, sha256_json(facts), out, overwrite=overwrite)
    done = parts.done()
    for alike in batches(records, options.batch, done):
        progress(len(done), len(records))
        folder.begin(sha256_json(facts))
        parts.write([one.id for one in alike], _measured(resolver, sampling, degradation, read, alike))
        done |= {one.id for one in alike}
    progress(len(done), len(records))
    more = {"left_out": left_out, "degradation": degradation.text, "sampling": sampling}
    calibration, held_out = _concluded(options, read, records, parts.read(), more)
    if not out.exists() or read_signed_json(out / CONFIG)["calibration"] != calibration.model_dump(mode="json"):
        if out.exists() and not overwrite:
            raise StaleError(f"{out}: holds another calibration; set the option overwrite, or choose another folder")
        write_calibrated(resolver, out, calibration)
    record = {"key": sha256_json(facts), **facts, "calibration": calibration.model_dump(mode="json"), **held_out}
    folder.finish(manifest(note=RESEARCH_USE, **record))
    return record


def _usable(dataset: Dataset, resolver: SuperResolver, options: Calibrating, needed: int) -> tuple[list[Record], int]:
    """The images that can be used, and how many were left out as the model was trained on them; InputError if few."""
    chosen = spread(dataset.select(options.split), options.limit)
    dataset.check(chosen)
    if small := sum(min(one.rows, one.columns) < RADIAL_SIDE * resolver.scale for one in chosen):
        raise InputError(
            f"{dataset.root}: {small} images have a side under {RADIAL_SIDE * resolver.scale} px: their LR has no "
            "spectrum by which other inputs could be told; prepare larger ones"
        )
    seen = resolver.training_images
    records = [one for one in chosen if not seen or pixel_digest(dataset.pixels(one)) not in seen]
    if (patients := len({record.patient for record in records})) < needed:
        levels = f"alpha {options.alpha:g}" + (f" and delta {options.delta:g}" if options.delta is not None else "")
        raise InputError(
            f"{dataset.root}: {patients} patients in split '{options.split}' on which the model was not trained; "
            f"{needed} or more are needed for {levels}"
        )
    return records, len(chosen) - len(records)


def _claimed(folder: JobFolder, key: str, out: Path, *, overwrite: bool) -> Parts:
    """What an earlier run with this key has measured; StaleError for another key or a foreign `out`."""
    refuse_foreign(out, "calibration")
    try:
        folder.claim(key)
    except StaleError:
        if not overwrite:
            raise
        folder.claim(key, overwrite=True)
    return Parts(folder.parts)


@torch.inference_mode()
def _measured(
    resolver: SuperResolver, sampling: Sampling, degradation: Any, dataset: Dataset, records: Sequence[Record]
) -> dict[str, np.ndarray]:
    """The risk curve, the mean raw width and the LR's features of each image."""
    hr = loaded(dataset, records, "cpu")
    lr = low_resolution(dataset, records, degradation, hr)
    restored = resolver.restore(lr, ids=[one.id for one in records], sampling=sampling)
    if restored.spread is None:
        raise InputError(f"{resolver.name}: its samples gave no spread; report the model")
    error, width = restored.image.clamp(0, 1) - hr, raw_width(restored.spread)
    features = lr_features(lr)
    risks = np.stack([risk_curve(*pair) for pair in zip(error.numpy(), width.numpy(), strict=True)])
    return {"risk": risks, "width": width.mean(dim=(1, 2, 3)).numpy(), **features}


def _concluded(
    options: Calibrating, dataset: Dataset, records: Sequence[Record], parts: Sequence[Part], more: dict[str, Any]
) -> tuple[Calibration, dict[str, Any]]:
    """The calibration, with the fields `more`, and what re-splits of its patients say of it."""
    rows = {id: (part, row) for part in parts for row, id in enumerate(part.ids)}

    def gathered(name: str) -> np.ndarray:
        return np.stack([rows[record.id][0][name][rows[record.id][1]] for record in records])

    patients = [record.patient for record in records]
    risks, widths = (unit_means(gathered(name).reshape(len(records), -1), patients) for name in ("risk", "width"))
    scale = controlled_scale(risks, options.alpha, options.delta)
    calibration = Calibration(
        **options.model_dump(include={"alpha", "delta", "split"}),
        **more,
        scale=scale,
        risk=float(risks[:, np.searchsorted(SCALES, scale)].mean()),
        half_width=float(scale * widths.mean()),
        patients=len(risks),
        images=len(records),
        dataset=dataset.name,
        dataset_hash=dataset.hash,
        ranges={name: InputRange.of(gathered(name)) for name in ("intensity", "spectrum")},
    )
    found = resplit_risks(risks, options.alpha, options.delta)
    resplits: dict[str, float | None] = {"splits": len(found), "mean": None, "above_alpha": None}
    if len(found):
        resplits |= {"mean": float(found.mean()), "above_alpha": float((found > options.alpha).mean())}
    return calibration, {"resplits": resplits}
