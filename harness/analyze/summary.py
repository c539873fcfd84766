"""A frame of rows, summarised: one line a curve point, with its uncertainty and, where it failed, its status.

Nothing is imputed. A point without a value is kept with NaN and the status that says why (a censored point).
`flag` is what an instrument warns of at this point, empty where it does not.
Every summary starts with `POINT`, is sorted by it, and holds only what was asked for: an empty frame has the
same columns.
"""

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.intervals import (
    BOOTSTRAP_SEED,
    LEVEL,
    RESAMPLES,
    SEEDS_FOR_T,
    mean_over_seeds,
    t_interval,
)
from harness.store import HEADLINES

POINT = ["workload", "method", "method_label", "inner_steps"]


def accuracy_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Accuracy (or `loss`, see the column `metric`) over seeds.

    `mean` is over the seeds that finished; `failed` counts those that did not. `low` and `high` are the 95%
    interval that is drawn, `interval_kind` says which:

    - `seeds`: a t interval on the per-seed means (`seeds_ci95`), from three seeds on. It covers what another
      training run would give.
    - `tasks`: the pooled half-width over test tasks (`tasks_ci95`), below three seeds. It holds for these
      trained models only: the spread between training runs is not in it.

    `gain` is the distance from the untrained start, positive where training helped.
    """
    records = []
    for point, rows in points_of(frame, "accuracy"):
        metric = "loss" if (rows.metric == "loss").any() else "accuracy"
        mean, interval = _over_seeds(rows, metric)
        untrained, untrained_interval = _over_seeds(rows, f"untrained_{metric}")
        neighbour, neighbour_interval = _over_seeds(rows, f"neighbour_{metric}")
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
            "neighbour": neighbour,
            "neighbour_ci95": neighbour_interval.tasks,
            "gain": gain,
            "seeds": interval.count,
        }
        records.append(point | record | fate_of(rows, metric))
    columns = (
        "metric mean low high interval_kind tasks_ci95 seeds_ci95 untrained untrained_low untrained_high"
    )
    return tidy(records, f"{columns} neighbour neighbour_ci95 gain seeds")


def memory_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Peak and baseline in bytes; where a point was measured several times, the largest.

    `predicted_bytes` is what the step needs by prediction, known for points that did not fit too.
    `growth_bytes_per_step` is the slope from the next smaller number of inner steps that was measured.
    """
    records = []
    for point, rows in points_of(frame, "memory"):
        record = {
            "peak_bytes": values_of(rows, "peak_bytes").max(),
            "baseline_bytes": values_of(rows, "baseline_bytes").max(),
            "predicted_bytes": values_of(rows, "predicted_peak_bytes").max(),
            "growth_bytes_per_step": np.nan,
        }
        records.append(point | record | fate_of(rows, "peak_bytes"))
    summary = tidy(records, "peak_bytes baseline_bytes predicted_bytes growth_bytes_per_step")
    for _, curve in summary.dropna(subset="peak_bytes").groupby(POINT[:3]):
        growth = curve.peak_bytes.diff() / curve.inner_steps.diff()
        summary.loc[curve.index, "growth_bytes_per_step"] = growth
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
    for point, rows in points_of(frame, "time"):
        rounds = rows[(rows.metric == "step_seconds") & (rows.status == "ok")]
        blocks = [block.value.to_numpy() for _, block in rounds.groupby("cell_id")]
        low, high = _bootstrap_median(blocks)
        record = {
            "median": rounds.value.median(),
            "low": low,
            "high": high,
            "minimum": rounds.groupby("seed").value.min().median(),
            "ratio_to_fastest": np.nan,
            "rounds": len(rounds),
            "blocks": len(blocks),
        }
        records.append(point | record | fate_of(rows, "step_seconds"))
    summary = tidy(records, "median low high minimum ratio_to_fastest rounds blocks")
    fastest = summary.groupby(["workload", "inner_steps"])["median"].transform("min")
    summary["ratio_to_fastest"] = summary["median"] / fastest
    return summary


