"""The picture of what accuracy costs, on points whose order is known."""

from pathlib import Path

import pytest
from rows import GLYPHS, MIB, memory_cell, row, write_run

from harness.analyze.loaded import LoadedRun, load_run
from harness.analyze.trade_offs import trade_offs
from harness.present.plots.draw import Drawn, draw_pictures
from harness.present.plots.style import PAPER, SCREEN
from harness.present.plots.wanted import Wanted
from harness.rows import Row

POINTS = {"cheap": (0.50, 10.0), "good": (0.80, 40.0), "close": (0.79, 50.0), "poor": (0.40, 60.0)}
"""Accuracy (known to 0.02 over test tasks) and MiB: `close` loses to `good` by less than that."""


def cells_of(points: dict[str, tuple[float, float]], metric: str = "accuracy") -> list[list[Row]]:
    cells = []
    for method, (accuracy, mib) in points.items():
        own = {"method": method, "settings": {}, "cell_id": method}
        of_accuracy = {"measure": "accuracy", "unit": "fraction"}
        cells.append(
            [
                row(**own, value=mib * MIB),
                row(**own | of_accuracy, metric=metric, value=accuracy),
                row(**own | of_accuracy, metric=f"{metric}_ci95", value=0.02),
            ]
        )
    return cells


@pytest.fixture
def run(tmp_path: Path) -> LoadedRun:
    return load_run(write_run(tmp_path / "run", cells_of(POINTS)))


def pareto(*runs: LoadedRun) -> Drawn:
    (drawn,) = draw_pictures(runs, SCREEN, Wanted(pictures=["pareto"]))
    return drawn


def test_what_no_point_beats_is_efficient(run: LoadedRun) -> None:
    points = trade_offs([run], ["run"]).set_index("method")
    assert dict(points.is_efficient) == {"cheap": True, "close": False, "good": True, "poor": False}
    assert dict(points.may_be_efficient) == {"cheap": True, "close": True, "good": True, "poor": False}
    assert points.loc["good", "quality_low"] == pytest.approx(0.78)
    assert points.loc["good", "cost_value"] == 40 * MIB


def test_of_a_loss_less_is_better(tmp_path: Path) -> None:
    cells = cells_of({"good": (0.1, 10.0), "poor": (0.5, 20.0)}, metric="loss")
    points = trade_offs([load_run(write_run(tmp_path / "run", cells))], ["run"]).set_index("method")
    assert dict(points.is_efficient) == {"good": True, "poor": False}


def test_efficient_points_are_filled_joined_and_numbered(run: LoadedRun) -> None:
    (ax,) = pareto(run).figure.axes
    faces = {
        str(line.get_label()).removeprefix("run: "): str(line.get_markerfacecolor())
        for line in ax.lines
        if line.get_linestyle() == "None"
    }
    colours = {str(line.get_label()).removeprefix("run: "): line.get_color() for line in ax.lines}
    assert faces["cheap"] == colours["cheap"]
    assert faces["good"] == colours["good"]
    assert faces["poor"] == "white"
    assert faces["close"] not in ("white", colours["close"])
    (front,) = [line for line in ax.lines if str(line.get_label()) == "run: efficient"]
    assert list(front.get_xdata()) == [10, 40]
    assert list(front.get_ydata()) == pytest.approx([50, 80])
    assert [text.get_text() for text in ax.texts].count("4") == 2


def test_the_title_says_which_points_none_beats(run: LoadedRun) -> None:
    drawn = pareto(run)
    assert drawn.title == (
        "Accuracy against peak memory: no point beats cheap at 4 and good at 4 inner steps; "
        "1 other is beaten within intervals only"
    )
    assert {each.measure for each in drawn.evidence} == {"accuracy", "memory"}
    assert {label for each in drawn.evidence for label in each.methods} == set(POINTS)


def test_a_flagged_point_has_a_ring_and_the_caption_says_by_what(tmp_path: Path) -> None:
    cells = cells_of(POINTS)
    flagged = next(cell for cell in cells if cell[0].method == "good" and cell[0].measure == "memory")
    doubt = {"metric": "flag", "value": None, "unit": "", "detail": "the allocator had to retry"}
    flagged.append(Row(**vars(flagged[0]) | doubt))
    drawn = pareto(load_run(write_run(tmp_path / "run", cells)))
    (ax,) = drawn.figure.axes
    (ring,) = [line for line in ax.lines if line.get_label() == "flagged"]
    assert list(ring.get_xdata()) == [40]
    assert "ringed points are flagged: the allocator had to retry" in drawn.text


def test_each_run_has_its_own_front(run: LoadedRun, tmp_path: Path) -> None:
    worse = {name: (accuracy - 0.1, mib + 1) for name, (accuracy, mib) in POINTS.items()}
    drawn = pareto(run, load_run(write_run(tmp_path / "worse", cells_of(worse))))
    assert drawn.points.groupby("run").is_efficient.sum().to_dict() == {"A (run)": 2, "B (worse)": 2}


def test_without_a_quality_there_is_no_picture(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", [memory_cell("maml", steps) for steps in (1, 2)]))
    assert list(draw_pictures([run], SCREEN, Wanted(pictures=["pareto"]))) == []
    assert GLYPHS in set(run.rows.workload)


def test_the_last_number_of_an_axis_is_not_cut_off(tmp_path: Path) -> None:
    """10,000 MiB stands at the end of the axis, its second half beyond it."""
    run = load_run(write_run(tmp_path / "run", cells_of({"cheap": (0.5, 104.0), "good": (0.8, 6900.0)})))
    (drawn,) = draw_pictures([run], PAPER, Wanted(pictures=["pareto"]))
    (ax,) = drawn.figure.axes
    drawn.figure.draw_without_rendering()
    high = ax.get_xlim()[1]
    shown = [label for label in ax.get_xticklabels() if label.get_position()[0] <= high]
    ends = [label.get_window_extent().x1 for label in shown]
    assert max(ends) > ax.get_window_extent().x1
    assert max(ends) <= drawn.figure.bbox.x1
