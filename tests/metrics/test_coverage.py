import numpy as np
import pytest
import torch

from latentsr.errors import InputError
from latentsr.metrics.coverage import PARTS, coverage, half_width, roi_coverage


def test_shares_are_those_of_numpy_quarter_by_quarter() -> None:
    draw = torch.Generator().manual_seed(0)
    hr, sr = (torch.rand(2, 1, 20, 30, generator=draw) for _ in range(2))
    interval = 0.5 * torch.rand(2, 1, 20, 30, generator=draw)
    found = coverage(sr, hr, interval)
    for image in range(2):
        inside = ((sr - hr).abs() <= interval)[image].numpy().ravel()
        expected = [inside.mean()]
        for values in (interval[image].numpy().ravel(), sr[image].numpy().ravel()):
            expected += [part.mean() for part in np.split(inside[values.argsort()], 4)]
        assert found[image].tolist() == pytest.approx(expected, abs=1e-6)
    assert len(PARTS) == found.shape[1]
    assert torch.allclose(half_width(interval), interval.mean(dim=(1, 2, 3)))


def test_the_end_of_an_interval_is_inside_and_equal_widths_are_one_quarter() -> None:
    sr = torch.tensor([[0.25, 0.5], [0.75, 1.0]])[None, None]
    hr = sr - torch.tensor([[0.125, 0.25], [0.125, 0.25]])
    found = coverage(sr, hr, torch.full_like(sr, 0.125))[0]
    assert found[0] == 0.5
    assert found[1] == 0.5  # all pixels
    assert found[2:5].isnan().all()
    assert found[5:].tolist() == [1, 0, 1, 0]
    with pytest.raises(InputError, match="must be alike"):
        coverage(sr, hr, sr[..., :1])


def test_the_share_of_a_region_is_that_of_its_pixels() -> None:
    sr = torch.tensor([[0.25, 0.5], [0.75, 1.0]])[None, None]
    hr, half = sr - torch.tensor([[0.125, 0.25], [0.125, 0.25]]), torch.full_like(sr, 0.125)
    mask = torch.tensor([[1, 1], [2, 0]])[None, None]
    assert roi_coverage(sr, hr, half, mask).item() == pytest.approx(2 / 3)
    assert roi_coverage(sr, hr, half, torch.ones_like(mask)) == coverage(sr, hr, half)[0, 0]
    assert roi_coverage(sr, hr, half, torch.zeros_like(mask)).isnan()
