import numpy as np
import pytest
import torch

from latentsr.errors import OptionError
from latentsr.stats.table import check_seed


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_what_is_let_through_numpy_and_torch_take(seed: int) -> None:
    check_seed(seed)
    np.random.default_rng(seed)
    torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seed", [-1, -(2**70), 2**63, 2**70])
def test_all_else_is_one_line(seed: int) -> None:
    with pytest.raises(
        OptionError, match=f"the option seed is {seed}: expected a whole number from 0 to 9223372036854775807$"
    ):
        check_seed(seed)
