"""One process of its own: it runs a cell, or the preflight, and tells its parent over a pipe.

The forkserver imports this module once, so that a new worker has torch loaded and no device open.
"""

import faulthandler
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from harness import registry
from harness.adapter_files import blame, place
from harness.conformance.kit import CHECKS, Check, findings
from harness.conformance.subject import Subject
from harness.core.precision import Reduced
from harness.errors import UsageError
from harness.measure.accuracy import measure_accuracy
from harness.measure.bench import Bench
from harness.measure.calm import CalmCheck
from harness.measure.gradient import measure_gradient
from harness.measure.memory import measure_memory
from harness.measure.sampling import time_sampling
from harness.measure.time import PointFailed, measure_time, warm_up
from harness.measure.tracker import VirtualOutOfMemory
from harness.measure.wall import find_wall
from harness.measure_settings import MeasureSettings, SteppingSettings, TimeSettings
from harness.memory_limit import limited_to_available
from harness.numerics import fix_numerics
from harness.preflight import list_methods, list_workloads, numeric_code, preflight
from harness.protocol import (
    At,
    Cell,
    Conformance,
    Crashed,
    Done,
    Launch,
    Listing,
    Message,
    Progress,
    Reading,
    Refused,
    Request,
    Sampled,
    Samples,
    Sampling,
    Search,
    SelfCheck,
    Status,
    Task,
    Wall,
)
from harness.selfcheck.checks import selfcheck
from harness.training.checkpoint import Checkpoints, say
from harness.training.generators import seed_generators
from harness.training.meta_learner import Diverged
from harness.training.returned import WrongReturn
from harness.verdicts import LOADS, Conformed, Finding
from harness.workloads.base import Tasks
from harness.workloads.decoded import heard_by

Send = Callable[[Message], None]

# The first optimiser makes torch load its compiler, 2 s: once in the forkserver, not once a cell.
torch.optim.SGD([torch.zeros(1)], lr=1.0)

ASKED = re.compile(r"(DefaultCPUAllocator): .*allocate (\d+) bytes")  # what it says where memory runs out

OWN_WORDS = (VirtualOutOfMemory, Diverged, registry.Changed, WrongReturn, UsageError)
"""Failures that say all that there is to say."""

PROGRESS_INTERVAL_S = 0.25  # often enough for an eye, rare enough to disturb nothing


def main(parent: Connection, task: Task, log: str) -> None:
    """The body of a worker process. What it prints goes to `log`."""
    # A group of its own: a timeout kills what a cell started too, and Ctrl-C reaches the parent alone.
    os.setsid()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    faulthandler.enable()  # where native code crashed, for the log
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    try:
        _answer(task, parent.send)
        parent.send(Done())
    except UsageError as failure:
        parent.send(Refused(str(failure)))
    except Exception as failure:
        traceback.print_exc()
        parent.send(Crashed(blame(failure)))
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to clean up: torch's teardown would only add to what a cell costs.
    os._exit(0)


def _die_with(parent: Connection) -> None:
    """End this process and what it started as soon as the parent is gone, however it went."""
    try:
        parent.recv()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


def _answer(task: Task, send: Send) -> None:
    report = _progress(send)
    with heard_by(lambda done, of: report(Progress(done / of, f"{done} of {of} classes decoded"))):
        match task:
            case Request():
                send(preflight(task))
            case Launch():
                run_cell(task, send)
            case Search():
                send(run_search(task))
            case SelfCheck():
                send(selfcheck(task))
            case Sampling():
                send(run_sampling(task, send))
            case Conformance():
                check_conformance(task, send)
            case "methods":
                send(Listing(list_methods()))
            case "workloads":
                send(Listing(list_workloads()))


