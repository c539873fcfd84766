import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import Notes, run_here, write_suite

from harness.analyze.caveats import about_instruments
from harness.cli import selfcheck as command
from harness.cli.app import call
from harness.cli.progress import Plain
from harness.environment import describe_hardware
from harness.executors.local import LocalExecutor, WorkerFailed
from harness.measure import allocator, resident, tracker
from harness.measure import time as clock
from harness.protocol import SelfCheck
from harness.selfcheck import checks
from harness.selfcheck.checks import compare, selfcheck
from harness.selfcheck.probes import Script
from harness.store import RunFolder
from harness.verdicts import Check, Checks, unchecked

CPU = torch.device("cpu")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command asks this process, where instruments can be put wrong."""
    monkeypatch.setattr(LocalExecutor, "ask", lambda self, task: selfcheck(task))


def of(check: Callable[[torch.device], Iterator[Check]]) -> dict[str, Check]:
    """Instrument and quantity -> its check."""
    return {f"{c.instrument}: {c.quantity}": c for c in check(CPU)}


def statuses(check: Callable[[torch.device], Iterator[Check]]) -> set[str]:
    return {c.status for c in of(check).values()}


# --- right instruments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    [
        checks.check_allocator,
        checks.check_tracker,
        checks.check_resident,
        checks.check_null_memory,
        checks.check_mlp,
        checks.check_conv4,
        checks.check_prediction,
    ],
)
def test_the_instruments_read_what_is_known(check: Callable[[torch.device], Iterator[Check]]) -> None:
    found = of(check)
    assert found
    assert {name: c for name, c in found.items() if c.status == "failed"} == {}


def test_the_script_peaks_where_its_sizes_say() -> None:
    script = Script((300, 500, None, 200, None, 764, None))
    assert script.peak() == 200 + 764
    assert script.peak(block=512) == 512 + 1024


def test_what_works_the_device_or_takes_its_memory_does_not_precede_every_run() -> None:
    cuda = torch.device("cuda")
    names = {quick: [s.instrument for s in checks.subjects(cuda, quick)] for quick in (True, False)}
    assert "CUDA allocator" in names[True]
    assert not {"NVML", "CUDA clock"} & set(names[True])
    assert {"NVML", "CUDA clock"} <= set(names[False])


def test_a_reading_outside_its_tolerance_fails_on_either_side() -> None:
    def status(read: float, **more: Any) -> str:
        return compare("i", "q", 100.0, read, "byte", 0.02, **more).status

    assert [status(read) for read in (97.9, 98.1, 101.9, 102.1)] == ["failed", "ok", "ok", "failed"]
    assert [status(read, low=0.0) for read in (99.9, 100.0, 101.9)] == ["failed", "ok", "ok"]
    assert [status(read, relative=False) for read in (99.99, 100.1)] == ["ok", "failed"]
    assert status(float("nan")) == "failed"


def test_exact_means_to_the_byte() -> None:
    assert compare("i", "q", 2**30, 2**30, "byte", checks.EXACT).status == "ok"
    assert compare("i", "q", 2**30, 2**30 + 1, "byte", checks.EXACT).status == "failed"


# --- wrong instruments ------------------------------------------------------------------------------------


def test_a_tracker_that_forgets_a_byte_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def see(self: Any, tensor: torch.Tensor, right: Any = tracker.LiveStorages._see) -> None:
        before = self.live
        right(self, tensor)
        self.live -= self.live > before

    monkeypatch.setattr(tracker.LiveStorages, "_see", see)
    assert statuses(checks.check_tracker) == statuses(checks.check_null_memory) == {"failed"}


def test_an_allocator_reading_that_grows_by_a_hundredth_too_much_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = allocator.allocator_peak
    monkeypatch.setattr(allocator, "allocator_peak", lambda step: int(1.01 * right(step)))
    assert statuses(checks.check_allocator) == {"failed"}
    found = of(checks.check_mlp)
    assert [c.instrument for c in found.values() if c.status == "failed"] == ["CPU allocator"]


def test_a_clock_that_runs_fast_or_stands_still_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = clock.time_step
    for wrong in (lambda *a: 0.5 * right(*a), lambda *a: 3 * right(*a), lambda *a: 0.0):
        monkeypatch.setattr(clock, "time_step", wrong)
        assert statuses(checks.check_clock) == {"failed"}


def test_a_resident_peak_that_misses_the_pages_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    read = resident.ResidentPeak(before=10**8, peak=10**8 + checks.TOUCHED, sampled=10**8)
    monkeypatch.setattr(resident.FreshProcess, "read", lambda self: read)
    assert [c.status for c in of(checks.check_resident).values()] == ["ok", "failed"]


def test_a_platform_that_does_not_tell_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "CLEAR_REFS", Path("/nowhere"))
    (check,) = of(checks.check_resident).values()
    assert check.status == "skipped"
    assert check.note == "the resident peak needs Linux' /nowhere, which is not here"


def test_an_instrument_that_raises_has_failed_and_the_others_are_still_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(step: object) -> int:
        raise RuntimeError("the profiler saw no allocation\nand more")

    monkeypatch.setattr(allocator, "allocator_peak", broken)
    found = selfcheck(SelfCheck("cpu", 1, quick=True))
    (check, *_) = found.failed
    assert (check.instrument, check.note) == ("CPU allocator", "RuntimeError: the profiler saw no allocation")
    assert any(c.instrument == "tracker" and c.status == "ok" for c in found.checks)


# --- the command ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_this_process")
def test_a_wrong_instrument_is_named_and_makes_exit_code_4(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = allocator.allocator_peak
    monkeypatch.setattr(allocator, "allocator_peak", lambda step: right(step) + 64)
    for timed in ("check_loop", "check_clock"):  # a busy machine is no wrong instrument
        monkeypatch.setattr(checks, timed, lambda device: iter(()))
    assert call(["selfcheck", "--device", "cpu"]) == command.GATE_FAILED == 4
    said = capsys.readouterr().out
    assert "Failed on cpu: CPU allocator." in said
    assert any("CPU allocator" in line and line.rstrip().endswith("NO") for line in said.splitlines())


@pytest.mark.usefixtures("in_this_process")
def test_json_holds_every_check_with_what_was_expected_and_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [s for s in checks.subjects(CPU, quick=True) if s.instrument in ("CPU allocator", "tracker")]
    monkeypatch.setattr(checks, "subjects", lambda device, quick: kept)
    assert call(["selfcheck", "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["device"], found["passed"]) == ("cpu", True)
    peak = checks.SCRIPT.peak()
    assert [(c["instrument"], c["expected"], c["read"], c["status"]) for c in found["checks"]] == [
        ("CPU allocator", peak, peak, "ok"),
        ("tracker", peak, peak, "ok"),
    ]


def test_the_command_checks_every_instrument_in_a_process_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call(["selfcheck", "--device", "cpu"])
    said = capsys.readouterr().out
    for subject in checks.subjects(CPU, quick=False):
        if not subject.instrument.startswith(("null", "MAML")):
            assert subject.instrument in said
    assert "MAML on an MLP: an inner step" in said
    assert "MAML on conv4: an inner step" in said


def test_an_unknown_device_is_refused_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["selfcheck", "--device", "gpu"]) == 2
    assert "--device gpu is unknown" in capsys.readouterr().err


# --- with a run -------------------------------------------------------------------------------------------


def tiny_run(path: Path, notes: Notes) -> RunFolder:
    suite = write_suite(path, measures=["memory"], methods="fomaml = {}", inner_steps="[1]")
    return RunFolder(run_here(suite, path / "run", notes).folder)


def test_a_run_keeps_the_check_of_its_instruments_and_again_only_where_it_has_cells_to_run(
    tmp_path: Path,
) -> None:
    notes = Notes()
    folder = tiny_run(tmp_path, notes)
    (kept,) = folder.selfchecks()
    of_whom = {"time": kept["time"], "machine": describe_hardware(), "cells": list(folder.finished())}
    assert kept == of_whom | notes.found[0].as_json()
    names = {check["instrument"] for check in kept["checks"]}
    assert {"CPU allocator", "tracker", "clock"} <= names
    before = folder.selfcheck_path.stat().st_mtime_ns
    tiny_run(tmp_path, notes)
    assert len(notes.found) == 1
    assert folder.selfcheck_path.stat().st_mtime_ns == before


def test_a_run_goes_on_where_the_check_itself_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = LocalExecutor.ask

    def ask(self: LocalExecutor, task: Any, *given: Any, **named: Any) -> Any:
        if isinstance(task, SelfCheck):
            raise WorkerFailed("the process ended early (signal SIGSEGV)")
        return right(self, task, *given, **named)

    monkeypatch.setattr(LocalExecutor, "ask", ask)
    folder = tiny_run(tmp_path, Notes())
    (kept,) = folder.selfchecks()
    assert not kept["passed"]
    assert "SIGSEGV" in kept["checks"][0]["note"]
    assert {row.status for row in folder.rows()} <= {"ok", "skipped"}


def test_a_run_goes_on_where_the_check_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.run.SELFCHECK_S", 0.01)
    folder = tiny_run(tmp_path, Notes())
    assert [*about_instruments(folder.selfchecks())] == [
        "Failed their selfcheck before cells of this run: selfcheck."
    ]
    (kept,) = folder.selfchecks()
    assert kept["checks"][0]["note"] == "the selfcheck came to no end within 0.01 s."
    assert {row.status for row in folder.rows()} <= {"ok", "skipped"}


def test_a_later_check_leaves_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that were measured while an instrument failed are still there."""
    with monkeypatch.context() as slow:
        slow.setattr("harness.run.SELFCHECK_S", 0.01)
        folder = tiny_run(tmp_path, Notes())
    (cell,) = folder.finished()
    rows = folder.rows_path.read_text()
    folder.rows_path.write_text(rows.replace('"status": "ok"', '"status": "interrupted"'))
    tiny_run(tmp_path, Notes())  # resumes
    first, last = folder.selfchecks()
    assert first["cells"] == last["cells"] == [cell]
    assert first["time"] <= last["time"]
    assert [check["instrument"] for check in first["checks"]] == ["selfcheck"]
    assert "tracker" in {check["instrument"] for check in last["checks"]}
    (said,) = about_instruments(folder.selfchecks())
    assert "selfcheck" in said.partition(": ")[2]


