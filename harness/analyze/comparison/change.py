"""One difference between two runs: of one metric, at one point that both have."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd

from harness.analyze.finding import Evidence

Kind = Literal["bytes", "coarse", "seconds", "ratio", "score", "loss", "error", "count"]
Verdict = Literal["same", "more", "less", "too weak", "not called", "fails", "works"]

METRICS: dict[str, tuple[str, Kind]] = {
    "peak_bytes": ("memory", "bytes"),
    "baseline_bytes": ("memory", "bytes"),
    "tracked_peak_bytes": ("memory", "bytes"),
    "scratch_bytes": ("memory", "bytes"),
    "predicted_peak_bytes": ("memory", "bytes"),
    "predicted_allocated_bytes": ("memory", "bytes"),
    "requested_bytes": ("memory", "bytes"),
    "reserved_bytes": ("memory", "bytes"),
    "workspace_bytes": ("memory", "bytes"),
    "resident_peak_bytes": ("memory", "coarse"),
    "nvml_bytes": ("memory", "coarse"),
    "step_seconds": ("time", "seconds"),
    "relative_seconds": ("time", "ratio"),
    "rel_error_implicit": ("gradient", "error"),
    "rel_error_unrolled": ("gradient", "error"),
    "gradient_evaluations": ("gradient", "count"),
    "hessian_products": ("gradient", "count"),
    "accuracy": ("accuracy", "score"),
    "loss": ("accuracy", "loss"),
}
"""What is compared -> its measure, and how. `relative_seconds` is no metric of rows: it is a method's time
over that of the run's own reference method, paired by rounds."""

NOISY: tuple[Kind, ...] = ("seconds", "ratio", "score", "loss")
"""Kinds with an interval; of the first two it is of a ratio."""

HEADLINE_METRICS = (
    "peak_bytes",
    "step_seconds",
    "relative_seconds",
    "rel_error_implicit",
    "rel_error_unrolled",
    "accuracy",
    "loss",
)
"""Those that stand for their measure; the others say more about the same."""


def unchanged(kind: Kind) -> float:
    """What an interval holds where nothing may have changed."""
    return 1.0 if kind in ("seconds", "ratio") else 0.0


@dataclass(frozen=True, kw_only=True, repr=False)
class Change:
    """What became of a metric from the base `a` to the other run `b`.

    first, second: the values, NaN where there is none. difference: second - first, in the metric's unit.
    ratio: second / first.
    low, high: 95% interval, of the `ratio` for seconds and ratios, of the `difference` for scores; for errors
        the least and largest ratio of a seed; NaN where it cannot be known or, as for bytes, is not needed.
    basis: what the interval rests on: "3 and 3 blocks, unpaired".
    verdict: "same" is equality to the last bit, or to what the instrument can tell; "fails" and "works" are
        points that only one run finished. why: what a reader must know beside it.
    """

    measure: str
    workload: str
    metric: str
    kind: Kind
    inner_steps: int
    method: str  # the base's bare name
    label: str
    other_label: str
    first: float = float("nan")
    second: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    p: float = float("nan")
    p_holm: float = float("nan")
    basis: str = ""
    verdict: Verdict = "same"
    why: str = ""
    paired_ratio: float = float("nan")  # where pairs give a better one than the values
    reference: str = ""  # of `relative_seconds`: the label of the method that it is relative to

    def __repr__(self) -> str:
        from harness.analyze.comparison.change_in_words import sentence  # which is made of changes itself

        return f"<{sentence(self)}>"

    @property
    def point(self) -> tuple[str, str, str, str, int]:
        """What all its metrics have in common."""
        return self.measure, self.workload, self.label, self.other_label, self.inner_steps

    @property
    def difference(self) -> float:
        return float("nan") if self.verdict == "not called" else self.second - self.first

    @property
    def ratio(self) -> float:
        if self.verdict == "not called":
            return float("nan")
        if np.isfinite(self.paired_ratio):
            return self.paired_ratio
        if self.first == self.second:
            return 1.0
        return self.second / self.first if self.first else float("inf")

    @property
    def is_fate(self) -> bool:
        """Whether it tells what became of a point, and of no figure."""
        return bool(np.isnan(self.first) and np.isnan(self.second))

    @property
    def interval_known(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high)) and self.low != self.high

    @property
    def is_called(self) -> bool:
        """Whether the runs do differ here."""
        return self.verdict in ("more", "less", "fails", "works")

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """In the base's rows."""
        return (self._evidence(self.label),)

    @property
    def other_evidence(self) -> tuple[Evidence, ...]:
        """In the other run's rows."""
        return (self._evidence(self.other_label),)

    def _evidence(self, label: str) -> Evidence:
        metric = "step_seconds" if self.metric == "relative_seconds" else self.metric
        return Evidence(
            measure=self.measure,
            workload=self.workload,
            methods=(label,),
            metrics=(metric,),
            inner_steps=(self.inner_steps,),
        )

    def refused(self, why: str) -> "Change":
        """The two values alone: neither a difference nor how sure it is."""
        nan = float("nan")
        return replace(
            self, verdict="not called", why=why, low=nan, high=nan, p=nan, p_holm=nan, paired_ratio=nan
        )


def lines_of(frame: pd.DataFrame) -> Iterator[Any]:
    """Its lines, with their values by name."""
    for record in frame.to_dict("records"):
        yield SimpleNamespace(**{str(name): value for name, value in record.items()})


def succeeded(points: pd.DataFrame) -> pd.Series:
    """Which of `Alignment.points` did in both runs."""
    return (points.status_a == "ok") & (points.status_b == "ok")


def place_of(point: Any, metric: str) -> dict[str, Any]:
    """Where a change is, of a line of `Alignment.points`."""
    measure, kind = METRICS[metric]
    return {
        "measure": measure,
        "workload": str(point.workload),
        "metric": metric,
        "kind": kind,
        "inner_steps": int(point.inner_steps),
        "method": str(point.method_a),
        "label": str(point.method_label_a),
        "other_label": str(point.method_label_b),
    }


@dataclass(frozen=True, kw_only=True)
class Overall:
    """A noisy metric of all common points of a workload together: blocks or seeds are the units, so it is one
    comparison where the points are many.

    estimate, low, high: a ratio for seconds and for ratios, a difference for scores and losses; the ends are
        NaN where too few units give none. units: on each side, blocks or the seeds that both have.
    """

    metric: str
    workload: str
    estimate: float
    low: float
    high: float
    points: int
    units: tuple[int, int]

    @property
    def has_interval(self) -> bool:
        return bool(np.isfinite(self.low))

    @property
    def is_called(self) -> bool:
        return self.has_interval and not self.low <= unchanged(METRICS[self.metric][1]) <= self.high
