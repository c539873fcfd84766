import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from runs import (
    Notes,
    assert_complete,
    carrying,
    closed_cells,
    ok_readings,
    resolve,
    rows_of,
    run_here,
    start,
    statuses,
    until,
    write_adapter,
    write_suite,
)

from harness import files, store
from harness.cli.app import call
from harness.errors import UsageError
from harness.executors.local import Ended, LocalExecutor, Worker
from harness.frame import load_frame
from harness.measure import calm
from harness.plan import make_plan
from harness.protocol import Cell, Launch, Message, Reading
from harness.rows import Row
from harness.run import Options, Outcome, Result, execute
from harness.store import RunFolder, StoreError
from harness.suite import Overrides, load_suite
from harness.worker import run_cell

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return lambda name: tmp_path_factory.mktemp(name)


def accuracies(out: Path) -> dict[tuple[str, str, int, int], float | None]:
    return {
        (r.metric, r.method, r.inner_steps, r.repeat): r.value
        for r in rows_of(out)
        if r.measure == "accuracy" and r.unit == "loss"
    }


# --- a whole run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(folder: Folder) -> tuple[Path, Result]:
    path = folder("whole")
    return path, run_here(write_suite(path), path / "run", jobs=1)


def test_a_run_leaves_rows_tables_manifest_and_environment(whole: tuple[Path, Result]) -> None:
    result = whole[1]
    assert result.statuses == {"ok"}
    assert_complete(result)
    run = RunFolder(result.folder)
    assert [cell["id"] for cell in run.manifest()["cells"]] == [cell.id for cell in result.plan.cells]
    assert {"torch", "device_name", "threads", "cpu", "python", "packages"} <= set(run.environment())
    assert sorted(p.name for p in run.tables_path.iterdir()) == ["accuracy.csv", "memory.csv", "time.csv"]
    pd.testing.assert_frame_equal(pd.read_parquet(run.parquet_path), load_frame(run), check_dtype=False)


def test_every_point_of_the_grid_has_a_headline_row(whole: tuple[Path, Result]) -> None:
    found = statuses(whole[1].folder)
    wanted = [(m, n, k) for m in ("memory", "time", "accuracy") for n in ("maml", "fomaml") for k in (1, 2)]
    assert found == dict.fromkeys(wanted, "ok")


def test_time_has_a_row_for_every_round_of_every_block(whole: tuple[Path, Result]) -> None:
    repeats: dict[tuple[str, int], list[int]] = {}
    for row in rows_of(whole[1].folder):
        if row.metric == "step_seconds":
            repeats.setdefault((row.method, row.inner_steps), []).append(row.repeat)
    assert {tuple(sorted(r)) for r in repeats.values()} == {(0, 1, 2, 3)}
    assert len(repeats) == 4


def test_time_says_of_every_point_and_block_how_calm_the_machine_was(whole: tuple[Path, Result]) -> None:
    for metric in ("competing_cores", "load_average"):
        rows = [r for r in rows_of(whole[1].folder) if r.metric == metric]
        points = [(n, k, block) for n in ("maml", "fomaml") for k in (1, 2) for block in (0, 1)]
        assert sorted((r.method, r.inner_steps, r.repeat) for r in rows) == sorted(points)
        # Unless the machine is slow, these rounds are too short to tell what others used.
        told = {"ok", "skipped"} if metric == "competing_cores" else {"ok"}
        assert {r.measure for r in rows} == {"time"}
        assert {r.status for r in rows} <= told
        assert len({(r.cell_id, r.value, r.detail) for r in rows}) == 2  # one observation a block


def test_time_says_of_every_point_and_block_what_a_meta_step_asked_for(whole: tuple[Path, Result]) -> None:
    """MAML on the way back makes a Hessian product a step; first-order MAML makes none."""
    for metric, of_maml, of_fomaml in (("gradient_evaluations", 1, 1), ("hessian_products", 0, None)):
        rows = [r for r in rows_of(whole[1].folder) if (r.measure, r.metric) == ("time", metric)]
        wanted = [
            (method, k, block, 0.0 if more is None else float(k + more))
            for method, more in (("maml", of_maml), ("fomaml", of_fomaml))
            for k in (1, 2)
            for block in (0, 1)
        ]
        assert sorted((r.method, r.inner_steps, r.repeat, r.value) for r in rows) == sorted(wanted)


