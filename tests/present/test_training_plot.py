"""The picture of learning curves."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published import FIVE_WAY, OFFICIAL, trained_cell, trained_cells
from matplotlib.figure import Figure
from rows import memory_cell, row, write_run

from harness.analyze.loaded import load_run
from harness.present.plots.draw import draw, draw_pictures
from harness.present.plots.style import PAPER
from harness.present.plots.training import finding_of_training, summarise_training, training_figure
from harness.present.plots.wanted import Wanted

RISING = {0: 0.3, 100: 0.5, 200: 0.7}
PEAKED = {0: 0.3, 100: 0.8, 200: 0.6, 300: 0.5}


def points_of(tmp_path: Path, cells: list, name: str = "run") -> pd.DataFrame:
    return summarise_training([load_run(write_run(tmp_path / name, cells))], [name])


def lines_of(figure: Figure) -> dict[str, tuple[list[float], list[float]]]:
    return {
        str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))  # type: ignore[arg-type]
        for line in figure.axes[0].lines
    }


def test_seeds_are_lines_of_their_own_and_their_mean_goes_as_far_as_all_were_trained(tmp_path: Path) -> None:
    cells = [trained_cell(0.9, 0, curve=RISING), trained_cell(0.9, 1, curve=PEAKED)]
    figure, captions = training_figure(points_of(tmp_path, cells))
    lines = lines_of(figure)
    x, y = lines["run: imaml-gd"]
    assert x == [0, 100, 200]
    np.testing.assert_allclose(y, [30, 65, 65])
    assert lines["run: imaml-gd, seed 1"][0] == [0, 100, 200, 300]
    x, y = lines["run: imaml-gd, selected"]
    assert dict(zip(x, y, strict=True)) == {200: pytest.approx(70), 100: pytest.approx(80)}
    assert "inner steps as validation chose: 16" in captions[0].context


def test_floors_of_the_test_tasks_and_chance_are_lines(tmp_path: Path) -> None:
    floors = {"neighbour": 0.45, "hausdorff": 0.62}
    cells = trained_cells([0.9] * 2, workload=OFFICIAL, floors=floors)
    figure, _ = training_figure(points_of(tmp_path, cells))
    flat = [np.asarray(line.get_ydata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2]  # type: ignore[arg-type]
    assert {5, 45, 62} <= {round(float(heights[0])) for heights in flat}
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"nearest neighbour in pixels", "modified Hausdorff distance", "single seeds"} <= set(keys)


@pytest.mark.parametrize(
    ("curves", "title"),
    [
        (
            {"maml": [RISING], "fomaml": [RISING]},
            "Validation is best at the end of training, for every method",
        ),
        (
            {"maml": [RISING], "fomaml": [PEAKED]},
            "Validation is best at the end of training for maml; before the end for fomaml",
        ),
        ({"maml": [RISING, PEAKED]}, "Validation is best at the end in some seeds only for maml"),
    ],
)
def test_the_title_says_whether_longer_training_might_have_helped(
    tmp_path: Path, curves: dict[str, list[dict[int, float]]], title: str
) -> None:
    cells = [
        trained_cell(0.9, seed, method=method, curve=curve)
        for method, seeds in curves.items()
        for seed, curve in enumerate(seeds)
    ]
    assert finding_of_training(points_of(tmp_path, cells)) == title


def test_rows_that_do_not_say_what_was_selected_call_nothing(tmp_path: Path) -> None:
    cells = [[each for each in trained_cell(0.9, 0) if each.metric != "selected_meta_step"]]
    assert finding_of_training(points_of(tmp_path, cells)) == "Validation over meta-steps"


def test_losses_are_drawn_in_their_own_unit(tmp_path: Path) -> None:
    cells = [
        [
            row(**vars(each) | {"metric": each.metric.replace("accuracy", "loss"), "workload": "sinusoid"})
            for each in trained_cell(0.1, 0, curve={0: 3.0, 100: 0.5})
        ]
    ]
    figure, _ = training_figure(points_of(tmp_path, cells))
    assert figure.axes[0].get_ylabel() == "loss on validation tasks"
    assert lines_of(figure)["run: imaml-gd"][1] == [3.0, 0.5]


def test_files_have_the_points_beside_them_and_a_paper_its_caption(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", trained_cells([0.9] * 3))
    written = draw([load_run(path)], tmp_path / "out", ["png"], PAPER, Wanted(pictures=["training"]))
    assert {each.name for each in written} == {"training.csv", "training.txt", "training.png"}
    points = pd.read_csv(tmp_path / "out" / "training.csv")
    assert set(points.meta_step) == {0, 10_000, 20_000}
    assert points.value.max() == pytest.approx(0.98)  # in the unit of the rows
    assert "Validation is best at the end of training" in (tmp_path / "out" / "training.txt").read_text()


def test_several_runs_share_the_axes(tmp_path: Path) -> None:
    runs = [load_run(write_run(tmp_path / name, trained_cells([0.9] * 2, curve=curve)))
            for name, curve in (("a", RISING), ("b", PEAKED))]  # fmt: skip
    (drawn,) = draw_pictures(runs, wanted=Wanted(pictures=["training"]))
    assert drawn.points.run.nunique() == 2
    assert drawn.title.startswith("Validation over meta-steps of ")


def test_a_run_without_training_has_no_such_picture(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path / "run", [memory_cell("maml", 1)]))
    assert list(draw_pictures([run], wanted=Wanted(pictures=["training"]))) == []
    assert FIVE_WAY not in set(run.rows.workload)