def run_cell(launch: Launch, send: Send) -> None:
    """Everything that the cell's measure reads. A point that fails leaves a reading with its status."""
    cell = launch.cell
    tasks = settle(cell)
    if changed := what_changed(cell, tasks):
        for i in set(range(len(cell.points))) - launch.without:
            send(failed(cell, i, registry.Changed(changed)))
        return
    if cell.measure == "time":
        _run_block(launch, tasks, send)
        return
    send(At(0))
    instruments: dict[str, Callable[[Bench], Iterator[Reading | Samples]]] = {
        "memory": measure_memory,
        "gradient": measure_gradient,
        "accuracy": partial(measure_accuracy, progress=_progress(send), **_kept(launch)),
    }
    measure = instruments[cell.measure]
    try:
        with _memory_limit(cell):
            headlines = []  # sent last: a point that fails in a later pass has failed, and that alone
            for reading in measure(make_bench(cell, 0, tasks)):
                if isinstance(reading, Reading) and reading.metric == cell.headline:
                    headlines.append(reading)
                else:
                    send(reading)
        for headline in headlines:
            send(headline)
    except Exception as failure:
        send(failed(cell, 0, failure))


def _kept(launch: Launch) -> dict[str, Any]:
    """What `measure_accuracy` is told of the files that it may keep."""
    keeping = launch.keeping
    if keeping is None:
        return {}
    return {
        "checkpoints": Checkpoints(Path(keeping.checkpoint), launch.cell.id, keeping.every_s, say),
        "keep_at": Path(keeping.parameters) if keeping.parameters else None,
    }


def check_conformance(task: Conformance, send: Send) -> None:
    """Send what every check reads of the method, or that it is broken. Raises UsageError for a name or a
    setting that is not there."""
    fix_numerics(task.threads, deterministic=False)
    method = registry.resolve_method(task.spec, inner_steps=1)
    if method.broken:
        send(Finding(LOADS, "", None, None, "", "failed", method.broken))
    if not method.runs:
        send(Conformed(method.missing))
        return
    _, cls = registry.load_method(task.spec.name, task.spec.where)
    subject = Subject(cls, task.spec.settings, task.spec.where)

    def begins(check: Check) -> None:
        send(Progress(CHECKS.index(check) / len(CHECKS), check.name))

    for finding in findings(subject, begins):
        send(finding)
    send(Conformed())


def settle(cell: Cell) -> Tasks:
    """Set this process up for a cell. Returns the tasks of its workload."""
    fix_numerics(cell.threads, cell.deterministic, cell.tf32)
    seed_generators(cell.seed)
    workload = registry.make_workload(cell.workload.spec)
    return workload.open(Path(cell.data_root) if cell.data_root else None)


def run_search(search: Search) -> Wall:
    """Where the cell's method outgrows the budget."""
    cell = search.cell
    tasks = settle(cell)

    def bench_at(inner_steps: int) -> Bench:
        point = replace(cell.points[0], inner_steps=inner_steps)
        return make_bench(replace(cell, points=(point,)), 0, tasks)

    with _memory_limit(cell):  # `verify` runs steps on either side of the wall
        return find_wall(bench_at, search)


def run_sampling(asked: Sampling, send: Send) -> Sampled:
    """What the episodes of a meta-batch cost. Raises UsageError for what the command line got wrong."""
    fix_numerics(asked.threads, deterministic=False)
    workload = registry.make_workload(asked.workload)
    method = registry.resolve_method(asked.method, asked.inner_steps)
    if not method.runs:
        raise UsageError(f"{asked.method.name} cannot be run: {method.missing or method.broken}.")
    bench = Bench(
        method=registry.make_method(method, asked.inner_steps),
        workload=workload,
        tasks=workload.open(Path(asked.data_root) if asked.data_root else None),
        model=workload.model(),
        settings=MeasureSettings(meta_batch_size=asked.meta_batch_size),
        seed=0,
        device=torch.device("cpu"),
        memory_budget=None,
    )
    return time_sampling(bench, asked.rounds, send)


