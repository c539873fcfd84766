"""What `show` says of cost and of crossings, on a run whose prices are planted."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rows import row, write_run

from harness.analyze.cost import COUNTS
from harness.present.tables.show import show_run
from harness.rows import Row

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


@pytest.fixture
def text(tmp_path: Path) -> str:
    console = Console(width=100, file=(file := io.StringIO()), color_system=None)
    for renderable in show_run(write_run(tmp_path / "run", [block(number) for number in range(3)])):
        console.print(renderable)
    return file.getvalue()


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
