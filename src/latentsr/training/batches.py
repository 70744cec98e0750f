"""Which samples make up a training step: a function of the step alone, so that a resumed run sees the same ones."""

from collections.abc import Callable, Iterator

from torch.utils.data import Sampler


class StepBatches(Sampler[list[int]]):
    """The sample numbers of `steps` successive batches, from step `first()` on.

    Sample numbers never repeat: sample n belongs to step n // (batch x processes), and a dataset makes of it whatever
    a generator seeded by (seed, n) draws. Workers and number of epochs change nothing.
    """

    def __init__(self, first: Callable[[], int], *, steps: int, batch: int, rank: int = 0, processes: int = 1) -> None:
        self.first = first
        self.steps = steps
        self.batch = batch
        self.rank = rank
        self.processes = processes

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        begin = self.first()
        for step in range(begin, begin + self.steps):
            start = (step * self.processes + self.rank) * self.batch
            yield list(range(start, start + self.batch))
