"""What an evaluation's figures are drawn of, and what their captions say."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from report_evaluations import without

from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.figures import intensity_picture, map_picture


@pytest.mark.parametrize(
    ("mapped", "caption"),
    [
        (12, "In which share of the images a pixel is hallucinated or lost,"),
        (
            4,
            "In which share of the 4 images of 64x64 px, the commonest size of all 12, a pixel is hallucinated or ",
        ),
    ],
)
def test_mean_maps_say_of_which_images_they_are(evaluation: Evaluation, mapped: int, caption: str) -> None:
    facts = {**evaluation.run["datasets"]["abdomen"], "mapped": {"images": mapped, "size": "64x64"}}
    where = map_picture(without(evaluation, datasets={"abdomen": facts}), "abdomen")
    assert where is not None
    assert where.caption.startswith(caption)


def test_the_intensity_of_all_methods_stands_on_one_pair_of_axes(evaluation: Evaluation, drawn: list[Figure]) -> None:
    assert intensity_picture(evaluation, "abdomen") is not None
    panels = [axes for axes in drawn[0].axes if axes.axison]
    assert [axes.get_title("left") for axes in panels] == evaluation.methods
    assert len({axes.get_ylim() for axes in panels}) == 1
    bias = evaluation.frame("agreement", "abdomen").query("unit == 'patient'").set_index("a")["bias"]
    lines = {axes.get_title("left"): [line.get_ydata()[0] for line in axes.lines] for axes in panels}
    for method in evaluation.methods:
        assert np.isclose(lines[method], 100 * bias[method]).any()
