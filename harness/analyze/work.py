"""Work that it takes to bring a meta-gradient's error down, and how it grows with the condition number.

Work is counted, not timed: gradients of support and query losses, and products with a Hessian, a task.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.gradient import error_in_words, gradient_summary
from harness.analyze.summary import POINT
from harness.frame import split_workload

TARGETS = (1e-1, 1e-2, 1e-4, 1e-6, 1e-8)
CONDITIONED = "linear-regression"  # its setting `condition` is that of the support loss's Hessian
WORK = ("gradient_evaluations", "hessian_products", "work")
SPAN = 5.0  # of condition numbers, largest to smallest, below which a slope says nothing
COLUMNS = [*POINT[:3], "target", "error", "inner_steps", *WORK, "crossing", "inner_crossing"]


def work_to_reach(frame: pd.DataFrame, errors: Sequence[float] = TARGETS) -> pd.DataFrame:
    """A line a method, workload and error: the cheapest measured point that has reached the error.

    A point has reached it where the error is no larger there nor at any more inner steps that were measured:
    an optimiser may pass through by accident. A point of which a seed diverged has not. The error is that
    against the implicit meta-gradient, or, of a method that has none, against the unrolled one; `target` says
    which. `inner_steps` and `WORK` are NaN where it was never reached.

    `crossing` estimates where between the measured points it was reached: the work at which the straight
    line in log(error) from the last point above it crosses it. NaN where there is none above, for then the
    cheapest point is only a bound. `inner_crossing` is the same without the linear solver's products. Those
    are a mean over tasks, taken off the products of the slowest task: a few are left where tasks differ.
    """
    return work_in(gradient_summary(frame), errors)


def work_in(gradient: pd.DataFrame, errors: Sequence[float] = TARGETS) -> pd.DataFrame:
    """`work_to_reach` from a `gradient_summary`."""
    records = []
    for key, curve in gradient.groupby(POINT[:3]):
        target = "rel_error_implicit" if curve.rel_error_implicit.notna().any() else "rel_error_unrolled"
        known = curve[curve[target].notna() | (curve.diverged > 0)].copy()
        if known.work.isna().all():
            continue
        known[target] = known[target].mask(known.diverged > 0, np.inf)
        other_products = known.hessian_products - known.solver_matvecs.fillna(0)
        inner_work = known.gradient_evaluations + other_products.clip(lower=0)
        known["inner_work"] = inner_work.where(inner_work > 0)
        arrays = {name: known[name].to_numpy(float) for name in ("inner_steps", *WORK, "inner_work", target)}
        for error in errors:
            record = dict(zip(POINT[:3], key, strict=True)) | {"target": target, "error": error}
            records.append(record | _reached(arrays, target, error))
    return pd.DataFrame(records, columns=COLUMNS)


def _reached(known: dict[str, np.ndarray], target: str, error: float) -> dict[str, float]:
    """Of one curve, its points in the order of inner steps."""
    from_here_on = np.maximum.accumulate(known[target][::-1])[::-1] <= error
    first, work = int(np.argmax(from_here_on)), np.where(from_here_on, known["work"], np.nan)
    if np.isnan(work).all():
        return dict.fromkeys(("inner_steps", *WORK, "crossing", "inner_crossing"), float("nan"))
    cheapest = int(np.nanargmin(work))
    crossings = {"crossing": float("nan"), "inner_crossing": float("nan")}
    if first > 0 and np.isfinite(known[target][first - 1]):
        pair = slice(first - 1, first + 1)
        heights = np.log(known[target][pair].clip(min=np.finfo(float).eps))
        share = (heights[0] - np.log(error)) / (heights[0] - heights[1])
        for name, column in (("crossing", "work"), ("inner_crossing", "inner_work")):
            before, after = known[column][pair]
            crossings[name] = float(before + share * (after - before))
    return {name: float(known[name][cheapest]) for name in ("inner_steps", *WORK)} | crossings


@dataclass(frozen=True, kw_only=True)
class Order:
    """work ~ kappa^exponent, for one method at one error; kappa is the inner problem's condition number."""

    method: str
    method_label: str
    target: str
    error: float
    exponent: float
    inner_exponent: float  # without the linear solver's products
    lowest: float  # kappa
    highest: float
    points: int

    @property
    def sentence(self) -> str:
        inner = ""
        if f"{self.inner_exponent:.2f}" not in ("nan", f"{self.exponent:.2f}"):
            inner = f", without the linear solver's products as kappa^{self.inner_exponent:.2f}"
        error = error_in_words(self.error, 1)
        return (
            f"{self.method_label}: work to an error of {error} grows as kappa^{self.exponent:.2f}{inner} "
            f"(from {self.points} condition numbers of the inner problem, {self.lowest:.3g} to "
            f"{self.highest:.3g}, no interval)"
        )


def orders_in(reached: pd.DataFrame, frame: pd.DataFrame) -> list[Order]:
    """The least-squares slope of log(work) against log(kappa), for each method and error.

    `reached` is what `work_to_reach` made of `frame`, a run's rows: the workloads `linear-regression` in it
    that differ in `condition` alone. kappa is that of G = L + lam/2 ||.||^2: (1 + lam) / (1/condition + lam),
    since L's Hessian has its eigenvalues in [1/condition, 1]. The work is `crossing`, for the grid of inner
    steps would blur the slope. Only where it is known over the `SPAN`.
    """
    conditioned = _conditioned(frame, reached.dropna(subset="crossing"))
    found = []
    keys = ["rest", "method", "method_label", "target", "error"]
    for (_, method, label, target, _), line in conditioned.groupby(keys, sort=False):
        if line.kappa.max() < SPAN * line.kappa.min():
            continue
        found.append(
            Order(
                method=str(method),
                method_label=str(label),
                target=str(target),
                error=float(line.error.iloc[0]),
                exponent=_slope(line.kappa, line.crossing),
                inner_exponent=_slope(line.kappa, line.inner_crossing),
                lowest=float(line.kappa.min()),
                highest=float(line.kappa.max()),
                points=len(line),
            )
        )
    return found


def _conditioned(frame: pd.DataFrame, reached: pd.DataFrame) -> pd.DataFrame:
    """Those of `reached` whose condition number is known: `kappa`, and in `rest` the workload without it."""
    lams = _lams(frame)
    records = list(_with_kappa(reached.to_dict("records"), lams))
    return pd.DataFrame(records, columns=[*COLUMNS, "kappa", "rest"])


def _with_kappa(
    lines: Sequence[dict[Any, Any]], lams: dict[tuple[str, str], float]
) -> Iterator[dict[Any, Any]]:
    for line in lines:
        name, settings = split_workload(line["workload"])
        condition = settings.pop("condition", None)
        if name == CONDITIONED and isinstance(condition, int | float):
            lam = lams[line["workload"], line["method_label"]]
            kappa = (1 + lam) / (1 / condition + lam)
            yield line | {"kappa": kappa, "rest": repr(sorted(settings.items()))}


def _lams(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    """lambda of each workload and method; 0 where a method has no such setting."""
    lam = frame["method.lam"].astype(float).fillna(0.0) if "method.lam" in frame else 0.0
    pairs = frame[["workload", "method_label"]].assign(lam=lam).drop_duplicates()
    return {(w, m): float(value) for w, m, value in pairs.itertuples(index=False, name=None)}


def _slope(kappa: pd.Series, work: pd.Series) -> float:
    if work.isna().any():
        return float("nan")
    return float(np.polyfit(np.log(kappa.to_numpy(float)), np.log(work.to_numpy(float)), 1)[0])
