"""Cells in fresh local processes, from a forkserver that has torch loaded and no device open."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal, Self

from harness.errors import UsageError
from harness.protocol import (
    At,
    Conformance,
    Crashed,
    Done,
    Launch,
    Message,
    Progress,
    Reading,
    Refused,
    Request,
    Samples,
    Sampling,
    Search,
    SelfCheck,
    Task,
)

WORKER = "harness.worker"  # by name: the parent must not import torch
GRACE_S = 10.0  # for a process that has said its last word to be gone


class WorkerFailed(Exception):
    """A worker that was to check or list something came to no answer: one sentence. Exit code 1."""


@dataclass(frozen=True)
class Ended:
    """A worker is gone. `how` says whether it came to its end; `why` is a sentence where it did not."""

    how: Literal["done", "refused", "crashed", "timeout", "oom", "killed", "died"]
    why: str = ""


@dataclass
class Worker:
    """A process at work on a launch, and what it has said so far."""

    launch: Launch
    process: ForkServerProcess
    connection: Connection
    timeout_s: float | None
    oom_kills: int
    started: float = field(default_factory=time.monotonic)
    readings: list[Reading] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    at: int | None = None
    fraction: float = 0.0
    note: str = ""
    end: float | None = None
    """When it says that it will be done, on the monotonic clock."""

    since: float = field(default_factory=time.monotonic)

    @property
    def deadline(self) -> float | None:
        """When the point at work has had its time."""
        return None if self.timeout_s is None else self.since + self.timeout_s

    def kill(self) -> None:
        """End the process and its group at once, native code included."""
        self._kill_group()
        self.process.kill()
        self.close()

    def close(self) -> None:
        """Wait for a process that has said its last word; end it and what it started if need be."""
        self.process.join(GRACE_S)
        self._kill_group()
        if self.process.is_alive():
            self.process.kill()
            self.process.join(GRACE_S)
        self.connection.close()

    def _kill_group(self) -> None:
        _kill_group(self.process)


class LocalExecutor:
    """Starts workers and tells what becomes of them. A context manager: leaving it ends them all."""

    def __init__(self) -> None:
        # Workers print to their logs; what torch itself prints at import is no news to a user.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([WORKER])
        self.workers: list[Worker] = []
        self._asked: set[ForkServerProcess] = set()
        self._asking = threading.Lock()  # of `_asked` and `_closed`: several threads may ask
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            worker.kill()
        self.workers.clear()
        with self._asking:
            self._closed = True
            for process in self._asked:  # of other threads, each of which is told by the end of its process
                _kill_group(process)
                process.kill()

    def ask(
        self, task: Task, timeout_s: float | None = None, hear: Callable[[Any], None] = lambda message: None
    ) -> Any:
        """The answer to any task but a launch; fit for several threads at once. `hear` is told each message
        as it comes.

        Raises UsageError as the worker found it; WorkerFailed where it comes to no answer, in time or at all.
        """
        with self._asking:
            if self._closed:
                raise WorkerFailed(f"{_named(task)} was not begun: the run is at its end.")
            process, connection = self._spawn(task, os.devnull)
            self._asked.add(process)
        deadline = None if timeout_s is None else time.monotonic() + timeout_s

        def receive() -> Message:
            try:
                if deadline is not None and not connection.poll(max(0.0, deadline - time.monotonic())):
                    raise WorkerFailed(f"{_named(task)} came to no end within {timeout_s:g} s.")
                message: Message = connection.recv()
                return message
            except (EOFError, OSError):
                process.join(GRACE_S)
                how = exit_sentence(process.exitcode)
                raise WorkerFailed(
                    f"the process of {_named(task)} ended early ({how}): "
                    "look first at the code of adapters given by path."
                ) from None

        try:
            answer: Message | None = None
            while True:
                message = receive()
                match message:
                    case Done():
                        return answer
                    case Refused(sentence):
                        raise UsageError(sentence)
                    case Crashed(sentence):
                        raise WorkerFailed(f"{_named(task)} failed with {sentence}.")
                hear(message)
                answer = message
        finally:
            with self._asking:
                self._asked.discard(process)
            _kill_group(process)
            process.kill()
            process.join(GRACE_S)
            connection.close()

    def start(self, launch: Launch, log: Path, timeout_s: float | None) -> Worker:
        """A worker on its way."""
        oom_kills = count_oom_kills()
        process, connection = self._spawn(launch, str(log))
        worker = Worker(launch, process, connection, timeout_s, oom_kills)
        self.workers.append(worker)
        return worker

    def wait(self, patience_s: float) -> Iterator[tuple[Worker, Progress | Ended]]:
        """What happened within `patience_s`: progress of workers, and their ends."""
        deadlines = [w.deadline for w in self.workers if w.deadline is not None]
        pause = max(0.0, min([patience_s, *(d - time.monotonic() for d in deadlines)]))
        by_connection = {w.connection: w for w in self.workers}
        for ready in wait(list(by_connection), pause):
            yield from self._hear(by_connection[ready])  # type: ignore[index]
        for worker in list(self.workers):
            if worker.deadline is not None and time.monotonic() >= worker.deadline:
                worker.kill()
                yield self._end(
                    worker,
                    "timeout",
                    f"no end within {worker.timeout_s:g} s; the process was killed",
                )

    def _hear(self, worker: Worker) -> Iterator[tuple[Worker, Progress | Ended]]:
        """Take all that the worker has said."""
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                match message:
                    case Reading():
                        worker.readings.append(message)
                    case Samples():
                        worker.samples.append(message)
                    case At(point):
                        worker.at, worker.since = point, time.monotonic()
                    case Progress(fraction, note, left_s):
                        worker.fraction, worker.note = fraction, note
                        worker.end = None if left_s is None else time.monotonic() + left_s
                        yield worker, message
                    case Done() | Refused() | Crashed():
                        worker.close()
                        how: Any = type(message).__name__.lower()
                        yield self._end(worker, how, getattr(message, "sentence", ""))
                        return
        except (EOFError, OSError):
            worker.process.join(GRACE_S)
            yield self._death(worker)

    def _death(self, worker: Worker) -> tuple[Worker, Ended]:
        code = worker.process.exitcode
        worker.kill()
        if code == -signal.SIGKILL and count_oom_kills() > worker.oom_kills:
            return self._end(worker, "oom", "the kernel killed the process: the machine's memory ran out")
        if code is not None and -code in (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            return self._end(worker, "killed", f"killed from outside ({exit_sentence(code)})")
        return self._end(worker, "died", exit_sentence(code))

    def _end(self, worker: Worker, how: Any, why: str) -> tuple[Worker, Ended]:
        self.workers.remove(worker)
        return worker, Ended(how, why)

    def _spawn(self, task: Task, log: str) -> tuple[ForkServerProcess, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, task, log))
        process.start()
        theirs.close()
        return process, ours


def _work(connection: Connection, task: Task, log: str) -> None:
    """In the new process: hand over to the worker, which the forkserver has loaded."""
    import importlib

    importlib.import_module(WORKER).main(connection, task, log)


def _kill_group(process: ForkServerProcess) -> None:
    """End what the process leads, which is all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # type: ignore[arg-type]


def _named(task: Task) -> str:
    """What the task is to a user."""
    match task:
        case Request():
            return "the check of what was asked for"
        case Search(cell):
            return f"the search for the wall of {cell.points[0].method.name}"
        case SelfCheck():
            return "the selfcheck"
        case Sampling(workload):
            return f"the bench of {workload.name}"
        case Conformance(spec):
            return f"the check of {spec.name}"
    return "the listing"


def exit_sentence(code: int | None) -> str:
    """How a process ended, in words."""
    if code is None:
        return "it does not answer"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def count_oom_kills() -> int:
    """Processes that this machine's kernel has killed for want of memory so far; 0 where it is not told."""
    try:
        lines: Sequence[str] = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
