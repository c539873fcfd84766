"""`time`: wall-clock of a meta-step. One block times all points, interleaved in random order."""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from harness.core.episodes import TaskBatch
from harness.core.seeds import generator
from harness.core.work import Work, counting
from harness.measure.bench import Bench
from harness.measure.work import work_readings
from harness.protocol import Reading
from harness.training.meta_learner import MetaLearner


class PointFailed(Exception):
    """A contestant failed within a round, with its exception."""

    def __init__(self, point: int, failure: Exception) -> None:
        super().__init__(f"point {point} failed: {failure}")
        self.point = point
        self.failure = failure


@dataclass(frozen=True)
class Contestant:
    """A point that passed its warm-up. Every round steps from the same parameters; the outer rule's state,
    which costs the same whatever its values, moves on."""

    point: int
    step_in_words: str
    learner: MetaLearner
    batch: TaskBatch
    start: dict[str, torch.Tensor]
    work: Work = field(default_factory=Work)  # what the warm-up step asked of its objectives

    def work_readings(self, block: int) -> Iterator[Reading]:
        """What the warm-up step asked of its objectives."""
        support = self.batch.support.per_task
        return work_readings(self.point, [self.work], "the first meta-step", block, support=support)

    def rewind(self) -> None:
        for name, p in self.learner.meta.items():
            p.copy_(self.start[name])


def warm_up(bench: Bench, point: int) -> Contestant:
    """One whole step of the point, untimed, for what a first step makes, and counted, which no timed step
    is. Raises what the step raises."""
    bench.check_budget()
    learner, batch = bench.learner(total_steps=1_000_000), bench.meta_batch()
    start = {name: p.clone() for name, p in learner.meta.items()}
    with counting() as work:
        learner.step(batch)
    learner.check_finite("one meta-step")
    return Contestant(point, bench.step_in_words, learner, batch, start, work)


def measure_time(
    contestants: Sequence[Contestant],
    number: int,
    rounds: int,
    block: int,
    seed: int,
    device: torch.device,
    starting: Callable[[int], None] = lambda point: None,
) -> list[Reading]:
    """Round `number` of `rounds`: seconds of one meta-step of every contestant, in random order.

    Garbage is collected before and not during; a GPU is synchronised on both sides of a step.
    `starting` is told each point before its clock runs. Raises PointFailed for the first that raises.
    """
    order = generator("order", seed, block, number).permutation(len(contestants))
    readings = []
    gc.collect()
    gc.disable()
    try:
        for i in order:
            contestant = contestants[i]
            starting(contestant.point)
            try:
                seconds = time_step(contestant, device)
            except Exception as failure:
                raise PointFailed(contestant.point, failure) from failure
            repeat, detail = block * rounds + number, contestant.step_in_words
            readings.append(Reading(contestant.point, "step_seconds", seconds, "s", repeat, detail=detail))
    finally:
        gc.enable()
    return readings


def time_step(contestant: Contestant, device: torch.device) -> float:
    """Seconds of one meta-step from the contestant's start."""
    contestant.rewind()
    synchronise(device)
    begin = time.perf_counter()
    contestant.learner.step(contestant.batch)
    synchronise(device)
    return time.perf_counter() - begin


def synchronise(device: torch.device) -> None:
    """Wait for the device; the CPU is always there."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
