"""Methods that are bad in known ways, evaluated on datasets: is each named for what it is, and bicubic for nothing?

    .venv/bin/python benchmarks/planted_methods.py OUT DATASET...

Writes the images of each planted method below OUT/methods, in 16 bit but for `8 bits`, evaluates them beside bicubic
into OUT/evaluation, and prints a line per dataset and method: the kinds of warnings and cautions that name it, those
expected of it in front. The exit status is 1 if one is missing, or if bicubic is named.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from latentsr.bench.evaluation import Comparison, compare
from latentsr.config import read_json
from latentsr.data.records import Dataset, read_dataset
from latentsr.degrade import enlarge, parse_degradation
from latentsr.io.raster import write_pixels

Image = NDArray[np.float64]

DEGRADATION = parse_degradation(Comparison(methods=()).degradation)
KINDS = {  # words of a warning or caution
    "truth": "HR itself", "other images": "look like other images", "noise": "hold noise", "shift": "are shifted",
    "mean": "have a mean", "patients": "fails on", "grid": "a fixed grid", "8 bits": "have 8 bits",
    "inputs": "far worse",
}  # fmt: skip
EXPECTED = {
    "noise": ("noise",), "blurred HR": ("truth",), "moved": ("shift",), "moved HR": ("truth",), "brighter": ("mean",),
    "neighbour": ("other images",), "six swapped": ("other images",), "HR with 66 dB": ("truth",),
    "8 bits": ("8 bits", "truth"), "one patient": ("patients",), "grid": ("grid",),
}  # fmt: skip


def main(out: Path, roots: list[str]) -> int:
    """The exit status, after a line per dataset and method has been printed."""
    datasets = [read_dataset(root) for root in roots]
    for dataset in datasets:
        _plant(dataset, out / "methods")
    methods = tuple(f"{name}={out / 'methods' / name}" for name in EXPECTED)
    compare(datasets, out / "evaluation", Comparison(methods=methods, device="cpu", workers=0), overwrite=True)
    run = read_json(out / "evaluation" / "run.json")
    faults = 0
    for dataset in datasets:
        for method in ("bicubic", *EXPECTED):
            told = [one for one in (*run["warnings"], *run["cautions"]) if f"'{method}'" in one]
            kinds = [kind for kind, words in KINDS.items() if any(words in one and dataset.name in one for one in told)]
            expected = EXPECTED.get(method, ())
            right = set(expected) <= set(kinds) if expected else not kinds
            faults += not right
            also = [kind for kind in kinds if kind not in expected]
            print(f"{dataset.name:12} {method:14} {', '.join(expected):16} {'yes' if right else 'NO':4} also: {also}")
    return int(faults > 0)


def _plant(dataset: Dataset, out: Path) -> None:
    records = [record for record in dataset.records if record.split == "valid"]
    rng = np.random.default_rng(0)
    hr = [dataset.image(record).astype(np.float64) for record in records]
    enlarged = [_enlarged(image) for image in hr]
    patients = sorted({record.patient for record in records})
    bad = patients[len(patients) // 2]
    for place, record in enumerate(records):
        own, true = enlarged[place], hr[place]
        images: dict[str, Image] = {
            "noise": own + rng.normal(0, 0.03, own.shape),
            "blurred HR": gaussian_filter(true, 2.0),
            "moved": np.roll(own, 1, axis=1),
            "moved HR": np.roll(true, 1, axis=1),
            "brighter": own + 0.03,
            "neighbour": enlarged[(place + 1) % len(hr)],
            "six swapped": enlarged[(place + 1) % 6 if place < 6 else place],
            "HR with 66 dB": true + rng.normal(0, 10 ** (-66 / 20), true.shape),
            "8 bits": true,
            "one patient": own + (_unseen(rng.normal(0, 0.25, own.shape)) if record.patient == bad else 0),
            "grid": own + _on_grid(rng, own.shape),
        }
        for name, image in images.items():
            top, kind = (255, np.uint8) if name == "8 bits" else (65535, np.uint16)
            pixels = np.round(image.clip(0, 1) * top).astype(kind)
            write_pixels(out / name / dataset.name / f"{record.id}.png", pixels)


def _on_torch(image: Image, change: Callable[[torch.Tensor], torch.Tensor]) -> Image:
    return change(torch.from_numpy(image)[None, None])[0, 0].numpy()


def _enlarged(image: Image) -> Image:
    return _on_torch(image, lambda hr: enlarge(DEGRADATION.apply(hr), DEGRADATION.scale))


def _unseen(error: Image) -> Image:
    """What of an error the degradation does not see."""
    return _on_torch(error, lambda image: image - DEGRADATION.pinv(DEGRADATION.apply(image)))


def _on_grid(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """Diagonal Haar detail of 2x2 blocks."""
    sizes = rng.normal(0, 0.03, (shape[0] // 2, shape[1] // 2))
    return np.kron(sizes, [[1, -1], [-1, 1]])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
