"""A run: preflight -> plan -> execute -> rows -> tables."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from harness import environment
from harness.errors import UsageError
from harness.executors.local import Ended, LocalExecutor, Worker, WorkerFailed
from harness.plan import Plan, make_plan
from harness.protocol import (
    Cell,
    Keeping,
    Launch,
    Message,
    Progress,
    Reading,
    Request,
    Resolved,
    Samples,
    SelfCheck,
    Status,
)
from harness.rows import FIRST_SCHEMA, SCHEMA, Row
from harness.store import CHECKPOINT, MAY_GO_ON, PARAMETERS, RESULTS, CellRecord, RunFolder
from harness.suite import Overrides, Suite, load_suite
from harness.verdicts import Checks, unchecked

PATIENCE_S = 0.5  # how long a progress display may go without a refresh
CHECKPOINT_S = 60.0  # of work, at most, that a killed training loses
SELFCHECK_S = 120.0  # many times what it takes: one that hangs must not hang the run


@dataclass(frozen=True)
class Options:
    """What the command line says of a run."""

    suite: str
    overrides: Overrides = field(default_factory=Overrides)
    data_root: str | None = None
    out: Path | None = None
    timeout_s: float | None = None
    memory_budget: int | None = None
    """In place of the suite's own."""

    jobs: int | None = None
    retry: frozenset[str] = frozenset()
    dry_run: bool = False
    fail_fast: bool = False
    checkpoint_s: float = CHECKPOINT_S
    """Seconds between two checkpoints of a training."""

    keep_parameters: bool = False
    """Keep the meta-parameters that each training of this call selects."""


@dataclass(frozen=True)
class Outcome:
    """A cell that has ended, whichever way."""

    cell: Cell
    readings: list[Reading]
    samples: list[Samples]
    seconds: float

    @property
    def failures(self) -> list[Reading]:
        return [r for r in self.readings if r.status not in ("ok", "skipped")]

    @property
    def interrupted(self) -> bool:
        return any(r.status == "interrupted" for r in self.readings)


class Watcher(Protocol):
    """Who is told how a run goes."""

    def preparing(self, progress: Progress) -> None: ...

    def planned(self, plan: Plan, folder: Path, todo: list[Cell], jobs: int) -> None: ...

    def checked(self, found: Checks) -> None: ...

    def started(self, cell: Cell) -> None: ...

    def progressed(self, workers: list[Worker]) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    plan: Plan
    folder: Path
    statuses: frozenset[str]
    """Of all headline rows of the plan's cells."""

    ran: int
    """Cells that this call has run."""


def run(options: Options, watcher: Watcher) -> Result:
    """Do what `options` ask for, or what of it is missing.

    Raises UsageError before anything is written, StoreError where the folder cannot be written,
    KeyboardInterrupt with the rows of what was done in place.
    """
    suite = load_suite(options.suite, options.overrides)
    budget = budget_of(options, suite)
    with LocalExecutor() as executor:
        resolved = resolve(executor, suite.request(options.data_root, budget), watcher.preparing)
        plan = make_plan(suite, resolved, data_root=options.data_root, memory_budget=budget)
        path = options.out or RESULTS / plan.run_id
        jobs = options.jobs or default_jobs(suite, resolved)
        if options.dry_run:
            finished = RunFolder(path).finished() if RunFolder(path).is_run() else {}
            watcher.planned(plan, path, missing(plan, finished, options.retry), jobs)
            return Result(plan, path, frozenset(), 0)
        folder = RunFolder.create(path)
        with folder.lock():
            refuse_another_plan(folder, plan)
            folder.recover()
            folder.write_manifest(plan.manifest(suite, environment.command_line()))
            finished = folder.finished()
            drop_old_checkpoints(folder, finished)
            todo = missing(plan, finished, options.retry)
            if todo or not folder.environment_path.exists():
                folder.write_environment(describe(resolved, suite))  # of the call that measured
            watcher.planned(plan, path, todo, jobs)
            if todo:
                watcher.checked(check_instruments(executor, folder, resolved, suite, todo))
            try:
                execute(todo, folder, executor, watcher, plan, options, jobs, finished)
            finally:
                if folder.finished():
                    folder.derive_tables()
            return Result(plan, path, statuses_of(plan, folder.finished()), len(todo))


