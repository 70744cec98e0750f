"""A drawing: the same figure as vector and as pixels, with the words that stand in for it."""

from dataclasses import dataclass

from latentsr.errors import InputError


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG text (for the page) and as PNG bytes (for papers and slides).

    `alt` says in a sentence what the figure shows, for readers who do not see it.
    """

    svg: str
    png: bytes
    alt: str

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError("a drawing came without a text alternative; say in `alt` what it shows")
