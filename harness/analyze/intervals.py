"""Intervals of means and of their differences that hold at few seeds, and what it takes to call one.

Over seeds a t interval: the percentile bootstrap of 3 seeds reaches from the least to the greatest of them,
and covers 1 - 2/2^3 = 75% where it says 95%. Over test tasks, of which there are hundreds, a bootstrap within
each seed.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
ALPHA = 1 - LEVEL
# A t interval on two seeds is 12.7 standard errors wide on one degree of freedom: it says nothing.
SEEDS_FOR_T = 3
RESAMPLES = 2000  # the ends of a 95% percentile interval then move by about 1% of its width
BOOTSTRAP_SEED = 20170309
POWER = 0.8  # of a test that is planned: the field's custom
MOST_SEEDS = 1000  # nobody trains more: an estimate beyond says only "more"


@dataclass(frozen=True, kw_only=True, eq=False)
class Interval:
    """Arrays of one shape, NaN where unknown: the ends at `LEVEL`, and the two-sided p of a mean of zero."""

    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def mean_over_seeds(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation (ddof 1) and number of the finite `values` along the last axis."""
    known = np.isfinite(values)
    count = known.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(-1) / count
        squares = np.where(known, (values - mean[..., None]) ** 2, 0.0).sum(-1)
        spread = np.sqrt(squares / np.where(count > 1, count - 1, np.nan))
    return mean, spread, count


def t_interval(mean: np.ndarray, spread: np.ndarray, count: np.ndarray) -> Interval:
    """Student's, of means over `count` independent values with standard deviation `spread`; from two on."""
    freedom = np.where(count > 1, count - 1, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = spread / np.sqrt(count)
        half = special.stdtrit(freedom, (1 + LEVEL) / 2) * error
        p = two_sided_p(mean, error, freedom)
    return Interval(low=mean - half, high=mean + half, p=p)


def two_sided_p(mean: np.ndarray, error: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Of Student's test that the mean is zero; 1 where it is and nothing scatters."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where((mean == 0) & (error == 0), 0.0, np.abs(mean) / error)
    return 2 * special.stdtr(freedom, -ratio)


def resampled_means(scores: np.ndarray, seed: int) -> np.ndarray:
    """Means [RESAMPLES, columns] over tasks drawn with replacement from `scores` [tasks, columns].

    A task is drawn for all columns at once, so a difference of two columns is a paired bootstrap. `seed` is
    that of the episodes: it gives every seed of a run a generator of its own.
    """
    rng = np.random.default_rng([BOOTSTRAP_SEED, seed])
    tasks = len(scores)
    drawn = rng.integers(tasks, size=(RESAMPLES, tasks)) + tasks * np.arange(RESAMPLES)[:, None]
    times = np.bincount(drawn.ravel(), minlength=RESAMPLES * tasks).reshape(RESAMPLES, tasks)
    return times @ scores / tasks


def bootstrap_interval(mean: float, resampled: np.ndarray, tasks: int, seeds: int = 1) -> Interval:
    """The percentile interval of `resampled` [RESAMPLES], widened for the number of tasks a seed.

    The bootstrap's variance is (n - 1)/n of what it should be and its tails are normal: the percentiles are
    moved out by as much (Hesterberg 2015, "What teachers should know about the bootstrap", the expanded
    percentile interval). p is Student's, with the bootstrap's standard error.
    """
    if tasks < 2:
        unknown = np.array(np.nan)
        return Interval(low=unknown, high=unknown, p=unknown)
    widened = np.sqrt(tasks / (tasks - 1))
    freedom = np.array(seeds * (tasks - 1))
    tail = special.ndtr(-widened * special.stdtrit(freedom, (1 + LEVEL) / 2))
    low, high = np.quantile(resampled, [tail, 1 - tail])
    p = two_sided_p(np.array(mean), widened * resampled.std(), freedom)
    return Interval(low=low, high=high, p=p)


def holm(p: np.ndarray) -> np.ndarray:
    """The p of one family adjusted by Holm's step-down method; what is NaN belongs to no family.

    Holds the probability of any false call to ALPHA, whatever the dependence between the tests.
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps * p[order]))
    return adjusted


def power(effect: np.ndarray, seeds: np.ndarray, alpha: float) -> np.ndarray:
    """Probability that a two-sided paired t test at level `alpha` calls the right side.

    `effect` is the mean difference over the standard deviation of the per-seed differences.
    """
    critical = special.stdtrit(seeds - 1, 1 - alpha / 2)
    shift = np.abs(effect) * np.sqrt(seeds)
    return 1 - np.nan_to_num(special.nctdtr(seeds - 1, shift, critical))  # it gives up far out, near 0


def seeds_needed(difference: np.ndarray, spread: np.ndarray, alpha: float) -> np.ndarray:
    """The least number of seeds, from 3 on, at which such a difference is called with probability `POWER`.

    Takes the mean difference and the spread of the per-seed differences for the truth. NaN where either is
    unknown; infinite above `MOST_SEEDS`, and where there is no difference.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where(difference == 0, 0.0, np.abs(difference) / spread)
    effect = np.minimum(effect, 1e3)  # three seeds do far below, and nctdtr goes no further
    low = np.full(effect.shape, SEEDS_FOR_T - 1.0)  # too few; `high` are enough: power rises with the seeds
    high = np.full(effect.shape, MOST_SEEDS + 1.0)
    while (apart := high - low > 1).any():
        middle = np.floor((low + high) / 2)
        enough = power(effect, middle, alpha) >= POWER
        low, high = np.where(apart & ~enough, middle, low), np.where(apart & enough, middle, high)
    return np.where(np.isnan(effect), np.nan, np.where(high > MOST_SEEDS, np.inf, high))
