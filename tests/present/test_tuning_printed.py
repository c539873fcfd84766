"""What `show`, the report and the other commands say of a search for settings, whose cells have no test."""

from pathlib import Path
from typing import Any

import pytest
from published import MINIMAL, trained_cell
from rows import SETTINGS, row, write_run

from harness.analyze.loaded import LoadedRun, load_run
from harness.cli.app import call
from harness.present.report.blocks import Prose, Table
from harness.present.report.document import render
from harness.present.report.page import build_page
from harness.rows import Row

SCORES = {"maml": (0.61, 0.72), "imaml-gd": (0.74, 0.69)}


def trial_cell(method: str, number: int, score: float) -> list[Row]:
    """One training without a test."""
    settings = SETTINGS[method] | {"inner_lr": 0.1 + 0.05 * number}
    cell = trained_cell(
        0.0, 0, method=method, workload=MINIMAL, settings=settings, curve={0: 0.3, 100: score}
    )
    place: dict[str, Any] = {"cell_id": f"{method}-{number}"}
    validated = [row(**vars(r) | place) for r in cell if not r.metric.startswith("accuracy")]
    selected = {"metric": "selected_validation_accuracy", "value": score, "repeat": 0}
    return [*validated, row(**vars(validated[0]) | selected)]


def searched(path: Path) -> Path:
    """Two trials of each method; a third one of MAML failed."""
    methods, cells = [], []
    for method, scores in SCORES.items():
        trials: list[dict[str, Any]] = []
        for number, score in enumerate(scores):
            changes = {"inner_lr": 0.15} if number else {}
            trials.append({"number": number, "changes": changes, "score": score, "reason": ""})
            cells.append(trial_cell(method, number, score))
        methods.append({"method": method, "space": {"inner_lr": "0.01 to 1"}, "own": {"inner_lr": 0.1},
                        "best": 0, "trials": trials})  # fmt: skip
    methods[0]["trials"].append({"number": 2, "changes": {"inner_lr": 9.0}, "score": None, "reason": "nan"})
    tuning = {"judged_by": "mean accuracy of 200 validation tasks", "score": "accuracy", "methods": methods}
    return write_run(path, cells, suite="tune-omniglot-minimal", tuning=tuning)


@pytest.fixture
def run(tmp_path: Path) -> LoadedRun:
    return load_run(searched(tmp_path / "run"))


def test_the_report_has_every_trial_and_no_test_scores(run: LoadedRun) -> None:
    page = build_page([run])
    section = next(each for each in page.sections if each.id == "search")
    first, second, judged = section.blocks
    assert isinstance(first, Table)
    assert isinstance(second, Table)
    assert isinstance(judged, Prose)
    told = [[cell.text for cell in line] for line in first.lines]
    assert told == [
        ["2", "0.720", "inner_lr=0.15"],
        ["1", "0.610", "inner_lr=0.1 (the suite's own)"],
        ["3", "\N{EN DASH}", "inner_lr=9.0 (nan)"],
    ]
    assert [line[0].text for line in second.lines] == ["1", "2"]
    assert "Judged by the mean accuracy of 200 validation tasks." in judged.sentences[0]
    html = render(page)
    assert "not compared" not in html  # a pair of trials was asked for no comparison
    assert "No test task was looked at" in html
    assert "intervals are over test tasks" not in html


def test_nothing_is_made_of_test_scores_that_nobody_asked_for(run: LoadedRun) -> None:
    assert run.accuracy.empty
    assert run.accuracy_differences() == []
    assert run.published() == []
    assert {claim.verdict for claim in run.claims()} == {"not measured"}


def test_a_run_that_searched_for_nothing_has_no_such_section(tmp_path: Path) -> None:
    page = build_page([load_run(write_run(tmp_path / "run", [trained_cell(0.9, 0)]))])
    assert "search" not in {each.id for each in page.sections}


@pytest.mark.parametrize("command", ["show", "claims", "report", "plot", "compare"])
def test_every_command_takes_a_search(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(searched(tmp_path / name)) for name in ("a", "b")]
    out = {"report": ["--out", str(tmp_path / "r.html")], "plot": ["--out", str(tmp_path / "plots")]}
    assert call([command, *(runs if command == "compare" else runs[:1]), *out.get(command, [])]) == 0
    assert "nan" not in capsys.readouterr().out.replace("(nan)", "")


@pytest.mark.parametrize("damage", [[], {"methods": [{"method": "maml"}]}, {"methods": [{"trials": [1]}]}])
def test_a_damaged_record_of_a_search_is_said_and_left_out(tmp_path: Path, damage: Any) -> None:
    run = load_run(write_run(tmp_path / "run", [trial_cell("maml", 0, 0.6)], tuning=damage))
    assert any("tuning: not what a run writes" in caveat for caveat in run.caveats)
    assert "search" not in {each.id for each in build_page([run]).sections}
