"""`innerloop wall`, on real methods: the answer is held against running the neighbours under that budget."""

import json
from pathlib import Path
from typing import get_args

import pytest
from runs import rows_of, run_here, statuses, write_adapter, write_suite

from harness.cli import wall
from harness.cli.app import call
from harness.protocol import Profile

FIVE = "maml = { inner_lr = 0.01 }\nfomaml = {}\nreptile = {}\nimaml-gd = {}\nimaml-hf = {}"


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    return write_suite(tmp_path, methods=FIVE, measures=["memory"], inner_steps="[2]")


def walls(capsys: pytest.CaptureFixture[str], suite: Path, *arguments: str) -> dict[str, dict]:
    assert call(["wall", str(suite), "--json", *arguments]) == 0
    return {found["method"]: found for found in json.loads(capsys.readouterr().out)}


def test_the_wall_equals_what_running_the_neighbours_under_the_budget_shows(
    suite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = walls(capsys, suite, "--memory-budget", "700KiB", "--up-to", "20")
    assert [f["fails"] for name, f in found.items() if name != "maml"] == [None] * 4
    assert {f["fits"] for name, f in found.items() if name != "maml"} == {20}
    fits, fails = found["maml"]["fits"], found["maml"]["fails"]
    assert fails == fits + 1 > 2
    run = tmp_path / "run"
    asked = [f"inner_steps={fits},{fails}", "memory.metrics=[]"]
    run_here(suite, run, methods=["maml"], settings=asked, memory_budget=700 * 1024)
    assert statuses(run) == {("memory", "maml", fits): "ok", ("memory", "maml", fails): "oom"}
    peak = next(row.value for row in rows_of(run) if row.metric == "tracked_peak_bytes")
    assert found["maml"]["predicted_peak_bytes"][str(fits)] == peak


def test_it_can_run_the_neighbours_itself(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = walls(capsys, suite, "-m", "maml", "--memory-budget", "700KiB", "--up-to", "20", "--verify")[
        "maml"
    ]
    fits, fails = found["fits"], found["fails"]
    peak = found["predicted_peak_bytes"][str(fits)]
    assert found["verified"] == f"run at {fits}: fits, {peak:,} bytes; run at {fails}: over the budget"


def test_a_method_has_one_line_that_says_where_its_wall_stands(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-m", "maml[inner_lr=0.01]", "-m", "maml[inner_lr=0.1]", "-m", "fomaml"]
    assert call(["wall", str(suite), *arguments, "--memory-budget", "700KiB", "--up-to", "20"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("Under 716,800 bytes (tensors), sinusoid[")
    assert lines[0].strip().startswith("maml[inner_lr=0.01]: fits at ")
    assert lines[1].strip().startswith("maml[inner_lr=0.1]: fits at ")
    assert " MiB), not at " in lines[0]
    assert lines[2].strip().endswith("no limit up to 20")


def test_a_profile_moves_the_wall_by_its_blocks_and_workspaces(
    suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = str(700 * 1024 + 2 * 8_519_680)
    exact = walls(capsys, suite, "-m", "maml", "--memory-budget", "700KiB", "--up-to", "30")["maml"]
    rounded = walls(
        capsys,
        suite,
        "-m",
        "maml",
        "--memory-budget",
        f"{budget}B",
        "--device-profile",
        "cuda",
        "--up-to",
        "30",
    )["maml"]
    assert 0 < rounded["fits"] < exact["fits"]


def test_the_suites_own_budget_is_the_default(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = write_suite(tmp_path, measures=["memory"], more='memory_budget = "700KiB"')
    assert walls(capsys, own, "--up-to", "4")["fomaml"]["budget_bytes"] == 700 * 1024
    again = walls(capsys, own, "--up-to", "4", "--memory-budget", "1MiB")
    assert again["fomaml"]["budget_bytes"] == 2**20


def test_an_adapter_that_needs_values_cannot_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adapter = write_adapter(tmp_path, "Curious", "float(next(iter(meta.values())).sum())")
    suite = write_suite(tmp_path, measures=["memory"])
    assert call(["wall", str(suite), "-m", adapter, "--memory-budget", "1MiB"]) == 0
    assert "curious: cannot be told: the step cannot be run without values" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a wall needs a budget"),
        (["--memory-budget", "12"], "--memory-budget 12: write a positive number with its unit"),
        (
            ["--memory-budget", "1B"],
            "is below what the meta-parameters, outer state and meta-batch take alone",
        ),
        (["--memory-budget", "1GiB", "--device-profile", "cudo"], "did you mean 'cuda'?"),
        (
            ["--memory-budget", "1GiB", "--patience", "5"],
            "--patience 5: write a positive number with its unit",
        ),
        (["--memory-budget", "1GiB", "--up-to", "0"], "Invalid value for '--up-to'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    suite: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert call(["wall", str(suite), *arguments]) == 2
    out, complaint = capsys.readouterr()
    assert out == ""
    assert said in complaint
    assert complaint.count("\n") == 1


def test_the_command_line_knows_every_profile() -> None:
    assert get_args(Profile) == wall.PROFILES


def test_a_suite_that_measures_no_memory_has_no_walls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(tmp_path, measures=["time"])
    assert call(["wall", str(suite), "--memory-budget", "1GiB"]) != 0
    assert "does not measure memory" in capsys.readouterr().err
