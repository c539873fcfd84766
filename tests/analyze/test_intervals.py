"""Against simulated runs whose truth is known, and scipy's own tests."""

import numpy as np
import pytest
from scipy import stats

from harness.analyze.intervals import (
    POWER,
    bootstrap_interval,
    holm,
    mean_over_seeds,
    resampled_means,
    seeds_needed,
    t_interval,
)

RUNS = 1000
TRUTH = 0.02
QUERIES = 25  # of a task: its accuracy is a multiple of 1/25


def simulated_scores(seeds: int, tasks: int, truth: float = TRUTH) -> np.ndarray:
    """Accuracies [RUNS, seeds, tasks, 2] of two methods on the same tasks; each training has its luck."""
    rng = np.random.default_rng([20, seeds, tasks])
    luck = rng.normal(0, 0.015, (RUNS, seeds, 1, 2))
    difficulty = rng.uniform(-0.15, 0.15, (RUNS, seeds, tasks, 1))
    probability = 0.7 + np.array([truth, 0.0]) + luck + difficulty
    return rng.binomial(QUERIES, probability) / QUERIES


def paired_seed_means(seeds: int) -> np.ndarray:
    """[RUNS, seeds]"""
    means = simulated_scores(seeds, tasks=100).mean(2)
    return means[..., 0] - means[..., 1]


def coverage(low: np.ndarray, high: np.ndarray, truth: float | np.ndarray = TRUTH) -> float:
    return float(((low <= truth) & (truth <= high)).mean())


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_interval_of_a_difference_covers_the_truth_in_95_of_100_runs(seeds: int) -> None:
    interval = t_interval(*mean_over_seeds(paired_seed_means(seeds)))
    assert 0.93 <= coverage(interval.low, interval.high) <= 0.97


def test_a_percentile_bootstrap_over_three_seeds_would_cover_three_quarters() -> None:
    """The reason for Student's interval. One draw in 27 is three times the least, so the interval reaches
    from the least to the greatest value, and both lie on one side of the truth in 2/2^3 of all runs."""
    values = paired_seed_means(3)
    drawn = np.random.default_rng(3).integers(3, size=(RUNS, 2000, 3))
    means = np.take_along_axis(values[:, None, :], drawn, axis=2).mean(2)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert 0.70 <= coverage(low, high) <= 0.79


@pytest.mark.parametrize("tasks", [10, 30, 300])
def test_the_bootstrap_over_tasks_covers_what_two_trained_models_differ_by(tasks: int) -> None:
    rng = np.random.default_rng([21, tasks])
    difficulty = rng.uniform(-0.15, 0.15, (tasks, RUNS, 1))
    scores = rng.binomial(QUERIES, 0.7 + np.array([TRUTH, 0.0]) + difficulty) / QUERIES
    resampled = resampled_means(scores.reshape(tasks, -1), 0).reshape(-1, RUNS, 2)
    differences = resampled[..., 0] - resampled[..., 1]
    means = (scores[..., 0] - scores[..., 1]).mean(0)
    found = [bootstrap_interval(means[i], differences[:, i], tasks) for i in range(RUNS)]
    low, high, p = (np.array([getattr(one, name) for one in found]) for name in ("low", "high", "p"))
    assert 0.93 <= coverage(low, high) <= 0.97
    exact = stats.ttest_1samp(scores[..., 0] - scores[..., 1], 0.0).pvalue
    assert np.corrcoef(p, exact)[0, 1] > 0.99


def test_a_bootstrap_of_two_seeds_is_as_wide_as_student_would_have_it_within_each() -> None:
    scores = simulated_scores(2, tasks=200)[0]
    each = [resampled_means(scores[seed], seed) for seed in range(2)]
    drawn = np.mean([means[:, 0] - means[:, 1] for means in each], axis=0)
    differences = scores[..., 0] - scores[..., 1]
    interval = bootstrap_interval(differences.mean(), drawn, tasks=200, seeds=2)
    error = np.sqrt((stats.sem(differences, axis=1) ** 2).sum()) / 2
    half = stats.t.ppf(0.975, 398) * error
    assert interval.low == pytest.approx(differences.mean() - half, abs=0.07 * half)
    assert interval.high == pytest.approx(differences.mean() + half, abs=0.07 * half)


