"""What each point of a workload scored in each seed, and on each test task of it."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.rows import HEADLINES

PER_TASK = "per_task.csv"  # what an accuracy cell leaves beside its rows
KEYS = ["method", "method_label", "inner_steps"]
NOT_RUN = "not run"
TESTED = re.compile(r"(\d+) test tasks(, all that there are)?")
SAME_MEAN = 1e-5  # relative: rows have the mean of float32 values


class Point(NamedTuple):
    method: str
    label: str
    inner_steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Test scores of one workload. Arrays are [points, seeds], NaN where there is no value.

    mean: over the test tasks; half: the 95% half-width over them.
    validation: the score on validation tasks at the meta-step that they chose, and that was tested.
    fate: `ok`, the status of what failed, or `NOT_RUN`. cell: the id, empty where not run.
    tasks: how many test tasks a seed, where the rows say. same_tasks: they are all that there are, and so
        the same ones in every seed; otherwise each seed has its own.
    """

    workload: str
    metric: str  # "accuracy", higher is better, or "loss", lower is better
    points: list[Point]
    seeds: np.ndarray
    mean: np.ndarray
    half: np.ndarray
    validation: np.ndarray
    fate: np.ndarray
    cell: np.ndarray
    tasks: int | None
    same_tasks: bool


def test_scores(rows: pd.DataFrame) -> Iterator[Scores]:
    """One for each workload that test scores were asked for on."""
    for workload, part in rows[rows.measure == "accuracy"].groupby("workload"):
        metric, best = ("loss", "min") if (part.metric == "loss").any() else ("accuracy", "max")
        point, points = _numbered(part)
        seeds, seed = np.unique(part.seed.to_numpy(), return_inverse=True)
        shape = (len(points), len(seeds))
        place = point * len(seeds) + seed
        name, status = part.metric.to_numpy(str), part.status.to_numpy(str)
        if metric not in name:  # trained and validated only, as in a search for settings
            continue
        value = np.where(status == "ok", part.value.to_numpy(float), np.nan)
        of_metric = name == metric
        mean = _table(shape, place, value, of_metric, "mean")
        headline = np.isin(name, HEADLINES["accuracy"])
        fate = np.full(shape, NOT_RUN, dtype=object)
        fate.flat[place[headline]] = status[headline]
        fate[np.isfinite(mean)] = "ok"
        cell = np.full(shape, "", dtype=object)
        cell.flat[place[headline]] = part.cell_id.to_numpy(str)[headline]
        tasks, same_tasks = tested(part.detail.to_numpy()[of_metric & (status == "ok")])
        yield Scores(
            workload=str(workload),
            metric=metric,
            points=points,
            seeds=seeds,
            mean=mean,
            half=_table(shape, place, value, name == f"{metric}_ci95", "mean"),
            validation=_table(shape, place, value, name == f"validation_{metric}", best),
            fate=fate,
            cell=cell,
            tasks=tasks,
            same_tasks=same_tasks,
        )


def _numbered(part: pd.DataFrame) -> tuple[np.ndarray, list[Point]]:
    """The points in order, and of each row the number of its own."""
    number = part.groupby(KEYS).ngroup().to_numpy()
    _, some_row = np.unique(number, return_index=True)
    keys = part[KEYS].iloc[some_row].itertuples(index=False, name=None)
    return number, [Point(method, label, int(steps)) for method, label, steps in keys]


def _table(
    shape: tuple[int, int], place: np.ndarray, value: np.ndarray, chosen: np.ndarray, how: str
) -> np.ndarray:
    """The chosen values, each at its place in the flat table; of several at one place `how` makes one."""
    found = pd.Series(value[chosen]).groupby(place[chosen]).agg(how)
    table = np.full(shape, np.nan)
    table.flat[found.index.to_numpy(int)] = found.to_numpy()
    return table


def tested(details: Iterable[object]) -> tuple[int | None, bool]:
    """On how many test tasks each seed was tested, of the details of test scores; and whether these are all
    that there are, the same ones in every seed, rather than fresh ones of endlessly many."""
    for detail in details:
        if match := TESTED.match(str(detail)):
            return int(match[1]), match[2] is not None
    return None, False


def whole_test_split(rows: pd.DataFrame) -> int | None:
    """How many tasks the test split of a workload's rows has, where it ends; None where it does not."""
    scores = rows.metric.isin(["accuracy", "loss"]) & (rows.status == "ok")
    tasks, is_whole = tested(rows.detail[scores])
    return tasks if is_whole else None


def task_scores(
    cells: Path, scores: Scores, point: int, seed: int, floor: str | None = None
) -> pd.Series | None:
    """Of each test task, by its number; None where the cell has left no such file.

    Nor where the file is not of this row: its mean is another. floor: the metric that is wanted in place of
    the method's own score.
    """
    path = cells / scores.cell[point, seed] / PER_TASK
    wanted = floor or scores.metric
    try:
        table = pd.read_csv(path, usecols=list({"task", scores.metric, wanted})).dropna().set_index("task")
    except (OSError, ValueError):
        return None
    same = np.isclose(table[scores.metric].mean(), scores.mean[point, seed], rtol=SAME_MEAN, atol=0)
    return table[wanted].astype(float) if same and table.index.is_unique else None
