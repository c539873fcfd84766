"""`innerloop compare` as it is typed."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import rows
from rows import METHODS

from harness.cli.app import call
from harness.rows import Row

GATES = ["--fail-on", "peak_bytes>5%", "--fail-on", "step_seconds>15%"]
GRID = [(method, steps) for method in METHODS for steps in (1, 4, 16)]


def cells_of(run: int, memory: float = 1.0, slower: float = 1.0) -> list[list[Row]]:
    memories = [rows.memory_cell(method, steps) for method, steps in GRID]
    times = [rows.time_cell(b, GRID, run=run, slower=slower, block_noise=0.03) for b in range(3)]
    return [[replace(r, value=(r.value or 0) * memory) for r in cell] for cell in memories] + times


@pytest.fixture
def base(tmp_path: Path) -> str:
    return str(rows.write_run(tmp_path / "base", cells_of(1)))


@pytest.fixture
def worse(tmp_path: Path) -> str:
    """5.1%, for a gate of 5% lets 5% pass."""
    return str(rows.write_run(tmp_path / "worse", cells_of(2, memory=1.051, slower=1.2)))


def test_a_run_against_itself_finds_nothing_and_passes(base: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["compare", base, base, *GATES]) == 0
    printed = capsys.readouterr().out
    assert "Nothing differs between A and B: 30 points in common" in printed
    assert printed.count("passed (15 passed)") == 2


def test_planted_regressions_are_found_and_both_gates_fail(
    base: str, worse: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["compare", base, worse, *GATES]) == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "peak_bytes: larger at 15 of 15 points, +5.1 %." in printed
    assert "over 15 points together B takes 1.2" in printed
    assert "Gate peak_bytes>5%, B against A: failed (15 failed)" in printed
    assert "Gate step_seconds>15%, B against A: failed" in printed
    assert "failed: maml at 1, 4, 16; fomaml at 1, 4, 16; reptile at 1, 4, 16; imaml-gd" in printed
    assert "imaml-hf at 1, 4, 16: +5.1 % Gate" in printed


def test_without_a_gate_a_difference_is_no_failure(base: str, worse: str) -> None:
    assert call(["compare", base, worse]) == 0


def test_each_other_run_meets_every_gate(base: str, worse: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["compare", base, base, worse, "--fail-on", "peak_bytes>5%"]) == 4
    printed = capsys.readouterr().out
    assert "Gate peak_bytes>5%, B against A: passed" in printed
    assert "Gate peak_bytes>5%, C against A: failed" in printed


def test_an_undecided_gate_does_not_pass(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = rows.write_run(tmp_path / "other", cells_of(2), environment={"threads": 8})
    assert call(["compare", base, str(other), "--fail-on", "step_seconds>15%"]) == 4
    printed = " ".join(capsys.readouterr().out.split())
    assert "No time difference is called: A (base) ran on Example CPU (2 threads), B (other)" in printed
    assert "undecided (15 undecided)" in printed
    assert "not the same machine" in printed


def test_nothing_in_common_is_said_in_words(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = rows.write_run(tmp_path / "other", [rows.memory_cell("maml", 1, workload="sinusoid")])
    assert call(["compare", base, str(other)]) == 0
    assert "have no point in common" in capsys.readouterr().out


def test_a_run_that_was_cut_short_says_so_and_the_rest_is_compared(
    base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = rows.write_run(tmp_path / "cut", cells_of(1)[:4], unfinished=7)
    assert call(["compare", base, str(cut)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "B (cut): 7 of 11 cells" in printed
    assert "Nothing differs between A and B: 4 points in common" in printed
    assert "Only in A (base): the measure time." in printed


def test_it_fits_80_columns(
    base: str, worse: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    call(["compare", base, worse, "--all", *GATES])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.split() == ["method", "steps", "A", "B", "change", "95%"] for line in lines) == 2


def test_methods_of_one_run_are_held_against_each_other(
    base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["compare", base, base, "--map", "fomaml=maml"]) == 0
    printed = capsys.readouterr().out
    assert "fomaml / maml" in printed
    assert "paired by rounds" in printed


def test_out_has_the_table_and_the_curves(base: str, worse: str, tmp_path: Path) -> None:
    out = tmp_path / "pictures"
    assert call(["compare", base, worse, "--out", str(out)]) == 0
    table = pd.read_csv(out / "differences.csv")
    peaks = table[table.metric == "peak_bytes"]
    assert peaks.ratio.to_numpy() == pytest.approx(1.051)
    assert set(peaks.verdict) == {"more"}
    assert (out / "memory.svg").is_file()
    assert (out / "time.png").is_file()


def test_without_out_nothing_is_written(base: str, worse: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    call(["compare", base, worse])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "two runs or more"),
        (["nowhere"], "was not found"),
        (["{base}", "--fail-on", "peak_byts>5%"], "did you mean 'peak_bytes'?"),
        (["{base}", "--map", "maml"], "write two methods"),
        (["{base}", "--map", "mml=maml"], "did you mean 'maml'?"),
        (["{folder}"], "is not a run folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    base: str, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    words = [each.format(base=base, folder=tmp_path / "folder") for each in arguments]
    assert call(["compare", base, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_copy_of_a_run_is_the_same(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(base, tmp_path / "copy")
    assert call(["compare", base, str(tmp_path / "copy"), *GATES]) == 0
    assert "Nothing differs" in capsys.readouterr().out
