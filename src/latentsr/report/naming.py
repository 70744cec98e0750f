"""What stands under and around a page's blocks in words: their numbers, their titles, and names made fit to print."""

import re
from collections.abc import Iterator

from latentsr.report.blocks import Block, Images, Page, Picture, Section, Slider, Table

# Control characters, surrogates, and the bidirectional overrides, which would turn the words that follow a name.
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def numbered(page: Page) -> Iterator[tuple[Section, list[tuple[str, Block]]]]:
    """Each section with its blocks and their names: "Table 1", "Figure 1", counted through the page; text has none."""
    counts = {"Table": 0, "Figure": 0}
    for section in page.sections:
        named: list[tuple[str, Block]] = []
        for block in section.blocks:
            noun = {"text": "", "table": "Table"}.get(block.kind, "Figure")
            if noun:
                counts[noun] += 1
            named.append((f"{noun} {counts[noun]}" if noun else "", block))
        yield section, named


def readable(text: str) -> str:
    """The text with what a page cannot hold shown as U+FFFD: control characters, half characters, turned writing."""
    return _UNREADABLE.sub("\ufffd", text)


def titled(block: Table | Picture | Images | Slider) -> str:
    """The block's title, ending like a sentence where a caption follows it."""
    follows = getattr(block, "caption", "")
    return block.title if not follows or block.title.endswith((".", "?", "!", ":")) else f"{block.title}."