def test_pairing_by_task_takes_the_tasks_difficulty_out_of_the_interval() -> None:
    scores = simulated_scores(1, tasks=300)[0, 0]
    alone = scores.copy()
    alone[:, 1] = np.random.default_rng(0).permutation(alone[:, 1])
    widths = []
    for kept in (scores, alone):
        drawn = resampled_means(kept, 0)
        interval = bootstrap_interval(TRUTH, drawn[:, 0] - drawn[:, 1], tasks=300)
        widths.append(interval.high - interval.low)
    assert widths[0] < 0.9 * widths[1]


def test_resampling_is_seeded_and_leaves_the_global_generator_alone() -> None:
    scores = simulated_scores(1, tasks=20)[0, 0]
    np.random.seed(1)
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    first, second, other = (resampled_means(scores, seed) for seed in (0, 0, 1))
    assert (first == second).all()
    assert (first != other).any()
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]


def test_student_agrees_with_scipy_and_ignores_seeds_that_are_missing() -> None:
    values = np.array([[0.03, 0.01, np.nan, 0.05, 0.02], [0.1, np.nan, np.nan, np.nan, np.nan]])
    mean, spread, count = mean_over_seeds(values)
    interval = t_interval(mean, spread, count)
    known = values[0][np.isfinite(values[0])]
    oracle = stats.ttest_1samp(known, 0.0)
    assert (mean[0], spread[0], count[0]) == pytest.approx((known.mean(), known.std(ddof=1), 4))
    assert interval.p[0] == pytest.approx(oracle.pvalue)
    assert (interval.low[0], interval.high[0]) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert np.isnan([interval.low[1], interval.p[1]]).all()


def test_no_difference_that_never_scatters_is_no_evidence() -> None:
    interval = t_interval(*mean_over_seeds(np.zeros(5)))
    assert (interval.low, interval.high, interval.p) == (0, 0, 1)


def test_holm_as_worked_by_hand() -> None:
    """0.005 x 4, 0.01 x 3, then 0.03 x 2; 0.04 x 1 would be less than the one before it."""
    adjusted = holm(np.array([0.01, 0.04, np.nan, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]


def test_holm_holds_the_chance_of_any_false_call_among_all_pairs_to_5_percent() -> None:
    """Five methods that are all the same: ten pairs, which share their methods and so are not independent."""
    scores = np.random.default_rng(5).normal(0.8, 0.01, (2000, 5, 6))  # runs, methods, seeds
    first, second = np.triu_indices(5, 1)
    p = t_interval(*mean_over_seeds(scores[:, first] - scores[:, second])).p
    assert (p < 0.05).any(1).mean() > 0.2  # without the correction
    family_wise = np.mean([(holm(of_run) < 0.05).any() for of_run in p])
    assert 0.01 < family_wise <= 0.055


@pytest.mark.parametrize(("effect", "seeds"), [(0.5, 34), (0.8, 15), (1.0, 10)])
def test_seeds_needed_are_those_of_the_tables_of_the_paired_t_test(effect: float, seeds: int) -> None:
    """Of 5% two-sided and power 0.8, as Cohen's tables and G*Power have them."""
    assert seeds_needed(np.array(-effect * 0.02), np.array(0.02), 0.05) == seeds


@pytest.mark.parametrize(("effect", "alpha"), [(0.7, 0.05), (1.5, 0.005), (2.5, 0.05 / 24)])
def test_with_the_seeds_needed_a_difference_is_called_as_often_as_promised(
    effect: float, alpha: float
) -> None:
    seeds = int(seeds_needed(np.array(effect), np.array(1.0), alpha))
    rng = np.random.default_rng(8)

    def called(n: int) -> float:
        return float(
            (stats.ttest_1samp(rng.normal(effect, 1, (20_000, n)), 0.0, axis=1).pvalue < alpha).mean()
        )

    assert called(seeds) > POWER - 0.01
    assert called(seeds - 1) < POWER + 0.01


def test_seeds_needed_are_at_least_three_at_most_a_thousand_and_unknown_without_a_spread() -> None:
    difference, spread = np.array([5.0, 0.001, 0.0, 0.0, 1.0]), np.array([0.1, 1.0, 1.0, 0.0, np.nan])
    assert seeds_needed(difference, spread, 0.05) == pytest.approx(
        [3, np.inf, np.inf, np.inf, np.nan], nan_ok=True
    )