def failures(frame: pd.DataFrame) -> pd.DataFrame:
    """The points that failed or were skipped: status, reason and how many rows say so.

    Of memory also single readings, each with its name before the reason.
    """
    keys = ["measure", *POINT, "status", "reason"]
    headline = np.array(
        [
            metric in HEADLINES.get(measure, (metric,))
            for measure, metric in zip(frame.measure, frame.metric, strict=True)
        ],
        dtype=bool,
    )
    failed = frame[(headline | (frame.measure == "memory")) & (frame.status != "ok")].copy()
    of_one_reading = ~headline[frame.index.get_indexer(failed.index)]
    failed.loc[of_one_reading, "detail"] = failed.metric + ": " + failed.detail
    counted = failed.rename(columns={"detail": "reason"}).groupby(keys, as_index=False).size()
    return counted.rename(columns={"size": "count"})[[*keys, "count"]]


class _Interval:
    """95% half-widths of a mean over seeds, each NaN where it cannot be known."""

    def __init__(self, means: pd.Series, task_halves: pd.Series) -> None:
        self.count = len(means)
        self.seeds = self.tasks = float("nan")
        if self.count >= 2:
            mean, spread, count = mean_over_seeds(means.to_numpy(float))
            self.seeds = float(t_interval(mean, spread, count).high - mean)
        if self.count and len(task_halves) == self.count:  # independent tasks: variances of a mean add
            self.tasks = float(np.sqrt((task_halves**2).sum()) / self.count)

    def drawn(self) -> tuple[float, str]:
        if self.count >= SEEDS_FOR_T:
            return self.seeds, "seeds"
        return self.tasks, "tasks" if np.isfinite(self.tasks) else ""


def _over_seeds(rows: pd.DataFrame, metric: str) -> tuple[float, _Interval]:
    means, halves = (
        rows[(rows.metric == name) & (rows.status == "ok")].groupby("seed")["value"].mean().dropna()
        for name in (metric, f"{metric}_ci95")
    )
    return float(means.mean()), _Interval(means, halves)


def points_of(frame: pd.DataFrame, measure: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each point of a measure, as the columns `POINT`, with its rows."""
    for key, rows in frame[frame.measure == measure].groupby(POINT):
        values: tuple[Hashable, ...] = key
        yield dict(zip(POINT, values, strict=True)), rows


def values_of(rows: pd.DataFrame, metric: str) -> pd.Series:
    """What was read of a metric, wherever it could be."""
    return rows[(rows.metric == metric) & (rows.status == "ok")]["value"]


def fate_of(rows: pd.DataFrame, *metrics: str) -> dict[str, Any]:
    """`ok` where any value exists; `failed`, `failure` and `detail` tell what became of the others."""
    headline = rows[rows.metric.isin(metrics)]
    flag = "; ".join(dict.fromkeys(rows[rows.metric == "flag"].detail))
    bad = headline[headline.status != "ok"]
    failure = "" if bad.empty else str(bad.status.mode().iloc[0])
    detail = "" if bad.empty else str(bad[bad.status == failure].detail.iloc[0])
    status = "ok" if len(bad) < len(headline) else failure
    return {"status": status, "failed": len(bad), "failure": failure, "detail": detail, "flag": flag}


def tidy(records: list[dict[str, Any]], columns: str) -> pd.DataFrame:
    """A summary: `POINT`, these columns, and those of `fate_of`."""
    names = [*POINT, *columns.split(), "status", "failed", "failure", "detail", "flag"]
    return pd.DataFrame(records, columns=names).sort_values(POINT, ignore_index=True)


def _bootstrap_median(blocks: list[np.ndarray]) -> tuple[float, float]:
    if sum(map(len, blocks)) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    lengths = np.array([len(block) for block in blocks])
    padded = np.full((len(blocks), lengths.max()), np.nan)
    for i, block in enumerate(blocks):
        padded[i, : len(block)] = block
    drawn = rng.integers(len(blocks), size=(RESAMPLES, len(blocks)))
    of_drawn = lengths[drawn][..., None]
    rounds = np.floor(rng.random((*drawn.shape, padded.shape[1])) * of_drawn).astype(int)
    sample = padded[drawn[..., None], rounds]
    sample[np.arange(padded.shape[1]) >= of_drawn] = np.nan  # a block of fewer rounds keeps its weight
    medians = np.nanmedian(sample.reshape(RESAMPLES, -1), axis=1)
    low, high = np.quantile(medians, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
