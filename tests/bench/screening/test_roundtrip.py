import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure, peak_signal_noise_ratio

from latentsr.autoencoders import load_autoencoder
from latentsr.bench.roundtrip import Arrays, measured, measured_hr
from latentsr.bench.screening_plan import BANDS, CEILING, SPECTRUM
from latentsr.errors import ModelError
from latentsr.metrics import find_metrics

METRICS = find_metrics([*CEILING, BANDS, SPECTRUM])


def values(result: Arrays) -> dict[str, np.ndarray]:
    return dict(zip(map(str, result["names"]), result["values"].T, strict=True))


@pytest.fixture
def hr(windows: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(windows[:2]))[:, None].float() / 255


def test_ceiling_is_torchmetrics_of_decode_of_encode(hr: torch.Tensor, pooling: type) -> None:
    autoencoder = pooling(2)
    decoded = ((autoencoder.decode(autoencoder.encode(2 * hr - 1)) + 1) / 2).clamp(0, 1)
    found = values(measured(autoencoder, hr, METRICS))
    for image in range(2):
        one, truth = decoded[image : image + 1], hr[image : image + 1]
        assert found["psnr"][image] == pytest.approx(
            float(peak_signal_noise_ratio(one, truth, data_range=1.0)), abs=1e-4
        )
        expected = multiscale_structural_similarity_index_measure(one, truth, data_range=1.0)
        assert found["ms_ssim"][image] == pytest.approx(float(expected), abs=1e-5)


class Replaying:
    """An "autoencoder" whose decoding is the SR image of a golden pair, whatever it is given."""

    def __init__(self, spec: object, sr: torch.Tensor) -> None:
        self.spec, self.sr = spec, sr

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return images[..., ::2, ::2]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return 2 * self.sr - 1


def bicubic_of(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(SR, HR) of a golden pair: PIL bicubic 256 -> 64 -> 256, in 8 bit."""
    hr = Image.open(io.BytesIO(path.read_bytes())).convert("L")
    sr = hr.resize((64, 64), Image.BICUBIC).resize((256, 256), Image.BICUBIC)
    first, second = (torch.from_numpy(np.array(image, dtype=np.float32) / 255)[None, None] for image in (sr, hr))
    return first, second


def test_bands_and_spectrum_are_the_golden_values(golden: Path, shared: Path, pooling: type) -> None:
    """Through the screening's own path, to 1e-3 dB."""
    for pair in json.loads((golden / "metrics.json").read_text())["images"]:
        sr, hr = bicubic_of(shared / pair["hr"])
        found = values(measured(Replaying(pooling(2).spec, sr), hr, METRICS))
        assert found["psnr"][0] == pytest.approx(pair["psnr"], abs=1e-3)
        for band, expected in pair["subband_psnr"].items():
            assert found[f"{BANDS}/{band}"][0] == pytest.approx(expected, abs=1e-3), band
        rings = [found[name][0] for name in found if name.startswith(SPECTRUM)]
        assert rings == pytest.approx(pair["radial_log10_power"]["sr"], abs=1e-3)


@pytest.mark.parametrize("name", ["haar", "haar-8", "identity"])
def test_a_lossless_autoencoder_is_exact_and_not_of_many_db(name: str, hr: torch.Tensor) -> None:
    found = values(measured(load_autoencoder(name), hr, METRICS))
    assert np.isposinf(found["psnr"]).all()
    assert all(np.isposinf(found[key]).all() for key in found if key.startswith(BANDS))
    assert np.allclose(found["ms_ssim"], 1, atol=1e-4)


@pytest.mark.parametrize(("off", "psnr"), [(1e-4, 80), (5e-7, 126)])
@pytest.mark.parametrize("lossless", [True, False])
def test_what_is_beyond_100_db_is_exact_in_lossless_ones_alone(
    hr: torch.Tensor, pooling: type, off: float, psnr: float, lossless: bool
) -> None:
    hr = 0.9 * hr
    found = values(measured(Replaying(replace(pooling(2).spec, lossless=lossless), hr + off), hr, METRICS))["psnr"]
    assert found == pytest.approx(math.inf if lossless and psnr > 100 else psnr, abs=1)


def test_sides_that_do_not_fit_are_padded_and_cut_again(hr: torch.Tensor) -> None:
    odd = hr[..., :65, :99]
    result = measured(load_autoencoder("haar-8"), odd, METRICS)
    assert np.isposinf(values(result)["psnr"]).all()
    assert result["sums"][0, 0] == 2 * 9 * 13
    assert np.isnan(values(result)["ms_ssim"]).all()


def test_a_constant_image_has_a_psnr_and_no_bands(hr: torch.Tensor, pooling: type) -> None:
    hr[0] = 0.5
    found = values(measured(pooling(2), hr, METRICS))
    assert found["psnr"][0] > 60
    bands = np.stack([found[key] for key in found if key.startswith(BANDS)])
    assert not np.isin(bands, (0.0, 100.0)).any()
    assert not np.isfinite(bands[1:, 0]).any()  # a constant image has only LL3
    assert np.isfinite(bands[:, 1]).all()
    black = values(measured(pooling(2), torch.zeros_like(hr), METRICS))
    assert math.isnan(black["haarpsi"][0])


def test_hr_itself_has_its_spectrum(hr: torch.Tensor) -> None:
    found = values(measured_hr(hr, METRICS))
    assert all(name.startswith(SPECTRUM) for name in found)
    assert len(found) == 10


def test_images_of_another_size_or_not_finite_are_an_error(hr: torch.Tensor, pooling: Callable) -> None:
    wrong = pooling(2)
    wrong.decode = lambda latents: latents
    with pytest.raises(ModelError, match=r"pooling: decoded to .*check its factor"):
        measured(wrong, hr, METRICS)
    wrong.decode = lambda latents: torch.full((2, 1, 176, 192), torch.nan)
    with pytest.raises(ModelError, match="NaN or infinity"):
        measured(wrong, hr, METRICS)
