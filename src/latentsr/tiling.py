"""Overlapping tiles: a function applied to each and blended, so that memory is bounded by the tile."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from latentsr.device import Image, alike, resident
from latentsr.errors import OptionError

OVERLAP = 16  # latent px that neighbouring tiles share


def balanced_tiles(length: int, tile: int, overlap: int) -> tuple[list[int], int]:
    """Where tiles begin on one axis, and their side: evenly spread, each overlapping the next by at least `overlap`.

    As few as sides of at most `tile` permit, and then as small as covers the axis: what tiles share beyond the overlap
    is computed twice for nothing (three tiles of 128 on 256 compute half as much again, of 96 an eighth). But none is
    smaller than four overlaps, where `tile` is not: it would see too little around it.
    """
    if tile >= length:
        return [0], length
    if not 0 <= overlap < tile:
        raise OptionError(f"tile {tile} with overlap {overlap}: expected an overlap smaller than the tile")
    count = 1 + -(-(length - tile) // (tile - overlap))
    side = max(-(-(length + (count - 1) * overlap) // count), min(tile, 4 * overlap))
    return [round(i * (length - side) / (count - 1)) for i in range(count)], side


def blend_weights(length: int, tile: int, starts: tuple[int, ...]) -> NDArray[np.float32]:
    """The share of each tile in each of its pixels on one axis: (tiles, tile), adding up to one at every pixel.

    A raised cosine over the overlap, so that neither the value nor its slope jumps, and one where a tile is alone.
    """
    raw = np.ones((len(starts), tile))
    for i, (left, right) in enumerate(pairwise(starts)):
        shared = left + tile - right
        rise = np.sin((np.arange(shared) + 0.5) / shared * np.pi / 2) ** 2
        raw[i + 1, :shared] *= rise
        raw[i, tile - shared :] *= 1 - rise
    total = np.zeros(length)
    for start, weights in zip(starts, raw, strict=True):
        total[start : start + tile] += weights
    return np.stack([w / total[s : s + tile] for s, w in zip(starts, raw, strict=True)]).astype(np.float32)


def apply_tiled(
    function: Callable[..., Image], inputs: Image, *arguments: Image, tile: int | None, overlap: int,
    enlarges: float = 1.0, multiple: int = 1, beside: Image | None = None,
) -> Image:  # fmt: skip
    """`function` of `inputs` (batch, channels, rows, columns), computed in tiles of at most `tile` px and blended.

    The function takes a part of the inputs, the `arguments`, and the same part of `beside` where that is given.
    Tiles start at multiples of `multiple`, and their sides are such, as those of the inputs are.
    `enlarges` is the side of the function's output over that of its input; tiles must then start on whole pixels of
    both, so that tile, overlap and sides are multiples of 1 / enlarges where it is below 1. No `tile`: in one piece.
    """
    rows, columns = inputs.shape[-2:]
    if tile is None or tile >= max(rows, columns):
        return function(inputs, *arguments, *(() if beside is None else (beside,)))
    grid = math.lcm(multiple, max(1, round(1 / enlarges)))
    axes = []  # (part of the input, weights in output pixels) of each tile
    for length in (rows, columns):
        starts, side = balanced_tiles(length // grid, tile // grid, -(-overlap // grid))
        places = tuple(round(start * grid * enlarges) for start in starts)
        asked = (round(length * enlarges), round(side * grid * enlarges), places)
        weights = resident(blend_weights, asked, inputs.dtype, inputs.device)
        parts = [slice(start * grid, (start + side) * grid) for start in starts]
        axes.append(list(zip(parts, weights, strict=True)))
    output: Any = None
    for down_part, down in axes[0]:
        for across_part, across in axes[1]:
            part = (..., down_part, across_part)
            result: Image = function(inputs[part], *arguments, *(() if beside is None else (beside[part],)))
            if output is None:  # the number of channels is known from the first result on
                whole = (*result.shape[:2], round(rows * enlarges), round(columns * enlarges))
                output = np.zeros(whole, result.dtype) if isinstance(result, np.ndarray) else result.new_zeros(whole)
            y, x = round(down_part.start * enlarges), round(across_part.start * enlarges)
            share = alike(down[:, None] * across[None, :], result)
            output[..., y : y + result.shape[-2], x : x + result.shape[-1]] += share * result
    return cast(Image, output)
