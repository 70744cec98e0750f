"""Times all measures without learned weights, batched, against their second implementations, image by image.

    python benchmarks/measure_speed.py                  # 40 pairs of 256x256
    python benchmarks/measure_speed.py --pairs 1000     # the bar: under 3 minutes, under 2 GB, 5 times faster

The images are windows of scikit-image's test photographs; SR is HR reduced by 4 and enlarged. Latents are the images'
blocks of 4x4 px, the mask is a disc. Batches run in as many threads as there are cores to use, one torch thread each.
The second implementations (scikit-image, piq, PyWavelets, SciPy, NumPy) take one pair after the other, as scripts do,
with `--second-threads` of torch; `--second` sets on how many pairs they are timed, and the time is brought to the same
number. Beside wall time stands processor time. On a busy machine give `--second-threads 1`: torch's threads spin while
they wait for one another, which would be counted against the others. Peak memory is that of the process before the
second implementations begin.
"""

import argparse
import resource
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentsr.degrade import enlarge, parse_degradation
from latentsr.metrics import applicable, find_metrics, measure
from latentsr.metrics.hallucination import noise_thresholds
from latentsr.metrics.sets import patch_descriptors, sliced_wasserstein

SIDE = 256
# Whole functions of packages, each once, but for HaarPSI and GMSD: once on each of the four places of their grid.
PUBLIC = ("psnr", "nrmse", "ssim", "ms_ssim", "haarpsi", "vsi", "vif", "gmsd")
X4, X2 = parse_degradation("bicubic:4"), parse_degradation("bicubic:2")


@cache
def photographs() -> list[Tensor]:
    """Grey test photographs in [0, 1], (rows, columns), sides of 400 px or more."""
    from skimage import data

    images = [data.camera(), data.moon(), data.brick(), data.grass(), data.gravel()]
    return [torch.from_numpy(image.astype(np.float32) / 255) for image in images]


def pairs_from(first: int, count: int) -> tuple[Tensor, Tensor]:
    """(SR, HR) of `count` windows, each at a place drawn by its own number."""
    images, windows = photographs(), []
    for number in range(first, first + count):
        image, draw = images[number % len(images)], np.random.default_rng(number)
        top, left = (int(draw.integers(side - SIDE + 1)) for side in image.shape)
        windows.append(image[top : top + SIDE, left : left + SIDE])
    hr = torch.stack(windows)[:, None]
    return enlarge(X4.apply(hr), 4).clamp(0, 1), hr


def context_of(sr: Tensor, hr: Tensor) -> dict[str, Any]:
    """All that the measures need beside SR."""
    lr = X4.apply(hr)
    offsets = torch.arange(SIDE) - SIDE / 2
    disc = (offsets[:, None].square() + offsets[None, :].square()) < (SIDE / 4) ** 2
    return {
        "hr": hr, "lr": lr, "degradation": X4, "threshold": noise_thresholds(enlarge(X2.apply(hr), 2).clamp(0, 1), hr),
        "mask": disc.expand_as(hr), "mean": 0.8 * sr + 0.2 * hr,
        "sr_latent": F.pixel_unshuffle(sr, 4), "hr_latent": F.pixel_unshuffle(hr, 4),
    }  # fmt: skip


@torch.inference_mode()
def measure_batch(first: int, count: int, times: dict[str, float]) -> list[dict[str, Tensor]]:
    """The patches of SR and of HR; each measure's processor seconds are added to `times`."""
    sr, hr = pairs_from(first, count)
    context = context_of(sr, hr)
    for metric in applicable(find_metrics(), context):
        start = time.thread_time()
        measure([metric], sr, context)
        times[metric.name] = times.get(metric.name, 0) + time.thread_time() - start
    start = time.thread_time()
    seeds = [[torch.Generator().manual_seed(2 * (first + n) + side) for n in range(len(hr))] for side in (0, 1)]
    patches = [patch_descriptors(images, chosen) for images, chosen in zip((sr, hr), seeds, strict=True)]
    times["swd"] = times.get("swd", 0) + time.thread_time() - start
    return [{level: drawn.flatten(0, 1) for level, drawn in found.items()} for found in patches]


