"""Published accuracies beside those of a run: the difference with both intervals, and what it does not cover.

The interval of a difference is made of both: its ends lie as far from it as the root of the summed squares
of the distances of the single ends from their means (Zou and Donner 2008, "Construction of confidence limits
about effect measures"). That takes the two for independent, and the printed ± for a 95% half-width, which the
tables do not say. It covers neither what differs in protocol, nor that either side was the best of several.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.accuracy.differences import chosen_points
from harness.analyze.accuracy.scores import Scores, test_scores
from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.published.figures import FIGURES, OMNIGLOT, Figure
from harness.analyze.published.unlike import Facts, facts_of, in_words
from harness.analyze.words import counted
from harness.frame import split_workload

OTHER_PROTOCOLS = {
    "omniglot-minimal": "another protocol: alphabets that were held out of Omniglot's two minimal background "
    "sets, where the table has characters held out of all 1,623"
}
"""Workloads that stand beside Omniglot's figures for want of their own, and why they are no repetition."""

LOWER, HIGHER, ALIKE = "lower", "higher", "not told apart"


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One method of a run on one workload, at the inner steps that validation chose, and the figure.

    All numbers are % or points. interval: `seeds`, Student's over three or more; `tasks`, below, which holds
    for these trained models only; or empty. another: why the workload is no repetition, if it is none.
    """

    figure: Figure
    workload: str
    method_label: str
    inner_steps: int
    is_chosen: bool  # by validation; otherwise it is the only number of inner steps
    mean: float
    low: float
    high: float
    interval: str
    seeds: int
    tasks: int | None
    another: str
    facts: Facts

    @property
    def difference(self) -> float:
        """Ours less the published."""
        return self.mean - self.figure.accuracy

    @property
    def difference_low(self) -> float:
        return self.difference - float(np.hypot(self.mean - self.low, self.figure.half))

    @property
    def difference_high(self) -> float:
        return self.difference + float(np.hypot(self.high - self.mean, self.figure.half))

    @property
    def verdict(self) -> str:
        """Whether the two are told apart, be it by their protocols; empty without an interval over seeds."""
        if self.interval != "seeds":
            return ""
        return LOWER if self.difference_high < 0 else HIGHER if self.difference_low > 0 else ALIKE

    @property
    def ours_in_words(self) -> str:
        return f"{self.mean:.2f}" + (f" ± {self.half:.2f}" if np.isfinite(self.half) else "")

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2

    @property
    def difference_in_words(self) -> str:
        return f"{self.difference + 0.0:+.2f}"

    @property
    def interval_in_words(self) -> str:
        if not np.isfinite(self.difference_low):
            return "unknown"
        return f"{self.difference_low + 0.0:+.2f} to {self.difference_high + 0.0:+.2f}"

    @property
    def basis(self) -> str:
        """Over what ours is an interval."""
        if self.interval == "seeds":
            return counted(self.seeds, "seed")
        tasks = f"{self.tasks:,} test tasks" if self.tasks else "test tasks"
        return f"{tasks} of {counted(self.seeds, 'seed')} only" if self.interval else "no interval"

    @property
    def sentence(self) -> str:
        steps = counted(self.inner_steps, "inner step")
        ours = f"{self.method_label} {self.ours_in_words} % ({steps}, {self.basis})"
        theirs = f"{self.figure.printed} ({self.figure.row}, {self.figure.source})"
        difference = f"{self.difference_in_words} points, 95% {self.interval_in_words}"
        return f"{ours} against {theirs}: {difference}"

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            measure="accuracy",
            workload=self.workload,
            methods=(self.method_label,),
            metrics=("accuracy", "accuracy_ci95", "validation_accuracy"),
            inner_steps=(self.inner_steps,),
        )


def published_comparison(run: LoadedRun) -> list[Beside]:
    """By workload, in the order of the rows' names; within one in the table's order, then by label."""
    asked = [str(workload) for workload in run.accuracy.workload.unique() if figures_for(str(workload))]
    if not asked:  # nothing else is looked at: most runs are on other workloads
        return []
    rows = run.rows[(run.rows.measure == "accuracy") & run.rows.workload.isin(asked)]
    return [beside for scores in test_scores(rows) for beside in _of_workload(run, rows, scores)]


def figures_for(workload: str) -> dict[str, Figure]:
    """Those that stand beside a workload, by the method's name; none for most workloads."""
    name, settings = split_workload(workload)
    shape = settings.get("ways"), settings.get("shots")
    table = OMNIGLOT if name in OTHER_PROTOCOLS else name
    return {
        each.method: each for each in FIGURES if each.workload == table and (each.ways, each.shots) == shape
    }


def lines_of(run: LoadedRun, workload: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The summary of one workload, a line each label and number of inner steps."""
    records = run.accuracy[run.accuracy.workload == workload].to_dict("records")
    return {
        (record["method_label"], record["inner_steps"]): {str(k): value for k, value in record.items()}
        for record in records
    }


def points_of_choice(scores: Scores) -> dict[str, tuple[int, bool]]:
    """Of each label the index of the point that its validation tasks choose, and whether they did: without
    their scores a method counts only where it has one number of inner steps."""
    chosen = {label: (i, True) for label, (i, _) in chosen_points(scores).items()}
    for i, point in enumerate(scores.points):
        alone = sum(other.label == point.label for other in scores.points) == 1
        if alone and point.label not in chosen and np.isfinite(scores.mean[i]).any():
            chosen[point.label] = (i, False)
    return chosen


def _of_workload(run: LoadedRun, rows: pd.DataFrame, scores: Scores) -> Iterator[Beside]:
    figures = figures_for(scores.workload)
    lines = lines_of(run, scores.workload)
    own = rows[rows.workload == scores.workload]
    order = list(figures)
    chosen = [(scores.points[i], is_chosen) for i, is_chosen in points_of_choice(scores).values()]
    chosen = [each for each in chosen if each[0].method in figures]
    for point, is_chosen in sorted(chosen, key=lambda each: (order.index(each[0].method), each[0].label)):
        line = lines[point.label, point.inner_steps]
        at = (own.method_label == point.label) & (own.inner_steps == point.inner_steps)
        yield Beside(
            figure=figures[point.method],
            workload=scores.workload,
            method_label=point.label,
            inner_steps=point.inner_steps,
            is_chosen=is_chosen,
            mean=100 * float(line["mean"]),
            low=100 * float(line["low"]),
            high=100 * float(line["high"]),
            interval=str(line["interval_kind"]),
            seeds=int(line["seeds"]),
            tasks=scores.tasks,
            another=OTHER_PROTOCOLS.get(split_workload(scores.workload)[0], ""),
            facts=facts_of(run, own[at], scores.tasks),
        )


def unlike_in_words(found: Sequence[Beside]) -> str:
    """In what these of one workload are known to be unlike their figures; empty where in nothing."""
    return in_words((each.method_label, each.facts.unlike(each.figure)) for each in found)


def unknown_in_words(found: Sequence[Beside]) -> str:
    """What of these matters and is not known of their figures."""
    return in_words((each.method_label, each.facts.unknown(each.figure)) for each in found)
