from latentsr.training.crops import StepBatches


def test_a_resumed_run_sees_the_samples_that_are_left() -> None:
    whole = list(StepBatches(lambda: 0, steps=6, batch=3))
    assert list(StepBatches(lambda: 4, steps=2, batch=3)) == whole[4:]


def test_processes_share_the_samples_without_overlap() -> None:
    parts = [list(StepBatches(lambda: 2, steps=2, batch=2, rank=rank, processes=2)) for rank in range(2)]
    seen = sorted(n for part in parts for batch in part for n in batch)
    assert seen == list(range(8, 16))
