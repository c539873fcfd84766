"""What a panel draws: the points of one measure of one workload, in the unit of its axis."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from harness.analyze.growth import MIB
from harness.frame import split_workload
from harness.present.palette import NEWTON_METHODS, method_order
from harness.present.titles import VALUE

UNITS = {"accuracy": 100.0, "memory": 1 / MIB, "time": 1e3}  # to percent, MiB, ms
YLABELS = {
    "accuracy": "accuracy on fresh tasks (%)",
    "memory": "peak memory of a meta-step (MiB)",
    "time": "time of a meta-step (ms)",
}
BUDGET_IN_REACH = 3.0  # times the largest value: a budget farther up would press the curves flat
VIRTUAL = "virtual budget"  # how the tracker says that it, and not the machine, ended a step
PREDICTIONS_TO = 2.0  # budgets: as far as predictions may stretch the axis


@dataclass(frozen=True, kw_only=True)
class Curves:
    """`points` has run, method, method_label, inner_steps, value, low, high, untrained, neighbour, budget,
    predicted (of what did not fit its budget), status, failed, failure, flag, and `over_budget`: whether it
    was the virtual budget that memory ran out of, rather than the machine."""

    workload: str
    ylabel: str
    points: pd.DataFrame
    bounded: bool = False  # accuracy in percent: from 0, with the chance level
    even_steps: bool = False  # inner steps on a linear axis, where growth by the step is a straight line
    dodged: bool = False  # methods side by side, where their intervals would hide each other

    @property
    def runs(self) -> list[str]:
        return list(dict.fromkeys(self.points.run))

    @property
    def failed(self) -> pd.DataFrame:
        return self.points[self.points.value.isna()]

    def lines(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Run, method label and points, in the palette's order."""
        keys = self.points[["run", "method", "method_label"]].drop_duplicates().to_dict("records")
        keys.sort(key=lambda k: (self.runs.index(k["run"]), method_order(k["method"]), k["method_label"]))
        for key in keys:
            line = self.points[
                (self.points.run == key["run"]) & (self.points.method_label == key["method_label"])
            ]
            yield key["run"], key["method_label"], line.sort_values("inner_steps")

    def budgets(self) -> dict[float, list[str]]:
        """The budgets that the axis shows, each with its runs: those that a point failed at, and those
        that are near."""
        known = self.points.dropna(subset="budget")
        near = known.budget <= BUDGET_IN_REACH * self.points.value.max()
        hit = set(known.budget[known.value.isna() & known.over_budget])
        shown = known[near | known.budget.isin(hit)]
        return {float(level): list(dict.fromkeys(part.run)) for level, part in shown.groupby("budget")}

    def shared_flags(self) -> list[str]:
        """Warnings that every point with a value carries: said once rather than drawn at each."""
        flags = self.points.flag[self.points.value.notna()]
        if flags.empty:
            return []
        return [text for text in _split(flags.iloc[0]) if all(text in _split(flag) for flag in flags)]

    def is_flagged(self) -> pd.Series:
        """Whether a point has a value and a warning of its own."""
        shared = set(self.shared_flags())
        own = self.points.flag.map(lambda flag: bool(set(_split(flag)) - shared))
        return own.astype(bool) & self.points.value.notna()


def curves_of(measure: str, summary: pd.DataFrame) -> list[Curves]:
    """A panel a workload, values in the unit of the axis."""
    found = []
    for workload, part in summary.groupby("workload"):
        loss = measure == "accuracy" and bool((part.metric == "loss").any())
        unit = 1.0 if loss else UNITS[measure]
        points = part[["run", "method", "method_label", "inner_steps", "status", "failed", "failure"]].copy()
        # A CSV that is read back has no empty texts.
        points["flag"] = part.flag.map(lambda flag: flag if isinstance(flag, str) else "")
        oom = part.status == "oom"
        points["over_budget"] = oom & part.detail.map(lambda detail: VIRTUAL in str(detail)).astype(bool)
        points["value"] = part[VALUE[measure]] * unit
        for name in ("low", "high", "untrained", "neighbour"):
            points[name] = part[name] * unit if name in part else float("nan")
        for name in ("budget", "predicted"):
            of_memory = f"{name}_bytes" in part
            points[name] = part[f"{name}_bytes"].astype(float) * unit if of_memory else float("nan")
        # Of what was run, the reading says more.
        beyond = points.value.isna() & (points.predicted > points.budget)
        points["predicted"] = points.predicted.where(beyond)
        found.append(
            Curves(
                workload=str(workload),
                ylabel="loss on fresh tasks" if loss else YLABELS[measure],
                points=points,
                bounded=measure == "accuracy" and not loss,
                dodged=measure == "accuracy",
                even_steps=measure == "memory",
            )
        )
    return found


def step_label(curves: Curves) -> str:
    newton = sorted(set(curves.points.method) & NEWTON_METHODS)
    return f"inner steps ({', '.join(newton)}: Newton steps)" if newton else "inner steps"


def chance(workload: str) -> float | None:
    """Of guessing a class, in percent; None where the number of classes is unknown."""
    ways = split_workload(workload)[1].get("ways")
    return 100 / ways if isinstance(ways, int) and ways > 0 else None


def _split(flag: str) -> list[str]:
    """The warnings that a summary joined."""
    return [text for text in flag.split("; ") if text]
