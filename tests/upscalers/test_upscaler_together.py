"""Works that ask for images: those of one size are restored together, few are under way, and an error is its own's."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import pytest

from latentsr.degrade import parse_degradation
from latentsr.errors import InputError
from latentsr.upscalers.upscaler import (
    AHEAD,
    LARGEST_AHEAD,
    Bicubic,
    Request,
    Restored,
    Sampling,
    Work,
    advance,
    together,
)


class Counting(Bicubic):
    """Bicubic that notes its batches, and refuses black images."""

    def __init__(self) -> None:
        super().__init__(parse_degradation("bicubic:2"))
        self.batches: list[tuple[str, ...]] = []

    def restore(self, lr: Any, *, ids: Sequence[str], sampling: Sampling = Sampling()) -> Restored[Any]:
        assert current_thread() is main_thread()
        self.batches.append(tuple(ids))
        if not lr.flatten(1).any(dim=1).all():
            raise InputError(f"{len(lr)} images, one of them black")
        return super().restore(lr, ids=ids, sampling=sampling)


class Works:
    """What is to be restored of items such as "7 3x5": the number as LR of so many rows and columns, in some slices."""

    def __init__(self, *, slices: int = 1, most: int = 4) -> None:
        self.slices, self.most = slices, most
        self.under_way = self.peak = 0

    def __call__(self, item: str) -> Work[np.ndarray]:
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        return self._work(*item.split())

    def _work(self, number: str, size: str) -> Work[np.ndarray]:
        assert current_thread() is not main_thread()
        if number == "unreadable":
            raise InputError("cannot be read")
        found = []
        for _ in range(self.slices):
            lr = np.full((1, 1, *map(int, size.split("x"))), float(number), np.float32)
            restored = yield Request(lr, [number], Sampling(), self.most)
            assert current_thread() is not main_thread()
            found.append(np.asarray(restored.image))
        return np.concatenate(found)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as pool:
        yield pool


def done(works: Works, items: Sequence[str], model: Counting, threads: ThreadPoolExecutor, **options: Any) -> dict:
    """What became of each item: its result, or its error."""
    found: dict[str, Any] = {}
    options = {"batch": 4, "size": lambda item: 1, **options}
    for item, result in together(works, iter(items), model, threads=threads, **options):
        works.under_way -= 1
        try:
            found[item] = result()
        except InputError as error:
            found[item] = error
    assert found.keys() == set(items)
    return found


def test_batches_are_whole_the_same_each_time_and_each_gets_its_own(threads: ThreadPoolExecutor) -> None:
    items = [f"{number / 50:g} {'3x5' if number % 3 else '4x4'}" for number in range(1, 43)]
    batches = []
    for _ in range(3):
        model, works = Counting(), Works()
        for item, image in done(works, items, model, threads).items():
            number, size = item.split()
            rows, columns = map(int, size.split("x"))
            np.testing.assert_allclose(image, np.full((1, 1, 2 * rows, 2 * columns), float(number)), atol=1e-6)
        batches.append(model.batches)
        assert works.peak <= AHEAD * 4
    assert batches[0] == batches[1] == batches[2]
    assert sorted(map(len, batches[0]), reverse=True)[:10] == [4] * 10
    assert sum(map(len, batches[0])) == len(items)


def test_sizes_that_all_differ_do_not_wait_for_each_other_for_ever(threads: ThreadPoolExecutor) -> None:
    model = Counting()
    done(Works(), [f"0.5 {side}x{side}" for side in range(2, 40)], model, threads)
    assert set(map(len, model.batches)) == {1}


def test_works_that_ask_several_times_are_mixed_with_others(threads: ThreadPoolExecutor) -> None:
    model, works = Counting(), Works(slices=3)
    found = done(works, [f"{number / 10:g} 3x5" for number in range(1, 9)], model, threads)
    assert {image.shape for image in found.values()} == {(3, 1, 6, 10)}
    assert sum(map(len, model.batches)) == 24


def test_no_batch_exceeds_what_its_requests_allow(threads: ThreadPoolExecutor) -> None:
    """Requests of four slices, which is all that may be restored at a time; then of eight."""

    def work(item: int) -> Work[int]:
        for _ in range(5):
            yield Request(np.full((4, 1, 3, 5), 0.5, np.float32), [str(item)] * 4, Sampling(), most)
        return item

    for most in (4, 8):
        model = Counting()
        restored = together(work, iter(range(12)), model, threads=threads, batch=most, size=lambda item: 1)
        assert {result() for _, result in restored} == set(range(12))
        assert sum(map(len, model.batches)) == 12 * 5 * 4
        assert max(map(len, model.batches)) == most


def test_large_items_are_under_way_alone(threads: ThreadPoolExecutor) -> None:
    model, works = Counting(), Works()
    done(works, [f"{number / 10:g} 3x5" for number in range(1, 9)], model, threads, size=lambda item: LARGEST_AHEAD)
    assert (works.peak, set(map(len, model.batches))) == (1, {1})


def test_an_error_is_that_of_its_item_alone(threads: ThreadPoolExecutor) -> None:
    model = Counting()
    found = done(Works(), ["1 3x5", "unreadable 3x5", "0 3x5", "0.5 3x5", "0.7 3x5"], model, threads)
    assert str(found["unreadable 3x5"]) == "cannot be read"
    assert str(found["0 3x5"]) == "1 images, one of them black"
    assert [float(found[item].max()) for item in ("1 3x5", "0.5 3x5", "0.7 3x5")] == pytest.approx([1, 0.5, 0.7])
    assert list(map(len, model.batches)) == [4, 1, 1, 1, 1]


def test_a_fault_of_the_program_comes_out(threads: ThreadPoolExecutor) -> None:
    def work(item: str) -> Work[str]:
        yield Request(np.zeros((1, 1, 2, 2), np.float32), [item], Sampling(), 1)
        raise KeyError(item)

    ((_, result),) = together(work, ["a"], Bicubic(parse_degradation("bicubic:2")), threads=threads, batch=2, size=len)
    with pytest.raises(KeyError, match="a"):
        result()


def test_a_work_goes_on_after_an_error_that_it_takes() -> None:
    def work() -> Work[str]:
        try:
            yield Request(np.zeros((1, 1, 2, 2), np.float32), ["a"], Sampling(), 1)
        except InputError as error:
            return str(error)
        return ""

    one = work()
    assert isinstance(advance(one), Request)
    assert advance(one, InputError("no image")) == "no image"


def test_a_part_has_all_that_there_is_of_its_images() -> None:
    image, spread = np.arange(4.0), np.arange(4.0) + 10
    part = Restored(image, spread, mean=image).part(slice(1, 3))
    assert part.image.tolist() == [1, 2]
    assert part.spread is not None
    assert part.spread.tolist() == [11, 12]
    assert part.mean is part.image
    assert part.latents is part.interval is None
