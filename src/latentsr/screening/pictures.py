"""The worst images side by side: HR, what each autoencoder made of it, and where it errs, as small grey PNGs."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentsr.autoencoders import Autoencoder
from latentsr.data.batches import loaded
from latentsr.data.records import Dataset, Record
from latentsr.io.raster import write_pixels
from latentsr.parts import Parts
from latentsr.screening.kept import psnr_of
from latentsr.screening.measure import reconstructed
from latentsr.stats.names import short_hash

SHOWN = 2  # images a dataset
WHITE_ERROR = 0.1  # the absolute error, of a range of 1, that an error map shows as white
HR_FILE, DECODED_FILE, ERROR_FILE = "hr.png", "decoded.png", "error.png"


def worst(parts: Parts, dataset: Dataset) -> tuple[Record, ...]:
    """The records that the parts' method, the reference, gives back with the lowest PSNR, the worst first.

    By id where it gives them back whole.
    """
    psnr = psnr_of(parts.read())
    records = [record for record in dataset.records if record.id in psnr]
    ordered = sorted(records, key=lambda one: (psnr[one.id] if math.isfinite(psnr[one.id]) else math.inf, one.id))
    return tuple(ordered[:SHOWN])


def draw_pictures(
    autoencoder: Autoencoder, name: str, dataset: Dataset, shown: Sequence[Record], out: Path, *, device: str
) -> None:
    """Writes hr.png, NAME/decoded.png and NAME/error.png into a folder an image, named by its short hash.

    Error maps are grey from black, no error, to white, WHITE_ERROR and more. What is there already stays.
    """
    for record in shown:
        folder = out / short_hash(dataset.name, record.id)
        if (folder / name / ERROR_FILE).is_file():
            continue
        hr = loaded(dataset, [record], device)
        decoded = reconstructed(autoencoder, hr)
        error = (decoded - hr).abs() / WHITE_ERROR
        for path, image in ((HR_FILE, hr), (f"{name}/{DECODED_FILE}", decoded), (f"{name}/{ERROR_FILE}", error)):
            write_pixels(folder / path, _grey(image.clamp(0, 1)[0, 0].float().cpu().numpy()))


def _grey(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.round(image * 255).astype(np.uint8)
