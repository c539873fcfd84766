"""Laws of growth, on curves whose law is known: told apart, with intervals, with points that failed."""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd
import pytest
from rows import MIB, row

from harness.analyze.scaling.growth import Scaling
from harness.analyze.scaling.laws import scaling_fits
from harness.analyze.scaling.noise import block_minima, curve_of
from harness.analyze.summary import memory_summary, time_summary
from harness.frame import frame_of
from harness.store import Row

STEPS = (1, 2, 4, 8, 16, 32, 64)
TIMED = {"measure": "time", "metric": "step_seconds", "unit": "s", "cell_id": "time-0"}
LAWS: dict[str, Callable[[float], float]] = {
    "constant": lambda k: 70.0,
    "sqrt": lambda k: 45 + 27.6 * np.sqrt(k),
    "linear": lambda k: 45 + 26.35 * k,
    "quadratic": lambda k: 45 + 0.3 * k**2,
}
EXPONENTS = {"sqrt": 0.5, "linear": 1.0, "quadratic": 2.0}


def over_budget(steps: int, budget_mib: float, **changes: object) -> Row:
    """As the tracker words it."""
    budget = int(budget_mib * MIB)
    words = f"{budget + 4096:,} bytes of live tensors exceed the virtual budget of {budget:,} (in inner loop)"
    return row(**{"inner_steps": steps, "value": None, "status": "oom", "detail": words, **changes})


def memory(
    law: Callable[[float], float], steps: Iterable[int] = STEPS, budget_mib: float = np.inf
) -> pd.DataFrame:
    """Peaks rounded up to 512 bytes, and `oom` above the budget."""
    cells = []
    for k in steps:
        peak = float(np.ceil(law(k) * MIB / 512) * 512)
        over = peak > budget_mib * MIB
        cells.append(over_budget(k, budget_mib) if over else row(inner_steps=k, value=peak))
    return memory_summary(frame_of(cells))


def peaks(*values: float) -> pd.DataFrame:
    rows = [row(inner_steps=2**i, value=value * MIB) for i, value in enumerate(values)]
    return memory_summary(frame_of(rows))


def only(summary: pd.DataFrame, rows: pd.DataFrame | None = None) -> Scaling:
    (found,) = scaling_fits(summary, rows)
    return found


@pytest.mark.parametrize("shape", LAWS)
def test_laws_of_memory_are_told_apart_exactly(shape: str) -> None:
    found = only(memory(LAWS[shape]))
    assert (found.shape, found.exact) == (shape, True)
    if shape == "constant":
        assert np.isnan(found.exponent)
        return
    assert found.exponent == pytest.approx(EXPONENTS[shape], abs=1e-4)
    assert found.exponent_high - found.exponent_low < 0.01
    assert found.a == pytest.approx(45 * MIB, rel=1e-4)
    rate = {"sqrt": 27.6, "linear": 26.35, "quadratic": 0.3}[shape] * MIB
    assert found.b == pytest.approx(rate, rel=1e-4)
    assert found.b_low <= rate <= found.b_high
    assert found.a_low <= 45 * MIB <= found.a_high


@pytest.mark.parametrize("fit", [4, 5, 6])
@pytest.mark.parametrize("shape", EXPONENTS)
def test_they_are_told_apart_where_the_longest_loops_did_not_fit(shape: str, fit: int) -> None:
    budget = LAWS[shape](STEPS[fit - 1]) + 1
    found = only(memory(LAWS[shape], budget_mib=budget))
    assert (found.shape, found.exact, found.points) == (shape, True, fit)
    assert found.exponent_low <= EXPONENTS[shape] <= found.exponent_high
    assert found.exponent_high - found.exponent_low < 0.05
    assert found.failed_at == STEPS[fit]
    assert found.bound == int(budget * MIB)
    assert found.foretold == pytest.approx(LAWS[shape](STEPS[fit]) * MIB, rel=1e-3)


