"""What accuracy costs in memory and in time: the points of a run as pairs, and which no other point beats."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from harness.analyze.loaded import LoadedRun
from harness.analyze.pareto import dominated_points, pareto_points
from harness.analyze.summary import POINT

COSTS = ("peak_bytes", "step_seconds")
COLUMNS = [
    "run",
    *POINT,
    "quality",
    "quality_value",
    "quality_low",
    "quality_high",
    "cost",
    "cost_value",
    "cost_low",
    "cost_high",
    "is_efficient",
    "may_be_efficient",
    "note",
]


def trade_offs(runs: Sequence[LoadedRun], names: Sequence[str]) -> pd.DataFrame:
    """A line a point and cost: the quality (accuracy or loss, else the error of the meta-gradient), the cost,
    and whether the point is efficient in these two among those of its run and workload.

    `may_be_efficient` grants each axis its interval, as `harness.analyze.pareto` does. A cost that fewer than
    two points have is left out.
    """
    parts = [
        part
        for name, run in zip(names, runs, strict=True)
        for part in _of_run(pareto_points(run).assign(run=name))
    ]
    return pd.concat(parts, ignore_index=True)[COLUMNS] if parts else pd.DataFrame(columns=COLUMNS)


def _of_run(points: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, part in points.groupby("workload"):
        has_accuracy = part.accuracy.notna().any()
        source = "accuracy" if has_accuracy else "gradient_error"
        loss = has_accuracy and bool((part.metric == "loss").any())
        for cost in COSTS:
            known = part[part[source].notna() & part[cost].notna()].copy()
            if len(known) < 2:
                continue
            known["quality"], known["cost"] = ("loss" if loss else source), cost
            for name, column in (("quality", source), ("cost", cost)):
                known[f"{name}_value"] = known[column]
                for end in ("low", "high"):  # memory repeats exactly
                    ends = known.get(f"{column}_{end}", known[column])
                    known[f"{name}_{end}"] = ends.astype(float)
            sign = -1.0 if source == "accuracy" and not loss else 1.0
            efficient, possible = _efficient(known, sign)
            yield known.assign(is_efficient=efficient, may_be_efficient=possible)


def _efficient(known: pd.DataFrame, sign: float) -> tuple[np.ndarray, np.ndarray]:
    """By the values, and within the intervals; lower is better once the quality has this sign."""
    value = known[["quality_value", "cost_value"]].to_numpy(float) * [sign, 1.0]
    ends = [
        known[[f"quality_{end}", f"cost_{end}"]].fillna(unknown).to_numpy(float)
        for end, unknown in (("low", -np.inf), ("high", np.inf))
    ]
    low, high = (end * [sign, 1.0] for end in ends)
    best, worst = np.minimum(low, high), np.maximum(low, high)
    return ~dominated_points(value, value), ~dominated_points(best, worst)
