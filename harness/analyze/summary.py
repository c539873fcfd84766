"""A frame of rows, summarised: one line a curve point, with its uncertainty and, where it failed, its status.

Nothing is imputed. A point without a value is kept with NaN and the status that says why (a censored point).
`flag` is what an instrument warns of at this point, empty where it does not.
Every summary starts with `POINT`, is sorted by it, and holds only what was asked for: an empty frame has the
same columns.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pandas as pd

from harness.analyze.accuracy.scores import tested
from harness.analyze.intervals import (
    BOOTSTRAP_SEED,
    LEVEL,
    RESAMPLES,
    SEEDS_FOR_T,
    mean_over_seeds,
    t_interval,
)
from harness.analyze.points import POINT, PointRows, mean_of, median_of, most_of, points_of, tidy
from harness.rows import HEADLINES

ACCURACY = [
    *("metric", "mean", "low", "high", "interval_kind", "tasks_ci95", "seeds_ci95"),
    *("untrained", "untrained_low", "untrained_high", "neighbour", "neighbour_ci95"),
    *("hausdorff", "hausdorff_ci95", "gain", "seeds"),
]
FLOORS = {"neighbour": "nearest neighbour in pixels", "hausdorff": "modified Hausdorff distance"}
"""Classifiers that learn nothing, by the first word of their metric: what meta-learning must clear."""
TIME = ["median", "low", "high", "minimum", "ratio_to_fastest", "rounds", "blocks"]


def accuracy_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy (or `loss`, see the column `metric`) over seeds.

    `mean` is over the seeds that finished; `failed` counts those that did not. `low` and `high` are the 95%
    interval that is drawn, `interval_kind` says which:

    - `seeds`: a t interval on the per-seed means (`seeds_ci95`), from three seeds on. It covers what another
      training run would give.
    - `tasks`: the pooled half-width over test tasks (`tasks_ci95`), below three seeds. It holds for these
      trained models only: the spread between training runs is not in it.

    `gain` is the distance from the untrained start, positive where training helped. Each of the `FLOORS` has
    its mean and, as `_ci95`, its half-width over test tasks; NaN where the workload has no such floor. Where
    all seeds had the same test tasks, since a dataset has only so many, more seeds make no interval over
    tasks narrower.
    """
    records = []
    for rows in points_of(frame, "accuracy"):
        metric = "loss" if rows.has("loss") else "accuracy"
        if not rows.has(metric):  # trained and validated only, as in a search for settings
            continue
        _, same = tested(rows.details(metric))
        mean, interval = _over_seeds(rows, metric, same_tasks=same)
        untrained, untrained_interval = _over_seeds(rows, f"untrained_{metric}", same_tasks=same)
        floors = {name: _over_seeds(rows, f"{name}_{metric}", same_tasks=same) for name in FLOORS}
        half, kind = interval.drawn()
        untrained_half, _ = untrained_interval.drawn()
        gain = untrained - mean if metric == "loss" else mean - untrained
        record = {
            "metric": metric,
            "mean": mean,
            "low": mean - half,
            "high": mean + half,
            "interval_kind": kind,
            "tasks_ci95": interval.tasks,
            "seeds_ci95": interval.seeds,
            "untrained": untrained,
            "untrained_low": untrained - untrained_half,
            "untrained_high": untrained + untrained_half,
            **{name: floor for name, (floor, _) in floors.items()},
            **{f"{name}_ci95": interval.tasks for name, (_, interval) in floors.items()},
            "gain": gain,
            "seeds": interval.count,
        }
        records.append(rows.point | record | rows.fate(metric))
    return tidy(records, ACCURACY)


