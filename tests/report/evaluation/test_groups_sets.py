from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from latentsr.bench.sets import SET_COLUMNS, SET_COMPARISON_COLUMNS
from latentsr.report.evaluation.data import Evaluation
from latentsr.report.evaluation.groups import set_definitions, set_difference_table, set_table

VALUES = {"kid": (0.0043, 0.0021), "fid": (31.0, 12.0), "swd/x2": (4.0, 2.0), "swd/x1": (8.0, 6.0), "swd": (6.0, 4.0)}


def evaluation(reach: float = 0.001, images: int = 60) -> Evaluation:
    """Two methods on 60 images of 20 patients; `reach`: half the width of intervals, NaN for none; FID has none."""
    rows, differences = [], []
    for metric, (first, second) in VALUES.items():
        half = np.nan if metric == "fid" else reach
        rows += [
            ("abdomen", method, metric, images, 20, value, value - half, value + half)
            for method, value in (("bicubic", first), ("mine", second))
        ]
        change = second - first
        differences.append(("abdomen", "mine", "bicubic", metric, images, 20, change, change - half, change + half))
    frames = {
        "sets": pd.DataFrame(rows, columns=list(SET_COLUMNS)),
        "set_comparisons": pd.DataFrame(differences, columns=list(SET_COMPARISON_COLUMNS)),
    }
    methods = [{"name": "bicubic"}, {"name": "mine"}]
    run = {"datasets": {"abdomen": {}}, "methods": methods, "features": "encoder", "primary": None}
    return Evaluation(Path(), run, frames)


def test_measures_name_their_extractor_keep_their_digits_and_have_intervals() -> None:
    table = set_table(evaluation(), "abdomen")
    assert table is not None
    heads = ("method", "Sliced Wasserstein (x 1000)", "FID (encoder)", "KID (encoder)", "level x1")
    assert table.columns == (*heads, "level x2")
    assert table.rows[0][:4] == ("bicubic", "6.00 [6.00, 6.00]", "31.00", "0.00430 [0.00330, 0.00530]")
    assert table.rows[1][0] == "mine"


@pytest.mark.parametrize(
    ("images", "told"),
    [(60, "below 2048"), (2048, "FID of 2048 images; it has no"), (3000, "FID of 3000 images; it has no interval")],
)
def test_the_note_says_how_sure_the_measures_are(images: int, told: str) -> None:
    table = set_table(evaluation(images=images), "abdomen")
    assert table is not None
    assert told in table.note
    assert ("read KID instead" in table.note) == (images < 2048)
    assert "95 % intervals with the patient as the unit" in table.note


def test_few_patients_have_no_intervals_and_no_differences() -> None:
    few = evaluation(reach=np.nan)
    table = set_table(few, "abdomen")
    assert table is not None
    assert "No intervals: they need five patients or more." in table.note
    assert table.rows[0][1] == "6.00"
    assert set_difference_table(few, "abdomen") is None


def test_differences_to_bicubic_leave_out_what_has_no_interval() -> None:
    table = set_difference_table(evaluation(), "abdomen")
    assert table is not None
    assert [row[0] for row in table.rows] == ["Sliced Wasserstein (x 1000)", "KID (encoder)"]  # levels: in the file
    assert table.rows[1][1:] == ("mine – bicubic", "-0.00220", "[-0.00320, -0.00120]", "20")


def test_a_pair_is_the_way_round_that_was_asked_for_first() -> None:
    asked = {"a": "bicubic", "b": "mine", "metric": "psnr"}
    table = set_difference_table(replace(evaluation(), run={**evaluation().run, "primary": asked}), "abdomen")
    assert table is not None
    assert table.rows[1][1:] == ("bicubic – mine", "+0.00220", "[+0.00120, +0.00320]", "20")


def test_without_rows_there_is_no_table() -> None:
    nothing = Evaluation(Path(), evaluation().run, {})
    assert set_table(nothing, "abdomen") is None
    assert set_difference_table(nothing, "abdomen") is None


def test_definitions_name_what_was_measured_and_how_it_got_intervals() -> None:
    (told,) = set_definitions(evaluation())
    assert "FID, the Frechet distance of normal distributions of the features of encoder" in told
    assert "pairs of images of different patients: SR and HR" in told
    assert "delete-a-group jackknife over patients" in told
    assert list(set_definitions(Evaluation(Path(), evaluation().run, {}))) == []


def test_kid_of_one_patient_is_called_what_it_is() -> None:
    many = evaluation()
    one = replace(many, frames={**many.frames, "sets": many.frames["sets"].assign(patients=1)})
    (told,) = set_definitions(one)
    assert "different patients (of different images where there is but one patient): SR and HR" in told
