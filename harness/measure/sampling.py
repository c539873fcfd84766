"""What the episodes of a meta-batch cost: beside a meta-step on them, and beside another library's loader."""

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import Dataset

from harness import registry
from harness.core.seeds import generator
from harness.errors import LibraryMissing, UsageError
from harness.measure.bench import Bench
from harness.measure.loader_learn2learn import Example, OnDisk, in_memory, task_loader
from harness.measure_settings import MeasureSettings
from harness.numerics import fix_numerics
from harness.protocol import Progress, Sampled, Sampling
from harness.workloads.base import Split
from harness.workloads.images import ImageTasks

SEED = 0
SHORTEST_S = (
    0.02  # of one timing, in as many calls as that takes: a thousand times what a reading of the clock costs
)


@dataclass
class Contestant:
    """Something that is called over and over; `calls` at a time, numbered on so that none repeats another."""

    call: Callable[[int], object]
    calls: int = 1
    done: int = 0

    def warm_up(self) -> None:
        """Untimed, but for how many calls make a timing."""
        self.seconds()
        self.calls = max(1, round(SHORTEST_S / self.seconds()))

    def seconds(self) -> float:
        """CPU seconds of one call, the mean over `calls`. Nothing here waits for anything, and all of it is
        one thread's; by the wall's clock a busy machine would be in the way of long calls more than of
        short ones."""
        begin = time.process_time()
        for number in range(self.done, self.done + self.calls):
            self.call(number)
        spent = time.process_time() - begin
        self.done += self.calls
        return spent / self.calls


def time_sampling(asked: Sampling, progress: Callable[[Progress], None]) -> Sampled:
    """CPU seconds of every contestant in every round, all interleaved in random order.

    Raises UsageError for what the command line got wrong.
    """
    fix_numerics(asked.threads, deterministic=False)
    with tempfile.TemporaryDirectory() as folder:
        contestants, missing = _contestants(asked, Path(folder))
        for contestant in contestants.values():
            contestant.warm_up()
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(asked.rounds):
            for name in _order(list(contestants), number):
                gc.collect()
                gc.disable()
                try:
                    seconds[name].append(contestants[name].seconds())
                finally:
                    gc.enable()
            progress(Progress((number + 1) / asked.rounds, f"round {number + 1} of {asked.rounds}"))
    return Sampled(seconds, missing)


def _order(names: list[str], number: int) -> list[str]:
    """Of a round: at random."""
    return [names[i] for i in generator("order", SEED, number).permutation(len(names))]


def _contestants(asked: Sampling, folder: Path) -> tuple[dict[str, Contestant], str]:
    """By their names; and what to install, if the other library is absent. Files go into `folder`."""
    workload = registry.make_workload(asked.workload)
    tasks = workload.open(Path(asked.data_root) if asked.data_root else None)
    if not isinstance(tasks, ImageTasks):
        raise UsageError(
            f"data bench {asked.workload.name}: that is no workload of images; name one, such as glyphs."
        )
    method = registry.resolve_method(asked.method, asked.inner_steps)
    if not method.runs:
        raise UsageError(f"data bench: {asked.method.name} cannot be run: {method.missing or method.broken}.")
    bench = Bench(
        method=registry.make_method(method, asked.inner_steps),
        workload=workload,
        tasks=tasks,
        model=workload.model(),
        settings=MeasureSettings(meta_batch_size=asked.meta_batch_size),
        seed=SEED,
        device=torch.device("cpu"),
        memory_budget=None,
    )
    learner, batch = bench.learner(total_steps=1_000_000), bench.meta_batch()
    found = {"meta-step": Contestant(lambda number: learner.step(batch))}
    for split, name in _splits(tasks):

        def ours(number: int, split: Split = split) -> object:
            return tasks.sample(split, SEED, number * asked.meta_batch_size, asked.meta_batch_size)

        found[f"sampler, {name}"] = Contestant(ours)
        images = tasks.images_of(split)
        forms: dict[str, Dataset[Example]] = {"memory": in_memory(images), "files": OnDisk(images, folder)}
        for form, dataset in forms.items():
            try:
                load = task_loader(
                    dataset,
                    tasks.workload.ways,
                    tasks.workload.shots + tasks.workload.queries,
                    rotations=tasks.workload.turns(split) > 1,
                )
            except LibraryMissing as failure:
                return found, str(failure)

            def theirs(number: int, load: Callable[[int], object] = load) -> object:
                return load(asked.meta_batch_size)

            found[f"learn2learn from {form}, {name}"] = Contestant(theirs)
    return found, ""


def _splits(tasks: ImageTasks) -> Iterator[tuple[Split, str]]:
    """The training split, and where that turns its classes one that does not."""
    if tasks.workload.turns("train") == 1:
        yield "train", "upright"
        return
    yield "train", "rotated"
    yield "test", "upright"
