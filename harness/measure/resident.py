"""The resident peak of a process: what the kernel saw, in a process that has done nothing else.

A coarse reading: whole pages of the whole process, libraries and the C heap's habits included. It is here
because it is what an operating system limits, and because it is independent of torch.
"""

import ctypes
import gc
import os
import pickle
import select
import signal
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): resets the peak resident set size (VmHWM) to the current one
SAMPLING_INTERVAL_S = 0.01
PR_SET_PDEATHSIG = 1  # prctl(2)
READY = b"!"


class Unreadable(Exception):
    """This machine does not give the reading: the reason in a sentence."""


@dataclass(frozen=True)
class ResidentPeak:
    """Bytes of a process. before: resident as its step began. peak: the kernel's high-water mark during it.
    sampled: the largest of memory_profiler's samples, taken by another process every 10 ms."""

    before: int
    peak: int
    sampled: int


class FreshProcess:
    """A fork of this process as it is now, in which one step is read, however much this one does in between.

    To be made before this process has computed anything or opened a device: a fork takes along neither the
    threads of torch nor the device. `prepare` makes the step, in the fork. Raises Unreadable where the system
    does not tell the peak.
    """

    def __init__(self, prepare: Callable[[], Callable[[], object]]) -> None:
        if not CLEAR_REFS.exists():
            raise Unreadable(f"the resident peak needs Linux' {CLEAR_REFS}, which is not here")
        go, self._go = os.pipe()
        self._answer, answer = os.pipe()
        with warnings.catch_warnings():
            # Of threads: the worker's only other one waits for its parent, and holds no lock.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            os.close(self._go)
            os.close(self._answer)
            _serve(prepare, go, answer)
        os.close(go)
        os.close(answer)

    def read(self) -> ResidentPeak:
        """Let it take its step, sampled from here. Raises what the step raises.

        A process that ended without an answer is a MemoryError if it was killed, as the kernel does where
        memory runs out, and a RuntimeError otherwise.
        """
        # Where it is needed, so that a cell without this reading does not load it.
        from memory_profiler import memory_usage

        os.write(self._go, READY)
        os.close(self._go)
        sampled = 0.0
        with os.fdopen(self._answer, "rb", buffering=0) as pipe:
            said = pipe.read(len(READY))
            while said and not select.select([pipe], [], [], 0)[0]:
                # One sample a call, and a pause of the interval.
                sample = memory_usage(self._pid, interval=SAMPLING_INTERVAL_S, max_usage=True)
                sampled = max(sampled, sample)
            said = pipe.read()
        _, status = os.waitpid(self._pid, 0)
        if not said:
            killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            raise (MemoryError if killed else RuntimeError)(f"the fresh process ended early ({_end(status)})")
        answer = pickle.loads(said)
        if isinstance(answer, Exception):
            raise answer
        before, peak = answer
        return ResidentPeak(before, peak, int(sampled * 2**20))


def _serve(prepare: Callable[[], Callable[[], object]], go: int, answer: int) -> None:
    """In the fork: wait for the word, answer, and be gone without the parent's clean-up."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed worker takes this one along
        if os.read(go, 1):  # nothing comes where the parent has gone without asking
            os.write(answer, _said(prepare, answer))
    finally:
        os._exit(0)


def _said(prepare: Callable[[], Callable[[], object]], answer: int) -> bytes:
    """What is known after the step, or the exception. Tells as the step begins.

    Never `ru_maxrss`: it inherits the parent's peak, and falls for nobody.
    """
    told = False
    try:
        step = prepare()
        gc.collect()
        CLEAR_REFS.write_text(RESET_PEAK)
        before = _status("VmRSS")
        told = bool(os.write(answer, READY))
        step()
        return pickle.dumps((before, _status("VmHWM")))
    except BaseException as failure:  # an adapter may call sys.exit
        traceback.print_exc()
        return (b"" if told else READY) + pickle.dumps(_portable(failure))


def _status(key: str) -> int:
    """A size in /proc/self/status, in bytes."""
    for line in STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise Unreadable(f"{STATUS} has no {key}")


def _portable(failure: BaseException) -> Exception:
    """The exception itself if it survives a pipe, else its words."""
    try:
        pickle.loads(pickle.dumps(failure))
    except Exception:
        pass
    else:
        if isinstance(failure, Exception):
            return failure
    return RuntimeError(f"{type(failure).__name__}: {failure}")


def _end(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"
