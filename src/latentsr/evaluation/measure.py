"""The tidy table of a dataset's images under several methods, one batch in memory at a time."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import pandas as pd
import torch
from torch import Tensor

from latentsr.baselines import Method
from latentsr.data.records import Dataset, Record
from latentsr.degrade import Degradation
from latentsr.errors import InputError, OptionError
from latentsr.metrics import Metric, applicable, find_metrics, measure
from latentsr.stats.table import COLUMNS

HR = "hr"
LR_PSNR = "lr_psnr"


def evaluate(
    dataset: Dataset,
    methods: Sequence[Method],
    degradation: Degradation,
    *,
    metrics: Sequence[str] | None = None,
    split: str = "valid",
    batch: int = 8,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """The tidy table (dataset, id, patient, method, metric, value) of the split's images, sorted by all but value.

    Each image is degraded in float, not rounded; each method restores it; the result is clamped to [0, 1] and
    measured against HR. Beside the measures stand `lr_psnr`, the PSNR in dB of A(SR) against LR before clamping, and,
    as method `hr`, HR's own value of the measures that need no reference. A NaN value says "no value" (an image too
    small for the measure), +inf is the PSNR of identical images.

    Args:
        dataset: a prepared dataset.
        methods: what to compare; names must differ, and `hr` is taken.
        degradation: makes LR from HR.
        metrics: names of the METRICS table, all if None.
        split: of the dataset.
        batch: images in memory at a time; images of one size share a batch.
        device: where images are degraded, restored and measured.
        progress: called after each batch with the numbers of images done and of all.

    Raises:
        OptionError: an unknown metric, two methods of one name, a batch below 1.
        InputError: no such split, images that the scale does not divide, a method's images of another size or not
            finite.
    """
    wanted = find_metrics(metrics)
    _check(methods, batch)
    records = dataset.select(split)
    tables, done = [], 0
    for chosen in _batches(records, batch):
        hr = torch.stack([torch.from_numpy(dataset.image(record)) for record in chosen])[:, None].to(device)
        tables += _tables(chosen, hr, methods, wanted, degradation)
        done += len(chosen)
        if progress is not None:
            progress(done, len(records))
    table = pd.concat(tables, ignore_index=True).assign(dataset=dataset.name)
    return table[list(COLUMNS)].sort_values(list(COLUMNS[:-1]), ignore_index=True)


def _check(methods: Sequence[Method], batch: int) -> None:
    names = [method.name for method in methods]
    if wrong := sorted({name for name in names if names.count(name) > 1 or name == HR}):
        raise OptionError(f"method name {', '.join(wrong)}: expected names that differ, and not '{HR}'; rename it")
    if batch < 1:
        raise OptionError(f"batch of {batch} images: expected 1 or more")


def _batches(records: Sequence[Record], batch: int) -> Iterator[tuple[Record, ...]]:
    """Records of one size, at most `batch` at a time."""
    ordered = sorted(records, key=_size)
    for _, group in groupby(ordered, key=_size):
        alike = tuple(group)
        for start in range(0, len(alike), batch):
            yield alike[start : start + batch]


def _size(record: Record) -> tuple[int, int]:
    return record.rows, record.columns


@torch.inference_mode()
def _tables(
    records: Sequence[Record],
    hr: Tensor,
    methods: Sequence[Method],
    metrics: Sequence[Metric],
    degradation: Degradation,
) -> list[pd.DataFrame]:
    """The rows of one batch: HR's own, then each method's."""
    lr = degradation.apply(hr.double()).to(hr.dtype)
    context = {"hr": hr, "lr": lr, "degradation": degradation}
    own = measure(applicable(metrics, {}), hr, {})
    tables = [_rows(records, HR, own)] if own else []
    for method in methods:
        sr = _restored(method, lr, hr, [record.id for record in records])
        shown = sr.clamp(0, 1)
        values = measure(metrics, shown, context)
        tables.append(_rows(records, method.name, values | {LR_PSNR: _lr_psnr(sr, lr, degradation)}))
    return tables


def _restored(method: Method, lr: Tensor, hr: Tensor, ids: Sequence[str]) -> Tensor:
    """The method's SR images, of HR's size, type and device, all finite."""
    sr = method.restore(lr, ids).to(hr)
    if sr.shape != hr.shape:
        raise InputError(
            f"method '{method.name}' gave images of shape {tuple(sr.shape)}, expected {tuple(hr.shape)}: "
            "check that its scale is that of the degradation"
        )
    if bad := [name for name, image in zip(ids, sr, strict=True) if not image.isfinite().all()]:
        raise InputError(f"method '{method.name}' gave values that are not finite for {len(bad)} of {len(ids)} images")
    return sr


def _lr_psnr(sr: Tensor, lr: Tensor, degradation: Degradation) -> Tensor:
    """PSNR in dB of A(SR) against LR, (batch,), peak 1: how true SR is to its input."""
    error = degradation.apply(sr.double()) - lr.double()
    return -10 * error.square().mean(dim=(1, 2, 3)).log10()


def _rows(records: Sequence[Record], method: str, values: dict[str, Tensor]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "id": [record.id for record in records],
                "patient": [record.patient for record in records],
                "method": method,
                "metric": metric,
                "value": tensor.double().cpu().numpy(),
            }
        )
        for metric, tensor in values.items()
    )
