"""The resident peak of a process: what the kernel saw, in a process that has done nothing else.

A coarse reading: whole pages of the whole process, libraries and the C heap's habits included. It is here
because it is what an operating system limits, and because it is independent of torch.
"""

import ctypes
import gc
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): resets the peak resident set size (VmHWM) to the current one
SAMPLING_INTERVAL_S = 0.01
PR_SET_PDEATHSIG = 1  # prctl(2)


class Unreadable(Exception):
    """This machine does not give the reading: the reason in a sentence."""


@dataclass(frozen=True)
class ResidentPeak:
    """Bytes of this process. before: resident as the step began. peak: the kernel's high-water mark during
    it. sampled: the largest of memory_profiler's samples, taken by another process every 10 ms."""

    before: int
    peak: int
    sampled: int


def resident_peak(step: Callable[[], None]) -> ResidentPeak:
    """Read the resident peak of this process over `step`. Raises Unreadable without Linux' /proc.

    Never `ru_maxrss`: it inherits the parent's peak, and falls for nobody.
    """
    # In the process that reads, so that a cell without this reading does not load it.
    from memory_profiler import memory_usage

    gc.collect()
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
        before = _status("VmRSS")
    except OSError as failure:
        raise Unreadable(f"the resident peak needs Linux' {failure.filename}: {failure.strerror}") from None
    # `max_iterations`: else it would repeat a step that was too short for its samples.
    sampled = memory_usage((step, ()), interval=SAMPLING_INTERVAL_S, max_usage=True, max_iterations=1)
    return ResidentPeak(before, _status("VmHWM"), int(sampled * 2**20))


def _status(key: str) -> int:
    """A size in /proc/self/status, in bytes."""
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise Unreadable(f"{STATUS} has no {key}")


class FreshProcess:
    """Runs `function` in a fork of this process as it is now, however much this one does in between.

    For a process that has done nothing yet: no device open, no thread at work. Python objects made since the
    fork are unknown to the function.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        go, self._go = os.pipe()
        self._answer, answer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go)
            os.close(self._answer)
            _serve(function, go, answer)
        os.close(go)
        os.close(answer)

    def result(self) -> Any:
        """Let it run, and return what `function` returns or raise what it raises.

        Raises MemoryError if the process was killed, as the kernel does where memory runs out.
        """
        os.write(self._go, b"!")
        os.close(self._go)
        with os.fdopen(self._answer, "rb") as pipe:
            said = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        if not said:
            raise MemoryError(f"the fresh process ended early ({_end(status)})")
        answer = pickle.loads(said)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(function: Callable[[], Any], go: int, answer: int) -> None:
    """In the fork: wait for the word, answer, and be gone without the parent's clean-up."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed worker takes this one along
        if os.read(go, 1):  # nothing comes where the parent has gone without asking
            # memory_profiler samples from a process of its own; forking is safe here, with one thread.
            multiprocessing.set_start_method("fork", force=True)
            try:
                said = pickle.dumps(function())
            except Exception as failure:
                traceback.print_exc()
                said = pickle.dumps(_portable(failure))
            with os.fdopen(answer, "wb") as pipe:
                pipe.write(said)
    finally:
        os._exit(0)


def _portable(failure: Exception) -> Exception:
    """The exception itself if it survives a pipe, else its words."""
    try:
        pickle.loads(pickle.dumps(failure))
        return failure
    except Exception:
        return RuntimeError(f"{type(failure).__name__}: {failure}")


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit code {os.WEXITSTATUS(status)}"
