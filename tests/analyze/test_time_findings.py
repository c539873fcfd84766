"""Slopes and paired ratios of time, on rows whose right answers are known."""

import numpy as np
import pandas as pd
import pytest
from rows import SECONDS, row, time_cell
from scipy import stats

from harness.analyze.scaling.pairs import paired_ratios
from harness.analyze.scaling.slopes import theil_sen, time_slopes
from harness.analyze.summary import time_summary
from harness.frame import frame_of
from harness.present.palette import method_order
from harness.rows import Row

ROUNDS = 9
STEPS = (1, 2, 4, 8, 16)
TIMED = {"measure": "time", "metric": "step_seconds", "unit": "s"}


def frame(*cells: list[Row]) -> pd.DataFrame:
    return frame_of([row for cell in cells for row in cell])


def block(number: int, seconds: dict[str, float], *, slow: np.ndarray, noise: float = 0.0) -> list[Row]:
    """Rounds of one block at 4 inner steps: round i takes `slow[i]` times as long for every method."""
    rng = np.random.default_rng([3, number])
    return [
        row(**TIMED, cell_id=f"time-{number}", method=method, settings={}, repeat=number * ROUNDS + i,
            value=float(each * factor * np.exp(rng.normal(0, noise))))
        for method, each in seconds.items()
        for i, factor in enumerate(slow)
    ]  # fmt: skip


def curve(method: str, seconds: dict[int, float]) -> list[Row]:
    return [
        row(**TIMED, method=method, inner_steps=steps, repeat=i, value=value * (1 + 0.1 * i))
        for steps, value in seconds.items()
        for i in range(3)
    ]


def test_the_slope_of_a_straight_line_of_minima_is_exact() -> None:
    (slope,) = time_slopes(time_summary(frame(curve("maml", {s: 0.02 + 0.0531 * s for s in STEPS}))))
    assert slope.seconds_per_step == pytest.approx(0.0531)
    assert slope.sentence == "maml: +53.1 ms a step (Theil-Sen on minima, 53.1 to 53.1)"


@pytest.mark.parametrize("steps", [STEPS[:3], STEPS[:4]])
def test_an_interval_from_too_few_points_is_not_given(steps: tuple[int, ...]) -> None:
    (slope,) = time_slopes(time_summary(frame(curve("maml", {s: 0.02 + 0.0531 * s for s in steps}))))
    assert slope.seconds_per_step == pytest.approx(0.0531)
    assert np.isnan([slope.low, slope.high]).all()
    assert slope.sentence == f"maml: +53.1 ms a step (Theil-Sen on minima, from {len(steps)} points)"


def test_the_interval_covers_the_true_slope_as_often_as_it_says() -> None:
    """Lines with one-sided noise, from as few points as an interval is given for."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        noisy = {s: s + float(rng.gamma(1.0, 0.3)) for s in STEPS}
        (slope,) = time_slopes(time_summary(frame(curve("maml", noisy))))
        covered += slope.low <= 1 <= slope.high
    assert covered >= 186  # 93%


def test_a_seed_with_less_to_do_does_not_bend_the_line() -> None:
    """It was timed at two of five steps; the others' seed is the same throughout."""
    usual = curve("imaml-gd", {s: 0.1 * s for s in STEPS})
    third = [Row(**(vars(r) | {"seed": 2})) for r in usual]
    easy = [
        Row(**(vars(r) | {"seed": 1, "value": (r.value or 0) / 2})) for r in usual if r.inner_steps in (8, 16)
    ]
    (slope,) = time_slopes(time_summary(frame(usual, easy, third)))
    assert slope.seconds_per_step == pytest.approx(0.1)


def test_one_disturbed_point_hardly_turns_the_slope() -> None:
    seconds = {steps: 0.01 * steps for steps in (1, 2, 3, 4, 5, 6, 7)}
    (slope,) = time_slopes(time_summary(frame(curve("maml", seconds | {7: 0.5}))))
    assert slope.seconds_per_step == pytest.approx(0.01)
    assert slope.low <= 0.01 < slope.high


@pytest.mark.parametrize("points", [3, 5, 8, 40])
@pytest.mark.parametrize("digits", [0, 6])  # rounded, many of them tie
def test_the_slope_and_its_interval_are_those_of_theil_and_sen(points: int, digits: int) -> None:
    rng = np.random.default_rng([points, digits])
    for _ in range(50):
        x = rng.choice(100, size=points, replace=False).astype(float)
        y = np.round(0.05 * x + rng.gamma(1.0, size=points), digits)
        slope, _, low, high = stats.theilslopes(y, x, alpha=0.95)
        assert theil_sen(x, y) == (slope, low, high)


def test_two_points_have_no_slope_and_a_failed_one_does_not_count() -> None:
    lost = row(**TIMED, inner_steps=8, value=None, status="oom")
    (slope,) = time_slopes(time_summary(frame(curve("maml", {1: 0.1, 2: 0.2}), [lost])))
    assert not slope.is_known
    assert np.isnan([slope.seconds_per_step, slope.low, slope.high]).all()
    assert slope.sentence == "maml: no slope from 2 points"


