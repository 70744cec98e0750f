"""A page's grid of images as one PDF figure, each image with its own pixels, under heads and beside labels."""

from io import BytesIO

from matplotlib.figure import Figure
from matplotlib.image import imread

from latentsr.report.blocks import Images
from latentsr.report.figures.export import pdf_bytes
from latentsr.report.figures.style import INK, SMALL, Look, house_style, wrapped

CELL, LABEL, GAP = 1.3, 0.85, 0.06  # inches: an image's width, the labels' column, between images
LINE = 0.15  # inches, of a line of words
LETTERS, LABEL_LETTERS = 19, 12  # a line over an image, and beside a row


def tiles_pdf(images: Images) -> bytes:
    """The grid as PDF: a column a name and a row a label, each image's note below it; empty places stay empty."""
    heads = [wrapped(name, LETTERS) for name in images.columns]
    head = LINE * (1 + max(words.count("\n") for words in heads)) + GAP
    shapes = [max((tile.size[1] / tile.size[0] for tile in row if tile), default=0.0) for row in images.rows]
    notes = [LINE * any(tile and tile.note for tile in row) for row in images.rows]
    width = LABEL + len(heads) * (CELL + GAP)
    height = head + sum(CELL * shape + note + GAP for shape, note in zip(shapes, notes, strict=True))
    with house_style():
        figure = Figure(figsize=(width, height))
        style: Look = {"fontsize": SMALL, "color": INK, "transform": figure.dpi_scale_trans, "va": "top"}
        for place, words in enumerate(heads):
            figure.text(LABEL + place * (CELL + GAP), height - GAP / 2, words, weight="bold", **style)
        top = height - head
        for label, row, shape, note in zip(images.labels, images.rows, shapes, notes, strict=True):
            figure.text(0, top, wrapped(label, LABEL_LETTERS), **style)
            for place, tile in enumerate(row):
                if tile is not None:
                    left, tall = LABEL + place * (CELL + GAP), CELL * tile.size[1] / tile.size[0]
                    axes = figure.add_axes((left / width, (top - tall) / height, CELL / width, tall / height))
                    axes.imshow(imread(BytesIO(tile.png)), cmap="gray", vmin=0, vmax=1, interpolation="none")
                    axes.set_axis_off()
                    figure.text(left, top - tall - 0.03, wrapped(tile.note, LETTERS + 3, lines=1), **style)
            top -= CELL * shape + note + GAP
    return pdf_bytes(figure, f"{images.title}: {', '.join(images.columns)}")
