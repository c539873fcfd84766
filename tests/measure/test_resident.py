"""Fresh processes are forks of a process that is itself fresh, as a worker is: not of the tests' own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

MIB = 2**20
linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux' /proc")


def run(script: str) -> str:
    """What a script prints, with numpy and the module at hand."""
    head = """
        import os, sys, time
        import numpy as np
        from pathlib import Path
        from harness.measure import resident
        from harness.measure.resident import FreshProcess, Unreadable, resident_peak
        MIB = 2**20
    """
    code = textwrap.dedent(head) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@linux
def test_the_resident_peak_rises_by_the_pages_that_were_touched_and_both_instruments_see_it() -> None:
    out = run("""
        def step():
            a = np.ones(256 * MIB, dtype=np.uint8)
            time.sleep(0.1)
            del a
            time.sleep(0.05)
        r = FreshProcess(lambda: resident_peak(step)).result()
        print(r.peak - r.before, r.sampled - r.before)
    """)
    risen, sampled = map(int, out.split())
    assert risen == pytest.approx(256 * MIB, rel=0.02)
    assert sampled == pytest.approx(256 * MIB, rel=0.02)


@linux
def test_an_earlier_peak_of_the_process_does_not_count() -> None:
    out = run("""
        def before_and_after():
            a = np.ones(300 * MIB, dtype=np.uint8)
            del a
            return resident_peak(lambda: time.sleep(0.05))
        r = FreshProcess(before_and_after).result()
        print(r.peak - r.before)
    """)
    assert int(out) < 10 * MIB


@linux
def test_pages_that_nobody_touches_are_not_resident() -> None:
    out = run("""
        r = FreshProcess(lambda: resident_peak(lambda: np.empty(512 * MIB, dtype=np.uint8))).result()
        print(r.peak - r.before)
    """)
    assert int(out) < 20 * MIB


def test_a_fresh_process_knows_nothing_of_what_its_parent_did_since() -> None:
    out = run("""
        seen = []
        fresh = FreshProcess(lambda: len(seen))
        seen.append(1)
        print(fresh.result(), len(seen))
    """)
    assert out.split() == ["0", "1"]


def test_what_the_function_raises_is_raised_here() -> None:
    out = run("""
        def fails():
            raise Unreadable("no such file")
        try:
            FreshProcess(fails).result()
        except Unreadable as failure:
            print("caught", failure)
    """)
    assert out.strip() == "caught no such file"


def test_a_process_that_was_killed_is_said_to_have_run_out_of_memory() -> None:
    out = run("""
        try:
            FreshProcess(lambda: os.kill(os.getpid(), 9)).result()
        except MemoryError as failure:
            print(failure)
    """)
    assert out.strip() == "the fresh process ended early (signal 9)"


def test_a_process_that_was_never_asked_ends_with_its_parent() -> None:
    out = run("""
        fresh = FreshProcess(lambda: 1)
        print(fresh._pid)
    """)
    gone = Path("/proc") / out.strip()
    for _ in range(100):
        if not gone.exists() or "Z" in (gone / "stat").read_text().split()[2]:
            return
        import time

        time.sleep(0.05)
    raise AssertionError(f"process {out.strip()} is still there")


def test_a_platform_without_proc_says_so_instead_of_reading_zero() -> None:
    out = run("""
        resident.CLEAR_REFS = Path("/nowhere/clear_refs")
        try:
            resident_peak(lambda: None)
        except Unreadable as failure:
            print(failure)
    """)
    assert out.strip() == "the resident peak needs Linux' /nowhere/clear_refs: No such file or directory"
