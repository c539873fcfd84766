"""Rows read at one go are those that are read line by line, whatever the file has been through."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows import memory_cell, row, time_cell, whole_run, write_run

from harness.frame import load_frame
from harness.rowfile import RowFile, read_rows
from harness.rows import ROW_FIELDS
from harness.store import RunFolder

REFERENCE = sorted((Path(__file__).parents[1] / "results" / "reference").iterdir())


def line_by_line(folder: RunFolder) -> list[dict[str, Any]]:
    return [
        vars(row) | {"settings": row.settings_json, "value": None if row.value is None else float(row.value)}
        for row in folder.rows()
    ]


def assert_read_alike(folder: RunFolder) -> RowFile:
    """By values, not by pandas: a record a row, None where there is no value."""
    file, contents = read_rows(folder), folder.contents()
    records = file.rows.astype(object).where(file.rows.notna(), None).to_dict("records")
    assert records == line_by_line(folder)
    assert list(file.rows.columns) == list(ROW_FIELDS)
    assert file.cells == set(contents.cells)
    assert file.interrupted == {c for c, record in folder.finished().items() if record.interrupted}
    assert file.defects == contents.defects
    return file


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    cells = [memory_cell("maml", 4), time_cell(0, [("maml", 4), ("imaml-gd", 4)]), memory_cell("fomaml", 4)]
    folder = RunFolder.open(write_run(tmp_path / "run", cells))
    folder.append_cell("memory-maml-4", 2, memory_cell("maml", 4, attempt=2, value=5))
    folder.append_cell("cut", 1, [row(cell_id="cut", value=None, status="interrupted", detail='"value": é')])
    return folder


@pytest.mark.parametrize("run", REFERENCE, ids=lambda run: run.name)
def test_the_reference_runs_are_read_at_one_go(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder.open(run)
    expected = line_by_line(folder)
    monkeypatch.setattr(RunFolder, "contents", lambda folder: pytest.fail("read line by line"))
    rows = read_rows(folder).rows
    assert rows.astype(object).where(rows.notna(), None).to_dict("records") == expected


def test_of_a_cell_that_was_measured_again_the_last_attempt_is_read(folder: RunFolder) -> None:
    file = assert_read_alike(folder)
    assert list(dict.fromkeys(file.rows.cell_id)) == ["time-0", "memory-fomaml-4", "memory-maml-4", "cut"]
    assert set(file.rows[file.rows.cell_id == "memory-maml-4"].attempt) == {2}


def test_a_file_cut_anywhere_is_read_alike(folder: RunFolder) -> None:
    data = folder.rows_path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    for length in sorted({0, len(data), *ends, *np.linspace(1, len(data), 25, dtype=int)}):
        folder.rows_path.write_bytes(data[:length])
        assert_read_alike(folder)


def changed(**keys: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda record: record | keys


def without(key: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda record: {name: value for name, value in record.items() if name != key}


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(without(key), id=f"without {key}") for key in ROW_FIELDS),
        *(
            pytest.param(changed(**{key: None}), id=f"{key} is null")
            for key in ("value", "detail", "settings")
        ),
        pytest.param(changed(weather="fine"), id="a key more"),
        pytest.param(changed(weather={"value": 1}), id="a table more"),
        pytest.param(changed(weather=None), id="a null more"),
        pytest.param(changed(value="1"), id="a value in words"),
        pytest.param(changed(value=math.nan), id="not a number"),
        pytest.param(changed(value=math.inf), id="infinity"),
        pytest.param(changed(value=7), id="a whole number"),
        pytest.param(changed(value=10**30), id="a value above 64 bits"),
        pytest.param(changed(value=10**400), id="a value above all floats"),
        pytest.param(changed(seed=10**30), id="a number too large for a column"),
        pytest.param(changed(seed=-(2**63)), id="the least number of a column"),
        pytest.param(changed(seed=2**63), id="one above the largest"),
        pytest.param(changed(detail="/data/\udcff.png"), id="half a letter"),
        pytest.param(changed(cell_done=None), id="a row that closes nothing"),
        pytest.param(changed(cell_done=3), id="a row that closes no cell"),
        pytest.param(changed(metric=["peak_bytes"]), id="a list for a word"),
        pytest.param(changed(seed=True), id="a truth for a number"),
        pytest.param(changed(settings={"b": 1, "a": 2, "inner_steps": 3}), id="settings as a table"),
        pytest.param(changed(settings='{"b":1,  "a":2, "inner_steps": 3}'), id="settings in another order"),
        pytest.param(changed(settings="[]"), id="settings that are none"),
        pytest.param(changed(settings="{"), id="settings that are no JSON"),
        pytest.param(changed(cell_id="another"), id="a row of another cell"),
        pytest.param(changed(attempt=9), id="a row of another attempt"),
    ],
)
def test_a_row_of_another_schema_or_none_is_read_alike(
    folder: RunFolder, damage: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    lines = folder.rows_path.read_text().splitlines()
    lines[1] = json.dumps(damage(json.loads(lines[1])))
    folder.rows_path.write_text("".join(f"{line}\n" for line in lines))
    assert_read_alike(folder)


STRANGE = (
    *(b"", b"  ", b"[]", b"3", b"null", b'"text"', b"{}", b'{"cell_id": "a"', b"\xff\xfe"),
    *(b'{"cell_done": 3}', b'{"cell_done": null}', b'{"cell_done": "time-0"}', b'{"value": 1e999}'),
    *(b'{"comment": "by a newer version"}', b'{"run_id": 1, "run_id": 2}'),
    b'{"cell_done": "time-0", "attempt": 1e999}',
)


@pytest.mark.parametrize("line", STRANGE)
@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_strange_line_is_read_alike(folder: RunFolder, line: bytes, place: int) -> None:
    lines = folder.rows_path.read_bytes().splitlines()
    folder.rows_path.write_bytes(b"".join(each + b"\n" for each in [*lines[:place], line, *lines[place:]]))
    assert_read_alike(folder)


def test_half_a_letter_in_a_reason_hides_no_run(folder: RunFolder) -> None:
    """As an adapter's error about a file has it whose name is no text."""
    folder.append_cell(
        "cut", 2, [row(cell_id="cut", attempt=2, value=None, status="error", detail="\udcff.png")]
    )
    assert list(read_rows(folder).rows.detail)[-1] == "?.png"


def test_lines_that_ran_together_are_read_alike(folder: RunFolder) -> None:
    data = folder.rows_path.read_bytes()
    folder.rows_path.write_bytes(data.replace(b"}\n{", b"}{", 1))
    assert_read_alike(folder)


def test_random_bytes_in_the_file_are_read_alike(folder: RunFolder) -> None:
    rng, data = np.random.default_rng(0), folder.rows_path.read_bytes()
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=2):
            damaged[place] = rng.integers(256)
        folder.rows_path.write_bytes(bytes(damaged))
        assert_read_alike(folder)


def test_what_the_derived_parquet_says_is_never_believed(tmp_path: Path) -> None:
    folder = RunFolder.open(write_run(tmp_path / "run", whole_run()))
    folder.derive_tables()
    frame = pd.read_parquet(folder.parquet_path)
    frame.assign(value=0.0).to_parquet(folder.parquet_path)
    assert (load_frame(folder).value > 0).any()
