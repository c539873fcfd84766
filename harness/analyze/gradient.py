"""How far a method's meta-gradient is from the true ones, and what keeps it there."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.points import POINT, least_of, mean_of, median_of, most_of, points_of, tidy
from harness.rows import HEADLINES

ERRORS = ("rel_error_implicit", "rel_error_unrolled")
"""Against the implicit meta-gradient at phi*, and against the derivative of phi_K."""

SCALES = (*ERRORS, "meta_gradient_norm", "inner_residual", "solver_residual")
COSINES = ("cosine_implicit", "cosine_unrolled")
COUNTS = ("solver_matvecs", "gradient_evaluations", "hessian_products")
ENDS = (*ERRORS, "meta_gradient_norm")  # those that are drawn, with their spread over seeds

STANDS_STILL = 0.1  # of the decades by which the inner residual falls meanwhile
UNCHANGED = 0.1  # of an error, where the inner residual is unknown or has come to its end
POINTS_FOR_A_TREND = 3
ROUNDING = 1e-13  # relative: a float64 sum over some hundred steps


def gradient_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a point; over several seeds:

    - `SCALES`: the `geometric_mean`; of `ENDS` also `<name>_low` and `<name>_high`, the least and the largest
      of a seed.
    - `COSINES`: the mean; `COUNTS`, and their sum `work` (gradient evaluations and Hessian products): the
      median.
    - `diverged`: how many rows of an error did.

    What does not exist for a method (an implicit meta-gradient without lambda, say) is NaN, which is no
    failure: `skipped` is the status only of a point that has no error at all.
    """
    columns = [
        *SCALES,
        *(f"{metric}_{end}" for metric in ENDS for end in ("low", "high")),
        *COSINES,
        *COUNTS,
        "work",
        "seeds",
        "diverged",
    ]
    records = []
    for rows in points_of(frame, "gradient"):
        record: dict[str, Any] = {metric: geometric_mean(rows.values(metric)) for metric in SCALES}
        for metric in ENDS:
            values = rows.values(metric)
            record |= {f"{metric}_low": least_of(values), f"{metric}_high": most_of(values)}
        record |= {metric: mean_of(rows.values(metric)) for metric in COSINES}
        record |= {metric: median_of(rows.values(metric)) for metric in COUNTS}
        record["work"] = record["gradient_evaluations"] + record["hessian_products"]
        record["seeds"] = rows.seeds(*ERRORS)
        record["diverged"] = rows.count("diverged", *ERRORS)
        fate = rows.fate(*HEADLINES["gradient"], skipped=record["seeds"] == 0)
        records.append(rows.point | record | fate)
    return tidy(records, columns)


def geometric_mean(values: np.ndarray) -> float:
    """NaN of nothing, 0 where all values are. A zero among others would hide them: it counts as float64's
    spacing at 1, or as the least of the others where that is smaller."""
    if not len(values):
        return float("nan")
    if values.min() == values.max():  # to the last bit: it may be held against a threshold
        return float(values[0])
    least = min(values[values > 0].min(), np.finfo(float).eps)
    return float(np.exp(np.log(np.where(values == 0, least, values)).mean()))


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What is left of a method's error at its largest number of inner steps, and whether it still falls."""

    workload: str
    method: str
    method_label: str
    target: str  # of `ERRORS`
    error: float
    inner_steps: int
    falls: bool | None  # None where too few points were measured, or they do not tell
    inner_residual: float
    solver_residual: float

    @property
    def sentence(self) -> str:
        about = []
        if self.error <= ROUNDING:
            about.append("rounding")
        elif self.falls is not None:
            about.append("still falling" if self.falls else "not falling")
        if self.target == "rel_error_implicit":  # phi_K itself has no residual
            residuals = {"inner": self.inner_residual, "solver": self.solver_residual}
            about += [
                f"{name} residual {error_in_words(value)}"
                for name, value in residuals.items()
                if pd.notna(value)
            ]
        steps = f"{self.inner_steps:,} inner step{'' if self.inner_steps == 1 else 's'}"
        inside = f" ({'; '.join(about)})" if about else ""
        return f"{self.method_label}: {error_in_words(self.error)} at {steps}{inside}"


def error_floors(gradient: pd.DataFrame, target: str) -> list[Floor]:
    """One a method and workload that has this error, from `gradient_summary`.

    An error falls no more where it stands still while the inner loop goes on converging: then what is left
    is the linear solver's.
    """
    found = []
    for (workload, method, label), curve in gradient.groupby(POINT[:3], sort=False):
        known = curve.dropna(subset=target)
        if known.empty:
            continue
        last = known.iloc[-1]
        found.append(
            Floor(
                workload=str(workload),
                method=str(method),
                method_label=str(label),
                target=target,
                error=float(last[target]),
                inner_steps=int(last.inner_steps),
                falls=_falls(known, target),
                inner_residual=float(last.inner_residual),
                solver_residual=float(last.solver_residual),
            )
        )
    return found


def _falls(known: pd.DataFrame, target: str) -> bool | None:
    """At its end, from the last three points: one step down may be chance, so two in a row are a fall."""
    if len(known) < POINTS_FOR_A_TREND:
        return None
    before, last = (_is_lower(known.iloc[i - 1], known.iloc[i], target) for i in (-2, -1))
    if not last:
        return False
    return True if before else None


def _is_lower(before: pd.Series, last: pd.Series, target: str) -> bool:
    decades = _decades(before[target], last[target])
    inner = _decades(before.inner_residual, last.inner_residual)
    if np.isnan(inner) or last.inner_residual <= ROUNDING:
        return bool(decades > -np.log10(1 - UNCHANGED))
    return bool(decades > STANDS_STILL * inner and decades > 0)


def _decades(before: float, after: float) -> float:
    """By how many the second is smaller; NaN where either is unknown."""
    smallest = np.finfo(float).eps  # there is no less of a relative error
    return float(np.log10(max(before, smallest)) - np.log10(max(after, smallest)))


def error_in_words(error: float, digits: int = 2) -> str:
    """A relative error: `0.31`, `3.1e-2`; exactly nothing is `0`.

    >>> error_in_words(0.0312)
    '3.1e-2'
    """
    if error == 0:
        return "0"
    if 0.1 <= error < 1000:
        return f"{error:.{digits}g}"
    mantissa, _, exponent = f"{error:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
