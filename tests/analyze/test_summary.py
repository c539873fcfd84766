import numpy as np
import pandas as pd
import pytest
from rows import MIB, accuracy_cell, memory_cell, row, time_cell, whole_run
from scipy import stats

from harness.analyze.scaling.laws import scaling_fits
from harness.analyze.summary import accuracy_summary, failures, memory_summary, time_summary
from harness.frame import frame_of
from harness.rows import Row


def frame(*cells: list[Row]) -> pd.DataFrame:
    return frame_of([row for cell in cells for row in cell])


def only(summary: pd.DataFrame) -> pd.Series:
    assert len(summary) == 1
    return summary.iloc[0]


def test_from_three_seeds_on_the_interval_is_a_t_interval_over_seed_means() -> None:
    cells = [accuracy_cell("maml", 4, seed) for seed in range(3)]
    means = [cell[0].value or 0.0 for cell in cells]
    point = only(accuracy_summary(frame(*cells)))
    low, high = stats.t.interval(0.95, 2, np.mean(means), stats.sem(means))
    assert point.interval_kind == "seeds"
    assert (point.low, point["mean"], point.high) == pytest.approx((low, np.mean(means), high))


@pytest.mark.parametrize(("seeds", "half"), [(1, 0.011), (2, 0.011 / np.sqrt(2))])
def test_below_three_seeds_the_interval_is_that_of_the_test_tasks(seeds: int, half: float) -> None:
    point = only(accuracy_summary(frame(*(accuracy_cell("maml", 4, seed) for seed in range(seeds)))))
    assert point.interval_kind == "tasks"
    assert point.high - point["mean"] == pytest.approx(half)
    assert np.isnan(point.seeds_ci95) == (seeds == 1)


def test_gain_is_the_distance_from_the_untrained_start_and_positive_where_training_helped() -> None:
    accuracy = only(accuracy_summary(frame(accuracy_cell("maml", 4))))
    assert accuracy.gain == pytest.approx(accuracy["mean"] - 0.31)
    assert accuracy.neighbour == 0.42
    loss = only(accuracy_summary(frame(accuracy_cell("maml", 4, metric="loss"))))
    assert loss.metric == "loss"
    assert loss.gain == pytest.approx(0.31 - loss["mean"])
    assert np.isnan(loss.neighbour)


def test_a_seed_that_failed_is_counted_and_not_averaged() -> None:
    lost = row(cell_id="x", measure="accuracy", metric="accuracy", value=None, status="diverged",
               detail="nan", seed=2, settings={"inner_lr": 0.1, "lam": 0.0})  # fmt: skip
    point = only(accuracy_summary(frame(*(accuracy_cell("maml", 4, seed) for seed in range(2)), [lost])))
    assert (point.status, point.seeds, point.failed, point.failure) == ("ok", 2, 1, "diverged")


def test_a_point_without_a_value_stays_with_its_status_and_no_number() -> None:
    memory = memory_summary(frame(memory_cell("maml", 4), memory_cell("maml", 16, budget_mib=400)))
    assert list(memory.status) == ["ok", "oom"]
    assert memory.loc[1, ["peak_bytes", "baseline_bytes", "growth_bytes_per_step"]].isna().all()
    assert memory.detail[1] == "needs 474 MiB, the virtual budget is 400 MiB"


def test_memory_growth_is_the_slope_between_neighbouring_step_counts() -> None:
    memory = memory_summary(frame(*(memory_cell("maml", steps) for steps in (4, 1, 2))))
    assert list(memory.inner_steps) == [1, 2, 4]
    assert list(memory.growth_bytes_per_step[1:] / MIB) == pytest.approx([26.35, 26.35])


def test_time_is_a_median_over_rounds_and_blocks_with_a_seeded_interval() -> None:
    rows = frame(*(time_cell(block, [("maml", 4), ("reptile", 4)]) for block in range(3)))
    first, second = time_summary(rows), time_summary(rows.sample(frac=1, random_state=0).sort_index())
    pd.testing.assert_frame_equal(first, second)
    maml = first.set_index("method").loc["maml"]
    values = rows[rows.method == "maml"].value
    assert (maml["median"], maml.minimum) == (values.median(), values.min())
    assert (maml.rounds, maml.blocks) == (27, 3)
    assert maml.minimum < maml.low < maml["median"] < maml.high < values.max()
    assert first.set_index("method").ratio_to_fastest["reptile"] == 1


def test_the_minimum_of_a_point_is_that_of_a_middling_seed() -> None:
    """The least of all would be that of the seed whose tasks are the easiest."""
    rows = [
        row(measure="time", metric="step_seconds", unit="s", cell_id=f"{seed}-{block}", seed=seed, repeat=i,
            value=work + 0.1 * i + 0.3 * block)
        for seed, work in enumerate((1.0, 4.0, 2.0))
        for block in range(2)
        for i in range(3)
    ]  # fmt: skip
    assert only(time_summary(frame(rows))).minimum == 2.0


def test_the_interval_of_the_median_is_wider_where_blocks_disagree() -> None:
    point = {"measure": "time", "metric": "step_seconds", "unit": "s"}
    rounds = np.random.default_rng(0).normal(1, 0.01, size=27)

    def width(shift: float) -> float:
        rows = [
            row(**point, cell_id=str(i // 9), repeat=i, value=float(value + shift * (i // 9)))
            for i, value in enumerate(rounds)
        ]
        summary = only(time_summary(frame(rows)))
        return summary.high - summary.low

    assert width(0.1) > 5 * width(0.0)


def test_one_round_has_no_interval() -> None:
    summary = only(time_summary(frame(time_cell(0, [("maml", 4)], rounds=1))))
    assert np.isnan(summary.low)
    assert np.isnan(summary.high)


def test_failures_are_counted_with_their_reasons() -> None:
    failed = failures(frame(*whole_run()))
    assert list(failed.measure) == ["accuracy", "memory", "time"]
    assert list(failed.status) == ["diverged", "oom", "oom"]
    assert list(failed["count"]) == [1, 1, 1]


def test_nothing_measured_is_an_empty_summary() -> None:
    nothing = frame(memory_cell("maml", 4)).iloc[:0]
    for summarise in (accuracy_summary, memory_summary, time_summary, failures):
        assert summarise(nothing).empty
    assert scaling_fits(memory_summary(nothing)) == []
    assert scaling_fits(time_summary(nothing), nothing) == []