def test_show_names_the_instruments_that_failed_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_run(tmp_path, Notes())
    bad = [unchecked("clock", "it stopped"), unchecked("clock", "again"), compare("t", "q", 1, 1, "byte", 0)]
    said = []
    for found in (bad[2:], bad, bad[2:]):
        folder.add_selfcheck(Checks("cpu", found).as_json())
        assert call(["show", str(folder.path)]) == 0
        said.append(capsys.readouterr().out)
    assert "selfcheck" not in said[0]
    for later in said[1:]:
        assert "Failed their selfcheck before cells of this run: clock.\n" in later


def test_a_file_of_one_check_is_still_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.selfcheck_path.write_text(json.dumps(Checks("cpu", [unchecked("clock", "it stopped")]).as_json()))
    assert [*about_instruments(folder.selfchecks())] == [
        "Failed their selfcheck before cells of this run: clock."
    ]


def test_a_run_says_in_one_line_what_failed_and_nothing_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    good = compare("tracker", "q", 1.0, 1.0, "byte", 0.0)
    Plain().checked(Checks("cpu", [good]))
    assert capsys.readouterr().out == ""
    Plain().checked(Checks("cpu", [good, unchecked("clock", "it stopped")]))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "selfcheck: clock;" in said


# --- a GPU ------------------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_the_instruments_of_a_cuda_device_read_what_is_known() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    found = selfcheck(SelfCheck("cuda", 1))
    untimed = [check for check in found.failed if check.unit == "byte" or check.expected is None]
    assert untimed == []
    assert {"CUDA allocator", "CUDA requested"} <= {check.instrument for check in found.checks}
