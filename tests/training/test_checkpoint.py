from pathlib import Path

import pytest
import torch

from latentsr.errors import InputError
from latentsr.training.checkpoint import LastCheckpoint


def test_a_whole_checkpoint_is_found_and_a_cut_one_is_one_line(tmp_path: Path) -> None:
    checkpoint = LastCheckpoint(tmp_path, {})
    assert checkpoint.found() is None
    torch.save({"a": torch.zeros(9)}, checkpoint.path)
    assert checkpoint.found() == checkpoint.path
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"last\.ckpt: cut off or altered; remove it"):
        checkpoint.found()
