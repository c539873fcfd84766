"""The Pareto set: which points no other point beats on every axis."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.growth import MIB
from harness.present.palette import label_order
from harness.present.report.blocks import Cell, Table
from harness.present.report.cells import NONE, count, in_digits, number, numeric_columns, text
from harness.present.words import workload_in_words

AXES = {
    "accuracy": ("accuracy (%)", 100.0),
    "loss": ("loss", 1.0),
    "gradient_error": ("gradient error", 1.0),
    "peak_bytes": ("peak (MiB)", 1 / MIB),
    "step_seconds": ("meta-step (ms)", 1e3),
}


def pareto_tables(runs: dict[str, LoadedRun]) -> Iterator[Table]:
    """A table a run and workload in which anything is to be weighed, the efficient points first."""
    for run, loaded in runs.items():
        points = loaded.pareto()
        for workload, part in points.groupby("workload", sort=False):
            weighed = part[part.is_efficient.notna()]
            if len(weighed):
                yield _table(weighed, workload_in_words(str(workload)), run if len(runs) > 1 else "")


def _table(points: pd.DataFrame, workload: str, run: str) -> Table:
    points = points.assign(loss=points.accuracy.where(points.metric == "loss"))
    points["accuracy"] = points.accuracy.where(points.metric != "loss")
    axes = [axis for axis in AXES if points[axis].notna().any()]
    records = points.to_dict("records")
    records.sort(
        key=lambda p: (not p["is_efficient"], *label_order(p["method"], p["method_label"]), p["inner_steps"])
    )
    lines = [
        (
            Cell(point["method_label"]),
            count(point["inner_steps"]),
            *(_value(point, axis) for axis in axes),
            Cell(_standing(point)),
            text(point["note"]),
        )
        for point in records
    ]
    columns = ("method", "inner steps", *(AXES[axis][0] for axis in axes), "efficient", "note")
    notes = {point["note"] for point in records}
    if len(notes) == 1:  # said once
        columns, lines = columns[:-1], [line[:-1] for line in lines]
    return Table(
        caption=", ".join(filter(None, ("Points worth choosing", run, workload))),
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=(
            *(f"Of every point: {note}." for note in notes if note and len(notes) == 1),
            "Efficient: no other point is as good on every axis that this one has and better on one. "
            "Perhaps: another is, but not beyond the intervals. What is unknown is never imputed. "
            "Small: 95% interval, of a gradient error the least and largest of a seed.",
        ),
    )


def _standing(point: dict[Any, Any]) -> str:
    if point["is_efficient"]:
        return "yes"
    return "perhaps" if point["may_be_efficient"] else "no"


def _value(point: dict[Any, Any], axis: str) -> Cell:
    unit = AXES[axis][1]
    value = point[axis]
    if pd.isna(value):
        return NONE
    source = "accuracy" if axis == "loss" else axis
    low, high = point.get(f"{source}_low"), point.get(f"{source}_high")
    if low is None or high is None or pd.isna(low) or pd.isna(high) or low == high:
        return number(unit * value)
    ends = f"{in_digits(unit * low, 3)} to {in_digits(unit * high, 3)}"
    return Cell(in_digits(unit * value), float(value), ends)
