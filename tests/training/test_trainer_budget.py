import pytest

from latentsr.errors import OptionError
from latentsr.training.trainer import Budget


def test_share_of_steps() -> None:
    budget = Budget(steps=10, minutes=None)
    assert [budget.share(step) for step in (0, 5, 10, 12)] == [0.0, 0.5, 1.0, 1.0]


def test_whichever_ends_first_counts_and_earlier_runs_count_too() -> None:
    budget = Budget(steps=100, minutes=2)
    budget.load_state_dict({"elapsed": 90.0})
    assert budget.share(10) == 0.75
    assert budget.share(90) == 0.9
    assert budget.state_dict() == {"elapsed": 90.0}


def test_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    budget = Budget(steps=1000, minutes=None)
    rates = [budget.learning_rate(step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[100] == pytest.approx(max(rates), rel=0.02)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[1000] == pytest.approx(0.01)


def test_a_training_without_end_is_refused() -> None:
    with pytest.raises(OptionError, match="option steps or minutes"):
        Budget(steps=None, minutes=None)


def test_what_is_reserved_is_a_quarter_of_the_minutes_at_most_and_none_of_the_steps() -> None:
    budget = Budget(steps=None, minutes=2)
    budget.load_state_dict({"elapsed": 45.0})
    assert budget.share(1) == 45 / 120
    budget.reserve(20)
    assert budget.share(1) == 45 / 100
    budget.reserve(1000)
    assert budget.share(1) == 45 / 90
    assert budget.left() == 75
    budget = Budget(steps=10, minutes=None)
    budget.reserve(1000)
    assert (budget.share(5), budget.left()) == (0.5, float("inf"))