def test_a_busy_machine_flags_every_point_of_the_block(
    whole: tuple[Path, Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = whole[1].plan
    blocks = [c for c in plan.cells if c.measure == "time"]
    monkeypatch.setattr(calm, "BUSY_SHARE", -1.0)
    monkeypatch.setattr(calm, "SHORTEST_S", 0.0)
    monkeypatch.setattr(calm, "throttled_seconds", dict)
    run = RunFolder.create(tmp_path / "run")
    execute(blocks, run, Here(), Notes(), plan, Options("tiny"), 1, {})
    flags = [r for r in run.rows() if r.metric == "flag"]
    assert [(r.method, r.inner_steps, r.repeat, r.status) for r in flags] == [
        (p.method.name, p.inner_steps, c.block, "ok") for c in blocks for p in c.points
    ]
    sentences = {r.detail for r in flags}
    assert len(sentences) == 2  # one a block
    assert all(
        re.fullmatch(r"the machine was busy: other processes used \d+\.\d cores while block \d was timed", s)
        for s in sentences
    )
    assert set(statuses(run.path).values()) == {"ok"}


def test_an_accuracy_cell_keeps_its_tasks_beside_its_log(whole: tuple[Path, Result]) -> None:
    cell = next(c for c in whole[1].plan.cells if c.measure == "accuracy")
    table = pd.read_csv(RunFolder(whole[1].folder).cell_folder(cell.id) / "per_task.csv")
    assert list(table) == ["task", "loss", "untrained_loss"]
    mean = next(r.value for r in rows_of(whole[1].folder) if (r.cell_id, r.metric) == (cell.id, "loss"))
    assert table["loss"].mean() == pytest.approx(mean)


def test_the_same_command_again_runs_nothing(whole: tuple[Path, Result]) -> None:
    path, result = whole
    before = RunFolder(result.folder).rows_path.read_bytes()
    notes = Notes()
    again = run_here(path / "tiny.toml", result.folder, notes, jobs=1)
    assert notes.todo == notes.started_cells == []
    assert again.statuses == {"ok"}
    assert RunFolder(result.folder).rows_path.read_bytes() == before


def test_two_jobs_and_a_second_run_give_bit_identical_accuracies(whole: tuple[Path, Result]) -> None:
    path, result = whole
    first = accuracies(result.folder)
    assert len(first) >= 4 * 4
    run_here(path / "tiny.toml", path / "second", jobs=2)
    assert accuracies(path / "second") == first


def test_tasks_one_after_another_give_the_same_accuracies_nearly(whole: tuple[Path, Result]) -> None:
    path, result = whole
    looped = run_here(path / "tiny.toml", path / "looped", settings=["execution=loop"])
    assert looped.statuses == {"ok"}
    first, second = accuracies(result.folder), accuracies(path / "looped")
    assert first.keys() == second.keys()
    assert second == pytest.approx(first, rel=1e-4)  # whichever cell ended first


def test_a_dry_run_says_what_is_missing_and_writes_nothing(whole: tuple[Path, Result]) -> None:
    path, result = whole
    notes = Notes()
    run_here(path / "tiny.toml", path / "dry", notes, dry_run=True)
    assert len(notes.todo) == len(result.plan.cells)
    assert not (path / "dry").exists()
    run_here(path / "tiny.toml", result.folder, notes, dry_run=True, settings=["inner_steps=1,2,3"])
    assert len(notes.todo) == 2 + 2 + 2  # memory and accuracy at 3, and the blocks, which hold all points


def test_a_folder_of_another_plan_is_refused_and_stays_as_it_is(
    whole: tuple[Path, Result], capsys: pytest.CaptureFixture[str]
) -> None:
    path, result = whole
    before = contents(result.folder)
    with pytest.raises(
        UsageError, match=rf"holds the run {result.plan.run_id}, .*; name another folder with"
    ):
        run_here(path / "tiny.toml", result.folder, settings=["inner_steps=1,2,3"])
    other = write_suite(path, measures=["memory"], name="other")
    assert call(["run", str(other), "--out", str(result.folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(result.folder) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = write_suite(tmp_path, measures=["memory"]), tmp_path / "run"
    out.mkdir()
    opened = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if Path(path).parent == out:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert call(["run", str(suite), "--out", str(out)]) == 2
    assert capsys.readouterr().err == (
        f"innerloop: {out} cannot be written (Read-only file system); name another folder with --out.\n"
    )
    assert list(out.iterdir()) == []


# --- points that fail -------------------------------------------------------------------------------------

TIMEOUT_S = 2.0  # for the method that sleeps, and for no other: on a busy machine all may be slow
TROUBLES = {
    "Raises": "raise ValueError('no luck today')",
    "Greedy": "torch.empty(10**15)",
    "Exits": "os._exit(3)",
    "Segfaults": "ctypes.string_at(0)",
    "Sleeps": "ctypes.CDLL(None).sleep(60)",
}
REASONS = {
    "raises": ("error", r"ValueError: no luck today \(raises.py, line \d+\)"),
    "greedy": ("oom", "DefaultCPUAllocator"),
    "exits": ("error", "exit code 3"),
    "segfaults": ("error", "signal SIGSEGV"),
    "sleeps": ("timeout", "no end within 2 s"),
}
NAN = "meta = trees.scale(float('nan'), meta)"
AWAKE = [*(name for name in TROUBLES if name != "Sleeps"), "Nan"]


@pytest.fixture(scope="module")
def troubled(folder: Folder) -> tuple[Path, Result]:
    path = folder("troubled")
    methods = [write_adapter(path, name, TROUBLES.get(name, NAN)) for name in AWAKE]
    suite = write_suite(path, inner_steps="[1]")
    return path, run_here(suite, path / "run", methods=["maml", *methods], jobs=2)


@pytest.fixture(scope="module")
def sleeping(folder: Folder) -> Path:
    path = folder("sleeping")
    methods = [write_adapter(path, "Sleeps", TROUBLES["Sleeps"])]
    suite = write_suite(path, inner_steps="[1]")
    return run_here(suite, path / "run", methods=methods, timeout_s=TIMEOUT_S, jobs=2).folder


def headlines(out: Path, method: str, measure: str) -> list[Row]:
    """Rows that say how a point fared; an instrument may have read something beside before it failed."""
    return [r for r in rows_of(out) if (r.method, r.measure, r.is_headline) == (method, measure, True)]


@pytest.mark.parametrize("measure", ["memory", "time", "accuracy"])
@pytest.mark.parametrize("method", REASONS)
def test_a_failed_point_is_a_row_with_its_reason(
    troubled: tuple[Path, Result], sleeping: Path, method: str, measure: str
) -> None:
    rows = headlines(sleeping if method == "sleeps" else troubled[1].folder, method, measure)
    assert len(rows) == (2 if measure == "time" else 1)  # one a block
    for row in rows:
        status, reason = REASONS[method]
        assert (row.status, row.value) == (status, None)
        assert re.search(reason, row.detail)


@pytest.mark.parametrize("measure", ["memory", "time", "accuracy"])
def test_numbers_that_are_not_finite_are_diverged(troubled: tuple[Path, Result], measure: str) -> None:
    rows = headlines(troubled[1].folder, "nan", measure)
    assert {r.status for r in rows} == {"diverged"}
    assert all("not finite" in r.detail for r in rows)


def test_a_memory_cell_that_fails_after_its_peak_was_read_has_failed_and_that_alone(folder: Folder) -> None:
    path = folder("later")
    count = "sys.calls = getattr(sys, 'calls', 0) + 1"
    # With the readings beside the peak left out, two steps: the allocator's pass, and the tracker's.
    adapter = write_adapter(path, "Later", f"{count}\n        if sys.calls == 2: raise ValueError('later')")
    suite = write_suite(path, inner_steps="[1]", measures=["memory"])
    result = run_here(suite, path / "run", methods=[adapter], settings=['metrics=["scratch_bytes"]'])
    assert [r.status for r in headlines(result.folder, "later", "memory")] == ["error"]
    assert "baseline_bytes" in {r.metric for r in rows_of(result.folder)}


def test_others_go_on_and_in_a_block_have_all_their_rounds(troubled: tuple[Path, Result]) -> None:
    result = troubled[1]
    assert_complete(result)
    found = statuses(result.folder)
    assert [found[m, "maml", 1] for m in ("memory", "time", "accuracy")] == ["ok"] * 3
    rounds = [r.repeat for r in rows_of(result.folder) if (r.method, r.metric) == ("maml", "step_seconds")]
    assert sorted(rounds) == [0, 1, 2, 3]


HANGS = "ctypes.CDLL(None).sleep(60)"
LATE = {
    "raise ValueError('late trouble')": ("error", "ValueError: late trouble", 1),
    "ctypes.string_at(0)": ("error", "signal SIGSEGV", 0),
    "os._exit(3)": ("error", "exit code 3", 0),
    HANGS: ("timeout", "no end within 5 s", 0),
}
KEPT = {"load_average": [0, 1], "step_seconds": [0, 2]}  # a block, a round


@pytest.mark.parametrize("trouble", LATE, ids=["raises", "segfaults", "exits", "hangs"])
def test_a_point_that_fails_in_the_second_round_is_alone_to_blame(folder: Folder, trouble: str) -> None:
    """Its first call is the warm-up; those who step before it in the round are as blameless as the others."""
    path = folder("late")
    status, reason, failed_round = LATE[trouble]
    count = "sys.calls = getattr(sys, 'calls', 0) + 1"
    adapter = write_adapter(path, "Late", f"{count}\n        if sys.calls >= 3: {trouble}")
    suite = write_suite(path, inner_steps="[1]", measures=["time"])
    timeout_s = 5.0 if trouble == HANGS else None  # for a machine under load others would be late too
    options = {"methods": ["maml", adapter, "fomaml"], "timeout_s": timeout_s}
    result = run_here(suite, path / "run", **options)
    failed = [r for r in rows_of(result.folder) if r.is_headline and r.status != "ok"]
    assert [(r.method, r.status) for r in failed] == [("late", status)] * 2  # one a block
    assert all(reason in r.detail for r in failed)
    if failed_round:
        assert [r.repeat for r in failed] == [1, 3]
        # What was timed before it stays, and so does how calm it was then.
        late = [r for r in rows_of(path / "run") if (r.method, r.status) == ("late", "ok")]
        for metric, repeats in KEPT.items():
            assert [r.repeat for r in late if r.metric == metric] == repeats
    for method in ("maml", "fomaml"):
        rows = [r for r in rows_of(result.folder) if r.method == method and r.metric == "step_seconds"]
        assert {r.status for r in rows} == {"ok"}
        assert sorted(r.repeat for r in rows) == [0, 1, 2, 3]


def test_failed_cells_run_again_only_when_asked_for(troubled: tuple[Path, Result]) -> None:
    path, result = troubled
    out = path / "retried"
    shutil.copytree(result.folder, out)
    methods = ["maml", *(f"{path}/{name.lower()}.py:{name}" for name in AWAKE)]
    run_here(path / "tiny.toml", out, notes := Notes(), methods=methods, dry_run=True)
    assert notes.todo == []
    run_here(path / "tiny.toml", out, notes, methods=methods, dry_run=True, retry=frozenset({"diverged"}))
    diverged = {r.cell_id for r in rows_of(out) if r.status == "diverged"}
    assert set(notes.todo) == diverged
    # Run one of them: its attempt is the second, and readers see that alone.
    run_here(path / "tiny.toml", out, notes, methods=methods, retry=frozenset({"diverged"}))
    assert {r.attempt for r in rows_of(out) if r.cell_id in diverged} == {2}
    assert {r.attempt for r in rows_of(out) if r.cell_id not in diverged} == {1}


def test_fail_fast_starts_no_cell_after_a_failed_one(folder: Folder) -> None:
    path = folder("fast")
    adapter = write_adapter(path, "Raises", TROUBLES["Raises"])
    result = run_here(
        write_suite(path), path / "run", notes := Notes(), methods=[adapter], jobs=1, fail_fast=True
    )
    assert len(notes.todo) == 6
    assert len(notes.outcomes) == 1
    assert result.statuses == {"error"}


def test_a_missing_library_gives_skipped_rows_and_no_failure(folder: Folder) -> None:
    path = folder("missing")
    (path / "peer.py").write_text("import no_such_library\n")
    result = run_here(write_suite(path), path / "run", methods=["maml", f"{path}/peer.py:Peer"])
    assert result.statuses == {"ok", "skipped"}
    rows = [r for r in rows_of(path / "run") if r.is_headline and r.status == "skipped"]
    assert {r.measure for r in rows} == {"memory", "time", "accuracy"}
    assert all("install 'no_such_library'" in r.detail for r in rows)
    one = write_suite(path, measures=["memory"], name="one")
    assert call(["run", str(one), "-m", f"{path}/peer.py:Peer", "--out", f"{path}/cli"]) == 0


def test_a_point_over_the_memory_budget_is_oom_for_every_measure(folder: Folder) -> None:
    path = folder("budget")
    suite = write_suite(path, methods="maml = {}\nfomaml = {}", inner_steps="[1, 60]")
    result = run_here(suite, path / "small", memory_budget=400_000)
    found = statuses(result.folder)
    for measure in ("memory", "time", "accuracy"):
        assert found[measure, "maml", 60] == "oom"
        assert found[measure, "fomaml", 60] == found[measure, "maml", 1] == "ok"
    details = {r.detail for r in rows_of(result.folder) if r.status == "oom"}
    assert all(re.search(r"bytes of live tensors exceed the virtual budget of 400,000", d) for d in details)


def test_the_budget_fits_at_the_tracked_peak_and_fails_one_byte_below(folder: Folder) -> None:
    path = folder("exact")
    suite = write_suite(path, methods="maml = {}", inner_steps="[3]", measures=["memory"])
    run_here(suite, path / "free")
    (peak,) = (int(r.value or 0) for r in rows_of(path / "free") if r.metric == "tracked_peak_bytes")
    assert run_here(suite, path / "fits", memory_budget=peak).statuses == {"ok"}
    assert run_here(suite, path / "below", memory_budget=peak - 1).statuses == {"oom"}


def test_an_edited_adapter_runs_anew_and_its_old_rows_stay_readable(folder: Folder) -> None:
    path = folder("edited")
    adapter = write_adapter(path, "Mine")
    suite = write_suite(path, methods="maml = {}", measures=["memory"])
    first = run_here(suite, path / "run", methods=[f"+{adapter}"])
    write_adapter(path, "Mine", "trees.scale(2.0, meta)")
    second = run_here(suite, path / "run", notes := Notes(), methods=[f"+{adapter}"])
    assert first.plan.id == second.plan.id
    mine = [c.id for c in second.plan.cells if c.points[0].method.name == "mine"]
    assert notes.todo == mine
    old = {c.id for c in first.plan.cells} - {c.id for c in second.plan.cells}
    assert len(old) == 2
    assert {r.cell_id for r in rows_of(path / "run")} == {c.id for c in second.plan.cells} | old
    assert set(load_frame(path / "run").cell_id) == {c.id for c in second.plan.cells}
    assert len(load_frame(path / "run", every=True)) == len(rows_of(path / "run"))


# --- code and data that change during a run ---------------------------------------------------------------


def test_an_adapter_edited_during_the_run_interrupts_what_is_left_and_the_same_command_completes_it(
    folder: Folder,
) -> None:
    path = folder("changing")
    adapter = write_adapter(path, "Mine")
    suite = write_suite(path, inner_steps="[1, 2]")
    options: Any = {"methods": ["maml", adapter], "jobs": 1}

    class Editor(Notes):
        def ended(self, outcome: Outcome) -> None:
            if outcome.cell.label == "memory sinusoid mine 1 seed 0":
                write_adapter(path, "Mine", "trees.scale(2.0, meta)")

    first = run_here(suite, path / "run", Editor(), **options)
    found = statuses(path / "run")
    assert found["memory", "mine", 1] == "ok"
    changed = [r for r in rows_of(path / "run") if r.status == "interrupted"]
    assert {r.method for r in changed} == {"mine"}
    assert {r.detail for r in changed} == {"the source of mine changed during the run"}
    assert {(r.measure, r.inner_steps) for r in changed} == {
        ("memory", 2),
        ("time", 1),
        ("time", 2),
        ("accuracy", 1),
        ("accuracy", 2),
    }
    assert all(status == "ok" for (_, method, _), status in found.items() if method == "maml")
    second = run_here(suite, path / "run", notes := Notes(), **options)
    assert second.plan.run_id == first.plan.run_id
    assert second.statuses == {"ok"}
    touched = {c.id for c in first.plan.cells if any(p.method.name == "mine" for p in c.points)}
    assert len(notes.started_cells) == len(touched)
    assert not touched & set(notes.started_cells)  # other code is another cell
    again = [r for r in rows_of(path / "run") if r.is_headline and r.cell_id in notes.started_cells]
    assert {r.status for r in again} == {"ok"}


def readings_of(cell: Cell, without: frozenset[int] = frozenset()) -> list[Reading]:
    """What a worker reads of the cell, in this process."""
    said: list[Message] = []
    before = torch.get_num_threads()
    try:
        run_cell(Launch(cell, without), said.append)
    finally:
        torch.set_num_threads(before)
    return [message for message in said if isinstance(message, Reading)]


@pytest.mark.parametrize("measure", ["memory", "time", "accuracy"])
def test_changed_data_or_changed_code_of_innerloop_interrupts_every_point(
    whole: tuple[Path, Result], measure: str
) -> None:
    cell = next(c for c in whole[1].plan.cells if c.measure == measure)
    other_data = replace(cell, workload=replace(cell.workload, fingerprint="another"))
    other_code = replace(cell, code="another")
    assert len({cell.id, other_data.id, other_code.id}) == 3
    for changed, what in ((other_data, "the data of sinusoid"), (other_code, "innerloop itself")):
        readings = readings_of(changed)
        assert [(r.point, r.metric, r.value, r.status) for r in readings] == [
            (i, cell.headline, None, "interrupted") for i in range(len(cell.points))
        ]
        assert {r.detail for r in readings} == {f"{what} changed during the run"}


def test_points_that_a_changed_block_goes_without_get_no_second_row(whole: tuple[Path, Result]) -> None:
    cell = next(c for c in whole[1].plan.cells if c.measure == "time")
    readings = readings_of(replace(cell, code="another"), frozenset({1, 3}))
    assert [r.point for r in readings] == [0, 2]


def test_an_unchanged_cell_is_measured(whole: tuple[Path, Result]) -> None:
    cell = next(c for c in whole[1].plan.cells if c.measure == "memory")
    kept = {r.metric: r.value for r in rows_of(whole[1].folder) if r.cell_id == cell.id}
    # What is resident, and any flag on it, is another matter in this process, which has loaded more.
    read = {r.metric: r.value for r in readings_of(cell) if r.metric != "flag"}
    assert read.keys() == kept.keys()
    exact = [name for name in kept if not name.startswith("resident")]
    assert "peak_bytes" in exact
    assert {name: read[name] for name in exact} == {name: kept[name] for name in exact}


def test_adapters_with_a_module_beside_them_run_in_every_measure(folder: Folder) -> None:
    """Of one folder, in two settings and of two files: each worker finds the source of the preflight."""
    path = folder("beside")
    (path / "beside.py").write_text("RATE = 1.0\n")
    names = [write_adapter(path, name, "beside.RATE") for name in ("Mine", "Other")]
    for name in ("mine", "other"):
        file = path / f"{name}.py"
        file.write_text(file.read_text().replace("import ctypes,", "import beside, ctypes,"))
    methods = f'"{names[0]}[rate=1.0]" = {{}}\n"{names[0]}[rate=2.0]" = {{}}\n"{names[1]}" = {{}}'
    result = run_here(write_suite(path, methods=methods, inner_steps="[1]"), path / "run")
    assert result.statuses == {"ok"}
    assert len(result.plan.cells) == 3 + 2 + 3


SAID = ("mean relative residual of .* raise cg_steps or lam", "linear solves met negative curvature")


def test_flags_of_a_solver_are_rows_of_the_run(folder: Folder) -> None:
    """A weak proximal term does not make the Hessian of a sine's network positive definite."""
    path = folder("flags")
    suite = write_suite(
        path,
        methods="imaml-gd = { lam = 1e-3, inner_lr = 1e-3 }",
        measures=["accuracy"],
        inner_steps="[1]",
    )
    result = run_here(suite, path / "run")
    assert result.statuses == {"ok"}
    details = [r.detail for r in rows_of(path / "run") if r.metric == "flag"]
    assert [bool(re.search(said, d)) for said, d in zip(SAID, details, strict=True)] == [True, True]
    calm = write_suite(path, methods="imaml-gd = { lam = 1e3 }", measures=["accuracy"], inner_steps="[1]")
    run_here(calm, path / "calm")
    assert {"solver_residual"} <= {r.metric for r in rows_of(path / "calm")}
    assert "flag" not in {r.metric for r in rows_of(path / "calm")}


# --- runs that are cut short ------------------------------------------------------------------------------


@pytest.fixture
def sleeper(tmp_path: Path) -> tuple[Path, list[str], Path]:
    """A suite, its methods, and a mark: while it is there the second method sleeps."""
    mark = tmp_path / "mark"
    mark.touch()
    adapter = write_adapter(tmp_path, "Sleeper", f"time.sleep(60 * Path({str(mark)!r}).exists())")
    return write_suite(tmp_path, inner_steps="[1]"), ["maml", adapter, "fomaml"], mark


def test_a_killed_worker_is_interrupted_and_the_same_command_completes_it(
    sleeper: tuple[Path, list[str], Path], tmp_path: Path
) -> None:
    suite, methods, mark = sleeper
    killed: list[str] = []

    def kill(workers: list[Worker]) -> None:
        for worker in workers:
            cell = worker.launch.cell
            at = worker.at is not None and cell.points[worker.at].method.name == "sleeper"
            if at and cell.id not in killed:
                killed.append(cell.id)
                os.kill(worker.process.pid or 0, signal.SIGKILL)

    first = run_here(suite, tmp_path / "run", Notes(kill), methods=methods)
    assert first.statuses == {"ok", "interrupted"}
    assert len(killed) == 1 + 2 + 1
    interrupted = {r.cell_id for r in rows_of(tmp_path / "run") if r.status == "interrupted"}
    assert interrupted == set(killed)
    block = [r for r in rows_of(tmp_path / "run") if r.measure == "time"]
    assert {r.method for r in block} == {"maml", "sleeper", "fomaml"}
    mark.unlink()
    second = run_here(suite, tmp_path / "run", notes := Notes(), methods=methods)
    assert set(notes.started_cells) == set(killed)
    assert second.statuses == {"ok"}
    assert_complete(second)
    attempts = {r.cell_id: r.attempt for r in rows_of(tmp_path / "run")}
    assert attempts == {c.id: 2 if c.id in killed else 1 for c in second.plan.cells}


@pytest.mark.slow
@pytest.mark.parametrize("cells", [None, 0, 1, 5, 9])
def test_a_killed_run_leaves_no_process_and_the_same_command_completes_it(
    tmp_path: Path, cells: int | None
) -> None:
    suite, out = write_suite(tmp_path), tmp_path / "run"
    mark = f"killed-{os.getpid()}-{tmp_path.name}"
    parent = start(["run", str(suite), "--out", str(out)], mark, tmp_path)
    if cells is None:
        until(lambda: len(carrying(mark)) >= 2, "the forkserver starts")
    else:
        until(lambda: (out / "cells").exists() and closed_cells(out) >= cells, f"{cells} cells are done")
    parent.kill()
    parent.communicate()
    until(lambda: not carrying(mark), "all its processes are gone", 30)
    done = set(RunFolder(out).finished())
    result = run_here(suite, out, notes := Notes())
    assert not done & set(notes.started_cells)
    assert result.statuses == {"ok"}
    assert_complete(result)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_keeps_its_rows_and_the_same_command_completes_it(
    sleeper: tuple[Path, list[str], Path], tmp_path: Path, number: signal.Signals
) -> None:
    suite, methods, sleep_mark = sleeper
    out, mark = tmp_path / "run", f"interrupted-{os.getpid()}-{tmp_path.name}"
    chosen = [part for method in methods for part in ("-m", method)]
    parent = start(["run", str(suite), *chosen, "--out", str(out), "--jobs", "2"], mark, tmp_path)
    # A cell is told when its rows are safe: a signal while they are written takes them back.
    assert parent.stdout is not None
    assert any(line.startswith("[2/") for line in parent.stdout)
    parent.send_signal(number)  # the third sleeps
    _, complaint = parent.communicate(timeout=60)
    assert parent.returncode == 130, complaint
    assert complaint == (
        "innerloop: interrupted; what was finished is kept: issue the same command again to go on.\n"
    )
    until(lambda: not carrying(mark), "all its processes are gone", 30)
    assert sorted(statuses(out).values()) == ["interrupted", "ok", "ok"]
    assert (out / "tables" / "memory.csv").exists()
    sleep_mark.unlink()
    result = run_here(suite, out, notes := Notes(), methods=methods)
    assert len(notes.started_cells) == len(result.plan.cells) - 2
    assert result.statuses == {"ok"}
    assert_complete(result)


def test_a_second_process_on_the_same_run_is_refused(
    whole: tuple[Path, Result], capsys: pytest.CaptureFixture[str]
) -> None:
    path, result = whole
    with RunFolder(result.folder).lock():
        with pytest.raises(UsageError, match=f"is in use by process {os.getpid()}; wait for it or use --out"):
            run_here(path / "tiny.toml", result.folder)
        assert call(["run", str(path / "tiny.toml"), "--out", str(result.folder)]) == 2
    assert "is in use by process" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_with_a_sentence_and_the_same_command_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite, out = write_suite(tmp_path, measures=["memory"]), tmp_path / "run"
    write = files.write_all

    def until_full(handle: int, data: bytes) -> None:
        if closed_cells(out) >= 2:
            os.write(handle, data[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(handle, data)

    with monkeypatch.context() as full:
        for module in (store, files):
            full.setattr(module, "write_all", until_full)
        assert call(["run", str(suite), "--out", str(out), "--jobs", "1"]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"innerloop: {out}/")
        assert "No space left on device" in said
        assert "issue the same command again" in said
        assert said.count("\n") == 1
        with pytest.raises(StoreError):
            run_here(suite, out, jobs=1)
    result = run_here(suite, out, notes := Notes(), jobs=1)
    assert len(notes.started_cells) == 2
    assert result.statuses == {"ok"}
    assert_complete(result)


# --- in which order ---------------------------------------------------------------------------------------


@dataclass
class FakeExecutor(LocalExecutor):
    """Ends the worker that was started last, one a turn, as `ends` says of its cell and attempt."""

    ends: Callable[[Launch], tuple[int | None, Ended]] = lambda launch: (0, Ended("done"))
    events: list[tuple[str, str, int]] = field(default_factory=list)
    launches: list[Launch] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)

    def start(self, launch: Launch, log: Path, timeout_s: float | None) -> Worker:
        worker = Worker(launch, None, None, timeout_s, 0)  # type: ignore[arg-type]
        self.workers.append(worker)
        self.launches.append(launch)
        self.events.append(("start", launch.cell.measure, len(self.workers)))
        return worker

    def wait(self, patience_s: float) -> Iterator[tuple[Worker, Ended]]:  # type: ignore[override]
        worker = self.workers.pop()
        worker.at, end = self.ends(worker.launch)
        if end.how == "done":
            worker.readings += [
                r for r in ok_readings(worker.launch.cell) if r.point not in worker.launch.without
            ]
        self.events.append(("end", worker.launch.cell.measure, len(self.workers)))
        yield worker, end


class Here(FakeExecutor):
    """Runs a cell in this process."""

    def wait(self, patience_s: float) -> Iterator[tuple[Worker, Ended]]:  # type: ignore[override]
        worker = self.workers.pop()
        worker.readings += readings_of(worker.launch.cell, worker.launch.without)
        yield worker, Ended("done")


def execute_with(
    executor: FakeExecutor, path: Path, jobs: int = 4, **suite: object
) -> tuple[Notes, RunFolder]:
    plan_suite = load_suite(str(write_suite(path, **suite)), Overrides())  # type: ignore[arg-type]
    plan = make_plan(plan_suite, resolve(plan_suite), data_root=None, memory_budget=None)
    run, notes = RunFolder.create(path / "run"), Notes()
    execute(list(plan.cells), run, executor, notes, plan, Options("tiny"), jobs, {})
    return notes, run


def test_time_cells_run_alone_and_others_together(tmp_path: Path) -> None:
    executor = FakeExecutor()
    execute_with(executor, tmp_path, more="seeds = [0, 1]")
    beside = {(what, measure): set() for what, measure, _ in executor.events}  # type: ignore[var-annotated]
    for what, measure, workers in executor.events:
        beside[what, measure].add(workers)
    assert beside["start", "time"] == {1}
    assert beside["end", "time"] == {0}
    assert max(beside["start", "memory"]) == max(beside["start", "accuracy"]) == 4


def test_one_job_is_one_cell_at_a_time(tmp_path: Path) -> None:
    executor = FakeExecutor()
    execute_with(executor, tmp_path, jobs=1)
    assert {workers for what, _, workers in executor.events if what == "start"} == {1}


def test_points_that_memory_showed_not_to_fit_leave_the_blocks(tmp_path: Path) -> None:
    def ends(launch: Launch) -> tuple[int | None, Ended]:
        point = launch.cell.points[0]
        unfit = launch.cell.measure == "memory" and (point.method.name, point.inner_steps) == ("maml", 2)
        return (0, Ended("oom", "the machine's memory ran out")) if unfit else (0, Ended("done"))

    executor = FakeExecutor(ends)
    _, run = execute_with(executor, tmp_path)
    assert {tuple(x.without) for x in executor.launches if x.cell.measure == "time"} == {(1,)}
    found = statuses(run.path)
    assert found["time", "maml", 2] == "oom"
    assert found["time", "maml", 1] == found["accuracy", "maml", 2] == "ok"


def memory_runs_out(detail: str, times: int) -> Callable[[Launch], tuple[int | None, Ended]]:
    """For MAML at 2 inner steps in the memory measure, the first so many times."""
    left = [times]

    def ends(launch: Launch) -> tuple[int | None, Ended]:
        point = launch.cell.points[0]
        if launch.cell.measure == "memory" and (point.method.name, point.inner_steps) == ("maml", 2):
            left[0] -= 1
            if left[0] >= 0:
                return 0, Ended("oom", detail)
        return 0, Ended("done")

    return ends


def test_a_cell_that_ran_out_of_memory_beside_others_is_run_again_alone(tmp_path: Path) -> None:
    executor = FakeExecutor(memory_runs_out("DefaultCPUAllocator was asked for 9 bytes", times=1))
    notes, run = execute_with(executor, tmp_path, jobs=4)
    assert set(statuses(run.path).values()) == {"ok"}
    twice = [x.cell.id for x in executor.launches if x.cell.points[0].label == "maml 2"]
    assert twice[0] == twice[1]
    first_time = next(i for i, event in enumerate(executor.events) if event[1] == "time")
    # The last of its measure, for time learns from memory what does not fit; and nothing began beside it.
    assert executor.events[first_time - 2 : first_time] == [("start", "memory", 1), ("end", "memory", 0)]
    assert len(notes.outcomes) == len({o.cell.id for o in notes.outcomes}) == len(notes.started_cells)
    assert {row.attempt for row in run.rows()} == {1}


def test_what_does_not_fit_alone_either_is_believed(tmp_path: Path) -> None:
    executor = FakeExecutor(memory_runs_out("the machine's memory ran out", times=9))
    _, run = execute_with(executor, tmp_path, jobs=4)
    assert len([x for x in executor.launches if x.cell.measure == "memory"]) == 4 + 1
    found = statuses(run.path)
    assert found["memory", "maml", 2] == found["time", "maml", 2] == "oom"


@pytest.mark.parametrize(
    ("jobs", "detail"), [(1, "the machine's memory ran out"), (4, "exceed the virtual budget of 9 (step)")]
)
def test_a_cell_that_ran_alone_or_under_a_budget_of_its_own_is_believed_at_once(
    tmp_path: Path, jobs: int, detail: str
) -> None:
    executor = FakeExecutor(memory_runs_out(detail, times=9))
    _, run = execute_with(executor, tmp_path, jobs=jobs)
    assert len([x for x in executor.launches if x.cell.measure == "memory"]) == 4
    assert statuses(run.path)["memory", "maml", 2] == "oom"


def test_a_point_that_ends_its_process_leaves_the_block_and_the_others_start_again(tmp_path: Path) -> None:
    def ends(launch: Launch) -> tuple[int | None, Ended]:
        bad = launch.cell.measure == "time" and 2 not in launch.without
        return (2, Ended("died", "signal SIGSEGV")) if bad else (None, Ended("done"))

    executor = FakeExecutor(ends)
    notes, run = execute_with(executor, tmp_path, measures=["time"])
    assert [set(x.without) for x in executor.launches] == [set(), {2}] * 2
    assert len(notes.outcomes) == len(notes.started_cells) == 2
    assert sorted(statuses(run.path).values()) == ["error", "ok", "ok", "ok"]
    assert all(r.detail == "signal SIGSEGV" for r in run.rows() if r.status == "error")


def test_a_death_before_any_point_is_at_work_is_every_ones_and_earlier_failures_keep_their_reason(
    tmp_path: Path,
) -> None:
    class Dying(FakeExecutor):
        def wait(self, patience_s: float) -> Iterator[tuple[Worker, Ended]]:  # type: ignore[override]
            worker = self.workers.pop()
            worker.readings.append(Reading(1, "step_seconds", None, "", status="diverged", detail="nan"))
            yield worker, Ended("died", "exit code 3")

    _, run = execute_with(Dying(), tmp_path, measures=["time"])
    assert [r.status for r in run.rows()].count("error") == 3 * 2
    assert {r.detail for r in run.rows() if r.status == "diverged"} == {"nan"}
