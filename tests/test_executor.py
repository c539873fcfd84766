import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from runs import carrying, start, until, write_adapter, write_suite

from harness.errors import UsageError
from harness.executors.local import Ended, LocalExecutor, Worker, WorkerFailed, exit_sentence
from harness.plan import Plan, make_plan
from harness.protocol import Launch, Resolved
from harness.suite import Overrides, load_suite


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    with LocalExecutor() as executor:
        yield executor


def plan_of(executor: LocalExecutor, folder: Path, *methods: str, measure: str = "memory") -> Plan:
    suite = load_suite(str(write_suite(folder, measures=[measure], inner_steps="[1]")), Overrides(methods))
    resolved: Resolved = executor.ask(suite.request(None))
    return make_plan(suite, resolved, data_root=None, memory_budget=None)


def end_of(executor: LocalExecutor) -> Ended:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for _, event in executor.wait(0.1):
            if isinstance(event, Ended):
                return event
    raise AssertionError("no worker ended")


def trouble(
    executor: LocalExecutor, folder: Path, code: str, timeout_s: float | None = None
) -> tuple[Worker, Ended]:
    """A memory cell of an adapter that runs `code` first."""
    cell = plan_of(executor, folder, write_adapter(folder, "Trouble", code)).cells[0]
    worker = executor.start(Launch(cell), folder / "log", timeout_s)
    return worker, end_of(executor)


