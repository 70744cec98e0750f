"""The best, the median and the worst image of a dataset, as every method made them, as small grey PNGs without loss."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from latentsr.baselines import BICUBIC
from latentsr.data.records import Record
from latentsr.degrade import enlarge
from latentsr.evaluation.measure import Work, read_hr_lr, restored
from latentsr.evaluation.plan import Plan
from latentsr.io.raster import write_pixels
from latentsr.stats.names import short_hash

PICTURES = "pictures"
WHITE_ERROR = 0.1  # the absolute error, of a range of 1, that an error map shows as white
ZOOM = 4  # the zoom box has a side of the image's shorter one over this
CASES = ("best", "median", "worst")
HR_FILE, LR_FILE = "hr.png", "lr.png"


def draw_pictures(plan: Plan, table: pd.DataFrame, out: Path) -> list[dict[str, Any]]:
    """What was drawn, for run.json: dataset, case, the image's hash, its files, PSNR, zoom box and spacing in mm.

    Files: `pictures/HASH/hr.png`, `lr.png` (LR enlarged bicubically), `NUMBER.png` and `NUMBER-error.png` for the
    methods in their order. Error maps are grey from black, no error, to white, WHITE_ERROR and more.
    """
    told = []
    for work in plan.works:
        psnr = _psnr(table, work)
        for case, record in chosen(work.records, psnr.get(plan.chief, {})):
            facts = _draw(plan, work, record, out)
            values = {name: _finite(psnr.get(name, {}).get(record.id, math.nan)) for name in plan.names}
            told.append({"dataset": work.dataset.name, "case": case, "psnr": values, **facts})
    return told


def chosen_by(plan: Plan, table: pd.DataFrame) -> str:
    """What ordered the images: `psnr` of the chief method, or `id` where PSNR was not measured."""
    return "psnr" if (table["metric"].eq("psnr") & table["method"].eq(plan.chief)).any() else "id"


def chosen(records: Sequence[Record], psnr: dict[str, float]) -> list[tuple[str, Record]]:
    """The images of highest, middle (the upper of two) and lowest PSNR, ties by id; each image once.

    Without PSNR values the first, middle and last by id.
    """
    ordered = sorted(records, key=lambda record: (-psnr.get(record.id, 0.0), record.id))
    rows = dict.fromkeys((0, (len(ordered) - 1) // 2, len(ordered) - 1))
    cases = CASES if len(rows) == len(CASES) else (CASES[0], CASES[2])[: len(rows)]
    return [(case, ordered[row]) for case, row in zip(cases, rows, strict=True)]


def _psnr(table: pd.DataFrame, work: Work) -> dict[str, dict[str, float]]:
    rows = table[(table["dataset"] == work.dataset.name) & (table["metric"] == "psnr")]
    return {str(name): dict(zip(part["id"], part["value"], strict=True)) for name, part in rows.groupby("method")}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@torch.inference_mode()
def _draw(plan: Plan, work: Work, record: Record, out: Path) -> dict[str, Any]:
    """Writes one image's files."""
    hash = short_hash(work.dataset.name, record.id)
    folder = out / PICTURES / hash
    hr, lr = read_hr_lr(work, [record], plan.device)
    _write(folder / HR_FILE, hr)
    _write(folder / LR_FILE, enlarge(lr, work.around.degradation.scale))
    errors = {}
    for number, method in enumerate(work.methods):
        sr = restored(work, method, lr, hr, [record.id]).clamp(0, 1)
        errors[method.name] = (sr - hr).abs()
        _write(folder / f"{number}.png", sr)
        _write(folder / f"{number}-error.png", errors[method.name] / WHITE_ERROR)
    files = {HR_FILE: "HR", LR_FILE: "LR"} | {f"{n}.png": method.name for n, method in enumerate(work.methods)}
    return {
        "image": hash,
        "files": files,
        "zoom": zoom_box(errors[plan.chief], errors.get(BICUBIC)),
        "spacing": record.spacing,
    }


def zoom_box(error: Tensor, other: Tensor | None) -> list[int]:
    """[top, left, rows, columns] of the square in which two methods' mean errors differ most, in pixels.

    Args:
        error: absolute error of the method that the pictures are chosen by, (1, 1, rows, columns).
        other: that of bicubic; the same, or None, for the square of the largest error.
    """
    rows, columns = error.shape[-2:]
    side = max(1, min(rows, columns) // ZOOM)
    difference = error if other is None or other is error else other - error
    local = F.avg_pool2d(difference.float(), side, stride=max(1, side // 8))[0, 0].abs()
    step, best = max(1, side // 8), int(local.argmax())
    return [step * (best // local.shape[1]), step * (best % local.shape[1]), side, side]


def _write(path: Path, image: Tensor) -> None:
    write_pixels(path, _grey(image.clamp(0, 1)[0, 0].float().cpu().numpy()))


def _grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(image * 255).astype(np.uint8)
