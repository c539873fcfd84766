"""Methods beside a baseline that learns nothing and that was recomputed on the same test tasks: on Omniglot's
official one-shot runs the dataset's own, the modified Hausdorff distance. As errors, which that literature
prints."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyze.accuracy.scores import Scores, task_scores, test_scores
from harness.analyze.finding import Evidence
from harness.analyze.intervals import SEEDS_FOR_T, mean_over_seeds, t_interval
from harness.analyze.loaded import LoadedRun
from harness.analyze.published.beside import points_of_choice
from harness.analyze.words import counted
from harness.frame import split_workload

BASELINE = "hausdorff_accuracy"
OFFICIAL = "omniglot-official-runs"


@dataclass(frozen=True, kw_only=True)
class AgainstBaseline:
    """The error of a method at the inner steps that its validation tasks choose. All numbers are % or points.

    low and high: Student's over seeds from three on (`interval` is `seeds`), over test tasks below (`tasks`).
    difference: the method's error less the baseline's, paired: over seeds, which had the same tasks; below
        three seeds over tasks, where the cells have left the values of each; else without an interval.
    """

    workload: str
    method: str
    method_label: str
    inner_steps: int
    error: float
    low: float
    high: float
    interval: str
    seeds: int
    tasks: int | None
    baseline: float
    baseline_half: float  # over test tasks
    difference: float
    difference_low: float
    difference_high: float
    difference_over: str  # "seeds" | "tasks" or empty

    @property
    def is_official(self) -> bool:
        return split_workload(self.workload)[0] == OFFICIAL

    @property
    def basis(self) -> str:
        """Over what low and high are an interval."""
        seeds = counted(self.seeds, "seed")
        return seeds if self.interval == "seeds" else f"test tasks of {seeds}"

    @property
    def evidence(self) -> Evidence:
        metrics = ("accuracy", "accuracy_ci95", "validation_accuracy", BASELINE, f"{BASELINE}_ci95")
        return Evidence(
            measure="accuracy",
            workload=self.workload,
            methods=(self.method_label,),
            metrics=metrics,
            inner_steps=(self.inner_steps,),
        )


def against_baseline(run: LoadedRun) -> list[AgainstBaseline]:
    """By workload and label; empty where no workload has the baseline."""
    asked = run.accuracy.workload[run.accuracy.hausdorff.notna()].unique()
    if not len(asked):
        return []
    rows = run.rows[(run.rows.measure == "accuracy") & run.rows.workload.isin(asked)]
    return [found for scores in test_scores(rows) for found in _of_workload(run, rows, scores)]


def _of_workload(run: LoadedRun, rows: pd.DataFrame, scores: Scores) -> Iterator[AgainstBaseline]:
    summary = run.accuracy[run.accuracy.workload == scores.workload].set_index(
        ["method_label", "inner_steps"]
    )
    own = rows[(rows.workload == scores.workload) & (rows.metric == BASELINE) & (rows.status == "ok")]
    baselines = own.groupby(["method_label", "inner_steps", "seed"]).value.mean()
    for label, (i, _) in sorted(points_of_choice(scores).items()):
        point = scores.points[i]
        line = summary.loc[(label, point.inner_steps)]
        if pd.isna(line.hausdorff):
            continue
        of_seed = np.array(
            [baselines.get((label, point.inner_steps, int(seed)), np.nan) for seed in scores.seeds]
        )
        mean, low, high, over = _difference(run, scores, i, of_seed - scores.mean[i])
        yield AgainstBaseline(
            workload=scores.workload,
            method=point.method,
            method_label=label,
            inner_steps=point.inner_steps,
            error=100 * (1 - float(line["mean"])),
            low=100 * (1 - float(line.high)),
            high=100 * (1 - float(line.low)),
            interval=str(line.interval_kind),
            seeds=int(line.seeds),
            tasks=scores.tasks,
            baseline=100 * (1 - float(line.hausdorff)),
            baseline_half=100 * float(line.hausdorff_ci95),
            difference=100 * mean,
            difference_low=100 * low,
            difference_high=100 * high,
            difference_over=over,
        )


def _difference(
    run: LoadedRun, scores: Scores, point: int, of_seeds: np.ndarray
) -> tuple[float, float, float, str]:
    """Mean, ends, and over what they are, of errors: `of_seeds` are the differences of each seed."""
    mean, spread, count = mean_over_seeds(of_seeds)
    if count >= SEEDS_FOR_T:
        interval = t_interval(mean, spread, count)
        return float(mean), float(interval.low), float(interval.high), "seeds"
    tables = [_of_tasks(run, scores, point, seed) for seed in np.flatnonzero(np.isfinite(of_seeds))]
    if count == 0 or any(table is None for table in tables):
        return float(mean), float("nan"), float("nan"), ""
    of_tasks = pd.concat(tables, axis=1).mean(axis=1).to_numpy()  # of one task the mean over seeds
    interval = t_interval(*mean_over_seeds(of_tasks))
    return float(mean), float(interval.low), float(interval.high), "tasks"


def _of_tasks(run: LoadedRun, scores: Scores, point: int, seed: int) -> pd.Series | None:
    """The baseline's accuracy less the method's, on each test task."""
    cells = run.path / "cells"
    own = task_scores(cells, scores, point, seed)
    floor = task_scores(cells, scores, point, seed, BASELINE)
    return None if own is None or floor is None else floor - own
