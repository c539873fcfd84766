"""Which points are worth choosing: the Pareto set of accuracy, gradient error, peak memory and seconds."""

import json
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.asked import asked
from harness.analyze.gradient import ERRORS
from harness.analyze.loaded import LoadedRun
from harness.analyze.summary import POINT
from harness.analyze.words import counted, listed
from harness.settings import telling_apart

MEASURES = {
    "accuracy": "accuracy",
    "gradient_error": "gradient",
    "peak_bytes": "memory",
    "step_seconds": "time",
}
"""Of each axis."""
AXES = tuple(MEASURES)
IN_WORDS = {
    "gradient_error": "gradient error",
    "peak_bytes": "peak memory",
    "step_seconds": "seconds a meta-step",
}
QUALITIES = ("accuracy", "gradient_error")
TEXTS = ("metric", "accuracy_interval", "gradient_target")
COLUMNS = [
    *POINT,
    "metric",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "accuracy_interval",
    "gradient_error",
    "gradient_error_low",
    "gradient_error_high",
    "gradient_target",
    "peak_bytes",
    "step_seconds",
    "step_seconds_low",
    "step_seconds_high",
    "known_axes",
    "is_efficient",
    "may_be_efficient",
    "note",
]


def pareto_points(run: LoadedRun) -> pd.DataFrame:
    """A line for each workload, method and number of inner steps of which at least one axis is known.

    - `accuracy` (higher is better; where `metric` is `loss`, it is the loss and lower is better),
      `gradient_error`, `peak_bytes`, `step_seconds`: as in the summaries, NaN where there is no value; `_low`
      and `_high` are their intervals (of the gradient error: the least and the largest of a seed).
      `accuracy_interval` says what that of the accuracy is over: `seeds` or, for these models only, `tasks`.
    - `known_axes`: those that are known here, separated by commas.
    - `is_efficient`: no other point of the workload is as good on every axis of this one and better on one.
      Only a point that is known on all these axes can say so; what is unknown is never imputed. NA where
      nothing is to be weighed: where no second axis is known, or neither accuracy nor gradient error is (the
      fewest inner steps would be the cheapest, whatever they are good for), or no other point has as much.
    - `may_be_efficient`: the same beyond doubt. It is false only where another point is as good on every axis
      and better on one even if each axis is granted its interval: this point's better end against the other's
      worse end. Memory repeats exactly and has no interval; where an interval is unknown nothing is beyond
      doubt. Accuracies are weighed by the interval of each, which is cautious: paired differences
      (`accuracy_differences`) tell more apart.
    - `note`: where the measures of this point ran with different settings or meta-batches, or seeds failed.
    """
    points = _merged(run)
    points = points.dropna(subset=[*AXES], how="all").reset_index(drop=True)
    known = points[[*AXES]].notna().to_numpy()
    points["known_axes"] = [",".join(np.array(AXES)[line]) for line in known]
    for column in ("is_efficient", "may_be_efficient"):
        points[column] = pd.array([pd.NA] * len(points), dtype="boolean")
    for _, part in points.groupby("workload"):
        costs, best, worst = _costs(part)
        enough = (~np.isnan(costs)).sum(1) >= 2
        enough &= part[[*QUALITIES]].notna().any(axis=1).to_numpy()
        if enough.sum() < 2:
            continue
        for column, dominated in (
            ("is_efficient", dominated_points(costs, costs)),
            ("may_be_efficient", dominated_points(best, worst)),
        ):
            points.loc[part.index[enough], column] = ~dominated[enough]
    points["note"] = _notes(run, points)
    return points[COLUMNS]


def weighed_axes(part: pd.DataFrame) -> str:
    """`accuracy, peak memory and seconds a meta-step`: what is known of any of these points."""
    metric = "loss" if (part.metric == "loss").any() else "accuracy"
    return listed([IN_WORDS.get(axis, metric) for axis in _known(part)])


def _known(part: pd.DataFrame) -> list[str]:
    return [axis for axis in AXES if part[axis].notna().any()]


def dominated_points(best: np.ndarray, worst: np.ndarray) -> np.ndarray:
    """Which points [points, axes] are dominated by another, lower being better and NaN unknown.

    By one that is known on all axes of this one, there at its `worst` no worse than this at its `best`, and
    somewhere better.
    """
    dominated = np.zeros(len(best), dtype=bool)
    for i, own in enumerate(best):
        axes = ~np.isnan(own)
        others = worst[:, axes]
        no_worse = (others <= own[axes]).all(1)  # false for NaN: not known on all axes
        better = (others < own[axes]).any(1)
        dominated[i] = (no_worse & better).any()
    return dominated


