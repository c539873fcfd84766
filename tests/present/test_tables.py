import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rows import accuracy_cell, memory_cell, row, whole_run, write_run

from harness.present.tables import show_run


def shown(path: Path, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for renderable in show_run(path):
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 200])
def test_nothing_is_cut_off(tmp_path: Path, width: int) -> None:
    text = shown(write_run(tmp_path / "run", whole_run(), unfinished=2), width)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    facts = "74 of 76 cells finished · Example CPU · 2 threads · torch 2.12.0"
    assert facts in " ".join(text.split())
    assert "Accuracy, %, on fresh test tasks: glyphs[shots=1,ways=20]" in text
    assert "needs 474 MiB, the budget is 400 MiB" in text


def test_long_labels_wrap_and_numbers_do_not(tmp_path: Path) -> None:
    cells = []
    for lam in (0.25, 2.0):
        changes: dict[str, Any] = {
            "settings": {"lam": lam, "cg_steps": int(10 * lam), "line_search_step": lam / 10}
        }
        cells += [memory_cell("imaml-hf", 2**i, cell_id=f"{lam}-{i}", **changes) for i in range(9)]
    text = shown(write_run(tmp_path / "run", cells))
    assert "…" not in text
    assert text.count("108.0") == 18


def test_failed_points_show_their_status_and_memory_is_put_in_words(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path / "run", whole_run())).splitlines()
    assert "maml          78.3  104.7  157.4  262.8    oom" in [line.rstrip() for line in lines]
    assert "maml: +26.35 MiB a step (steps 1 to 8), linear; oom at 16" in lines
    assert "fomaml: flat (+0.0 %, steps 1 to 16)" in lines
    assert "An inner step of imaml-hf is a Newton step." in lines


def test_methods_stand_in_one_order_everywhere(tmp_path: Path) -> None:
    lines = shown(write_run(tmp_path / "run", whole_run())).splitlines()
    names = [line.split()[0] for line in lines if line.split() and "±" in line and not line.startswith("±")]
    names = [name for name in names if name != "Median"]
    assert names == ["maml", "fomaml", "reptile", "imaml-gd", "imaml-hf"] * 2


def test_what_plus_minus_means_is_said(tmp_path: Path) -> None:
    assert "± is a 95% t interval over 3 seeds." in shown(write_run(tmp_path / "a", whole_run()))
    single = shown(write_run(tmp_path / "b", [accuracy_cell("maml", 4)]))
    assert "the spread of training is not in it" in single.replace("\n", "")
    assert "Floors: untrained 31.0, nearest neighbour 42.0." in single


def test_a_mean_over_the_surviving_seeds_is_marked(tmp_path: Path) -> None:
    lost = accuracy_cell("maml", 4, 1)[0]
    lost = row(**vars(lost) | {"value": None, "status": "timeout"})
    text = shown(write_run(tmp_path / "run", [accuracy_cell("maml", 4, 0), [lost]]))
    assert "†" in text
    assert "some runs of this point failed" in text


def test_a_run_that_has_finished_nothing_says_so(tmp_path: Path) -> None:
    text = shown(write_run(tmp_path / "run", [], unfinished=3))
    assert "0 of 3 cells finished" in text
    assert "No cell of the plan has finished yet." in text
