"""The section of a screening's page that tells domain and geometry apart."""

from latentsr.report.figures import Interval, intervals
from latentsr.report.page import Block, Picture, Section, Table, Text
from latentsr.report.screening_rows import Row, Told, bracket, number, of, written

AS_MANY = "as many, other shape"


def contrast_section(told: Told) -> Section:
    """Pairs that differ in domain or geometry and agree in the other, a figure and a table a dataset."""
    text = (
        "Domain: two autoencoders of the same latent geometry, one trained on medical and one on natural images. "
        "Geometry: two of the same domain whose latents differ in size or shape. Only autoencoders that were trained "
        "alike, with one architecture and one budget, tell the cause; published ones differ in more than their name "
        "says."
    )
    names = [name for name in told["datasets"] if of(told["contrasts"], name)]
    blocks: list[Block] = [Text((text,))]
    blocks += [_picture(told, name) for name in names]
    blocks += [_table(told, name) for name in names]
    return Section("Domain or geometry?", tuple(blocks))


def _picture(told: Told, dataset: str) -> Picture:
    rows = [
        Interval(_pair(row), number(row["difference"]), number(row["low"]), number(row["high"]), kind.capitalize())
        for row in of(told["contrasts"], dataset)
        for kind in (row["kind"],)
    ]
    pairs = list(dict.fromkeys(_pair(row) for row in told["contrasts"]))  # a pair has one mark in all figures
    drawing = intervals(rows, quantity="Difference in PSNR", unit="dB", reference=0.0, methods=pairs)
    caption = "Right of 0 the first of the pair keeps more, left of 0 the second; a whisker across 0: not told apart."
    return Picture(f"Domain and geometry on {dataset}", drawing, caption)


def _table(told: Told, dataset: str) -> Table:
    rows = tuple(
        (
            _pair(row),
            row["kind"],
            _numbers(told, row),
            f"{written(row['difference'], '+.2f')}{bracket(row, signed=True)}",
        )
        for row in of(told["contrasts"], dataset)
    )
    return Table(
        f"Domain and geometry on {dataset}",
        ("pair", "differs in", "latent numbers", "difference in PSNR, dB [95 % interval]"),
        rows,
        "First minus second of the pair, paired by image. Latent numbers: those of the first against the second.",
    )


def _pair(row: Row) -> str:
    return f"{row['a']} – {row['b']}"


def _numbers(told: Told, row: Row) -> str:
    """How many numbers the first latent has against the second, such as "3 times as many"."""
    if row["kind"] == "domain":
        return "the same"
    first, second = (told["methods"][row[side]] for side in ("a", "b"))
    ratio = first["latent_channels"] * second["factor"] ** 2 / (second["latent_channels"] * first["factor"] ** 2)
    return AS_MANY if ratio == 1 else f"{ratio:.3g} times as many"
