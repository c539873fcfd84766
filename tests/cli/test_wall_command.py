"""`innerloop wall`, on real methods: the answer is held against running the neighbours under that budget."""

import json
import os
import signal
from pathlib import Path
from typing import get_args

import pytest
from runs import carrying, rows_of, run_here, start, statuses, until, write_adapter, write_suite

from harness.cli import wall
from harness.cli.app import call
from harness.measure_settings import Profile

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


def test_a_method_that_cannot_be_searched_has_its_line_and_the_others_their_walls(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "peer.py").write_text("import no_such_library\n")
    deadly = write_adapter(tmp_path, "Deadly", "ctypes.string_at(0)")
    suite = write_suite(tmp_path, measures=["memory"], inner_steps="[2]")
    asked = [part for m in (f"{tmp_path}/peer.py:Peer", deadly, "fomaml") for part in ("-m", m)]
    assert call(["wall", str(suite), *asked, "--memory-budget", "1MiB", "--up-to", "4"]) == 0
    _, peer, died, fomaml = capsys.readouterr().out.splitlines()
    assert "peer.py:Peer: cannot be told: install 'no_such_library'" in peer
    assert died.strip() == (
        "deadly: cannot be told: the process of the search for the wall of deadly ended early "
        "(signal SIGSEGV): look first at the code of adapters given by path"
    )
    assert fomaml.strip().endswith("no limit up to 4")


def test_an_interruption_ends_the_searches_at_once_and_says_that_nothing_is_kept(tmp_path: Path) -> None:
    began = tmp_path / "began"
    adapter = write_adapter(tmp_path, "Sleepy", f"Path({str(began)!r}).touch(); time.sleep(60)")
    suite = write_suite(tmp_path, measures=["memory"], inner_steps="[2]")
    mark = f"wall-{os.getpid()}-{tmp_path.name}"
    asked = ["-m", adapter, "-m", adapter + "[rate=2.0]", "--memory-budget", "1MiB", "--jobs", "1"]
    parent = start(["wall", str(suite), *asked], mark, tmp_path)
    until(began.exists, "a search begins")
    parent.send_signal(signal.SIGINT)
    _, said = parent.communicate(timeout=20)
    assert parent.returncode == 130
    assert said == "innerloop: interrupted; of walls nothing is kept: the same command begins anew.\n"
    until(lambda: not carrying(mark), "all its processes are gone", 20)


SMALL, LARGE = "linear-regression[dimension=2]", "sinusoid"
BETWEEN = 20_000  # bytes: below what a step on `sinusoid` begins with, above all that one on the other takes


@pytest.mark.parametrize("workloads", [[SMALL, LARGE], [LARGE, SMALL]])
def test_a_budget_that_only_one_workload_fits_is_not_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workloads: list[str]
) -> None:
    suite = write_suite(tmp_path, methods="fomaml = {}", measures=["memory"], inner_steps="[1]")
    suite.write_text(suite.read_text().replace('["sinusoid"]', json.dumps(workloads)))
    asked = ["wall", str(suite), "--memory-budget", f"{BETWEEN}B", "--up-to", "2"]
    assert call([*asked, "--json"]) == 0
    found = {f["workload"].partition("[")[0]: f for f in json.loads(capsys.readouterr().out)}
    assert found["linear-regression"]["fits"] == 2
    assert (found["sinusoid"]["fits"], found["sinusoid"]["fails"]) == (None, 1)
    assert call([*asked, "--set", f"workloads={LARGE}"]) == 2
    assert "(fomaml on sinusoid); give more than that." in capsys.readouterr().err


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
