"""What captions of an evaluation's figures say of the images that they are of."""

import pytest
from report_evaluations import without

from latentsr.report.evaluation_data import Evaluation
from latentsr.report.evaluation_figures import map_picture


@pytest.mark.parametrize(
    ("mapped", "told"),
    [
        (12, "In which share of the images a pixel is hallucinated or lost,"),
        (
            4,
            "In which share of the 4 images of 64x64 px, the commonest size of all 12, a pixel is hallucinated or ",
        ),
    ],
)
def test_mean_maps_say_of_which_images_they_are(evaluation: Evaluation, mapped: int, told: str) -> None:
    facts = {**evaluation.run["datasets"]["abdomen"], "mapped": {"images": mapped, "size": "64x64"}}
    where = map_picture(without(evaluation, datasets={"abdomen": facts}), "abdomen")
    assert where is not None
    assert where.caption.startswith(told)
