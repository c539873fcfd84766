"""What rows tell of meta-training."""

import pytest
from claims import loaded
from published import FIVE_WAY, trained_cell, trained_cells
from rows import row

from harness.analyze.accuracy.differences import chosen_points
from harness.analyze.accuracy.scores import test_scores as scores_of
from harness.analyze.training import chosen_curves, training_summary

RISING = {0: 0.3, 100: 0.5, 200: 0.7}
PEAKED = {0: 0.3, 100: 0.6, 200: 0.55, 300: 0.5}


def test_a_training_ends_at_its_last_validation_and_its_best_is_selected() -> None:
    cells = [trained_cell(0.9, 0, curve=RISING), trained_cell(0.9, 1, curve=PEAKED)]
    run = loaded(cells)
    line = training_summary(run.learning_curves, run.rows).iloc[0]
    assert (line.ended_low, line.ended_high) == (200, 300)
    assert (line.selected_low, line.selected_high) == (100, 200)
    assert (line.at_the_end, line.seeds) == (1, 2)
    assert line.selected_score == pytest.approx((0.7 + 0.6) / 2)


def test_throughput_is_the_median_of_the_seeds() -> None:
    cells = trained_cells([0.9] * 3, curve=RISING)
    for speed, cell in zip((3.0, 4.0, 50.0), cells, strict=True):
        cell.append(row(**vars(cell[0]) | {"metric": "meta_steps_per_second", "value": speed}))
    run = loaded(cells)
    assert training_summary(run.learning_curves, run.rows).steps_per_second.tolist() == [4.0]
    assert training_summary(run.learning_curves).steps_per_second.isna().all()


def test_curves_are_drawn_at_the_inner_steps_that_choose_what_is_compared() -> None:
    cells = [
        *trained_cells([0.9] * 3, inner_steps=4, curve=PEAKED),
        *trained_cells([0.8] * 3, inner_steps=8, curve=RISING),
        *trained_cells([0.7] * 2, inner_steps=16, curve={0: 0.3, 100: 0.9}),  # a seed is missing
    ]
    run = loaded(cells)
    assert set(chosen_curves(run.learning_curves).inner_steps) == {8}
    (scores,) = scores_of(run.rows)
    ((index, _),) = chosen_points(scores).values()
    assert scores.points[index].inner_steps == 8


def test_of_losses_the_lowest_is_the_best() -> None:
    cells = [
        [
            row(**vars(each) | {"metric": each.metric.replace("accuracy", "loss"), "workload": "sinusoid"})
            for each in trained_cell(0.1, 0, inner_steps=steps, curve=curve)
        ]
        for steps, curve in ((4, {0: 3.0, 100: 0.5}), (8, {0: 3.0, 100: 0.9}))
    ]
    run = loaded(cells)
    assert set(run.learning_curves.score) == {"loss"}
    assert set(chosen_curves(run.learning_curves).inner_steps) == {4}


def test_a_run_without_validation_has_no_curves() -> None:
    run = loaded([[row()]])
    assert run.learning_curves.empty
    assert training_summary(run.learning_curves, run.rows).empty
    assert chosen_curves(run.learning_curves).empty
    assert FIVE_WAY not in set(run.learning_curves.workload)
