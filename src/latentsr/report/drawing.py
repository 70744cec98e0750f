"""A drawing: the same figure as vector and as pixels, with the words that stand in for it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from latentsr.errors import InputError


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG text (for the page) and as PNG bytes (for slides).

    `alt` says in a sentence what the figure shows, for readers who do not see it. `pdf` makes the figure's PDF (for
    papers) when it is called: with the fonts in it, that takes longer than SVG and PNG together.
    """

    svg: str
    png: bytes
    alt: str
    pdf: Callable[[], bytes] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a drawing came without a text alternative; say in `alt` what it shows")
