"""What `show` says of cost and of crossings, on a run whose prices are planted."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rows import row, write_run

from harness.analyze.cost import COUNTS
from harness.present.tables.show import show_run
from harness.store import Row

ASKED = {"maml": (1, 1), "fomaml": (1, 0), "imaml-gd": (1, 0)}  # gradients and products a step
BESIDES = {"maml": (0.2, 0), "fomaml": (0.2, 0), "imaml-gd": (1.2, 5)}


def block(number: int) -> list[Row]:
    """A gradient takes 10 ms, a product 25; a library's method is timed and not counted."""
    rows = []
    for k in (1, 2, 4, 8):
        for method in (*ASKED, "maml@higher"):
            own = method.partition("@")[0]
            gradients, products = (a * k + b for a, b in zip(ASKED[own], BESIDES[own], strict=True))
            place = {"measure": "time", "cell_id": f"time-{number}", "method": method, "settings": {}}
            point = place | {"inner_steps": k, "repeat": number}
            seconds = 0.01 * gradients + 0.025 * products
            rows.append(row(**point, metric="step_seconds", unit="s", value=seconds))
            for metric, value in zip(COUNTS, (gradients, products, 0), strict=True):
                told = {"value": float(value), "unit": "count"}
                if own != method:
                    told = {"value": None, "unit": "", "status": "skipped", "detail": "its library's own"}
                rows.append(row(**point, metric=metric, **told))
    return rows


def shown(path: Path, blocks: list[list[Row]]) -> str:
    console = Console(width=100, file=(file := io.StringIO()), color_system=None)
    for renderable in show_run(write_run(path, blocks)):
        console.print(renderable)
    return file.getvalue()


@pytest.fixture
def text(tmp_path: Path) -> str:
    return shown(tmp_path / "run", [block(number) for number in range(3)])


def test_times_that_identify_no_price_leave_the_counts(tmp_path: Path) -> None:
    """Without imaml-gd, MAML alone tells what a product costs."""
    blocks = [[r for r in block(number) if r.method != "imaml-gd"] for number in range(3)]
    text = shown(tmp_path / "run", blocks)
    assert "Cost of a meta-step, in gradients" not in text
    section = text[text.index("Gradients and Hessian products of a meta-step") :]
    lines = {line.split()[0]: line.split()[1:] for line in section.splitlines()[2:5]}
    assert " ".join(lines["maml"]) == "1.2 + 1 2.2 + 2 4.2 + 4 8.2 + 8"
    assert lines["fomaml"] == ["1.2", "2.2", "4.2", "8.2"]
    assert "The times do not identify prices" in " ".join(section.split())


def test_what_rests_on_doubted_times_says_so(tmp_path: Path, text: str) -> None:
    assert "flagged" not in text
    blocks = [block(number) for number in range(3)]
    busy = {"metric": "flag", "value": None, "unit": "", "detail": "others used 1.9 of 2 cores"}
    doubted = [row(**{**vars(r), **busy}) for r in blocks[0] if r.metric == "step_seconds"]
    said = " ".join(shown(tmp_path / "busy", [[*blocks[0], *doubted], *blocks[1:]]).split())
    assert said.count("(flagged: all 4 points)") == 4  # a law a method
    assert "still slower at 4, equal at about 5.5 by interpolation) (flagged: all 8 points)" in said
    assert "no point by more than 20 %. Flagged: all 12 points." in said


def test_costs_stand_in_gradients_beside_what_the_model_misses(text: str) -> None:
    section = text[text.index("Cost of a meta-step, in gradients") :]
    lines = {line.split()[0]: line.split()[1:] for line in section.splitlines()[2:6]}
    assert lines["maml"] == ["3.7", "(+0%)", "7.2", "(+0%)", "14.2", "(+0%)", "28.2", "(+0%)"]
    assert lines["imaml-gd"][::2] == ["14.7", "15.7", "17.7", "21.7"]
    assert lines["maml@higher"] == ["skipped"] * 4
    said = " ".join(section.split())
    assert "A gradient costs 10 ms" in said
    assert "a Hessian product 2.5 gradients" in said
    assert "maml@higher: its library's own." in said


def test_the_crossing_stands_under_the_paired_ratios_of_time(text: str) -> None:
    """0.002 + 0.035 k against 0.137 + 0.01 k: equal at 5.4 steps."""
    under = " ".join(text[text.index("Time relative to maml") : text.index("Cost of a meta-step")].split())
    assert "From 8 inner steps on, imaml-gd is faster than maml (0.77 times there; still slower at 4" in under
    assert "maml@higher is faster" not in under