def resolve(executor: LocalExecutor, request: Request, preparing: Callable[[Progress], None]) -> Resolved:
    """What the preflight found. The first to meet a dataset decodes it, which may take minutes: `preparing`
    is told how far that is.

    Raises UsageError.
    """

    def hear(message: Message) -> None:
        if isinstance(message, Progress):
            preparing(message)

    found: Resolved = executor.ask(request, hear=hear)
    return found


def refuse_another_plan(folder: RunFolder, plan: Plan) -> None:
    """One folder is one plan: the tables and plots of another would stay behind and mislead."""
    if not folder.manifest_path.exists():
        return
    manifest = folder.manifest()
    if (schema := manifest.get("schema", FIRST_SCHEMA)) != SCHEMA:
        raise UsageError(
            f"{folder.path} was written in schema {schema}, this innerloop writes schema {SCHEMA}: "
            "update it, or name another folder with --out."
        )
    if (other := manifest.get("run_id")) != plan.run_id:
        raise UsageError(
            f"{folder.path} holds the run {other}, which asked for something else than {plan.run_id}; "
            "name another folder with --out."
        )


def budget_of(options: Options, suite: Suite) -> int | None:
    """The virtual limit in bytes: the command line's, or else the suite's own."""
    return suite.memory_budget if options.memory_budget is None else options.memory_budget


def drop_old_checkpoints(folder: RunFolder, finished: Mapping[str, CellRecord]) -> None:
    """Those of cells that are done, should the last call have ended between their rows and this."""
    for cell_id, record in finished.items():
        if not record.may_go_on:
            folder.drop_checkpoint(cell_id)