def test_slopes_of_noisy_minima_cover_the_truth() -> None:
    points = [(method, steps) for method in SECONDS for steps in (1, 2, 4, 8, 16)]
    found = time_slopes(time_summary(frame(*(time_cell(b, points) for b in range(3)))))
    assert len(found) == len(SECONDS)
    for slope in found:
        assert slope.seconds_per_step == pytest.approx(SECONDS[slope.method][1], rel=0.05)


def test_a_slow_down_of_whole_rounds_cancels_exactly() -> None:
    seconds = {"maml": 0.2, "reptile": 0.05}
    blocks = [
        block(b, seconds, slow=np.random.default_rng(b).lognormal(sigma=1, size=ROUNDS)) for b in range(3)
    ]
    ratios = paired_ratios(frame(*blocks), method_order)
    assert list(ratios.method) == ["reptile"]
    assert ratios.ratio[0] == pytest.approx(0.25, rel=1e-12)
    assert [ratios.low[0], ratios.high[0]] == pytest.approx([0.25, 0.25], rel=1e-9)
    assert (ratios.reference[0], ratios.blocks[0], ratios.pairs[0]) == ("maml", 3, 27)


def test_the_interval_covers_the_true_ratio_in_19_of_20_runs() -> None:
    """Blocks scatter by 5%, which rounds within them do not show."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        of_blocks = rng.normal(0, 0.05, size=3)
        blocks = [
            block(b, {"maml": 0.1, "reptile": 0.03 * np.exp(shift)}, slow=np.ones(3))
            for b, shift in enumerate(of_blocks)
        ]
        (found,) = paired_ratios(frame(*blocks), method_order).to_dict("records")
        covered += found["low"] <= 0.3 <= found["high"]
    assert 180 <= covered <= 199


def test_a_block_counts_by_the_median_of_its_rounds() -> None:
    rows = block(0, {"maml": 1.0, "reptile": 2.0}, slow=np.ones(ROUNDS))
    disturbed = [
        Row(**(vars(r) | {"value": 50.0})) if (r.method, r.repeat) == ("reptile", 5) else r for r in rows
    ]
    found = paired_ratios(frame(disturbed), method_order)
    assert found.ratio[0] == pytest.approx(2.0)
    assert found[["low", "high"]].isna().all(axis=None)  # one block


def test_blocks_are_averaged_as_ratios_are() -> None:
    blocks = [
        block(b, {"maml": 1.0, "reptile": ratio}, slow=np.ones(ROUNDS)) for b, ratio in enumerate((0.5, 2.0))
    ]
    assert paired_ratios(frame(*blocks), method_order).ratio[0] == pytest.approx(1.0)


def test_a_round_that_lacks_one_side_makes_no_pair() -> None:
    rows = block(0, {"maml": 1.0, "reptile": 3.0}, slow=np.ones(ROUNDS))
    cut = [r for r in rows if r.method == "maml" or r.repeat < 4]
    cut.append(row(**TIMED, cell_id="time-0", method="reptile", settings={}, repeat=4, value=None,
                   status="timeout"))  # fmt: skip
    found = paired_ratios(frame(cut, block(1, {"maml": 2.0}, slow=np.ones(ROUNDS))), method_order)
    assert (found.pairs[0], found.blocks[0]) == (4, 1)
    assert found.ratio[0] == pytest.approx(3.0)


def test_points_without_pairs_say_which_side_failed() -> None:
    rows = block(0, {"maml": 1.0, "reptile": 3.0}, slow=np.ones(ROUNDS))
    failed = [
        row(
            **TIMED, cell_id="time-0", method=method, settings={}, inner_steps=steps, value=None, status="oom"
        )
        for method, steps in (("maml", 16), ("reptile", 8))
    ]
    alone = [row(**TIMED, cell_id="time-0", method="reptile", settings={}, inner_steps=16, value=2.0)]
    beside = [row(**TIMED, cell_id="time-0", method="maml", settings={}, inner_steps=8, value=2.0)]
    found = paired_ratios(frame(rows, failed, alone, beside), method_order).set_index("inner_steps")
    assert dict(found.status) == {4: "ok", 8: "oom", 16: "unpaired"}
    assert found.ratio[[8, 16]].isna().all()
    assert list(found.pairs[[8, 16]]) == [0, 0]


def test_the_reference_is_the_first_in_order_that_was_timed_at_all() -> None:
    rows = block(0, {"reptile": 1.0, "fomaml": 3.0}, slow=np.ones(ROUNDS))
    lost = [row(**TIMED, cell_id="time-0", settings={}, value=None, status="oom")]
    found = paired_ratios(frame(rows, lost), method_order)
    assert set(found.reference) == {"fomaml"}
    assert dict(zip(found.method, found.status, strict=True)) == {"maml": "oom", "reptile": "ok"}


def test_variants_of_a_method_are_apart() -> None:
    variants = [
        row(**TIMED, cell_id="time-0", settings={"lam": lam}, repeat=i, value=1.0 + lam)
        for lam in (0.0, 2.0)
        for i in range(3)
    ]
    (found,) = paired_ratios(frame(variants), method_order).to_dict("records")
    assert (found["reference"], found["method_label"]) == ("maml[lam=0.0]", "maml[lam=2.0]")
    assert found["ratio"] == pytest.approx(3.0)


def test_nothing_timed_has_no_slopes_and_no_pairs() -> None:
    nothing = frame([row()])
    assert time_slopes(time_summary(nothing)) == []
    assert paired_ratios(nothing).empty