@pytest.mark.parametrize("exponent", [0.2, 0.35, 0.7, 1.3, 1.7, 3.0])
def test_an_exponent_without_a_name_is_found_and_says_on_which_side_of_linear(exponent: float) -> None:
    found = only(memory(lambda k: 40 + 9 * k**exponent))
    assert found.exponent == pytest.approx(exponent, abs=2e-3)
    assert found.exponent_low <= exponent <= found.exponent_high
    assert found.shape == ("sublinear" if exponent < 1 else "superlinear")


def test_dropping_what_failed_calls_late_growth_flat() -> None:
    """Flat to 8 steps; at 16 more than 300 MiB. Without the failed point the curve is as flat as can be."""

    def law(k: float) -> float:
        return max(60.0, 25.0 * k)

    everything = memory(law, (1, 2, 16, 32), budget_mib=300)
    naive = only(everything.dropna(subset="peak_bytes"))
    assert (naive.shape, naive.sentence) == ("constant", "maml: flat (+0.0 %, steps 1 to 2)")
    honest = only(everything)
    assert honest.shape == "late"
    assert honest.sentence == (
        "maml: flat to 2 steps, then growth that was not measured; oom at 16 (more than 300.0 MiB)"
    )


def test_dropping_what_failed_leaves_an_exponent_open_that_the_bound_closes() -> None:
    """10 MiB at 1 step, 20 at 2, more than 100 at 4: a + b k^p needs (4^p - 1) / (2^p - 1) > 9, so p > 3."""
    cells = [row(inner_steps=1, value=10 * MIB), row(inner_steps=2, value=20 * MIB), over_budget(4, 100)]
    naive = only(memory_summary(frame_of(cells[:2])))
    assert naive.sentence == "maml: +10.00 MiB a step (steps 1 to 2), two points only"
    honest = only(memory_summary(frame_of(cells)))
    assert honest.exponent_low == pytest.approx(3.0, abs=0.01)
    assert "two points only; with what failed, exponent above 3.00; oom at 4" in honest.sentence


def test_a_flat_part_before_growth_is_said_and_is_no_part_of_the_law() -> None:
    found = only(memory(lambda k: max(60.0, 12 + 5 * k)))
    assert (found.shape, found.flat_until, found.first_step) == ("linear", 8, 16)
    assert found.b == pytest.approx(5 * MIB, rel=1e-3)
    assert found.sentence == "maml: flat to 8 steps, then +5.00 MiB a step (steps 16 to 64), linear"


def test_two_points_after_a_flat_part_make_no_law() -> None:
    found = only(memory(lambda k: max(60.0, 12 + 5 * k), (1, 2, 4, 8, 16, 32)))
    assert found.sentence == (
        "maml: flat to 8 steps, then +5.00 MiB a step (steps 16 to 32), too few points for a law"
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((76.35, 102.7, 155.4, 260.8, 471.6), "maml: +26.35 MiB a step (steps 1 to 16), linear"),
        ((90.0, 102.7, 155.4, 260.8, 471.6), "maml: +26.35 MiB a step (steps 2 to 16), linear"),
        ((60.0, 102.7, 155.4, 260.8, 471.6), "maml: +26.35 MiB a step (steps 2 to 16), linear"),
        ((61.0, 61.0, 61.0, 61.0), "maml: flat (+0.0 %, steps 1 to 8)"),
        ((60.0, 61.0, 61.0, 61.0), "maml: flat (+0.0 %, steps 2 to 8)"),
        ((100.0, 100.2, 99.9), "maml: flat (-0.1 %, steps 1 to 4)"),
        ((50.0, 60.0, 70.0, 80.0, 90.0), "maml: +80 % (steps 1 to 16), sublinear: exponent below 0.01"),
        ((10.0, 40.0, 160.0, 640.0, 2560.0),
         "maml: +25500 % (steps 1 to 16), as the square (10.00 MiB x square of the steps)"),
        ((20.0, 20 + 10 * (np.sqrt(2) - 1), 30.0, 20 + 10 * (np.sqrt(8) - 1)),
         "maml: +91 % (steps 1 to 8), as the square root (10.00 MiB x square root of the steps)"),
        ((72.5, 98.8, 99.3, 126.0, 152.8),
         "maml: +111 % (steps 1 to 16), not on a smooth curve: exponent not identified"),
        ((10.0, 40.0), "maml: +30.00 MiB a step (steps 1 to 2), two points only"),
        ((10.0,), "maml: measured at 1 inner step only"),
    ],
)  # fmt: skip
def test_growth_of_memory_in_words(values: tuple[float, ...], sentence: str) -> None:
    assert only(peaks(*values)).sentence == sentence


