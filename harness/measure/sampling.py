"""What the episodes of a meta-batch cost: beside a meta-step on them, and beside another library's loader."""

import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.seeds import generator
from harness.errors import LibraryMissing, UsageError
from harness.measure.bench import Bench
from harness.measure.loader_learn2learn import OnDisk, in_memory, load_learn2learn, task_loader
from harness.protocol import Progress, Sampled
from harness.workloads.base import Split
from harness.workloads.images import ImageTasks

SEED = 0
CLASSES_ON_DISK = 50  # at least; what an access costs does not hang on how many there are
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


def time_sampling(bench: Bench, rounds: int, progress: Callable[[Progress], None]) -> Sampled:
    """CPU seconds of every contestant in every round, all interleaved in random order. The bench has the
    meta-step, its meta-batch and the tasks that both sample.

    Raises UsageError where they are not of images.
    """
    with tempfile.TemporaryDirectory() as folder:
        contestants, missing = _contestants(bench, Path(folder))
        for contestant in contestants.values():
            contestant.warm_up()
        seconds: dict[str, list[float]] = {name: [] for name in contestants}
        for number in range(rounds):
            for name in _order(list(contestants), number):
                gc.collect()
                gc.disable()
                try:
                    seconds[name].append(contestants[name].seconds())
                finally:
                    gc.enable()
            progress(Progress((number + 1) / rounds, f"round {number + 1} of {rounds}"))
    return Sampled(seconds, missing)


def _order(names: list[str], number: int) -> list[str]:
    """Of a round: at random."""
    return [names[i] for i in generator("order", SEED, number).permutation(len(names))]


def _contestants(bench: Bench, folder: Path) -> tuple[dict[str, Contestant], str]:
    """By their names; and what to install, if the other library is absent. Files go into `folder`."""
    tasks, size = bench.tasks, bench.settings.meta_batch_size
    if not isinstance(tasks, ImageTasks):
        raise UsageError(
            f"data bench {bench.workload.name}: that is no workload of images; name one, such as glyphs."
        )
    learner, batch = bench.learner(total_steps=1_000_000), bench.meta_batch()
    found = {"meta-step": Contestant(lambda number: learner.step(batch))}
    missing = _absent()
    for split, name in _splits(tasks):

        def ours(number: int, split: Split = split) -> object:
            return tasks.sample(split, SEED, number * size, size)

        found[f"sampler, {name}"] = Contestant(ours)
        if missing:
            continue
        w, images = tasks.workload, tasks.images_of(split)
        files = OnDisk(images[: max(CLASSES_ON_DISK, w.ways)], folder / split)
        for form, dataset in (("memory", in_memory(images)), ("files", files)):
            load = task_loader(dataset, w.ways, w.shots + w.queries, rotations=w.turns(split) > 1)

            def theirs(number: int, load: Callable[[int], object] = load) -> object:
                return load(size)

            found[f"learn2learn from {form}, {name}"] = Contestant(theirs)
    return found, missing


def _absent() -> str:
    """What to install for learn2learn; empty where it is there."""
    try:
        load_learn2learn()
    except LibraryMissing as failure:
        return str(failure)
    return ""


def _splits(tasks: ImageTasks) -> Iterator[tuple[Split, str]]:
    """The training split, and where that turns its classes one that does not."""
    if tasks.workload.turns("train") == 1:
        yield "train", "upright"
        return
    yield "train", "rotated"
    yield "validation", "upright"
