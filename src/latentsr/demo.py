"""The demo: a real MR image enlarged, and another one degraded, restored and compared with the truth.

Both images come with pydicom, so that the demo needs no file and no network.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydicom.data import get_testdata_file

from latentsr import __version__, io
from latentsr.config import manifest, write_json
from latentsr.degrade import Degradation, enlarge
from latentsr.enhance import Job, Outcome, enhance_files
from latentsr.errors import InputError, OptionError
from latentsr.io.dicom.derived import Box, write_window
from latentsr.job import JobFolder
from latentsr.metrics.fidelity import psnr, ssim
from latentsr.metrics.frequency import laplacian_variance
from latentsr.metrics.perceptual import haarpsi
from latentsr.provenance import RESEARCH_USE
from latentsr.report.figures.panels import Caption, Case, Panel, Region, comparison, save
from latentsr.upscalers import BICUBIC, Sampling
from latentsr.upscalers.model import SuperResolver
from latentsr.volume import Volume, Window

SMALL, ABDOMEN = "MR_small.dcm", "examples_overlay.dcm"
WINDOW = Box(8, 28, 288, 288)  # of ABDOMEN: liver, right kidney, aorta and spine
LESION = Box(124, 12, 48, 48)  # of WINDOW: what the image's own overlay circles
DISPLAY = Window(55, 845)  # ABDOMEN's first window, centre 450 and width 790
MARK, PANEL = "demo.json", "panel.png"
TRUTH, LR, MEAN, SAMPLE, AVERAGE = (f"abdomen_{name}.dcm" for name in ("truth", "lr", "sr", "sample", "average"))
SPREAD = "abdomen_average_uncertainty.dcm"
OWN = (SMALL, TRUTH, LR, MEAN, SAMPLE, AVERAGE, SPREAD, PANEL)
GREATEST_ERROR = 99.5  # percentile of bicubic's error at the end of the colour scale

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """How near a method is to the truth.

    `psnr` in dB, `ssim` and `haarpsi` up to 1; `sharpness` is the Laplacian variance over the truth's; `lr_psnr` in dB
    is that of the result, degraded again, against the LR: its agreement with the input.
    """

    method: str
    psnr: float
    ssim: float
    haarpsi: float
    sharpness: float
    lr_psnr: float


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo: the outcome of the enlarged image, the table, the panel and all files."""

    enhanced: Outcome
    table: tuple[Row, ...]
    panel: Path
    files: tuple[Path, ...]


