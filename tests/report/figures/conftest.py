"""What figures drew: the matplotlib figure behind a drawing, kept for the tests to look at."""

from collections.abc import Iterator

import pytest
from matplotlib.figure import Figure

from latentsr.report.figures import export


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were drawn during the test, as they stood when they were laid out."""
    figures: list[Figure] = []
    original = export.lay_out

    def keep(figure: Figure) -> None:
        original(figure)
        if figure not in figures:
            figures.append(figure)

    monkeypatch.setattr(export, "lay_out", keep)
    return figures
