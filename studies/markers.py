"""Radiographs with markers drawn at random places: letters of lead or burnt in, words, arrows.

    python studies/markers.py DATASET OUT --count 500

A chest X-ray has few markers, and most of the strong fine detail of a set: an image at a quarter of the size says
little of them, and a model that has seen few of them blurs them. Each of `count` training images of DATASET, which
`latentsr prepare` made (8 bit), gets one to four; names are ids.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latentsr.data.records import read_dataset

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FACES = ("DejaVuSans-Bold", "DejaVuSans", "DejaVuSansMono-Bold", "DejaVuSansMono", "DejaVuSerif-Bold")
WORDS = (
    "L",
    "R",
    "L",
    "R",
    "L",
    "R",
    "AP",
    "PA",
    "ERECT",
    "MOBILE",
    "PORTABLE",
    "SEMI",
    "SITTING",
    "SUPINE",
    "UPRIGHT",
)
SIGNS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
HEIGHTS = (6, 7, 8, 9, 10, 11, 12, 14, 17, 20)  # of letters, in pixels
FINE = 4  # markers are drawn so many times larger and averaged, so that edges lie between pixels as scanned ones do
MARGIN = 45  # px from the image's edge: where most markers lie


def words(generator: np.random.Generator) -> str:
    """A word, initials and numbers, or a side below initials."""
    kind = generator.random()
    if kind < 0.5:
        return str(generator.choice(WORDS))
    if kind < 0.8:
        return "".join(generator.choice(SIGNS, generator.integers(1, 6)))
    return "".join(generator.choice(SIGNS, 2)) + "\n" + str(generator.choice(["L", "R"]))


def marker(generator: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """A marker as (rows, columns), 0 to 1, and the plastic that it lies on, if any, likewise; FINE times as large."""
    size = int(generator.choice(HEIGHTS)) * FINE
    line = max(2, int(FINE * generator.uniform(0.7, 2)))
    canvas = Image.new("L", (14 * size, 5 * size))
    draw = ImageDraw.Draw(canvas)
    if generator.random() < 0.1:
        half, shaft = size // 2, max(1, int(size * generator.uniform(0.06, 0.15)))
        right = [(half, 0), (size, half), (half + shaft, half), (half + shaft, 7 * size // 5)]
        outline = [(size + x, size + y) for x, y in [*right, *((size - x, y) for x, y in reversed(right))]]
        draw.line(outline, fill=255, width=line)
        if generator.random() < 0.5:
            draw.polygon(outline, fill=255)
    else:
        font = ImageFont.truetype(str(FONTS / f"{generator.choice(FACES)}.ttf"), size)
        draw.text((size, size), words(generator), fill=255, font=font, spacing=size // 6)
    left, top, right_, bottom = canvas.getbbox()
    pad = int(size * generator.uniform(0.15, 0.5))
    layers = [canvas.crop((left - pad, top - pad, right_ + pad, bottom + pad))]
    edge = (1, 1, layers[0].width - 2, layers[0].height - 2)
    if generator.random() < 0.15:
        ImageDraw.Draw(layers[0]).ellipse(edge, outline=255, width=line)
    if generator.random() < 0.3:
        layers.append(Image.new("L", layers[0].size))
        ImageDraw.Draw(layers[1]).rounded_rectangle(edge, radius=int(pad * generator.random()), fill=255)
    angle = float(generator.choice([0, 0, 0, 90, 180, 270])) + float(generator.choice([0, 1])) * generator.normal(0, 8)
    mirror = generator.random() < 0.15
    turned = [layer.rotate(angle, resample=Image.Resampling.BICUBIC, expand=True) for layer in layers]
    turned = [layer.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else layer for layer in turned]
    arrays = [np.asarray(layer, np.float64) / 255 for layer in turned]
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def reduced(fine: NDArray[np.float64], phase: tuple[int, int]) -> NDArray[np.float64]:
    """The mean of each FINE x FINE block, the first of which lies `phase` fine pixels above and left of the array."""
    padded = np.pad(fine, [(start, -(start + side) % FINE) for start, side in zip(phase, fine.shape, strict=True)])
    return padded.reshape(padded.shape[0] // FINE, FINE, -1, FINE).mean(axis=(1, 3))


def marked(pixels: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """An image (rows, columns) with one to four markers: bright on dark places, dark on bright ones, or on plastic."""
    image = pixels.astype(np.float64)
    for _ in range(generator.integers(1, 5)):
        phase = (int(generator.integers(FINE)), int(generator.integers(FINE)))
        mask, plastic = (None if layer is None else reduced(layer, phase) for layer in marker(generator))
        free = [side - own for side, own in zip(image.shape, mask.shape, strict=True)]
        if min(free) < 1:
            continue  # longer than the image
        near = [min(MARGIN, side) for side in free]
        ends = [int(generator.choice([generator.integers(m), side - m + generator.integers(m)]))
                for m, side in zip(near, free, strict=True)]  # fmt: skip
        top, left = (int(generator.integers(side)) if generator.random() < 0.4 else end
                     for side, end in zip(free, ends, strict=True))  # fmt: skip
        part = image[top : top + mask.shape[0], left : left + mask.shape[1]]
        ink, ground = float(generator.uniform(180, 255)), float(generator.uniform(0, 60))
        if plastic is not None:
            ink, ground = (ink, ground) if generator.random() < 0.5 else (ground, ink)
            part[:] = part * (1 - plastic) + ground * plastic
        elif part.mean() > 170 or generator.random() < 0.1:
            ink = ground
        part[:] = part * (1 - mask) + ink * mask
    return image.clip(0, 255).round().astype(np.uint8)


def main() -> None:
    """Reads the command line and writes the images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = np.random.default_rng(options.seed)
    dataset = read_dataset(options.dataset)
    records = sorted(dataset.select("train"), key=lambda record: record.id)
    options.out.mkdir(parents=True, exist_ok=True)
    for record in (records[n] for n in generator.permutation(len(records))[: options.count]):
        with Image.open(dataset.root / record.file) as image:
            Image.fromarray(marked(np.asarray(image.convert("L")), generator)).save(options.out / f"{record.id}.png")


if __name__ == "__main__":
    main()