def memory_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Peak and baseline in bytes; where a point was measured several times, the largest.

    `predicted_bytes` is what the step needs by prediction, known for points that did not fit too.
    `growth_bytes_per_step` is the slope from the next smaller number of inner steps that was measured.
    """
    records = []
    for rows in points_of(frame, "memory"):
        record = {
            "peak_bytes": most_of(rows.values("peak_bytes")),
            "baseline_bytes": most_of(rows.values("baseline_bytes")),
            "predicted_bytes": most_of(rows.values("predicted_peak_bytes")),
        }
        records.append(rows.point | record | rows.fate("peak_bytes"))
    summary = tidy(records, ["peak_bytes", "baseline_bytes", "predicted_bytes", "growth_bytes_per_step"])
    curves = summary.dropna(subset="peak_bytes").groupby(POINT[:3])
    summary["growth_bytes_per_step"] = curves.peak_bytes.diff() / curves.inner_steps.diff()
    return summary


def time_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Seconds a meta-step: median over all rounds of all blocks.

    `minimum` is over the rounds and blocks of a seed, and of several seeds the median of theirs: within a
    seed noise only adds, while another seed has another start and other tasks, and so may have less to do.
    `low` and `high` are a seeded bootstrap 95% interval of the median that resamples blocks, then rounds
    within them: rounds of one process share its luck. `ratio_to_fastest` compares medians at the same
    workload and number of inner steps.
    """
    records = []
    for rows in points_of(frame, "time"):
        rounds, blocks = rows.values("step_seconds"), rows.blocks("step_seconds")
        low, high = _bootstrap_median(blocks)
        record = {
            "median": median_of(rounds),
            "low": low,
            "high": high,
            "minimum": median_of(rows.seed_minima("step_seconds")),
            "rounds": len(rounds),
            "blocks": len(blocks),
        }
        records.append(rows.point | record | rows.fate("step_seconds"))
    summary = tidy(records, TIME)
    fastest = summary.groupby(["workload", "inner_steps"])["median"].transform("min")
    summary["ratio_to_fastest"] = summary["median"] / fastest
    return summary


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """The points that failed or were skipped: status, reason and how many rows say so.

    Of memory also single readings, each with its name before the reason.
    """
    keys = ["measure", *POINT, "status", "reason"]
    failed = frame[frame.status != "ok"]
    is_headline = np.array(
        [m in HEADLINES.get(measure, (m,)) for measure, m in zip(failed.measure, failed.metric, strict=True)],
        dtype=bool,
    )
    failed = failed.assign(reason=failed.detail.where(is_headline, failed.metric + ": " + failed.detail))
    counted = failed[is_headline | (failed.measure == "memory")].groupby(keys, as_index=False).size()
    return counted.rename(columns={"size": "count"})[[*keys, "count"]]


class _Interval:
    """95% half-widths of a mean over seeds, each NaN where it cannot be known."""

    def __init__(self, means: np.ndarray, task_halves: np.ndarray, *, same_tasks: bool) -> None:
        self.count = len(means)
        self.seeds = self.tasks = float("nan")
        if self.count >= 2:
            mean, spread, count = mean_over_seeds(means)
            self.seeds = float(t_interval(mean, spread, count).high - mean)
        if self.count and len(task_halves) == self.count:
            # Of independent tasks the variances of a mean add.
            pooled = task_halves.mean() if same_tasks else np.sqrt((task_halves**2).sum()) / self.count
            self.tasks = float(pooled)

    def drawn(self) -> tuple[float, str]:
        if self.count >= SEEDS_FOR_T:
            return self.seeds, "seeds"
        return self.tasks, "tasks" if np.isfinite(self.tasks) else ""


def _over_seeds(rows: PointRows, metric: str, *, same_tasks: bool) -> tuple[float, _Interval]:
    means = rows.seed_means(metric)
    return mean_of(means), _Interval(means, rows.seed_means(f"{metric}_ci95"), same_tasks=same_tasks)


def _bootstrap_median(blocks: list[np.ndarray]) -> tuple[float, float]:
    """The ends of a 95% percentile interval.

    A resample is told by how often it holds each round, and that is the same for all points of as many
    rounds. Its median is read off the sorted rounds: the one at which half of the resample is reached.
    """
    if sum(map(len, blocks)) < 2:
        return float("nan"), float("nan")
    rounds = np.concatenate(blocks)
    order = np.argsort(rounds, kind="stable")
    up_to = _times_drawn(tuple(map(len, blocks)))[order]
    for before, row in pairwise(up_to):  # a cumulative sum, and faster than numpy's along this axis
        row += before
    size = up_to[-1]
    lower, upper = (
        np.add.reduce((up_to <= middle).view(np.int8), axis=0, dtype=up_to.dtype)
        for middle in ((size - 1) // 2, size // 2)
    )
    medians = (rounds[order[lower]] + rounds[order[upper]]) / 2
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _times_drawn(lengths: tuple[int, ...]) -> np.ndarray:
    """How often each round [rounds] is in each resample [resamples]: blocks are drawn, then rounds in them.

    A block that has fewer rounds keeps its weight: as many are drawn of it as it has.
    """
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    sizes, starts = np.array(lengths), np.cumsum([0, *lengths[:-1]])
    drawn = rng.integers(len(sizes), size=(RESAMPLES, len(sizes)))
    within = np.floor(rng.random((*drawn.shape, sizes.max())) * sizes[drawn][..., None]).astype(int)
    counts = np.empty((sizes.sum(), RESAMPLES), np.min_scalar_type(-len(sizes) * sizes.max()))
    for resample, (which, rounds) in enumerate(zip(drawn, within, strict=True)):
        kept = np.arange(sizes.max()) < sizes[which][:, None]
        counts[:, resample] = np.bincount((starts[which][:, None] + rounds)[kept], minlength=len(counts))
    return counts
