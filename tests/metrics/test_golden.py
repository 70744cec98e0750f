"""All values of tests/golden/metrics.json, computed once with other implementations on real image pairs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from latentsr.metrics import METRICS
from latentsr.metrics.frequency import BANDS
from latentsr.metrics.hallucination import SIGMAS, noise_thresholds

RELATIVE = 1e-4


def enlarged(image: Image.Image, side: int) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)


def tensor(images: list[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.asarray(image) / np.float32(255)) for image in images])[:, None]


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[dict]:
    return json.loads((golden / "metrics.json").read_text())["images"]


@pytest.fixture(scope="module")
def hr(cases: list[dict], shared: Path) -> Tensor:
    return tensor([Image.open(shared / case["hr"]).convert("L") for case in cases])


@pytest.fixture(scope="module")
def sr(cases: list[dict], shared: Path) -> Tensor:
    """8-bit PIL bicubic 256 -> 64 -> 256."""
    return tensor([enlarged(Image.open(shared / case["hr"]).convert("L"), 64) for case in cases])


@pytest.mark.parametrize(("name", "key"), [("psnr", "psnr"), ("ms_ssim", "msssim")])
def test_fidelity(name: str, key: str, cases: list[dict], sr: Tensor, hr: Tensor) -> None:
    np.testing.assert_allclose(METRICS[name](sr, hr), [case[key] for case in cases], rtol=RELATIVE)


def test_subband_psnr(cases: list[dict], sr: Tensor, hr: Tensor) -> None:
    expected = [[case["subband_psnr"][band] for band in BANDS] for case in cases]
    np.testing.assert_allclose(METRICS["subband_psnr"](sr, hr), expected, rtol=RELATIVE)


def test_radial_spectrum(cases: list[dict], sr: Tensor, hr: Tensor) -> None:
    for key, images in (("hr", hr), ("sr", sr)):
        expected = [case["radial_log10_power"][key] for case in cases]
        np.testing.assert_allclose(METRICS["radial_spectrum"](images), expected, rtol=RELATIVE)


def test_hallucinated_and_lost(cases: list[dict], shared: Path, sr: Tensor, hr: Tensor) -> None:
    """AE is 8-bit PIL bicubic 256 -> 128 -> 256."""
    ae = tensor([enlarged(Image.open(shared / case["hr"]).convert("L"), 128) for case in cases])
    threshold = noise_thresholds(ae, hr)
    keys = {
        "hallucinated": "hallu_rate",
        "lost": "loss_rate",
        "hallucinated_magnitude": "hallu_magnitude",
        "lost_magnitude": "loss_magnitude",
    }
    for number, sigma in enumerate(SIGMAS):
        expected = [case[f"hallucination_{sigma:g}sigma"] for case in cases]
        np.testing.assert_allclose(threshold[:, number], [case["threshold"] for case in expected], rtol=RELATIVE)
        for name, key in keys.items():
            found = METRICS[name](sr, hr, threshold=threshold)[:, number]
            np.testing.assert_allclose(found, [case[key] for case in expected], rtol=RELATIVE, err_msg=name)
