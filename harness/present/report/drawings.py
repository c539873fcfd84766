"""The pictures that runs have, a workload each: what a report puts on its page."""

from collections.abc import Iterator
from dataclasses import dataclass

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.present.curves import points_shown
from harness.present.pictures import PICTURES
from harness.present.plots import measure_figure
from harness.present.sheet import STYLE
from harness.present.titles import finding


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """`evidence` is that of each run, by its name; `points` has the name in its column `run`."""

    name: str
    measure: str
    workload: str
    title: str
    context: str
    figure: Figure
    points: pd.DataFrame
    evidence: tuple[tuple[str, tuple[Evidence, ...]], ...]


def drawings(runs: dict[str, LoadedRun]) -> Iterator[Drawing]:
    summaries = {measure: _summary(runs, measure) for measure in ("accuracy", "memory", "time", "gradient")}
    with mpl.rc_context(sns.axes_style("ticks") | STYLE):
        for name, picture in PICTURES.items():
            shown = points_shown(name, summaries[picture.measure])
            for workload, points in shown.groupby("workload", sort=False):
                yield Drawing(
                    name=name,
                    measure=picture.measure,
                    workload=str(workload),
                    title=finding(name, points),
                    context=picture.truth,
                    figure=measure_figure(name, points),
                    points=points,
                    evidence=tuple(_evidence(points, picture.measure, str(workload))),
                )


def _evidence(
    points: pd.DataFrame, measure: str, workload: str
) -> Iterator[tuple[str, tuple[Evidence, ...]]]:
    for run, part in points.groupby("run", sort=False):
        yield (
            str(run),
            (
                Evidence(
                    measure=measure,
                    workload=workload,
                    methods=tuple(dict.fromkeys(part.method_label)),
                ),
            ),
        )


def _summary(runs: dict[str, LoadedRun], measure: str) -> pd.DataFrame:
    parts = []
    for name, run in runs.items():
        part = getattr(run, measure).copy()
        if measure == "memory":
            budget = run.manifest.get("memory_budget")
            part["budget_bytes"] = float("nan") if budget is None else float(budget)
        part.insert(0, "run", name)
        parts.append(part)
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]
