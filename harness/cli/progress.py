"""How a run shows itself: bars on a terminal, plain lines elsewhere, both with the time that is left."""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.executors.local import Worker
from harness.plan import Plan
from harness.protocol import Cell, Progress
from harness.run import Outcome
from harness.verdicts import Checks

PREPARING_S = 10.0  # between two lines on what comes before the first cell
SILENCE_S = 60.0  # after which a plain line says how far a cell at work has come
OVERHEAD_STEPS = 4  # what a cell costs besides its inner steps, in inner steps: only for estimates


class Estimate:
    """Time left, from how long like cells took. Says nothing before it knows something."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.waiting: dict[str, Cell] = {}
        self.seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def learn(self, cell: Cell, seconds: float) -> None:
        for key in _kin(cell):
            self.seconds[key].append(seconds / _size(cell))

    def of(self, cell: Cell) -> float | None:
        """Seconds that the cell will take, by the closest kin that has ended."""
        for key in _kin(cell):
            if self.seconds[key]:
                return _size(cell) * sum(self.seconds[key]) / len(self.seconds[key])
        return None

    def left(self, workers: list[Worker]) -> str:
        """Time until all is done, in words: "over ..." as long as no cell of some measure has ended."""
        parts = [(self.left_of(w), w.launch.cell) for w in workers]
        parts += [(self.of(cell), cell) for cell in self.waiting.values()]
        known = sum(seconds / self._lanes(cell) for seconds, cell in parts if seconds is not None)
        if not known:
            return ""
        over = "over " if any(seconds is None for seconds, _ in parts) else ""
        return f"{over}{clock(known)} left"

    def left_of(self, worker: Worker) -> float | None:
        """Seconds until the worker's cell is done, by its own word, by its progress or by its kin."""
        if worker.end is not None:
            return max(0.0, worker.end - time.monotonic())
        spent = time.monotonic() - worker.started
        whole = self.of(worker.launch.cell)
        if worker.fraction > 0.05:
            own = spent / worker.fraction
            whole = own if whole is None else worker.fraction * own + (1 - worker.fraction) * whole
        return None if whole is None else max(0.0, whole - spent)

    def _lanes(self, cell: Cell) -> int:
        return 1 if cell.measure == "time" else self.jobs


def _kin(cell: Cell) -> list[tuple[str, ...]]:
    methods = "+".join(p.method.name for p in cell.points)
    return [(cell.measure, cell.workload.label, methods), (cell.measure,)]


def _size(cell: Cell) -> int:
    return sum(OVERHEAD_STEPS + p.inner_steps for p in cell.points)


def clock(seconds: float | None) -> str:
    """`3m 05s`; a dash where nothing is known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def headline(outcome: Outcome) -> str:
    """What a cell found, in a few words."""
    # What an instrument could not read beside the headline is no news of the cell.
    told = [r for r in outcome.readings if r.metric == outcome.cell.headline]
    missed = outcome.failures or [r for r in told if r.status == "skipped"]
    if missed:
        points = outcome.cell.points
        what = f"{points[missed[0].point].label} " if len(points) > 1 else ""
        more = f" (and {len(missed) - 1} of its points more)" if len(missed) > 1 else ""
        return f"{what}{missed[0].status}: {missed[0].detail}{more}"
    values = {r.metric: r.value for r in outcome.readings if r.value is not None}
    for score in ("accuracy", "loss"):
        if score in values:
            return f"{score} {values[score]:.3f} ±{values.get(f'{score}_ci95', float('nan')):.3f}"
        if (selected := f"selected_validation_{score}") in values:
            return f"validation {score} {values[selected]:.3f}"
    for metric in ("rel_error_implicit", "rel_error_unrolled"):
        if metric in values:
            return f"relative error {values[metric]:.1e} ({metric.removeprefix('rel_error_')})"
    if "peak_bytes" in values:
        return f"peak {values['peak_bytes'] / 2**20:.1f} MiB"
    if "step_seconds" in values:
        return f"{len(told)} steps timed, {len(outcome.cell.points)} points"
    return "nothing read"


class Preparation:
    """Tells, every so often, how far the data is that has to be decoded first."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.told = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now - self.told >= PREPARING_S:
            self.told = now
            self.say(f"preparing the data: {progress.note}")