def test_a_curve_near_a_line_is_linear_with_what_is_left_of_the_exponent() -> None:
    """Half a percent off the line, alternating: beyond the allocator's rounding."""
    found = only(peaks(*((45 + 26.35 * k) * (1 + 0.005 * (-1) ** i) for i, k in enumerate(STEPS))))
    assert (found.shape, found.exact) == ("linear", False)
    assert found.exponent_low < 1 < found.exponent_high
    assert found.sentence.startswith("maml: +26.")
    assert "linear: exponent 0.9" in found.sentence


def test_a_failed_point_is_told_with_its_bound_the_law_and_the_prediction_which_is_not_fitted() -> None:
    """The prediction says 5 GiB, far off the line: the line stays."""
    cells = [row(inner_steps=k, value=(45 + 26.35 * k) * MIB) for k in (1, 2, 4, 8)]
    predicted = row(inner_steps=16, metric="predicted_peak_bytes", value=5000.0 * MIB)
    found = only(memory_summary(frame_of([*cells, over_budget(16, 400), predicted])))
    assert found.sentence == (
        "maml: +26.35 MiB a step (steps 1 to 8), linear; "
        "oom at 16 (more than 400.0 MiB, by the law 466.6 MiB, predicted 5,000.0 MiB)"
    )


@pytest.mark.parametrize(
    ("detail", "mib"),
    [
        ("DefaultCPUAllocator was asked for 314,572,800 bytes, more than was left", 300.0),
        ("CUDA out of memory. GPU 0 has a total capacity of 1.50 GiB of which 3 MiB is free.", 1536.0),
        ("killed", np.nan),
    ],
)
def test_a_real_lack_of_memory_bounds_a_peak_as_far_as_its_message_says(detail: str, mib: float) -> None:
    lost = row(inner_steps=16, value=None, status="oom", detail=detail)
    cells = [row(inner_steps=k, value=60.0 * MIB) for k in (1, 2, 4)]
    found = only(memory_summary(frame_of([*cells, lost])))
    assert found.bound / MIB == pytest.approx(mib, nan_ok=True)
    assert found.shape == ("constant" if np.isnan(mib) else "late")
    assert found.failed_at == 16


def times(
    law: Callable[[float], float], steps: Iterable[int], blocks: int, seed: int, spread: float = 0.02
) -> pd.DataFrame:
    """Rounds with one-sided noise, in blocks that are slow as a whole and disturb each point on their own."""
    rng = np.random.default_rng(seed)
    rows = []
    for block in range(blocks):
        slow = np.exp(rng.normal(0, 0.05))
        for k in steps:
            seconds = law(k) * slow * np.exp(rng.normal(0, spread)) * (1 + rng.gamma(1, 0.02, size=3))
            rows += [
                row(**TIMED | {"cell_id": f"time-{block}"}, inner_steps=k, repeat=3 * block + i, value=s)
                for i, s in enumerate(seconds.tolist())
            ]
    return frame_of(rows)


