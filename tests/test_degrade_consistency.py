import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latentsr.degrade import enlarge, parse_degradation, project, residual

OPERATORS = ["bicubic:2", "bicubic:4", "lanczos:4", "area:4", "kspace:4", "blur:1,bicubic:4", "blur:1,down:2,up:2"]

seeds = st.integers(0, 2**31)
sides = st.integers(1, 5)


def images(seed: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(2, 3, 1, rows * 8, columns * 8, generator=generator)
    return draw[0], draw[1]


@pytest.mark.parametrize("text", OPERATORS)
@settings(max_examples=15)
@given(seed=seeds, rows=sides, columns=sides)
def test_the_projection_has_exactly_the_lr(text: str, seed: int, rows: int, columns: int) -> None:
    operator = parse_degradation(text)
    truth, guess = images(seed, rows, columns)
    lr = operator.apply(truth)
    projected = project(guess, lr, operator)
    assert projected.dtype == guess.dtype
    assert (operator.apply(projected) - lr).abs().max() < 1e-5
    assert residual(projected, lr, operator).shape == (3, 1)
    assert residual(projected, lr, operator).max() < 1e-5 < 0.01 < residual(guess, lr, operator).min()


@pytest.mark.parametrize("text", OPERATORS)
@settings(max_examples=15)
@given(seed=seeds, rows=sides, columns=sides)
def test_the_projection_never_raises_the_squared_error(text: str, seed: int, rows: int, columns: int) -> None:
    operator = parse_degradation(text)
    truth, guess = images(seed, rows, columns)
    projected = project(guess, operator.apply(truth), operator)
    before, after = ((x.double() - truth).square().sum((1, 2, 3)) for x in (guess, projected))
    assert (after <= before * (1 + 1e-6)).all()
    assert (after < before).all()  # random images differ in the range of A too


@pytest.mark.parametrize("text", OPERATORS)
def test_projecting_twice_or_what_fits_already_changes_nothing(text: str) -> None:
    operator = parse_degradation(text)
    truth, guess = images(0, 3, 4)
    lr = operator.apply(truth)
    once = project(guess, lr, operator)
    assert torch.allclose(project(once, lr, operator), once, atol=2e-6)
    assert torch.allclose(project(truth, lr, operator), truth, atol=2e-6)


def test_any_lr_is_met_also_one_that_no_rounding_left_in_the_range() -> None:
    operator = parse_degradation("bicubic:4")
    lr = torch.rand(2, 1, 7, 13, generator=torch.Generator().manual_seed(0))
    assert residual(project(enlarge(lr, 4), lr, operator), lr, operator).max() < 1e-5
