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
from harness.analyze.published.beside import lines_of, points_of_choice
from harness.frame import split_workload

BASELINE = "hausdorff_accuracy"
OFFICIAL = "omniglot-official-runs"


@dataclass(frozen=True)
class Halves:
    """95% half-widths of a mean: Student's over seeds, from three on, which holds for these test tasks alone,
    and over test tasks, which holds for these trained models alone. NaN where it is not known."""

    seeds: float
    tasks: float


@dataclass(frozen=True, kw_only=True)
class AgainstBaseline:
    """The error of a method at the inner steps that its validation tasks choose. All numbers are % or points.

    difference: the method's error less the baseline's, paired by seed and by task. Over tasks it is known
        where the cells have left the values of each.
    """

    workload: str
    method: str
    method_label: str
    inner_steps: int
    error: float
    halves: Halves
    seeds: int
    tasks: int | None
    baseline: float
    baseline_half: float  # over test tasks, as is the other
    neighbour: float
    neighbour_half: float
    difference: float
    difference_halves: Halves

    @property
    def is_official(self) -> bool:
        return split_workload(self.workload)[0] == OFFICIAL

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
    lines = lines_of(run, scores.workload)
    own = rows[(rows.workload == scores.workload) & (rows.metric == BASELINE) & (rows.status == "ok")]
    baselines = own.groupby(["method_label", "inner_steps", "seed"]).value.mean()
    for label, (i, _) in sorted(points_of_choice(scores).items()):
        point = scores.points[i]
        line = lines[label, point.inner_steps]
        if pd.isna(line["hausdorff"]):
            continue
        keys = [(label, point.inner_steps, int(seed)) for seed in scores.seeds]
        of_seeds = np.array([baselines.get(key, np.nan) for key in keys]) - scores.mean[i]
        yield AgainstBaseline(
            workload=scores.workload,
            method=point.method,
            method_label=label,
            inner_steps=point.inner_steps,
            error=100 * (1 - float(line["mean"])),
            halves=Halves(_half_over_seeds(scores.mean[i]), 100 * float(line["tasks_ci95"])),
            seeds=int(line["seeds"]),
            tasks=scores.tasks,
            baseline=100 * (1 - float(line["hausdorff"])),
            baseline_half=100 * float(line["hausdorff_ci95"]),
            neighbour=100 * (1 - float(line["neighbour"])),
            neighbour_half=100 * float(line["neighbour_ci95"]),
            difference=100 * float(mean_over_seeds(of_seeds)[0]),
            difference_halves=Halves(
                _half_over_seeds(of_seeds), _half_over_tasks(run, scores, i, np.isfinite(of_seeds))
            ),
        )


def _half_over_seeds(values: np.ndarray) -> float:
    mean, spread, count = mean_over_seeds(values)
    if count < SEEDS_FOR_T:
        return float("nan")
    return 100 * float(t_interval(mean, spread, count).high - mean)


def _half_over_tasks(run: LoadedRun, scores: Scores, point: int, finished: np.ndarray) -> float:
    """Of the paired differences: of each task the mean over the seeds that finished."""
    tables = [_of_tasks(run, scores, point, int(seed)) for seed in np.flatnonzero(finished)]
    known = [table for table in tables if table is not None]
    if not known or len(known) < len(tables):
        return float("nan")
    mean, spread, count = mean_over_seeds(pd.concat(known, axis=1).mean(axis=1).to_numpy())
    return 100 * float(t_interval(mean, spread, count).high - mean)


def _of_tasks(run: LoadedRun, scores: Scores, point: int, seed: int) -> pd.Series | None:
    """The baseline's accuracy less the method's, on each test task."""
    cells = run.path / "cells"
    own = task_scores(cells, scores, point, seed)
    floor = task_scores(cells, scores, point, seed, BASELINE)
    return None if own is None or floor is None else floor - own