@pytest.mark.parametrize(
    ("steps", "blocks", "exponent"),
    [
        ((1, 2, 4, 8, 16), 3, 1.0),
        ((1, 2, 4, 8, 16), 3, 0.5),
        ((1, 2, 4, 8, 16, 32), 1, 1.0),
        ((1, 4, 16), 3, 1.0),
    ],
)
def test_the_interval_of_the_exponent_of_noisy_time_covers_it_as_often_as_it_says(
    steps: tuple[int, ...], blocks: int, exponent: float
) -> None:
    draws, covered, widths = 120, 0, []
    for seed in range(draws):
        rows = times(lambda k: 0.1 + 0.05 * k**exponent, steps, blocks, seed)
        found = only(time_summary(rows), rows)
        covered += found.exponent_low <= exponent <= found.exponent_high
        widths.append(min(found.exponent_high, 4.0) - found.exponent_low)
    assert 0.90 * draws <= covered <= draws  # 95% within two and a half standard errors, or above
    assert np.median(widths) < 0.6


def test_linear_and_flat_time_are_told_apart_through_noise_and_the_rate_is_covered() -> None:
    linear = times(lambda k: 0.02 + 0.034 * k, (1, 2, 4, 8, 16), 3, seed=1)
    found = only(time_summary(linear), linear)
    assert found.shape == "linear"
    assert found.b_low <= 0.034 <= found.b_high
    assert found.sentence.startswith("maml: +3") and "linear: exponent 0.9" in found.sentence  # noqa: PT018
    flat = times(lambda k: 0.2, (1, 2, 4, 8, 16), 3, seed=1)
    found = only(time_summary(flat), flat)
    assert found.shape == "constant"
    assert found.sentence.endswith("steps 1 to 16); exponent not identified")
    assert found.change_low < 0 < found.change_high


def test_a_time_curve_that_is_no_line_has_no_slope() -> None:
    rows = times(lambda k: 0.02 + 0.01 * k**2, (1, 2, 4, 8, 16), 3, seed=1)
    found = only(time_summary(rows), rows)
    assert found.shape in ("quadratic", "superlinear")
    assert "ms a step" not in found.sentence
    assert found.sentence.startswith("maml: +8")
    assert found.change_low <= (0.02 + 0.01 * 16**2) / 0.03 - 1 <= found.change_high
    line = times(lambda k: 0.02 + 0.01 * k, (1, 2, 4, 8, 16), 3, seed=1)
    assert "ms a step" in only(time_summary(line), line).sentence


def test_peaks_of_nothing_are_flat_and_growth_from_nothing_has_no_percentage() -> None:
    assert only(peaks(0.0, 0.0, 0.0)).sentence == "maml: flat (+0.0 %, steps 1 to 4)"
    found = only(peaks(0.0, 1.0, 5.0, 6.0))
    assert np.isnan(found.change)
    assert "nan" not in found.sentence


def test_a_factor_that_a_whole_block_has_widens_the_rate_and_not_the_exponent() -> None:
    """Blocks slow by 5% as a whole: with the points' own noise alone the rate would be missed most times."""
    draws, covered, exponents = 60, 0, 0
    for seed in range(draws):
        rows = times(lambda k: 0.01 + 0.05 * k, (1, 2, 4, 8, 16), 3, seed, spread=0.001)
        truth = 0.05 * 1.02 ** (1 / 3)  # a block's value is its least round: about that much above the law
        found = only(time_summary(rows), rows)
        covered += found.b_low <= truth <= found.b_high
        exponents += found.exponent_low <= 1 <= found.exponent_high
    assert covered >= 0.9 * draws
    assert exponents >= 0.9 * draws


def test_a_law_that_misses_the_points_by_more_than_blocks_differ_is_judged_by_what_it_misses() -> None:
    """Flat to 4 steps, linear from there, with blocks that agree to a thousandth: no power of the steps."""
    rows = []
    for block, slow in enumerate((0.999, 1.0, 1.001)):
        for i, k in enumerate((1, 2, 4, 8, 16)):
            seconds = max(0.2, 0.05 * k) * slow * (1 + 0.0005 * ((i + block) % 2))
            cell = TIMED | {"cell_id": f"time-{block}"}
            rows.append(row(**cell, inner_steps=k, repeat=block, value=seconds))
    frame = frame_of(rows)
    found = only(time_summary(frame), frame)
    assert found.exponent_high - found.exponent_low > 0.3