class Board:
    """What both displays keep: how many cells there are, are done, and how long the rest will take."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0
        self.workers: list[Worker] = []
        self.estimate = Estimate(1)
        self.preparing = Preparation(self.say)

    def planned(self, plan: Plan, folder: Path, todo: list[Cell], jobs: int) -> None:
        self.done = 0
        self.total = len(todo)
        learned = self.estimate.seconds  # of earlier trials of a search
        self.estimate = Estimate(jobs)
        self.estimate.seconds = learned
        self.estimate.waiting = {cell.id: cell for cell in todo}
        kept = len(plan.cells) - len(todo)
        again = f", {kept} finished before" if kept else ""
        cells = f"{len(todo)} of {len(plan.cells)} cells to run{again}"
        self.say(f"{plan.suite}: {cells}, {jobs} at once, into {folder}")

    def trial(self, number: int, of: int) -> None:
        self.say(f"trial {number} of {of} of every method:")

    def checked(self, found: Checks) -> None:
        if found.failed:
            names = ", ".join(dict.fromkeys(check.instrument for check in found.failed))
            self.say(f"warning: failed its selfcheck: {names}; look at `innerloop selfcheck` before the rows")

    def started(self, cell: Cell) -> None:
        self.estimate.waiting.pop(cell.id, None)

    def progressed(self, workers: list[Worker]) -> None:
        self.workers = list(workers)

    def ended(self, outcome: Outcome) -> None:
        self.done += 1
        self.workers = [w for w in self.workers if w.launch.cell.id != outcome.cell.id]
        # 0 s where no process was needed; neither that nor a part of a cell tells how long the others take.
        if outcome.seconds and not outcome.interrupted:
            self.estimate.learn(outcome.cell, outcome.seconds)

    def say(self, text: str) -> None:
        try:
            print(text, flush=True)
        except OSError as failure:
            # Whoever was reading has gone, as in `innerloop run SUITE | head`, or a disk is full: the run
            # goes on unheard. What is still to be flushed would else fail the start of the next process.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(failure, BrokenPipeError):
                print(
                    f"innerloop: {failure.strerror}; the run goes on, and prints nothing more.",
                    file=sys.stderr,
                )


class Plain(Board):
    """One line a cell, for logs and pipes, and one a minute on each cell that takes longer."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, float] = {}  # of a cell at work, when it was last spoken of

    def progressed(self, workers: list[Worker]) -> None:
        super().progressed(workers)
        now = time.monotonic()
        for worker in workers:
            cell = worker.launch.cell
            if now - max(worker.started, self.told.get(cell.id, 0.0)) >= SILENCE_S:
                self.told[cell.id] = now
                self.say(f"  {cell.label}: {self.at(worker)}")

    def at(self, worker: Worker) -> str:
        """`meta-step 300 of 2000, validation accuracy 0.812, 4.1 meta-steps/s, 6m 55s left`"""
        left = self.estimate.left_of(worker)
        said = [worker.note or "at work", f"{clock(left)} left" if left is not None else ""]
        return ", ".join(filter(None, said))

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        left = "" if outcome.interrupted else self.estimate.left(self.workers)
        rest = f", {left}" if left else ""
        took = clock(outcome.seconds)
        self.say(f"[{self.done}/{self.total}] {outcome.cell.label}: {headline(outcome)} ({took}{rest})")


@contextmanager
def watcher() -> Iterator[Board]:
    """The display that fits where the output goes."""
    if not sys.stdout.isatty():
        yield Plain()
        return
    from harness.cli.bars import Bars

    with Bars() as bars:
        yield bars
