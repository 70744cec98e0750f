"""The errors that a user can mend: each message says what came, what was expected and the fix, on one line."""

import difflib
from collections.abc import Iterable

LONGEST_REASON = 300  # characters of a library's error that a message of ours repeats
_SPACES = "\t\n\v\f\r\x85\u2028\u2029"


def printable(text: object, limit: int | None = None) -> str:
    r"""The text on one line of printable characters, safe for a terminal and a log.

    A line break or tab becomes a space. Other control characters, such as ESC, and bytes of a file name that are not
    UTF-8 become Python's escapes (`\x1b`, `\udcff`). A text longer than `limit` characters is cut and ends in "...".
    """
    line = "".join(
        one if one.isprintable() else " " if one in _SPACES else one.encode("unicode_escape").decode("ascii")
        for one in str(text)
    )
    return line if limit is None or len(line) <= limit else f"{line[: limit - 3]}..."


def suggestion(name: str, valid: Iterable[str]) -> str:
    """The end of a message that names the valid name nearest to `name`; empty where none is near."""
    near = difflib.get_close_matches(name.lower(), valid, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def reason(error: BaseException) -> str:
    """The words of a library's error on one line; its first line where they are long, else its kind: never cut."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    text = str(error.strerror if isinstance(error, OSError) and error.strerror else error).strip()
    whole, first = " ".join(text.split()), text.partition("\n")[0].rstrip(" :")
    return next((words for words in (whole, first) if 0 < len(words) <= LONGEST_REASON), type(error).__name__)


class LatentSRError(Exception):
    """Root of all errors that latentsr raises on purpose; the command line prints its text and no traceback.

    Its text is `printable`, whatever file names it holds.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class InputError(LatentSRError):
    """An image, a file or a dataset that cannot be used as it is."""


class NotAnImageError(InputError):
    """A file that holds no image, such as a text or a structured report: a job over a folder skips it."""


class OptionError(LatentSRError):
    """An option with a value outside what is valid."""


class ModelError(LatentSRError):
    """A model or autoencoder whose files are missing, altered or do not fit."""


class StaleError(LatentSRError):
    """An existing output that was made from other input or with other settings, or that would be overwritten."""
