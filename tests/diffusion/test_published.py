"""The published sampler: its walk along the first entries of the noise table, and spread over all of it."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from latentsr.diffusion.published import RESPACED, PublishedSampling, published_alphas
from latentsr.errors import OptionError

COSINE = PublishedSampling(table="cosine")
NOISE = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def walked(steps: int, solver: str | None = None, process: PublishedSampling = COSINE) -> tuple[Tensor, list[int]]:
    """The result and the times of a walk with the exact network of latents that are normal with an sd of 1."""
    alphas, times = published_alphas(process.table, process.timesteps), []

    def network(z: Tensor, time: Tensor) -> Tensor:
        times.append(int(time[0]))
        return alphas[times[-1]].sqrt() * z

    return process.sample(network, NOISE, NOISE, steps=steps, solver=solver), times


def test_all_entries_respaced_are_the_whole_walk() -> None:
    whole, respaced = walked(1000), walked(1000, RESPACED)
    assert torch.equal(respaced[0], whole[0])
    assert respaced[1] == whole[1] == list(range(1000))


@pytest.mark.parametrize("steps", [2, 7, 16, 100, 999])
def test_respaced_steps_are_even_from_the_first_entry_to_the_last(steps: int) -> None:
    _, times = walked(steps, RESPACED)
    gaps = {after - before for before, after in pairwise(times)}
    assert (times[0], times[-1], len(times)) == (0, 999, steps)
    assert max(gaps) - min(gaps) <= 1
    assert COSINE.last_alpha(steps, RESPACED) == pytest.approx(1, abs=1e-4)
    assert COSINE.last_alpha(steps) == pytest.approx(float(published_alphas("cosine")[steps - 1]))


def test_only_the_truncation_keeps_a_hundred_steps_from_the_whole_walk() -> None:
    whole, respaced, truncated = (walked(*given)[0] for given in ((1000,), (100, RESPACED), (100,)))
    assert (respaced - whole).square().mean().sqrt() < 0.02 * whole.std()
    assert truncated.std() < 0.3 * whole.std()  # next to no noise was taken away: an estimate near the mean


@pytest.mark.parametrize(
    ("table", "solver", "words"), [("cosine", "ddim", RESPACED), ("flow", RESPACED, "leave solver")]
)
def test_other_solvers_are_refused(table: str, solver: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        PublishedSampling(table=table).check(100, solver)