def own(pairs: int, size: int, threads: int, times: dict[str, float]) -> None:
    """Measures all pairs in batches, `threads` at a time, then the two sets of patches."""
    torch.set_num_threads(1)
    with ThreadPoolExecutor(threads) as pool:
        starts = range(0, pairs, size)
        found = list(pool.map(lambda first: measure_batch(first, min(size, pairs - first), times), starts))
        start = time.process_time()

        def distance(level: str) -> None:
            mine, true = (torch.cat([patches[side].pop(level) for patches in found]) for side in (0, 1))
            sliced_wasserstein([mine], true, generator=torch.Generator().manual_seed(0))

        list(pool.map(distance, list(found[0][0])))
        times["swd"] += time.process_time() - start


def latents(s: np.ndarray, h: np.ndarray) -> list[float]:
    """One of the three measures of latents at its seven scales."""
    from skimage.measure import block_reduce

    blocks = [image.reshape(64, 4, 64, 4).transpose(1, 3, 0, 2).reshape(16, 64, 64) for image in (s, h)]
    scales = [[block_reduce(latent, (1, n, n), np.mean) for latent in blocks] for n in (1, 2, 4, 8, 16, 32, 64)]
    return [float(np.mean((a - b) ** 2)) for a, b in scales]


def highpass(s: np.ndarray, _h: np.ndarray) -> float:
    """The high-pass spectrum."""
    spectrum = np.fft.fftshift(np.fft.fft2(s * 255))
    spectrum[98:158, 98:158] = 0
    return float(np.mean(20 * np.log(np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))))))


def radial(s: np.ndarray, _h: np.ndarray) -> list[float]:
    """The radial spectrum."""
    power = np.log10(np.abs(np.fft.fftshift(np.fft.fft2(s))) ** 2 + 1e-12)
    offsets = np.arange(SIDE) - SIDE // 2
    radius = np.hypot(offsets[:, None], offsets[None, :]) / (SIDE / 2 * np.sqrt(2)) * 10
    return [float(power[(radius >= low) & (radius < low + 1)].mean()) for low in range(10)]