def test_the_noise_is_known_to_the_degrees_of_freedom_that_points_and_blocks_leave() -> None:
    rows = times(lambda k: 0.1, (1, 2, 4, 8, 16), 3, seed=0)
    assert curve_of(block_minima(rows)).freedom == (5 - 1) * (3 - 1)
    one = times(lambda k: 0.1, (1, 2, 4, 8, 16), 1, seed=0)
    assert curve_of(block_minima(one)).freedom == 0


def test_three_blocks_bound_an_exponent_from_three_points_and_one_block_does_not() -> None:
    several = times(lambda k: 0.02 + 0.034 * k, (1, 4, 16), 3, seed=3)
    assert "; if a power of the steps, exponent 0.9" in only(time_summary(several), several).sentence
    one = times(lambda k: 0.02 + 0.034 * k, (1, 4, 16), 1, seed=3)
    found = only(time_summary(one), one)
    assert (found.shape, np.isnan(found.exponent_low)) == ("unknown", True)
    assert found.sentence.endswith("(Theil-Sen on minima, from 3 points)")


def test_dropping_steps_that_timed_out_lets_the_exponent_of_time_be_too_small() -> None:
    """time = 0.1 + 0.01 k^2, and of 16 and 32 steps it is known that they take more than 2.5 s."""
    law = np.poly1d([0.01, 0, 0.1])
    why = "no end within 10 s; the process was killed"
    lost = [row(**TIMED, inner_steps=k, value=None, status="timeout", detail=why) for k in (16, 32)]
    lower = 0
    for seed in range(20):
        rows = times(law, (1, 2, 3, 4), 3, seed, spread=0.05)
        naive = only(time_summary(rows), rows)
        everything = pd.concat([rows, frame_of(lost)], ignore_index=True)
        honest = only(time_summary(everything), everything)
        assert honest.bound == 2.5
        assert honest.exponent_low <= 2 <= honest.exponent_high
        assert honest.exponent_low >= naive.exponent_low - 0.01
        lower += naive.exponent_low < honest.exponent_low - 0.1
    assert lower >= 15  # of 20: the naive interval reaches down to laws that the failed points exclude


def test_a_step_that_was_not_timed_for_lack_of_memory_says_nothing_of_its_seconds() -> None:
    rows = times(lambda k: 0.02 + 0.034 * k, (1, 2, 4, 8), 3, seed=0)
    lost = frame_of([row(**TIMED, inner_steps=16, value=None, status="oom", detail="did not fit")])
    everything = pd.concat([rows, lost], ignore_index=True)
    with_it, without = only(time_summary(everything), everything), only(time_summary(rows), rows)
    assert with_it.exponent == without.exponent
    assert with_it.sentence == f"{without.sentence}; oom at 16"


def test_a_sentence_rests_on_the_rows_of_its_curve() -> None:
    frame = frame_of([*(row(inner_steps=k, value=60.0) for k in (1, 2)), row(method="fomaml", value=1.0)])
    found = {f.method: f for f in scaling_fits(memory_summary(frame))}
    (evidence,) = found["maml"].evidence
    assert list(evidence.rows(frame).inner_steps) == [1, 2]
    assert set(evidence.rows(frame).method) == {"maml"}


def test_a_curve_without_any_law_says_no_exponent() -> None:
    """Three points that rise and fall: no law has them, and none is left to judge the noise by."""
    found = only(peaks(1.0, 3.2, 1.0))
    assert found.shape == "uneven"
    assert found.sentence == "maml: +0 % (steps 1 to 4), not on a smooth curve: exponent not identified"