def _costs(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every axis so that lower is better: its values, and the better and the worse ends of its intervals."""
    falls = part.metric.to_numpy() == "accuracy"
    costs, best, worst = (np.full((len(part), len(AXES)), np.nan) for _ in range(3))
    for i, axis in enumerate(AXES):
        exact = axis == "peak_bytes"
        value, low, high = (
            part[axis if exact else f"{axis}{end}"].to_numpy(float) for end in ("", "_low", "_high")
        )
        low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
        if axis == "accuracy":
            value = np.where(falls, -value, value)
            low, high = np.where(falls, -high, low), np.where(falls, -low, high)
        unknown = np.isnan(value)
        costs[:, i] = value
        best[:, i], worst[:, i] = np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
    return costs, best, worst


def _merged(run: LoadedRun) -> pd.DataFrame:
    """The summaries side by side, under the names of `COLUMNS`."""
    of_accuracy = {
        "mean": "accuracy",
        "low": "accuracy_low",
        "high": "accuracy_high",
        "interval_kind": "accuracy_interval",
        "failed": "seeds_failed",
    }
    of_time = {"median": "step_seconds", "low": "step_seconds_low", "high": "step_seconds_high"}
    accuracy = run.accuracy.rename(columns=of_accuracy)[[*POINT, "metric", *of_accuracy.values()]]
    time = run.time.rename(columns=of_time)[[*POINT, *of_time.values()]]
    points = accuracy.merge(_gradient_errors(run.gradient), on=POINT, how="outer")
    for other in (run.memory[[*POINT, "peak_bytes"]], time):
        points = points.merge(other, on=POINT, how="outer")
    for name in TEXTS:
        points[name] = points[name].fillna("").astype(str)
    points["inner_steps"] = points.inner_steps.astype(int)
    for name in points.columns.difference([*POINT, *TEXTS]):
        points[name] = points[name].astype(float)
    return points.sort_values(POINT, ignore_index=True)


def _gradient_errors(gradient: pd.DataFrame) -> pd.DataFrame:
    """Against one of the two true meta-gradients for all points of a workload, or they could not be compared:
    that which most of its methods have, of equals the implicit one."""
    parts = []
    for _, part in gradient.groupby("workload"):
        methods = {error: part.method_label[part[error].notna()].nunique() for error in ERRORS}
        target = max(ERRORS, key=methods.__getitem__)
        names = {target: "gradient_error", f"{target}_low": "gradient_error_low"}
        names[f"{target}_high"] = "gradient_error_high"
        parts.append(part.rename(columns=names)[[*POINT, *names.values()]].assign(gradient_target=target))
    columns = [*POINT, "gradient_error", "gradient_error_low", "gradient_error_high", "gradient_target"]
    return pd.concat(parts) if parts else pd.DataFrame(columns=columns)


def _batches_in_words(batches: dict[str, int]) -> str:
    """`8 tasks a meta-step for accuracy, 1 for memory and time`"""
    of_size: dict[int, list[str]] = {}
    for measure, size in batches.items():
        of_size.setdefault(size, []).append(measure)
    (size, measures), *others = of_size.items()
    first = f"{counted(size, 'task')} a meta-step for {listed(measures)}"
    return ", ".join([first, *(f"{size} for {listed(measures)}" for size, measures in others)])


def _notes(run: LoadedRun, points: pd.DataFrame) -> list[str]:
    """What sets the measures of a point apart: settings of the method, meta-batches, and lost seeds."""
    ran = run.rows[["workload", "method_label", "measure", "settings"]].drop_duplicates()
    settings: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for workload, label, measure, text in ran.itertuples(index=False, name=None):
        settings.setdefault((workload, label), {})[measure] = json.loads(text)
    notes = []
    keys = [*POINT, "known_axes", "seeds_failed"]
    for workload, _, label, _, axes, failed in points[keys].itertuples(index=False, name=None):
        measures = [MEASURES[axis] for axis in axes.split(",")]
        own = {m: s for m, s in settings[workload, label].items() if m in measures}
        batches = {m: size for m in measures if (size := asked(run, m, workload).get("meta_batch_size"))}
        told = []
        if differing := telling_apart(list(own.values())):
            told.append(f"measures differ in {', '.join(sorted(differing))}")
        if len(set(batches.values())) > 1:
            told.append(_batches_in_words(batches))
        if failed > 0:
            told.append(f"{failed:.0f} {'seed' if failed == 1 else 'seeds'} of the accuracy failed")
        notes.append("; ".join(told))
    return notes