def _run_block(launch: Launch, tasks: Tasks, send: Send) -> None:
    cell = launch.cell
    settings = cell.settings
    assert isinstance(settings, TimeSettings)
    contestants = []
    for i in range(len(cell.points)):
        if i in launch.without:
            continue
        send(At(i))
        try:
            with _memory_limit(cell):
                contestants.append(warm_up(make_bench(cell, i, tasks), i))
        except Exception as failure:
            send(failed(cell, i, failure))
            continue
        for reading in contestants[-1].work_readings(cell.block):
            send(reading)
    calm = CalmCheck()
    timed = set()  # who fails in a later round leaves what was timed before it
    done = 0
    while done < settings.rounds and contestants:
        try:
            with _memory_limit(cell):
                readings = measure_time(
                    contestants,
                    done,
                    settings.rounds,
                    cell.block,
                    cell.seed,
                    torch.device(cell.device),
                    starting=lambda point: send(At(point)),
                )
        except PointFailed as end:
            # The point leaves the rotation, and the others take the round again without it.
            contestants = [c for c in contestants if c.point != end.point]
            reading = failed(cell, end.point, end.failure)
            send(replace(reading, repeat=cell.block * settings.rounds + done))
            continue
        for reading in readings:
            timed.add(reading.point)
            send(reading)
        done += 1
        send(Progress(done / settings.rounds, f"round {done} of {settings.rounds}"))
    for reading in calm.readings(sorted(timed), cell.block):
        send(reading)


def _memory_limit(cell: Cell) -> AbstractContextManager[None]:
    """None on a GPU: CUDA maps large ranges of addresses into the process, and has limits of its own."""
    return limited_to_available() if cell.device == "cpu" else nullcontext()


def what_changed(cell: Cell, tasks: Tasks) -> str:
    """What is no longer as the preflight saw it, and so as the cell's id says; empty if nothing is."""
    if tasks.fingerprint != cell.workload.fingerprint:
        return f"the data of {cell.workload.spec.name} changed during the run"
    if numeric_code() != cell.code:
        return "innerloop itself changed during the run"
    return ""


def make_bench(cell: Cell, point: int, tasks: Tasks) -> Bench:
    """The cell's point, ready to step."""
    workload = registry.make_workload(cell.workload.spec)
    model = workload.model()
    if isinstance(cell.settings, SteppingSettings) and cell.settings.precision != "float32":
        model = Reduced(model, torch.bfloat16)
    return Bench(
        method=registry.make_method(cell.points[point].method, cell.points[point].inner_steps),
        workload=workload,
        tasks=tasks,
        model=model,
        settings=cell.settings,
        seed=cell.seed,
        device=torch.device(cell.device),
        memory_budget=cell.memory_budget,
    )


def failed(cell: Cell, point: int, failure: Exception) -> Reading:
    """The reading of a point that raised: its status, and the reason in a sentence."""
    status: Status = "error"
    if isinstance(failure, VirtualOutOfMemory) or _is_out_of_memory(failure):
        status = "oom"
    elif isinstance(failure, Diverged):
        status = "diverged"
    elif isinstance(failure, registry.Changed):
        status = "interrupted"  # counts as missing: the same command plans it anew
    else:
        traceback.print_exc()
    file = str(Path(cell.points[point].method.spec.name.rpartition(":")[0]).resolve())
    detail = str(failure) if isinstance(failure, OWN_WORDS) else blame(failure, [file])
    if status == "oom" and (asked := ASKED.search(str(failure))):
        detail = (
            f"{asked[1]} was asked for {int(asked[2]):,} bytes, more than was left{place(failure, [file])}"
        )
    return Reading(point, cell.headline, None, "", status=status, detail=detail)


def _is_out_of_memory(failure: Exception) -> bool:
    """CUDA has an exception for it; the CPU's allocator is told by its name in the message, and other native
    code by C++'s own exception, of which torch's bindings make a RuntimeError."""
    if isinstance(failure, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(failure)
    return isinstance(failure, RuntimeError) and ("DefaultCPUAllocator" in said or "std::bad_alloc" in said)


def _progress(send: Send) -> Callable[[Progress], None]:
    last = 0.0

    def report(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= PROGRESS_INTERVAL_S or progress.fraction >= 1:
            last = now
            send(progress)

    return report
