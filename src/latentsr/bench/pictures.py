"""Images to look at, as small grey PNGs: of an evaluation the best, median and worst, of a screening the worst."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.autoencoders import Autoencoder
from latentsr.bench.evaluation_plan import EvaluationPlan
from latentsr.bench.measure import read_hr_lr, restored
from latentsr.bench.roundtrip import psnr_of, roundtrip
from latentsr.data.records import Dataset, Record, loaded
from latentsr.degrade import enlarge
from latentsr.io.raster import write_pixels
from latentsr.job import Parts
from latentsr.names import BICUBIC, DECODED_FILE, ERROR_FILE, HR_FILE, LR_FILE, PICTURES, WHITE_ERROR
from latentsr.stats.table import short_hash

ZOOM = 4  # the zoom box has a side of the image's shorter one over this
CASES, LOSS = ("best", "median", "worst"), "loss"


@torch.inference_mode()
def draw_pictures(plan: EvaluationPlan, table: pd.DataFrame, out: Path) -> list[dict[str, Any]]:
    """What was drawn, for run.json: dataset, why it was chosen, the image's hash, files, PSNR, zoom box, spacing in mm.

    Files: `pictures/HASH/hr.png`, `lr.png` (LR enlarged bicubically), `NUMBER.png` and `NUMBER-error.png` for the
    methods in their order. Of a method of several seeds its first is pictured and meant by its PSNR; `table` has each
    seed apart. Error maps are grey from black, no error, to white, WHITE_ERROR and more.
    """
    told = []
    table = table.assign(method=table["method"].replace({seeds[0]: name for name, seeds in plan.members.items()}))
    for work in plan.first_seeds:
        rows = table[(table["dataset"] == work.dataset.name) & (table["metric"] == "psnr")]
        methods = {method.name for method in work.methods}
        psnr = {
            str(name): dict(zip(own["id"], own["value"], strict=True))
            for name, own in rows.groupby("method")
            if name in methods
        }
        files = {HR_FILE: "HR", LR_FILE: "LR"} | {f"{n}.png": method.name for n, method in enumerate(work.methods)}
        for record, reasons in chosen(work.records, psnr, plan.chief):
            hash, errors = short_hash(work.dataset.name, record.id), {}
            folder = out / PICTURES / hash
            hr, lr = read_hr_lr(work, [record], plan.device)
            _write(folder / HR_FILE, hr)
            _write(folder / LR_FILE, enlarge(lr, work.around.degradation.scale))
            for number, method in enumerate(work.methods):
                sr = restored(work, method, lr, hr, work.ids([record])).image.clamp(0, 1)
                errors[method.name] = (sr - hr).abs()
                _write(folder / f"{number}.png", sr)
                _write(folder / f"{number}-error.png", errors[method.name] / WHITE_ERROR)
            found = {name: psnr.get(name, {}).get(record.id, math.nan) for name in plan.names}
            values = {name: value if math.isfinite(value) else None for name, value in found.items()}
            zoom = zoom_box(errors[plan.chief], errors.get(BICUBIC))
            facts = {"image": hash, "files": files, "zoom": zoom, "spacing": record.spacing}
            told.append({"dataset": work.dataset.name, "reasons": reasons, "psnr": values, **facts})
    return told


def chosen_by(plan: EvaluationPlan, table: pd.DataFrame) -> str:
    """What ordered the images: `psnr` of the chief method, or `id` where PSNR was not measured."""
    return "psnr" if (table["metric"].eq("psnr") & table["method"].eq(plan.chief)).any() else "id"


def chosen(
    records: Sequence[Record], psnr: Mapping[str, Mapping[str, float]], chief: str
) -> list[tuple[Record, list[dict[str, str]]]]:
    """The images to picture, each once, with the reasons: `case` and the `method` that it is the case of.

    Cases: `best`, `median` (the upper of two) and `worst`, the images of highest, middle and lowest PSNR under the
    chief method, ties by id; then `loss`, for each method but the baseline the image whose PSNR is furthest below, or
    least above, the baseline's. Without PSNR values the first, middle and last by id.

    Args:
        records: the images of a dataset.
        psnr: by method, that of each image by id.
        chief: the method that orders the images.
    """
    own = psnr.get(chief, {})
    ordered = sorted(records, key=lambda record: (-own.get(record.id, 0.0), record.id))
    rows = list(dict.fromkeys((0, (len(ordered) - 1) // 2, len(ordered) - 1)))
    cases = CASES if len(rows) == len(CASES) else (CASES[0], CASES[2])[: len(rows)]
    found = {ordered[row].id: [{"case": case, "method": chief}] for case, row in zip(cases, rows, strict=True)}
    baseline = psnr.get(BICUBIC, {})
    for method, values in psnr.items():
        gains = {id: values[id] - baseline[id] for id in values if id in baseline and method != BICUBIC}
        finite = {id: gain for id, gain in gains.items() if math.isfinite(gain)}
        if finite:
            least = min(finite, key=lambda id: (finite[id], id))
            found.setdefault(least, []).append({"case": LOSS, "method": method})
    by_id = {record.id: record for record in records}
    return [(by_id[id], reasons) for id, reasons in found.items()]


def zoom_box(error: Tensor, other: Tensor | None) -> list[int]:
    """[top, left, rows, columns] of the square in which two methods' mean errors differ most, in pixels.

    Args:
        error: absolute error of the method that the pictures are chosen by, (1, 1, rows, columns).
        other: that of bicubic; the same, or None, for the square of the largest error.
    """
    side = max(1, min(error.shape[-2:]) // ZOOM)
    step = max(1, side // 8)
    difference = error if other is None or other is error else other - error
    local = F.avg_pool2d(difference.float(), side, stride=step)[0, 0].abs()
    row, column = divmod(int(local.argmax()), local.shape[1])
    return [step * row, step * column, side, side]


SHOWN = 2  # images of a dataset that a screening shows


def worst(parts: Parts, dataset: Dataset) -> tuple[Record, ...]:
    """The records that the parts' method, the reference, gives back with the lowest PSNR, the worst first.

    By id where it gives them back whole.
    """
    psnr = psnr_of(parts.read())
    records = [record for record in dataset.records if record.id in psnr]
    ordered = sorted(records, key=lambda one: (psnr[one.id] if math.isfinite(psnr[one.id]) else math.inf, one.id))
    return tuple(ordered[:SHOWN])


def draw_roundtrips(
    autoencoder: Autoencoder, name: str, dataset: Dataset, shown: Sequence[Record], out: Path, *, device: str
) -> None:
    """Writes hr.png, NAME/decoded.png and NAME/error.png into a folder an image, named by its short hash.

    Error maps are grey from black, no error, to white, WHITE_ERROR and more. Existing files stay.
    """
    for record in shown:
        folder = out / short_hash(dataset.name, record.id)
        if (folder / name / ERROR_FILE).is_file():
            continue
        hr = loaded(dataset, [record], device)
        with torch.inference_mode():
            decoded = roundtrip(autoencoder, hr)
        _write(folder / HR_FILE, hr)
        _write(folder / name / DECODED_FILE, decoded)
        _write(folder / name / ERROR_FILE, (decoded - hr).abs() / WHITE_ERROR)


def _write(path: Path, image: Tensor) -> None:
    write_pixels(path, np.round(image.clamp(0, 1)[0, 0].float().cpu().numpy() * 255).astype(np.uint8))