def run_demo(
    out: Path,
    resolver: SuperResolver,
    *,
    steps: int | None = None,
    samples: int = 4,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DemoResult:
    """Enlarges one image, and degrades, restores and compares another one with the truth; writes all files to `out`.

    The record of the enlarged image is in `out.run`. Files of an earlier demo are replaced. StaleError where `out`
    holds other files of the same names, unless `overwrite`. `progress` counts evaluations of the network.
    """
    if min(steps or 2, samples) < 2:
        raise OptionError(f"{steps} steps and {samples} samples: a spread needs two or more of both")
    folder = JobFolder(out, "demo", MARK, frozenset(OWN), "", shared=True)
    if not overwrite:
        folder.check()
    if not folder.whole:  # so that a later demo may replace the files even where this one is killed
        _record(out, resolver, (), (), steps=steps, samples=samples, seed=seed)
    one = Sampling(steps=steps, realism=resolver.realism, seed=seed)
    average = one.model_copy(update={"samples": samples})
    done, total = 0, 2 + resolver.steps(one) * (1 + samples)
    progress(done, total)
    # What `latentsr enhance MR_small.dcm` does.
    outcome = enhance_files([_example(SMALL)], Job(resolver, Sampling(seed=seed), out, overwrite=True))[0]
    if outcome.status != "written":
        raise InputError(outcome.reason)
    progress(done := done + 1, total)
    # The window of the abdomen, and the same degraded: written as DICOM and read again, as any input is.
    abdomen, degradation = io.read(_example(ABDOMEN)), resolver.degradation
    truth = io.read(write_window(abdomen, out / TRUTH, WINDOW, made="cut out", overwrite=True))
    lr_path = write_window(
        abdomen, out / LR, WINDOW, scale=degradation.scale, made=f"degraded by {degradation.text}", overwrite=True,
        pixels=degradation.apply(torch.from_numpy(truth.pixels[0]).double()).numpy(),
    )  # fmt: skip
    lr = io.read(lr_path)
    plans = {
        "posterior mean": (MEAN, Sampling(seed=seed)),
        "one sample": (SAMPLE, one),
        f"mean of {samples} samples": (AVERAGE, average),
    }
    bicubic = enlarge(torch.from_numpy(lr.pixels[0]).double(), resolver.scale).float().numpy()
    images, spread = {BICUBIC: bicubic}, None
    for method, (name, sampling) in plans.items():
        enhanced = resolver.enhance(lr, sampling=sampling)
        io.write(enhanced.volume, out / name, provenance=enhanced.provenance, overwrite=True)
        if enhanced.uncertainty is not None:
            place = io.uncertainty_name(out / name, "dicom")
            io.write_uncertainty(enhanced.uncertainty, place, provenance=enhanced.provenance, overwrite=True)
            spread = enhanced.uncertainty.pixels[0]
        images[method] = enhanced.volume.pixels[0]
        progress(done := done + resolver.steps(sampling) * sampling.samples, total)
    table = _table(truth, lr, images, resolver.degradation)
    _draw(out / PANEL, truth, lr, images, spread, table, resolver, average)
    files = tuple(path for name in OWN if (path := out / name).exists())
    _record(out, resolver, table, files, steps=steps, samples=samples, seed=seed)
    return DemoResult(outcome, table, out / PANEL, files)


def _record(
    out: Path, resolver: SuperResolver, table: Sequence[Row], files: Sequence[Path], **options: int | None
) -> None:
    rows = [
        {key: (value if isinstance(value, str) or math.isfinite(value) else None) for key, value in asdict(row).items()}
        for row in table
    ]
    facts = {"model": resolver.name, "model_hash": resolver.hash, "degradation": resolver.degradation.text}
    names = [path.name for path in files]
    write_json(out / MARK, manifest(note=RESEARCH_USE, **facts, options=options, table=rows, made=names))


def _example(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    if path is None:
        raise InputError(f"{name} is not among the example files of this pydicom: install pydicom anew")
    return Path(path)


def _table(truth: Volume, lr: Volume, images: Mapping[str, Image], degradation: Degradation) -> tuple[Row, ...]:
    """One row per method, measured on the truth's range in float64."""
    low, high = truth.window.low, truth.window.high
    rows = []
    for method, image in images.items():
        three = (truth.pixels[0], lr.pixels[0], image)
        hr, seen, sr = ((torch.from_numpy(pixels)[None, None].double() - low) / (high - low) for pixels in three)
        shown = sr.clamp(0, 1)
        again = (degradation.apply(sr) - seen).square().mean().log10() * -10
        sharpness = laplacian_variance(shown) / laplacian_variance(hr)
        values = (psnr(shown, hr), ssim(shown, hr), haarpsi(shown, hr), sharpness, again)
        rows.append(Row(method, *(float(value) for value in values)))
    return tuple(rows)


def _draw(
    path: Path, truth: Volume, lr: Volume, images: Mapping[str, Image], spread: Image | None, table: Sequence[Row],
    resolver: SuperResolver, average: Sampling,
) -> None:  # fmt: skip
    """The panel: LR, bicubic, mean, sample and truth, the lesion in each, and where they are wrong."""
    if spread is None:
        raise InputError("one sample has no spread: draw 2 samples or more")
    hr = truth.pixels[0]
    coarse, fine = (" x ".join(str(side) for side in volume.pixels.shape[1:]) for volume in (lr, truth))

    def percent(values: Image) -> Image:
        return np.asarray(100 * values / (truth.window.high - truth.window.low), np.float32)

    rows = {row.method: row for row in table}
    titles = {BICUBIC: "Bicubic", "posterior mean": "SR, posterior mean", "one sample": "SR, one sample"}
    panels = [Panel("LR", DISPLAY.apply(lr.pixels[0]), f"{coarse} px, the input")]
    for method, title in titles.items():
        row = rows[method]
        scores = (
            f"PSNR {row.psnr:.2f} dB   SSIM {row.ssim:.3f}\n"
            f"HaarPSI {row.haarpsi:.3f}   sharpness {100 * row.sharpness:.0f} %"
        )
        error, heading = percent(np.abs(images[method] - hr)), f"Error of {title.removeprefix('SR, ').lower()}"
        panels.append(Panel(title, DISPLAY.apply(images[method]), scores, error, heading))
    heading = f"Spread of {average.samples} samples"
    panels.append(Panel("Truth", DISPLAY.apply(hr), f"{fine} px", percent(spread), heading))
    greatest = float(np.ceil(np.percentile(percent(np.abs(images[BICUBIC] - hr)), GREATEST_ERROR)))
    # The lesion, with the grey scale of what it holds: it is faint in the whole image's.
    inside = LESION.of(hr)
    black, white = (float(value) for value in DISPLAY.apply(np.array([inside.min(), inside.max()])))
    title = f"The marked lesion, grey from {inside.min():.0f} to {inside.max():.0f}"
    region = Region(LESION.top, LESION.left, LESION.rows, LESION.columns)
    case = Case(title, tuple(panels), region, None if truth.spacing is None else truth.spacing[1])
    caption = Caption(
        heading=f"Abdominal MR, {coarse} px restored to {fine} px, beside the truth",
        subheading=f"A window of pydicom's {ABDOMEN}, degraded by {resolver.degradation.text}; "
        f"grey from {DISPLAY.low:.0f} to {DISPLAY.high:.0f} (the file's own window)",
        bar_title="Error and spread",
        notes=(
            "In % of the truth's range.",
            "Error: |restored - truth|.",
            f"Spread: sd over {average.samples} samples",
            f"of {resolver.steps(average)} steps each; it does not",
            "know the errors that all share.",
        ),
        footer=f"latentsr {__version__}, model {resolver.name} ({resolver.hash[:12]}), seed {average.seed}",
    )
    figure = comparison(case, caption, grey=(black, white), greatest=greatest)
    save(figure, path, text={"Software": f"latentsr {__version__}"})
