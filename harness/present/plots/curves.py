"""What a panel draws: the points of one measure of one workload, in the unit of its axis."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analyze.gradient import ERRORS
from harness.analyze.summary import FLOORS
from harness.frame import split_workload
from harness.present.palette import NEWTON_METHODS, label_order
from harness.present.plots.pictures import PICTURES

BUDGET_IN_REACH = 3.0  # times the largest value: a budget farther up would press the curves flat
VIRTUAL = "virtual budget"  # how the tracker says that it, and not the machine, ended a step
PREDICTIONS_TO = 2.0  # budgets: as far as predictions may stretch the axis
JOIN = "; "  # between the warnings of a point, as summaries join them
NOTHING = 1e-17  # where an error of 0 is drawn, a tenth of float64's spacing at 1: a log axis has no 0


@dataclass(frozen=True, kw_only=True)
class Curves:
    """`points` has run, method, method_label, inner_steps, x (the place along the axis), value, low, high,
    untrained, neighbour, hausdorff, budget, predicted (of what did not fit its budget), status, failed,
    failure, flag, `over_budget`: whether it was the virtual budget that memory ran out of, rather than the
    machine, and `is_nothing`: whether it is an error of 0. `overlaid` are all runs of the picture, also where
    this panel has one of them only: a run looks the same everywhere."""

    workload: str
    xlabel: str
    ylabel: str
    points: pd.DataFrame
    overlaid: tuple[str, ...]
    by_steps: bool = True  # inner steps along the axis, each of which is named there
    is_error: bool = False  # on a logarithmic axis, whatever the values
    in_powers: bool = False  # an axis of many decades is named in powers of ten
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
        keys.sort(key=lambda k: (self.runs.index(k["run"]), label_order(k["method"], k["method_label"])))
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

    @property
    def own_flags(self) -> pd.Series:
        """Of each point with a value, what it is warned of that not all of its run are."""
        return own_flags(self.points[self.points.value.notna()]).reindex(self.points.index, fill_value="")


def shared_flags(points: pd.DataFrame) -> dict[str, list[str]]:
    """Of each run the warnings that all of its points carry: said once rather than drawn at each."""
    shared = {}
    for run, flags in points.groupby("run", sort=False).flag:
        first, *others = map(split_flags, flags)
        shared[str(run)] = [text for text in first if all(text in other for other in others)]
    return shared


def own_flags(points: pd.DataFrame) -> pd.Series:
    """Of each point the warnings that it does not share with all others of its run; empty without any."""
    shared = shared_flags(points)
    texts = [
        JOIN.join(text for text in split_flags(flag) if text not in shared[run])
        for run, flag in zip(points.run, points.flag, strict=True)
    ]
    return pd.Series(texts, points.index, dtype=object)


def points_shown(name: str, summary: pd.DataFrame) -> pd.DataFrame:
    """The lines of a measure's summary that a picture draws, each with its value or the way it failed.

    Skipped points are left out: they were not run, so they did not fail. So are, of a picture of a quantity
    that not every method has, methods without it, and from an axis of work failed points, which have no place
    there. A method that failed throughout is in all
    pictures of errors, since nobody knows which of them it has.
    """
    picture = PICTURES[name]
    if not picture.is_partial:
        return summary[summary.status != "skipped"]
    known = summary[picture.value].notna() & summary[picture.across].notna()
    if picture.across != "inner_steps":
        return summary[known]
    method = [summary[key] for key in ("run", "workload", "method_label")]
    has_it = known.groupby(method).transform("any")
    any_error = summary[[*ERRORS]].notna().any(axis=1)
    lost = ~any_error.groupby(method).transform("any")
    failed = ~summary.status.isin(("ok", "skipped"))
    shown = summary[known | (failed & (has_it | (lost & picture.is_error)))]
    nothing_else = name == "gradient" and not any_error.any()
    return shown if known.any() or nothing_else else summary.iloc[:0]


def curves_of(name: str, summary: pd.DataFrame, overlaid: Sequence[str] = ()) -> list[Curves]:
    """A panel a workload, values in the unit of the axis. `overlaid`: all runs, where the summary may lack
    some."""
    picture = PICTURES[name]
    runs = tuple(overlaid or dict.fromkeys(summary.run))
    found = []
    for workload, part in summary.groupby("workload"):
        loss = name == "accuracy" and bool((part.metric == "loss").any())
        unit = 1.0 if loss else picture.unit
        points = part[["run", "method", "method_label", "inner_steps", "status", "failed", "failure"]].copy()
        points["x"] = part[picture.across]
        # A CSV that is read back has no empty texts.
        points["flag"] = part.flag.map(lambda flag: flag if isinstance(flag, str) else "")
        oom = part.status == "oom"
        points["over_budget"] = oom & part.detail.map(lambda detail: VIRTUAL in str(detail)).astype(bool)
        columns = {"value": picture.value, "low": picture.low, "high": picture.high}
        for column, source in (columns | {name: name for name in ("untrained", *FLOORS)}).items():
            points[column] = part[source] * unit if source in part else float("nan")
        for column in ("budget", "predicted"):
            of_memory = f"{column}_bytes" in part
            points[column] = part[f"{column}_bytes"].astype(float) * unit if of_memory else float("nan")
        # Of what was run, the reading says more.
        beyond = points.value.isna() & (points.predicted > points.budget)
        points["predicted"] = points.predicted.where(beyond)
        points["is_nothing"] = picture.is_error & (points.value <= NOTHING)
        if picture.is_error:
            points[[*columns]] = points[[*columns]].clip(lower=NOTHING)
        newton = sorted(set(points.method) & NEWTON_METHODS) if picture.across == "inner_steps" else []
        found.append(
            Curves(
                workload=str(workload),
                xlabel=f"{picture.xlabel} ({', '.join(newton)}: Newton steps)" if newton else picture.xlabel,
                ylabel="loss on fresh tasks" if loss else picture.ylabel,
                points=points,
                overlaid=runs,
                by_steps=picture.across == "inner_steps",
                is_error=picture.is_error,
                in_powers=picture.measure == "gradient",
                bounded=name == "accuracy" and not loss,
                dodged=name == "accuracy",
                even_steps=name == "memory",
            )
        )
    return found


def chance(workload: str) -> float | None:
    """Of guessing a class, in percent; None where the number of classes is unknown."""
    ways = split_workload(workload)[1].get("ways")
    return 100 / ways if isinstance(ways, int) and ways > 0 else None


def split_flags(flag: str) -> list[str]:
    """The warnings that a summary joined."""
    return [text for text in flag.split(JOIN) if text]