def default_jobs(suite: Suite, resolved: Resolved) -> int:
    """As many cells at once as there are cores for; one on a GPU, which cells would share."""
    if resolved.device != "cpu":
        return 1
    return max(1, environment.usable_cores() // suite.content.threads)


def describe(resolved: Resolved, suite: Suite) -> dict[str, Any]:
    """The environment as it is kept with the run; the adapters' libraries are among the packages."""
    facts = environment.describe_machine() | resolved.environment | {"threads": suite.content.threads}
    for method in resolved.methods:
        facts["packages"] |= method.libraries
    return facts


def check_instruments(
    executor: LocalExecutor, folder: RunFolder, resolved: Resolved, suite: Suite, todo: list[Cell]
) -> Checks:
    """Hold the instruments against known quantities, and keep with the run what came of it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        found: Checks = executor.ask(
            SelfCheck(resolved.device, suite.content.threads, quick=True), SELFCHECK_S
        )
    except WorkerFailed as failure:
        found = Checks(resolved.device, [unchecked("selfcheck", str(failure))])
    machine = environment.describe_hardware()
    of_whom = {"time": now, "machine": machine, "cells": [cell.id for cell in todo]}
    folder.add_selfcheck(of_whom | found.as_json())
    return found


def missing(plan: Plan, finished: Mapping[str, CellRecord], retry: frozenset[str]) -> list[Cell]:
    """The cells to run: those without rows, the interrupted, and the failed that `--retry` names."""

    def is_missing(cell: Cell) -> bool:
        record = finished.get(cell.id)
        return record is None or record.interrupted or bool(record.headline_statuses & retry)

    return [cell for cell in plan.cells if is_missing(cell)]


def statuses_of(plan: Plan, finished: Mapping[str, CellRecord]) -> frozenset[str]:
    return frozenset(
        status for cell in plan.cells if cell.id in finished for status in finished[cell.id].headline_statuses
    )


def execute(
    todo: list[Cell],
    folder: RunFolder,
    executor: LocalExecutor,
    watcher: Watcher,
    plan: Plan,
    options: Options,
    jobs: int,
    finished: Mapping[str, CellRecord],
) -> None:
    """Run the cells and write the rows of each as it ends."""
    waiting = deque(todo)
    known: dict[str, list[Reading]] = {}  # readings that no process of the cell will make again
    spent: dict[str, float] = {}
    unfit = dict(_unfit(folder, plan))
    beside: set[str] = set()  # cells that have shared the machine with another
    alone: set[str] = set()  # cells that ran out of memory so, and are to have all of it

    def keep(outcome: Outcome) -> None:
        attempt = finished[outcome.cell.id].attempt + 1 if outcome.cell.id in finished else 1
        for table in outcome.samples:
            folder.write_samples(outcome.cell.id, table.name, table.columns)
        rows = _rows(plan, outcome, attempt)
        folder.append_cell(outcome.cell.id, attempt, rows)
        if not any(row.is_headline and row.status in MAY_GO_ON for row in rows):
            folder.drop_checkpoint(outcome.cell.id)
        if outcome.cell.measure == "memory":
            unfit.pop(_key(outcome.cell, 0), None)  # what an earlier attempt found no longer counts
            unfit.update((_key(outcome.cell, 0), r.detail) for r in outcome.failures if r.status == "oom")
        watcher.ended(outcome)
        if options.fail_fast and outcome.failures:
            waiting.clear()

    def believe(outcome: Outcome) -> None:
        """Keep it, unless others may have taken the memory that it lacked: then it is run again, alone."""
        cell = outcome.cell
        if cell.id in alone or cell.id not in beside or not any(map(_lacked_memory, outcome.failures)):
            keep(outcome)
            return
        alone.add(cell.id)
        known[cell.id] = list(_foregone(cell, unfit))
        # After the last of its measure: others make room for it but once, and time still learns of it.
        peers = [i for i, other in enumerate(waiting, 1) if other.measure == cell.measure]
        waiting.insert(max(peers, default=0), cell)

    def start(cell: Cell) -> None:
        if cell.id not in known:
            known[cell.id] = list(_foregone(cell, unfit))
            watcher.started(cell)
        without = frozenset(_over(cell, known[cell.id]))
        if len(without) == len(cell.points):
            keep(Outcome(cell, known[cell.id], [], 0.0))
            return
        place = folder.cell_folder(cell.id)
        parameters = str(place / PARAMETERS) if options.keep_parameters else None
        keeping = Keeping(str(place / CHECKPOINT), options.checkpoint_s, parameters)
        executor.start(Launch(cell, without, keeping), place / "log", options.timeout_s)
        if len(executor.workers) > 1:
            beside.update(w.launch.cell.id for w in executor.workers)

    def spend(worker: Worker) -> None:
        cell = worker.launch.cell
        spent[cell.id] = spent.get(cell.id, 0.0) + time.monotonic() - worker.started

    def finish(worker: Worker, end: Ended) -> None:
        cell = worker.launch.cell
        spend(worker)
        if end.how == "done":
            believe(Outcome(cell, known[cell.id] + worker.readings, worker.samples, spent[cell.id]))
            return
        known[cell.id] += [r for r in worker.readings if _survives(r, cell)]
        left = _left(cell, known[cell.id])
        # A point that ends its process leaves the block; the others get a process of their own.
        guilty = worker.at if end.how != "killed" and worker.at in left else None
        blamed = left if guilty is None else [guilty]
        known[cell.id] += [_failure(cell, point, end) for point in blamed]
        if left != blamed:
            waiting.appendleft(cell)
            return
        believe(Outcome(cell, known[cell.id], [], spent[cell.id]))

    try:
        while waiting or executor.workers:
            while waiting and _may_start(waiting[0], executor, jobs, alone):
                start(waiting.popleft())
            for worker, event in executor.wait(PATIENCE_S):
                if isinstance(event, Ended):
                    finish(worker, event)
            watcher.progressed(executor.workers)
    except KeyboardInterrupt:
        for worker in list(executor.workers):
            worker.kill()
            cell = worker.launch.cell
            spend(worker)
            stopped = Ended("killed", "the run was interrupted")
            readings = [_failure(cell, point, stopped) for point in range(len(cell.points))]
            with contextlib.suppress(KeyboardInterrupt):
                keep(Outcome(cell, readings, [], spent[cell.id]))
        executor.workers.clear()
        raise


def _may_start(cell: Cell, executor: LocalExecutor, jobs: int, alone: set[str]) -> bool:
    """Time cells run alone, whatever `--jobs` says, and so do the cells of `alone`."""
    at_work = [w.launch.cell for w in executor.workers]
    if any(c.measure == "time" or c.id in alone for c in (cell, *at_work)):
        return not at_work
    return len(at_work) < jobs


def _lacked_memory(reading: Reading) -> bool:
    """Whether the memory of the machine ran out, which others share; a virtual budget is a cell's own."""
    return reading.status == "oom" and "virtual budget" not in reading.detail


def _foregone(cell: Cell, unfit: Mapping[tuple[str, ...], str]) -> Iterator[Reading]:
    """Readings of points that need no process: there is no method to run, or memory showed that none fits."""
    for i, point in enumerate(cell.points):
        metric = cell.headline
        if point.method.missing:
            yield Reading(i, metric, None, "", status="skipped", detail=point.method.missing)
        elif point.method.broken:
            yield Reading(i, metric, None, "", status="error", detail=point.method.broken)
        elif cell.measure == "time" and _key(cell, i) in unfit:
            yield Reading(i, metric, None, "", status="oom", detail=unfit[_key(cell, i)])


def _survives(reading: Reading, cell: Cell) -> bool:
    """Whether a reading counts though its process did not come to its end: how a point failed, and what
    memory had read beside its headline (a prediction, say). A block's rounds do not: they are taken anew."""
    if reading.metric == cell.headline:
        return reading.status != "ok"
    return cell.measure == "memory"


def _over(cell: Cell, known: list[Reading]) -> set[int]:
    """The points of which it is known how they ended."""
    return {r.point for r in known if r.metric == cell.headline and r.status != "ok"}


def _left(cell: Cell, known: list[Reading]) -> list[int]:
    """The points of which that is not known yet."""
    return [i for i in range(len(cell.points)) if i not in _over(cell, known)]


def _failure(cell: Cell, point: int, end: Ended) -> Reading:
    status: Status = "error"
    match end.how:
        case "timeout":
            status = "timeout"
        case "oom":
            status = "oom"
        case "killed":
            status = "interrupted"
    return Reading(point, cell.headline, None, "", status=status, detail=end.why)


def _key(cell: Cell, point: int) -> tuple[str, ...]:
    """What a memory cell and a time cell have in common when they speak of the same step."""
    p = cell.points[point]
    step = cell.settings.model_dump(include={"meta_batch_size", "task_chunk", "execution", "precision"})
    parts = (cell.workload.label, p.method.name, p.method.settings, p.inner_steps, cell.seed, step)
    return tuple(map(str, parts))


def _unfit(folder: RunFolder, plan: Plan) -> Iterator[tuple[tuple[str, ...], str]]:
    """The points that the plan's finished memory cells have shown not to fit, with the reason."""
    memory = {cell.id: cell for cell in plan.cells if cell.measure == "memory"}
    for row in folder.rows():
        if row.status == "oom" and row.cell_id in memory:
            yield _key(memory[row.cell_id], 0), row.detail


def _rows(plan: Plan, outcome: Outcome, attempt: int) -> list[Row]:
    cell = outcome.cell
    return [
        Row(
            run_id=plan.run_id,
            cell_id=cell.id,
            attempt=attempt,
            suite=plan.suite,
            workload=cell.workload.label,
            method=cell.points[r.point].method.name,
            settings=cell.points[r.point].method.settings,
            inner_steps=cell.points[r.point].inner_steps,
            seed=cell.seed,
            repeat=r.repeat,
            measure=cell.measure,
            metric=r.metric,
            value=r.value,
            unit=r.unit,
            status=r.status,
            detail=r.detail,
        )
        for r in outcome.readings
    ]
