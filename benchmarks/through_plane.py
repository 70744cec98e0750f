"""Thick slices of an isotropic head volume brought back by `latentsr enhance --through-plane`, beside a cubic spline.

    .venv/bin/python benchmarks/through_plane.py VOLUME.nii.gz [RATIO...]

VOLUME is real, of equal spacing along all axes, such as ch2.nii.gz of Debian's package mricron-data. Its slices are
averaged by each RATIO (3 and 5), enhanced, and compared inside the head: where the truth, smoothed, is above a tenth of
its greatest value, holes filled. Prints one JSON line a ratio. The exit status is 1 if the result is not BAR dB nearer
to the truth than the spline, or its averages are not within RECOVERED dB of the input.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BAR, RECOVERED = 1.5, 50.0
LATENTSR = [sys.executable, "-c", "from latentsr.cli import main; main()"]


def main(volume: Path, ratios: list[int]) -> int:
    """The exit status, after the figures have been printed."""
    image: Any = nibabel.load(volume)
    truth = np.asarray(image.get_fdata(), np.float32)
    missed = False
    for ratio in ratios:
        figures = _measure(truth, image.affine, ratio)
        print(json.dumps({"ratio": ratio, **figures}), flush=True)
        missed |= figures["gain"] < BAR or figures["recovered"] < RECOVERED
    return int(missed)


def _measure(truth: NDArray[Any], affine: NDArray[Any], ratio: int) -> dict[str, float]:
    """Decibels and seconds of one ratio."""
    slices = truth.shape[2] // ratio
    truth = truth[:, :, : slices * ratio]
    head = ndimage.binary_fill_holes(ndimage.gaussian_filter(truth, 2) > truth.max() / 10)
    thick = truth.reshape(*truth.shape[:2], slices, ratio).mean(axis=-1)
    step = np.diag([1.0, 1.0, ratio, 1.0])
    step[2, 3] = (ratio - 1) / 2
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "thick.nii.gz"), Path(folder, "out")
        nibabel.Nifti1Image(thick.astype(np.float32), affine @ step).to_filename(source)
        begin = time.perf_counter()
        subprocess.run([*LATENTSR, "enhance", source, "-o", out, "--through-plane"], check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - begin
        made: Any = nibabel.load(out / source.name)
        if np.abs(made.affine - affine).max() > 1e-4:
            sys.exit(f"the affine is {made.affine.tolist()}, expected {affine.tolist()}")
        pixels = np.asarray(made.get_fdata(), np.float32)
    spline = ndimage.zoom(thick, (1, 1, ratio), order=3, mode="nearest", grid_mode=True)

    def psnr(one: NDArray[Any], other: NDArray[Any]) -> float:
        return float(20 * math.log10(truth.max()) - 10 * np.log10(np.square(one - other, dtype=np.float64).mean()))

    again = pixels.reshape(*thick.shape, ratio).mean(axis=-1)
    own, base = psnr(pixels[head], truth[head]), psnr(spline[head], truth[head])
    figures = {"spline": base, "latentsr": own, "gain": own - base, "recovered": psnr(again, thick), "s": seconds}
    return {name: round(value, 2) for name, value in figures.items()}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), [int(one) for one in sys.argv[2:]] or [3, 5]))
