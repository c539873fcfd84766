"""What `show` and the report print of published figures, of training, and of settings by workload."""

import io
from pathlib import Path

import pytest
from published import FIVE_WAY, OFFICIAL, TWENTY_WAY, trained_cells
from rich.console import Console
from rows import SETTINGS, whole_run, write_run

from harness.analyze.loaded import load_run
from harness.present.report.document import render
from harness.present.report.page import build_page
from harness.present.tables.show import show_run

CONTENT = {
    "accuracy": {"meta_batch_size": 16, "validate_every": 500, "validation_tasks": 200},
    "deviations": ["Test characters are not rotated."],
}
FLOORS = {"neighbour": 0.45, "hausdorff": 0.62}


def shown(path: Path, width: int = 100) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for renderable in show_run(path):
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def omniglot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    slower = SETTINGS["imaml-gd"] | {"inner_lr": 0.05}
    cells = [
        *trained_cells([0.95, 0.951, 0.952], method="maml", inner_steps=1),
        *trained_cells([0.991, 0.9915, 0.9912]),
        *trained_cells([0.94, 0.945, 0.942], workload=TWENTY_WAY, inner_steps=25, settings=slower),
    ]
    return write_run(tmp_path_factory.mktemp("run") / "omniglot", cells, content=CONTENT)


@pytest.mark.parametrize("width", [80, 100])
def test_nothing_of_the_comparison_is_cut_off(omniglot: Path, width: int) -> None:
    text = shown(omniglot, width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())


def test_the_published_stands_beside_ours_with_the_difference_and_both_intervals(omniglot: Path) -> None:
    lines = [line.replace("\N{NO-BREAK SPACE}", " ") for line in shown(omniglot).splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("Beside the paper's Table 2"))
    maml = next(line for line in lines[start:] if line.startswith("maml ") and "98.7 ± 0.4" in line)
    assert "95.10 ± 0.25" in maml
    assert "-3.60" in maml
    assert maml.rstrip().endswith("lower")
    text = " ".join(" ".join(lines).split())
    assert "Unlike the published: meta-batch 16 (the readme of the authors' code: 32) [imaml-gd]" in text
    assert "Deviations from the published protocol that the suite names - Test characters are not" in text
    assert "310 of its 423 test classes" in text


def test_the_report_says_the_same_and_names_its_rows(omniglot: Path) -> None:
    page = build_page([load_run(omniglot)])
    section = next(each for each in page.sections if each.id == "published")
    html = render(page)
    assert any("Test characters are not rotated." in getattr(b, "sentences", ()) for b in section.blocks)
    statements = [item for block in section.blocks for item in getattr(block, "items", ())]
    assert len(statements) == 3
    assert all(len(item.sources[0].cells) == 3 for item in statements)
    assert "98.7 ± 0.4" in html


def test_settings_that_differ_by_workload_are_told_apart_by_it(omniglot: Path) -> None:
    text = shown(omniglot, 120)
    assert "imaml-gd (omniglot[ways=5]) " in text
    assert "imaml-gd (omniglot[ways=20]) " in text
    assert "\nmaml  " in text
    assert "16 on omniglot[ways=5]; 25 on omniglot[ways=20] (imaml-gd)" in render(
        build_page([load_run(omniglot)])
    )


def test_one_shot_runs_are_told_as_errors_beside_the_datasets_baseline(tmp_path: Path) -> None:
    cells = trained_cells([0.70, 0.72, 0.71], workload=OFFICIAL, tasks=10, floors=FLOORS)
    text = shown(write_run(tmp_path / "run", cells))
    words = " ".join(text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert f"Errors, %: {OFFICIAL}" in text.replace("\n", "")
    assert "imaml-gd 16 29.0 ±2.5" in words
    assert "modified Hausdorff distance 38.0 ±5.0" in words
    assert "38.8 % on all 20 official runs, without ± (the dataset's demo)" in words
    assert "computed again on 10 of them" in words
    assert "Floors: nearest neighbour in pixels 45.0, modified Hausdorff distance 62.0." in words


def test_training_tells_where_it_ended_and_how_fast(tmp_path: Path) -> None:
    curve = {0: 0.3, 1000: 0.9, 2000: 0.8}
    text = shown(write_run(tmp_path / "run", trained_cells([0.9] * 3, curve=curve)))
    line = next(each for each in text.splitlines() if each.startswith("imaml-gd") and "2,000" in each)
    assert line.split() == ["imaml-gd", "16", "2,000", "1,000", "0", "of", "3", "90.0"]


def test_runs_without_figures_have_no_such_section(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", whole_run())
    assert "Beside the paper's" not in shown(run)
    page = build_page([load_run(run)])
    section = next(each for each in page.sections if each.id == "published")
    assert "Nothing that was tested here has figures in the paper" in section.blocks[0].sentences[0]
    assert FIVE_WAY not in render(page)
