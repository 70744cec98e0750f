"""What an evaluation's parts add up to: mean maps of the commonest size, and how many images they are of."""

from pathlib import Path

import numpy as np

from latentsr.bench.evaluation import Comparison, compare
from latentsr.bench.measure import Surroundings, Work
from latentsr.bench.tables import Results
from latentsr.config import read_json
from latentsr.data.records import Dataset, Record
from latentsr.degrade import parse_degradation
from latentsr.job import Parts


def results(root: Path, sizes: dict[str, tuple[int, int]]) -> Results:
    """Of images of these sizes under one method, no parts yet."""
    records = tuple(Record(name, name, "valid", f"{name}.png", *size, sha256="") for name, size in sizes.items())
    dataset = Dataset(root, "set", records)
    work = Work(dataset, records, (), (), Surroundings(parse_degradation("bicubic:2")))
    return Results(work, Parts(root / "parts"), ("hr", "mine"), Parts(root / "others"))


def test_mean_maps_are_of_the_images_of_the_commonest_size(tmp_path: Path) -> None:
    found = results(tmp_path, {"a": (4, 6), "b": (4, 6), "c": (4, 6), "d": (8, 9)})
    for ids, counts in ((["a", "b"], np.full((2, 4, 6), 2)), (["c"], np.zeros((2, 4, 6))), (["d"], np.ones((2, 8, 9)))):
        found.parts.write(ids, {"1.maps": counts.astype(np.uint16)})
    maps = found.maps()
    assert list(maps) == ["mine"]
    np.testing.assert_allclose(maps["mine"], np.full((2, 4, 6), 2 / 3))


def test_run_json_says_how_many_images_those_are(dataset: Dataset, tmp_path: Path) -> None:
    compare([dataset.root], tmp_path, Comparison(methods=(), metrics=("psnr",), device="cpu", workers=0))
    facts = read_json(tmp_path / "run.json")["datasets"]["abdomen"]
    assert (facts["images"], facts["sizes"]) == (5, ["176x192", "64x96"])
    assert facts["mapped"] == {"images": 4, "size": "176x192"}
