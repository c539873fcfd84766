"""Differences of test scores between two runs: episodes are the same wherever workload, seed and data are, so
that they are paired per seed, and within a seed per episode."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from harness.analyze.accuracy.scores import PER_TASK, SAME_MEAN, tested
from harness.analyze.comparison.alignment import Alignment
from harness.analyze.comparison.change import Change, Overall, Verdict, lines_of, place_of
from harness.analyze.comparison.sides import Side
from harness.analyze.intervals import ALPHA, LEVEL, SEEDS_FOR_T, holm, mean_over_seeds, t_interval

AT = ["key", "inner_steps"]
SAME_FLOOR = 0.01
"""Fraction of answers by which the pixels' nearest neighbour may differ on the same episodes: ties and the
last bit of a distance. A larger difference is that of other data."""


def score_changes(aligned: Alignment, metric: str, base: Side, other: Side) -> list[Change]:
    """Means over the seeds that both finished, and the interval of their per-seed differences.

    Below three seeds nothing is called but equality; where both runs have kept their scores by episode, the
    interval is over the episodes, and holds for these trained models only.
    """
    both = _paired_by_seed(aligned, metric)
    if both.empty:
        return []
    points = both[AT].drop_duplicates().reset_index(drop=True)
    number = both.merge(points.reset_index(), on=AT)["index"].to_numpy()
    table = np.full((len(points), both.groupby(number).size().max()), np.nan)
    table[number, both.groupby(number).cumcount()] = both.value_b - both.value_a
    interval = t_interval(*mean_over_seeds(table))
    p = np.where(np.isfinite(table).sum(1) >= SEEDS_FOR_T, interval.p, np.nan)
    identical = (np.nan_to_num(table) == 0).all(1)
    p_holm = holm(np.where(identical, np.nan, p))
    other_data = _other_data(aligned)
    changes = []
    of_point = [seeds for _, seeds in both.groupby(number)]  # in the order of `points`
    for i, point in enumerate(lines_of(points.merge(aligned.points, on=AT))):
        seeds = of_point[i]
        low, high = interval.low[i], interval.high[i]
        basis = f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"
        verdict: Verdict = "too weak"
        why = ""
        if identical[i]:
            verdict, low, high = "same", 0.0, 0.0
        elif len(seeds) < SEEDS_FOR_T:
            low, high, tasks = _over_tasks(seeds, metric, base, other)
            basis += f", {tasks} episodes" if tasks else ""
            why = f"{SEEDS_FOR_T} seeds are the least"
        elif p_holm[i] < ALPHA:
            verdict = "more" if np.nanmean(table[i]) > 0 else "less"
        change = Change(
            **place_of(point, metric),
            first=float(seeds.value_a.mean()),
            second=float(seeds.value_b.mean()),
            low=float(low),
            high=float(high),
            p=float(p[i]),
            p_holm=float(p_holm[i]),
            basis=basis,
            verdict=verdict,
            why=why,
        )
        if (change.inner_steps, point.key) in other_data:
            change = change.refused("the nearest neighbour scores otherwise: these are not the same episodes")
        changes.append(change)
    return changes


def overall_scores(aligned: Alignment, metric: str) -> Iterator[Overall]:
    """Of each workload: the mean difference of its common points, by the seeds that have them all."""
    both = _paired_by_seed(aligned, metric).merge(aligned.points[[*AT, "workload"]], on=AT)
    both["difference"] = both.value_b - both.value_a
    for workload, part in both.groupby("workload"):
        points = len(part[AT].drop_duplicates())
        of_seed = part.groupby("seed").difference.agg(["mean", "size"])
        seeds = of_seed["mean"][of_seed["size"] == points].to_numpy(float)
        if points < 2 or not len(seeds):
            continue
        interval = t_interval(*mean_over_seeds(seeds))
        known = len(seeds) >= SEEDS_FOR_T
        yield Overall(
            metric=metric,
            workload=str(workload),
            estimate=float(seeds.mean()),
            low=float(interval.low) if known else float("nan"),
            high=float(interval.high) if known else float("nan"),
            points=points,
            units=(len(seeds), len(seeds)),
        )


def _paired_by_seed(aligned: Alignment, metric: str) -> pd.DataFrame:
    """A line a point and seed that both runs finished: values and cells of both, and what the first says."""
    sides = [
        rows[(rows.metric == metric) & (rows.status == "ok")].groupby([*AT, "seed"]).agg(
            value=("value", "mean"), cell_id=("cell_id", "first"), detail=("detail", "first"))
        for rows in (aligned.base, aligned.other)
    ]  # fmt: skip
    sides[1] = sides[1].drop(columns="detail")
    return sides[0].merge(sides[1], left_index=True, right_index=True, suffixes=("_a", "_b")).reset_index()


def _other_data(aligned: Alignment) -> set[tuple[int, int]]:
    """Points whose floor, which no training touches, is not the same in both runs."""
    floors = [
        rows[(rows.metric == "neighbour_accuracy") & (rows.status == "ok")]
        .groupby([*AT, "seed"])
        .value.mean()
        for rows in (aligned.base, aligned.other)
    ]
    both = pd.concat(floors, axis=1, keys=["first", "second"], join="inner").reset_index()
    moved = both[(both["first"] - both.second).abs() > SAME_FLOOR]
    return set(zip(moved.inner_steps, moved.key, strict=True))


def _over_tasks(seeds: pd.DataFrame, metric: str, base: Side, other: Side) -> tuple[float, float, int]:
    """The 95% interval over the paired episodes of each seed, and their number; NaN where one is not kept."""
    tables = []
    for seed in lines_of(seeds):
        first = _task_scores(base.run.path, seed.cell_id_a, metric, seed.value_a)
        second = _task_scores(other.run.path, seed.cell_id_b, metric, seed.value_b)
        if first is None or second is None or not first.index.equals(second.index) or len(first) < 2:
            return float("nan"), float("nan"), 0
        tables.append((second - first).to_numpy(float))
    if tested(seeds.detail)[1]:  # the same in every seed: of each episode the mean
        tables = [np.mean(tables, axis=0)]
    means = [differences.mean() for differences in tables]
    errors = [differences.std(ddof=1) / np.sqrt(len(differences)) for differences in tables]
    mean, tasks = float(np.mean(means)), sum(map(len, tables))
    freedom = tasks - len(means)
    half = float(stdtrit(freedom, (1 + LEVEL) / 2) * np.sqrt(np.square(errors).sum()) / len(means))
    return mean - half, mean + half, tasks


def _task_scores(run: Path, cell_id: str, metric: str, mean: float) -> pd.Series | None:
    """None where the cell has left no such file, or one whose mean is not that of its row."""
    try:
        table = pd.read_csv(run / "cells" / cell_id / PER_TASK, usecols=["task", metric])
    except (OSError, ValueError):
        return None
    scores = table.set_index("task")[metric]
    return scores if np.isclose(scores.mean(), mean, rtol=SAME_MEAN, atol=0) else None