def living_in_group(group: int | None) -> list[str]:
    """Processes of a group that are no zombies."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, own = stat.read_text().rpartition(")")[2].split()[:3]
            if own == str(group) and state != "Z":
                found.append(stat.parent.name)
    return found


def test_a_worker_says_what_it_read_and_ends(executor: LocalExecutor, tmp_path: Path) -> None:
    worker = executor.start(Launch(plan_of(executor, tmp_path).cells[0]), tmp_path / "log", None)
    assert executor.workers == [worker]
    assert end_of(executor) == Ended("done")
    assert executor.workers == []
    assert {"peak_bytes", "baseline_bytes", "tracked_peak_bytes"} <= {r.metric for r in worker.readings}
    assert all(r.status == "ok" for r in worker.readings)
    assert worker.process.exitcode == 0


def test_bad_input_comes_back_as_one_sentence(executor: LocalExecutor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--method: method 'mmaml' is unknown; did you mean 'maml'\?$"):
        plan_of(executor, tmp_path, "mmaml")


def test_an_adapter_that_kills_the_check_is_told_from_a_bug(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import ctypes\nctypes.string_at(0)\n")
    with pytest.raises(WorkerFailed, match=r"what was asked for ended early \(signal SIGSEGV\): look"):
        plan_of(executor, tmp_path, f"{tmp_path}/deadly.py:Deadly")


def test_what_an_adapter_prints_goes_to_the_log(
    executor: LocalExecutor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, end = trouble(executor, tmp_path, "print('heard'); os.system('echo shouted')")
    assert end.how == "done"
    assert {"heard", "shouted"} <= {*(tmp_path / "log").read_text().split()}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("code", "how", "why"),
    [
        ("os._exit(3)", "died", "exit code 3"),
        ("sys.exit(4)", "died", "exit code 4"),
        ("ctypes.string_at(0)", "died", "signal SIGSEGV"),
        ("os.abort()", "died", "signal SIGABRT"),
        ("os.kill(os.getpid(), 9)", "killed", "killed from outside (signal SIGKILL)"),
    ],
)
def test_a_death_says_how(executor: LocalExecutor, tmp_path: Path, code: str, how: str, why: str) -> None:
    worker, end = trouble(executor, tmp_path, code)
    assert (end.how, end.why) == (how, why)
    assert worker.at == 0


def test_a_crash_in_native_code_leaves_its_place_in_the_log(executor: LocalExecutor, tmp_path: Path) -> None:
    trouble(executor, tmp_path, "ctypes.string_at(0)")
    log = (tmp_path / "log").read_text()
    assert "Segmentation fault" in log
    assert "trouble.py" in log


@pytest.mark.parametrize(
    "stuck",
    [
        "ctypes.PyDLL(None).sleep(60)",  # asleep, with the interpreter's lock: no Python runs any more
        "sum(range(10**12))",  # at work for hours within one call of C, which looks at no signal
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(60)",
    ],
    ids=["asleep", "at work", "deaf"],
)
def test_a_timeout_ends_native_code_and_what_it_started(
    executor: LocalExecutor, tmp_path: Path, stuck: str
) -> None:
    began = tmp_path / "began"
    code = f"os.system('sleep 61 & echo $! > {began}'); {stuck}"
    worker, end = trouble(executor, tmp_path, code, timeout_s=2.0)
    assert (end.how, end.why) == ("timeout", "no end within 2 s; the process was killed")
    assert began.read_text().strip().isdecimal()  # there was something to kill
    until(lambda: not living_in_group(worker.process.pid), "the whole group is gone", 10)


def test_the_clock_starts_anew_in_every_round(executor: LocalExecutor, tmp_path: Path) -> None:
    """A warm-up and two rounds of 0.9 s each are longer than the 2 s that each of them may take."""
    adapter = write_adapter(tmp_path, "Slow", "time.sleep(0.9)")
    cell = plan_of(executor, tmp_path, adapter, measure="time").cells[0]
    worker = executor.start(Launch(cell), tmp_path / "log", 2.0)
    assert end_of(executor) == Ended("done")
    assert [r.status for r in worker.readings if r.metric == "step_seconds"] == ["ok", "ok"]
    assert time.monotonic() - worker.started > 2.5


def test_what_a_cell_started_does_not_outlive_it(executor: LocalExecutor, tmp_path: Path) -> None:
    worker, end = trouble(executor, tmp_path, "os.system('sleep 61 & echo began')")
    assert end == Ended("done")
    assert "began" in (tmp_path / "log").read_text()
    until(lambda: not living_in_group(worker.process.pid), "the whole group is gone", 10)


def test_leaving_the_executor_ends_its_workers(tmp_path: Path) -> None:
    with LocalExecutor() as executor:
        cell = plan_of(executor, tmp_path, write_adapter(tmp_path, "Sleepy", "time.sleep(60)")).cells[0]
        worker = executor.start(Launch(cell), tmp_path / "log", None)
        until(lambda: (list(executor.wait(0.05)), worker.at)[1] == 0, "the worker begins")
    assert worker.process.exitcode == -signal.SIGKILL


def test_an_answer_that_does_not_come_is_not_waited_for(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "stuck.py").write_text("import time\ntime.sleep(60)\n")
    suite = load_suite(str(write_suite(tmp_path)), Overrides((f"{tmp_path}/stuck.py:Stuck",)))
    with pytest.raises(WorkerFailed, match=r"^the check of what was asked for came to no end within 2 s\.$"):
        executor.ask(suite.request(None), 2.0)


def test_what_goes_wrong_with_those_who_hear_is_not_blamed_on_the_process(executor: LocalExecutor) -> None:
    def hear(message: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        executor.ask("methods", hear=hear)


def test_leaving_the_executor_ends_what_other_threads_asked_and_lets_none_begin(tmp_path: Path) -> None:
    began = tmp_path / "began"
    code = f"import os, pathlib, time\npathlib.Path({str(began)!r}).write_text(str(os.getpid()))\n"
    (tmp_path / "stuck.py").write_text(f"{code}os.system('sleep 62 &')\ntime.sleep(62)\n")
    suite = load_suite(str(write_suite(tmp_path)), Overrides((f"{tmp_path}/stuck.py:Stuck",)))
    with ThreadPoolExecutor(1) as pool:
        with LocalExecutor() as executor:
            answer = pool.submit(executor.ask, suite.request(None))
            until(lambda: began.exists() and began.read_text(), "the check begins")
        with pytest.raises(WorkerFailed, match="ended early"):
            answer.result(20)
    until(lambda: not living_in_group(int(began.read_text())), "the whole group is gone", 10)
    with pytest.raises(WorkerFailed, match="was not begun"):
        executor.ask("methods")


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path, "Sleepy", "time.sleep(60)")
    suite = write_suite(tmp_path, measures=["memory"], inner_steps="[1]")
    mark = f"orphan-{os.getpid()}-{tmp_path.name}"
    parent = start(["run", str(suite), "-m", adapter, "--out", str(tmp_path / "run")], mark, tmp_path)
    until(lambda: list((tmp_path / "run" / "cells").glob("*/log")), "a cell begins")
    assert len(carrying(mark)) >= 3  # parent, forkserver, worker
    parent.kill()
    parent.communicate()
    until(lambda: not carrying(mark), "all its processes are gone", 20)


def test_how_a_process_ended_in_words() -> None:
    assert exit_sentence(3) == "exit code 3"
    assert exit_sentence(-11) == "signal SIGSEGV"
    assert exit_sentence(None) == "it does not answer"


def test_the_parent_loads_no_torch(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, measures=["memory"])
    code = (
        "import sys\nfrom harness.cli.app import call\n"
        f"if __name__ == '__main__':\n    code = call(['run', {str(suite)!r}, '--dry-run'])\n"
        "    print(code, 'torch' in sys.modules)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"
