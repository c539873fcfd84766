"""Fresh processes are forks of a process that is itself fresh, as a worker is: not of the tests' own."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

MIB = 2**20
pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' /proc")


def run(script: str) -> str:
    """What a script prints, with numpy and the module at hand."""
    head = """
        import os, sys, time
        import numpy as np
        from pathlib import Path
        from harness.measure import resident
        from harness.measure.resident import FreshProcess, Unreadable
        MIB = 2**20

        def failure_of(step):
            try:
                return FreshProcess(lambda: step).read()
            except BaseException as failure:
                return f"{type(failure).__name__}: {failure}"
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_resident_peak_rises_by_the_pages_that_were_touched_and_both_instruments_see_it() -> None:
    out = run("""
        def step():
            a = np.ones(256 * MIB, dtype=np.uint8)
            time.sleep(0.5)
            del a
            time.sleep(0.05)
        r = FreshProcess(lambda: step).read()
        print(r.peak - r.before, r.sampled - r.before)
    """)
    risen, sampled = map(int, out.split())
    assert risen == pytest.approx(256 * MIB, rel=0.02)
    assert sampled == pytest.approx(256 * MIB, rel=0.02)


def test_what_was_touched_before_the_step_does_not_count() -> None:
    out = run("""
        def prepare():
            a = np.ones(300 * MIB, dtype=np.uint8)
            del a
            return lambda: time.sleep(0.05)
        r = FreshProcess(prepare).read()
        print(r.peak - r.before, r.sampled - r.before)
    """)
    assert max(map(int, out.split())) < 10 * MIB


def test_pages_that_nobody_touches_are_not_resident() -> None:
    out = run("""
        r = FreshProcess(lambda: lambda: np.empty(512 * MIB, dtype=np.uint8)).read()
        print(r.peak - r.before)
    """)
    assert int(out) < 20 * MIB


def test_a_fresh_process_knows_nothing_of_what_its_parent_did_since() -> None:
    out = run("""
        a = np.ones(MIB, dtype=np.uint8)
        fresh = FreshProcess(lambda: lambda: None)
        b = np.ones(400 * MIB, dtype=np.uint8)
        print(fresh.read().peak)
    """)
    assert int(out) < 400 * MIB


@pytest.mark.parametrize("where", ["FreshProcess(fails).read()", "FreshProcess(lambda: fails).read()"])
def test_what_is_raised_before_or_in_the_step_is_raised_here(where: str) -> None:
    out = run(f"""
        def fails():
            raise ValueError("no such thing")
        try:
            {where}
        except ValueError as failure:
            print("caught", failure)
    """)
    assert out.strip() == "caught no such thing"


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("os.kill(os.getpid(), 9)", "MemoryError: the fresh process ended early (signal SIGKILL)"),
        ("os.kill(os.getpid(), 11)", "RuntimeError: the fresh process ended early (signal SIGSEGV)"),
        ("os._exit(3)", "RuntimeError: the fresh process ended early (exit code 3)"),
        ("sys.exit(4)", "RuntimeError: SystemExit: 4"),
    ],
)
def test_a_process_that_dies_in_its_step_is_told_from_one_that_ran_out_of_memory(
    step: str, said: str
) -> None:
    assert run(f"print(failure_of(lambda: {step}))").strip() == said


def test_a_process_that_was_never_asked_ends_with_its_parent() -> None:
    gone = Path("/proc") / run("print(FreshProcess(lambda: lambda: None)._pid)").strip()
    for _ in range(200):
        if not gone.exists() or "Z" in (gone / "stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    raise AssertionError(f"{gone} is still there")


def test_a_platform_without_proc_says_so_before_any_process_is_made() -> None:
    out = run("""
        resident.CLEAR_REFS = Path("/nowhere/clear_refs")
        os.fork = None
        print(failure_of(lambda: None))
    """)
    assert out.strip() == "Unreadable: the resident peak needs Linux' /nowhere/clear_refs, which is not here"
