"""What holds for every entry of the METRICS table, and the golden values."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentsr.errors import InputError, OptionError
from latentsr.metrics import METRICS, Metric, find_metrics

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())


@every_metric
def test_one_value_an_image_inside_its_range(metric: Metric, sr: Tensor, hr: Tensor) -> None:
    values = metric(sr, hr)
    assert values.shape == (3,)
    assert values.dtype == hr.dtype
    assert ((values >= metric.range[0]) & (values <= metric.range[1])).all()


@every_metric
def test_an_image_has_the_same_value_in_any_batch(metric: Metric, sr: Tensor, hr: Tensor) -> None:
    alone = torch.cat([metric(sr[i : i + 1], hr[i : i + 1]) for i in (2, 0, 1)])
    torch.testing.assert_close(metric(sr, hr)[[2, 0, 1]], alone, rtol=1e-5, atol=1e-7)


@every_metric
def test_its_direction(metric: Metric, sr: Tensor, hr: Tensor) -> None:
    worse = (0.7 * sr + 0.3 * sr.mean(dim=(2, 3), keepdim=True)).clamp(0, 1)
    good, bad = metric(sr, hr), metric(worse, hr)
    if metric.better == "closer":
        own = metric(hr, hr)
        good, bad = -(good - own).abs(), -(bad - own).abs()
    assert (good < bad).all() if metric.better == "lower" else (good > bad).all()


@every_metric
def test_images_under_its_smallest_side_have_no_value(metric: Metric, sr: Tensor, hr: Tensor) -> None:
    side = metric.smallest_side
    enough = slice(90, 90 + max(side, 2))  # one pixel alone is a constant image
    assert metric(sr[..., enough, enough], hr[..., enough, enough]).isfinite().all()
    if side > 1:
        assert metric(sr[..., : side - 1], hr[..., : side - 1]).isnan().all()


@every_metric
def test_unusable_images_are_refused(metric: Metric, hr: Tensor) -> None:
    with pytest.raises(InputError, match="expects \\[0, 1\\]"):
        metric(hr + 0.5, hr)
    with pytest.raises(InputError, match="from nan to nan"):
        metric(torch.full_like(hr, torch.nan), hr)
    with pytest.raises(InputError, match="batch, 1, rows, columns"):
        metric(hr[:, 0], hr[:, 0])
    with pytest.raises(InputError, match="no pixel"):
        metric(hr[:0], hr[:0])
    if metric.needs_reference:
        with pytest.raises(InputError, match="must be alike"):
            metric(hr[..., :128, :128], hr)


@every_metric
def test_its_entry_is_complete(metric: Metric) -> None:
    assert metric.title
    assert metric.source
    assert (metric.better == "closer") == (not metric.needs_reference)


def test_an_unknown_name_lists_the_valid_ones() -> None:
    with pytest.raises(OptionError, match=r"'psrn' is unknown: choose from psnr, ssim, ms_ssim"):
        find_metrics(["psnr", "psrn"])


def test_names_keep_their_order_and_come_once() -> None:
    assert [metric.name for metric in find_metrics(["ssim", "psnr", "ssim"])] == ["ssim", "psnr"]
    assert find_metrics() == tuple(METRICS.values())


def test_the_import_leaves_the_slow_libraries_out() -> None:
    script = (
        "import sys, latentsr.metrics; print([m for m in ('torchmetrics', 'piq', 'torchvision') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_golden_values(golden: Path, shared: Path) -> None:
    cases = json.loads((golden / "metrics.json").read_text())["images"]
    hr, sr = zip(*(golden_pair(shared / case["hr"]) for case in cases), strict=True)
    for name, key in (("psnr", "psnr"), ("ms_ssim", "msssim")):
        values = METRICS[name](torch.stack(sr), torch.stack(hr))
        np.testing.assert_allclose(values, [case[key] for case in cases], rtol=1e-5)


def golden_pair(path: Path) -> tuple[Tensor, Tensor]:
    """HR and its 8-bit PIL bicubic SR 256->64->256, each (1, rows, columns) in [0, 1]."""
    hr = Image.open(path).convert("L")
    sr = hr.resize((64, 64), Image.Resampling.BICUBIC).resize((256, 256), Image.Resampling.BICUBIC)
    first, second = (torch.from_numpy(np.asarray(image) / np.float32(255))[None] for image in (hr, sr))
    return first, second
