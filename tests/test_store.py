import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rows import MIB, memory_cell, row, time_cell, write_run

from harness.errors import UsageError
from harness.files import replace_file
from harness.frame import frame_of, load_frame, split_workload
from harness.rows import Row
from harness.store import RunFolder, StoreError
from harness.which_run import find_run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path / "run")
    folder.append_cell("a", 1, [row(cell_id="a"), row(cell_id="a", metric="baseline_bytes")])
    folder.append_cell("b", 1, [row(cell_id="b", value=None, status="oom", detail="does not fit")])
    return folder


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", code, *arguments]
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    return subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True
    )


def test_a_row_reads_back_as_it_was_written() -> None:
    first = row(settings={"lam": 2.0, "cg_steps": 5}, detail="line\nbreak é")
    assert Row.from_record(json.loads(first.to_json())) == first


def test_settings_are_sorted_json_text_without_inner_steps() -> None:
    record = json.loads(row(settings={"lam": 2.0, "inner_steps": 4, "cg_steps": 5}).to_json())
    assert record["settings"] == '{"cg_steps": 5, "lam": 2.0}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_a_diverged_row_and_no_number(value: float) -> None:
    text = row(value=value).to_json()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert (record["value"], record["status"]) == (None, "diverged")
    assert record["detail"] == f"peak_bytes was {value}"


def test_keys_of_a_newer_schema_are_ignored() -> None:
    record = json.loads(row().to_json()) | {"weather": "fine"}
    assert Row.from_record(record) == row()


def test_cutting_the_rows_anywhere_keeps_exactly_the_closed_cells(tmp_path: Path) -> None:
    whole = RunFolder.create(tmp_path / "whole")
    ends = [0]
    for name in "abc":
        whole.append_cell(name, 1, [row(cell_id=name, detail='a "cell_done" in a detail é')] * 2)
        ends.append(whole.rows_path.stat().st_size)
    data = whole.rows_path.read_bytes()
    cut = RunFolder.create(tmp_path / "cut")
    for length in range(len(data) + 1):
        cut.rows_path.write_bytes(data[:length])
        closed = sum(end <= length for end in ends[1:])
        assert list(cut.finished()) == list("abc")[:closed]  # a reader needs no recovery
        assert cut.recover() == length - ends[closed]
        assert cut.rows_path.read_bytes() == data[: ends[closed]]


def test_a_writer_that_starts_on_a_torn_tail_cuts_it_first(folder: RunFolder) -> None:
    with folder.rows_path.open("ab") as file:
        file.write(row(cell_id="c").to_json().encode()[:40])
    RunFolder.create(folder.path).append_cell("d", 1, [row(cell_id="d")])
    assert list(folder.finished()) == ["a", "b", "d"]


def test_a_cell_with_a_line_that_cannot_be_read_counts_as_missing(folder: RunFolder) -> None:
    lines = folder.rows_path.read_bytes().splitlines(keepends=True)
    folder.rows_path.write_bytes(lines[0][:30] + b"\n" + b"".join(lines[1:]))
    assert list(folder.finished()) == ["b"]


def test_lines_of_a_newer_schema_do_not_unclose_a_cell(folder: RunFolder) -> None:
    data = folder.rows_path.read_bytes()
    folder.rows_path.write_bytes(b'{"comment": "by a newer version"}\n' + data)
    assert list(folder.finished()) == ["a", "b"]


def test_readers_keep_the_last_attempt(folder: RunFolder) -> None:
    folder.append_cell("b", 2, [row(cell_id="b", attempt=2, value=5.0)])
    record = folder.finished()["b"]
    assert (record.attempt, record.failed, record.statuses) == (2, False, {"ok"})
    assert [r.value for r in folder.rows() if r.cell_id == "b"] == [5.0]


def test_a_cell_failed_when_its_headline_did(folder: RunFolder) -> None:
    diagnostic = row(cell_id="c", metric="solver_residual", value=math.nan)
    folder.append_cell("c", 1, [row(cell_id="c"), diagnostic])
    folder.append_cell("d", 1, [row(cell_id="d", value=None, status="skipped")])
    records = folder.finished()
    assert {cell_id: record.failed for cell_id, record in records.items()} == {
        "a": False, "b": True, "c": False, "d": False,
    }  # fmt: skip
    assert records["c"].statuses == {"ok", "diverged"}


