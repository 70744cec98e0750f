from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d, interpolate

from latentsr.errors import OptionError
from latentsr.tiling import apply_tiled, balanced_tiles, blend_weights

lengths = st.integers(1, 90)
tiles = st.integers(4, 40)


def picture(rows: int, columns: int, channels: int = 2) -> torch.Tensor:
    return torch.randn(2, channels, rows, columns, generator=torch.Generator().manual_seed(0))


@given(length=lengths, tile=tiles, share=st.floats(0, 0.99))
def test_tiles_cover_the_axis_and_overlap_enough(length: int, tile: int, share: float) -> None:
    overlap = int(share * tile)
    starts, side = balanced_tiles(length, tile, overlap)
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert side <= tile
    assert starts[-1] + side == length
    assert all(left + side - right >= overlap for left, right in pairwise(starts))


@given(length=lengths, tile=tiles, share=st.floats(0, 0.99))
def test_no_more_tiles_than_needed_and_none_larger(length: int, tile: int, share: float) -> None:
    overlap = int(share * tile)
    starts, side = balanced_tiles(length, tile, overlap)
    count = len(starts)
    assert count == 1 or (count - 1) * tile - (count - 2) * overlap < length
    assert side == min(tile, 4 * overlap) or count * (side - 1) - (count - 1) * overlap < length


def test_tiles_are_balanced() -> None:
    assert balanced_tiles(256, 144, 16) == ([0, 120], 136)
    assert balanced_tiles(512, 144, 16) == ([0, 124, 248, 372], 140)
    assert balanced_tiles(256, 128, 16) == ([0, 80, 160], 96)
    assert balanced_tiles(80, 64, 16) == ([0, 16], 64)  # 48 would see too little around it
    assert balanced_tiles(40, 40, 10) == ([0], 40)


@given(length=lengths, tile=tiles, share=st.floats(0, 0.9))
def test_weights_sum_to_one_at_every_pixel(length: int, tile: int, share: float) -> None:
    starts, side = balanced_tiles(length, tile, int(share * tile))
    total = np.zeros(length)
    for start, weights in zip(starts, blend_weights(length, side, starts), strict=True):
        assert (weights >= 0).all()
        total[start : start + len(weights)] += weights
    assert np.allclose(total, 1, atol=1e-6)


def test_weights_are_one_where_a_tile_is_alone_and_fade_to_nothing_at_its_border() -> None:
    weights = blend_weights(40, 24, [0, 16])
    assert (weights[0, :16] == 1).all()
    assert (np.diff(weights[0, 16:]) < 0).all()
    assert weights[0, -1] < 0.05
    assert weights[1, 0] < 0.05
    assert np.abs(np.diff(weights[0])).max() < 0.25


@given(rows=st.integers(1, 50), columns=st.integers(1, 50), tile=st.integers(8, 30))
def test_a_pointwise_function_is_the_same_in_tiles(rows: int, columns: int, tile: int) -> None:
    inputs = picture(rows, columns)
    tiled = apply_tiled(torch.sin, inputs, tile=tile, overlap=4)
    assert torch.allclose(tiled, torch.sin(inputs), atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(40, 56), (16, 64), (64, 16)])
def test_a_function_that_enlarges_or_reduces_is_the_same_in_tiles(rows: int, columns: int) -> None:
    def doubled(x: torch.Tensor) -> torch.Tensor:
        return interpolate(x, scale_factor=2, mode="nearest")

    inputs = picture(rows, columns)
    assert torch.allclose(apply_tiled(doubled, inputs, tile=24, overlap=8, enlarges=2.0), doubled(inputs), atol=1e-5)
    reduced = apply_tiled(lambda x: avg_pool2d(x, 4), inputs, tile=24, overlap=8, enlarges=0.25)
    assert torch.allclose(reduced, avg_pool2d(inputs, 4), atol=1e-5)


def test_no_piece_is_larger_than_the_tile_and_no_tile_means_one_piece() -> None:
    seen: list[tuple[int, ...]] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape))
        return x[:, :1]

    inputs = picture(50, 20)
    assert apply_tiled(function, inputs, tile=24, overlap=8).shape == (2, 1, 50, 20)
    assert set(seen) == {(2, 2, 24, 20)}
    seen.clear()
    assert torch.equal(apply_tiled(function, inputs, tile=None, overlap=8), inputs[:, :1])
    assert torch.equal(apply_tiled(function, inputs, tile=50, overlap=8), inputs[:, :1])
    assert seen == [(2, 2, 50, 20)] * 2


def test_tiles_start_and_end_at_the_multiples_that_a_network_needs() -> None:
    """Odd starts would shift what a network of several scales halves."""
    rows = torch.arange(104.0)[:, None].expand(1, 1, 104, 104)
    seen: list[tuple[float, float]] = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append((float(x[0, 0, 0, 0]), float(x[0, 0, -1, 0]) + 1))
        return x

    assert torch.allclose(apply_tiled(function, rows, tile=48, overlap=4, multiple=8), rows, atol=1e-4)
    assert sorted(set(seen)) == [(0, 40), (32, 72), (64, 104)]


def test_tiles_that_disagree_leave_no_step_at_their_borders() -> None:
    """Each tile answers with its own constant, the worst case: the blend goes from one to the other evenly."""
    answers = iter(range(100))
    blended = apply_tiled(lambda x: torch.full_like(x, next(answers)), picture(24, 120), tile=24, overlap=12)
    assert blended[0, 0, 0].diff().abs().max() < 0.2


def test_an_overlap_as_large_as_the_tile_is_refused() -> None:
    with pytest.raises(OptionError, match="overlap 16: expected an overlap smaller than the tile"):
        apply_tiled(torch.sin, picture(40, 40), tile=16, overlap=16)