def sfrc(s: np.ndarray, h: np.ndarray) -> list[list[float]]:
    """The correlation curves of the scanning Fourier ring correlation, patch by patch and ring by ring."""
    offsets, window = np.arange(64) - 32, np.hanning(64)[:, None] * np.hanning(64)[None, :]
    radius, curves = np.round(np.hypot(offsets[:, None], offsets[None, :])), []
    for top in range(0, SIDE - 63, 32):
        for left in range(0, SIDE - 63, 32):
            patches = (image[top : top + 64, left : left + 64] * window for image in (s, h))
            a, b = (np.fft.fftshift(np.fft.fft2(patch)) for patch in patches)
            cross, first, second = (a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2
            rings = [radius == number for number in range(32)]
            sums = [[part[ring].sum() for ring in rings] for part in (cross, first, second)]
            curves.append([c / np.sqrt(p * q) for c, p, q in zip(*sums, strict=True)])
    return curves


def second_implementations() -> dict[str, Callable[[np.ndarray, np.ndarray], object]]:
    """What other packages offer for the same measures, each for one (sr, hr) pair of float64 arrays."""
    import piq
    import pywt
    from scipy import ndimage
    from skimage import metrics

    def tensors(function: Callable, **options: float) -> Callable[[np.ndarray, np.ndarray], object]:
        return lambda s, h: function(*(torch.from_numpy(i).float()[None, None] for i in (s, h)), **options)

    def on_grid(function: Callable[[np.ndarray, np.ndarray], object]) -> Callable[[np.ndarray, np.ndarray], object]:
        crops = [(slice(top, None), slice(left, None)) for top in (0, 1) for left in (0, 1)]
        return lambda s, h: [function(s[crop], h[crop]) for crop in crops]

    def ssim(s: np.ndarray, h: np.ndarray) -> object:
        options: dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        return metrics.structural_similarity(h, s, data_range=1.0, full=True, **options)

    def swd(_s: np.ndarray, _h: np.ndarray) -> None:
        """128 patches a level along 512 directions: what one image adds, but for the sorting of the whole set."""
        draw = np.random.default_rng(0)
        for _ in range(5):
            directions = draw.standard_normal((49, 512))
            first, second = (draw.standard_normal((128, 49)) @ directions for _ in range(2))
            np.abs(np.sort(first, axis=0) - np.sort(second, axis=0)).mean()

    def subbands(s: np.ndarray, h: np.ndarray) -> list[float]:
        bands = [pywt.coeffs_to_array(pywt.wavedec2(image, "haar", level=3))[0] for image in (s, h)]
        return [float(np.mean((bands[0] - bands[1]) ** 2)) for _ in range(10)]

    log = ndimage.gaussian_laplace
    return {
        "psnr": lambda s, h: metrics.peak_signal_noise_ratio(h, s, data_range=1.0),
        "nrmse": lambda s, h: metrics.normalized_root_mse(h, s, normalization="min-max"),
        "mae": lambda s, h: np.abs(s - h).mean(),
        "ssim": ssim,
        "roi_ssim": ssim,
        "background_ssim": ssim,
        "ms_ssim": tensors(piq.multi_scale_ssim),
        "haarpsi": on_grid(tensors(piq.haarpsi)),
        "haarpsi_med": on_grid(tensors(piq.haarpsi, c=5.0, alpha=4.9)),
        "vsi": tensors(piq.vsi),
        "vif": tensors(piq.vif_p),
        "gmsd": on_grid(tensors(piq.gmsd)),
        "hfen": lambda s, h: np.linalg.norm(log(s - h, 1.5)) / np.linalg.norm(log(h, 1.5)),
        "subband_psnr": subbands,
        "laplacian_variance": lambda s, h: ndimage.laplace(s * 255, mode="mirror").var(),
        "highpass_spectrum": highpass,
        "radial_spectrum": radial,
        "latent_cosine": latents,
        "latent_mse": latents,
        "latent_psnr": latents,
        "sfrc": sfrc,
        "swd": swd,
    }


def second(pairs: int, times: dict[str, float]) -> float:
    """Wall seconds of the pairs, one after the other; each measure's processor seconds are added to `times`."""
    functions, wall = second_implementations(), 0.0
    for number in range(pairs):
        arrays = [image[0, 0].double().numpy() for image in pairs_from(number, 1)]
        begin = time.perf_counter()
        for name, function in functions.items():
            start = time.process_time()
            function(*arrays)
            times[name] = times.get(name, 0) + time.process_time() - start
        wall += time.perf_counter() - begin
    return wall


def main() -> None:
    """Prints each measure's processor time a pair, both totals, their ratio and the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--second", type=int, default=10, help="pairs for the second implementations")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--second-threads", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    own(2, 2, 1, {})  # what is made once
    mine: dict[str, float] = {}
    begin, start = time.perf_counter(), time.process_time()
    own(options.pairs, options.batch, options.threads, mine)
    wall, processor = time.perf_counter() - begin, time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    torch.set_num_threads(options.second_threads)
    second(1, {})
    theirs: dict[str, float] = {}
    scale = options.pairs / options.second
    their_wall = second(options.second, theirs) * scale
    their_processor = sum(theirs.values()) * scale
    print("processor time a pair        here    elsewhere")
    for name, seconds in sorted(mine.items(), key=lambda item: -item[1]):
        other = f"{1000 * theirs[name] / options.second:9.2f} ms" if name in theirs else "        -"
        print(f"{name:24}{1000 * seconds / options.pairs:9.2f} ms{other}")
    print(f"all {len(mine)} measures of {options.pairs} pairs, batched: {wall:.1f} s, processor {processor:.1f} s")
    print(f"{len(theirs)} of them elsewhere, image by image: {their_wall:.1f} s, processor {their_processor:.1f} s")
    print(f"ratio: {their_wall / wall:.1f} by the clock, {their_processor / processor:.1f} by processor time")
    public_mine = sum(mine[name] for name in PUBLIC) / options.pairs
    public_theirs = sum(theirs[name] for name in PUBLIC) / options.second
    print(
        f"ratio of public implementations only ({', '.join(PUBLIC)}): "
        f"{public_theirs / public_mine:.1f} by processor time"
    )
    print(f"peak memory: {memory:.2f} GB")


if __name__ == "__main__":
    main()