def test_an_interrupted_cell_is_known_as_such(folder: RunFolder) -> None:
    folder.append_cell("a", 2, [row(cell_id="a", attempt=2, value=None, status="interrupted")])
    assert folder.finished()["a"].interrupted
    assert not folder.finished()["b"].interrupted


def test_rows_of_another_cell_are_refused(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="another cell"):
        folder.append_cell("c", 1, [row(cell_id="a")])


def test_a_full_disk_leaves_the_rows_as_they_were(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = folder.rows_path.read_bytes()
    write, calls = os.write, []

    def write_a_little(handle: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[:37])

    monkeypatch.setattr(os, "write", write_a_little)
    with pytest.raises(StoreError, match=r"rows\.jsonl could not be written \(No space left on device\)"):
        folder.append_cell("c", 1, [row(cell_id="c")])
    monkeypatch.undo()
    assert len(calls) == 2
    assert folder.rows_path.read_bytes() == before
    folder.append_cell("c", 1, [row(cell_id="c")])
    assert list(folder.finished()) == ["a", "b", "c"]


def test_short_writes_are_continued(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    folder.append_cell("c", 1, [row(cell_id="c")])
    monkeypatch.undo()
    assert list(folder.finished()) == ["a", "b", "c"]


FILL = """
import resource, signal, sys
from rows import row
from harness.store import RunFolder, StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails with EFBIG
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
folder = RunFolder.create(sys.argv[1])
for i in range(100):
    try:
        folder.append_cell(str(i), 1, [row(cell_id=str(i))] * 3)
    except StoreError:
        print(i, folder.rows_path.stat().st_size)
        break
"""


def test_a_file_that_may_not_grow_holds_whole_cells_only(tmp_path: Path) -> None:
    process = run_python(FILL, str(tmp_path / "run"))
    finished, size = map(int, process.communicate(timeout=60)[0].split())
    folder = RunFolder.open(tmp_path / "run")
    assert 0 < finished < 100
    assert size < 10_000
    assert list(folder.finished()) == [str(i) for i in range(finished)]
    assert folder.recover() == 0


APPEND = """
import itertools, sys
from rows import row
from harness.store import RunFolder
folder = RunFolder.create(sys.argv[1])
with folder.lock():
    folder.recover()
    for i in itertools.count(len(folder.finished())):
        folder.append_cell(str(i), 1, [row(cell_id=str(i), detail="x" * 5000)] * 8)
        print(i, flush=True)
"""


def test_a_writer_that_is_killed_loses_no_cell_that_it_finished(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    promised = -1
    for attempt in range(6):
        process = run_python(APPEND, str(folder.path))
        assert process.stdout is not None
        promised = int(process.stdout.readline())
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[0].split("\n")[:-1]
        promised = int(said[-1]) if said else promised
        finished = folder.finished()
        assert list(finished) == [str(i) for i in range(len(finished))]
        assert len(finished) >= promised + 1
        assert len(folder.rows()) == 8 * len(finished)


def test_a_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    process = run_python(APPEND, str(tmp_path / "run"))
    assert process.stdout is not None
    process.stdout.readline()
    refusal = rf"is in use by process {process.pid}; wait for it or use --out"
    with pytest.raises(UsageError, match=refusal), RunFolder.create(tmp_path / "run").lock():
        pass
    process.kill()
    process.communicate(timeout=60)
    with RunFolder.create(tmp_path / "run").lock():  # a killed process holds nothing
        pass


def test_a_folder_of_something_else_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not empty and is no run folder"):
        RunFolder.create(tmp_path)
    with pytest.raises(UsageError, match=r"no manifest\.json"):
        RunFolder.open(tmp_path)


def test_a_replaced_file_is_the_old_one_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "manifest.json"
    replace_file(path, "old")

    def fail(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_manifest_and_environment_read_back(folder: RunFolder) -> None:
    assert folder.environment() == {}
    folder.write_manifest({"cells": [{"id": "a"}], "limit": math.inf})
    folder.write_environment({"threads": 2})
    assert folder.manifest() == {"schema": 1, "cells": [{"id": "a"}], "limit": "inf"}
    assert folder.environment() == {"threads": 2}


def test_a_frame_holds_the_cells_of_the_current_plan_and_on_request_all(folder: RunFolder) -> None:
    folder.write_manifest({"cells": [{"id": "a"}]})
    assert set(load_frame(folder.path).cell_id) == {"a"}
    assert set(load_frame(folder.path, every=True).cell_id) == {"a", "b"}


def test_settings_become_columns_of_one_type() -> None:
    rows = [row(settings={"lam": 1, "mode": "loop"}), row(method="fomaml", settings={"lam": 0.5, "mode": 3})]
    frame = frame_of(rows)
    assert list(frame["method.lam"]) == [1.0, 0.5]
    assert list(frame["method.mode"]) == ["loop", "3"]
    assert list(frame["workload.ways"]) == [20, 20]
    assert set(frame.workload_name) == {"glyphs"}


def test_a_workload_splits_into_name_and_settings() -> None:
    assert split_workload("sinusoid") == ("sinusoid", {})
    settings = {"ways": 5, "norm": "batch-stats", "rotate": True, "sizes": [40, 40], "noise": 0.001}
    text = "glyphs[ways=5,norm=batch-stats,rotate=True,sizes=[40,40],noise=1e-3]"
    assert split_workload(text) == ("glyphs", settings)


def test_variants_of_a_method_are_told_apart_by_what_differs() -> None:
    rows = [
        row(settings={"lam": 0.0, "inner_lr": 0.1}),
        row(settings={"lam": 2.0, "inner_lr": 0.1}),
        row(method="fomaml", settings={"inner_lr": 0.1}),
        row(method="fomaml", settings={"inner_lr": 0.01}, workload="sinusoid"),
    ]
    assert list(frame_of(rows).method_label) == ["maml[lam=0.0]", "maml[lam=2.0]", "fomaml", "fomaml"]


def test_an_empty_run_is_an_empty_frame(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write_manifest({"cells": []})
    frame = load_frame(folder)
    assert frame.empty
    assert {"method_label", "workload_name", "value"} <= set(frame.columns)


def test_tables_are_rebuilt_from_the_rows_alone(tmp_path: Path) -> None:
    cells = [memory_cell("maml", 4), time_cell(0, [("maml", 4), ("imaml-gd", 4)])]
    folder = RunFolder.open(write_run(tmp_path / "run", cells))
    written = folder.derive_tables()
    assert [path.name for path in written] == ["rows.parquet", "memory.csv", "time.csv"]
    contents = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in folder.derive_tables()] == contents
    memory = pd.read_csv(folder.tables_path / "memory.csv").set_index("metric")
    assert memory.value["baseline_bytes"] == 12 * MIB
    pd.testing.assert_frame_equal(pd.read_parquet(folder.parquet_path), load_frame(folder))


def test_a_run_is_found_by_path_by_name_and_by_its_unique_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no run in results/"):
        find_run("quick")
    for name in ("quick-0a1b", "quick-9f00", "memory-77aa"):
        write_run(Path("results") / name, [memory_cell("maml", 4)])
    write_run(tmp_path / "elsewhere", [memory_cell("maml", 4)])
    assert find_run("elsewhere") == Path("elsewhere")
    assert find_run("quick-0a1b") == find_run("quick-0") == Path("results/quick-0a1b")
    with pytest.raises(UsageError, match="quick-0a1b or quick-9f00"):
        find_run("quic")
    os.utime("results/quick-0a1b", (2e9, 2e9))
    assert find_run("quick") == Path("results/quick-0a1b")  # the run of that suite last at work
    with pytest.raises(UsageError, match="did you mean 'memory-77aa'"):
        find_run("memry-77aa")


def test_importing_the_store_imports_no_pandas_and_no_torch() -> None:
    code = "import sys, harness.store; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    assert run_python(code).communicate(timeout=60)[0] == "[]\n"
