"""Cost in the field's unit, gradients and Hessian products of a task, beside the time that was measured.

Time cells count what a method asks of its objectives in one meta-step. The unit is a gradient of the support
loss: that of a query set of a fifth of the examples is a fifth of one. The model of a workload's time is
`overhead + gradient x (gradients + losses / 3) + product x (Hessian products)`, none of the prices negative,
fitted to relative errors; what it misses weighs less (Tukey's biweight), down to nothing, and is named.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from harness.analyze.finding import Evidence
from harness.analyze.summary import LEVEL, POINT, time_summary

COUNTS = ["support_gradients", "hessian_products", "loss_evaluations"]
LOSS = 1 / 3  # of a gradient: its forward pass, beside which the way back costs about two
UNEXPLAINED = 0.2  # relative: a point that is farther from the model is named, and where most are it is none
BIWEIGHT = 4.685  # of the errors' spread, where a point has no weight: 95% efficient if they are normal
LEAST_SPREAD = 0.02  # relative: what minima on a quiet machine repeat to, so no point counts for missing less
COLLINEAR = 1e-3  # least to largest singular value of the scaled columns
NUMBERS = ("overhead", "gradient", "product")
ROUNDS = 30


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """Prices of one workload's meta-step; NaN where the points do not tell. Intervals: 95%, over methods."""

    workload: str
    overhead: float  # seconds
    gradient: float  # seconds a gradient
    gradient_low: float
    gradient_high: float
    product: float  # seconds a Hessian product
    ratio: float  # product / gradient
    ratio_low: float
    ratio_high: float
    points: int
    methods: tuple[str, ...]  # labels
    typical_error: float  # median over points, relative
    unexplained: tuple[tuple[str, int, float], ...]  # label, inner steps, (measured - predicted) / predicted
    why_not: str = ""  # no model, or no price of a product, and the reason

    @property
    def doubt(self) -> str:
        """Why its prices are no results; empty where they are."""
        if not np.isfinite(self.gradient):
            return self.why_not
        if self.typical_error > UNEXPLAINED:
            return f"the best model misses {100 * self.typical_error:.0f} % (median)"
        if self.gradient_low == 0:
            return "the 95% interval of a gradient's price reaches 0"
        if np.isfinite(self.ratio) and not self.ratio_low > 0:
            reach = f"reaches from 0 to {self.ratio_high:.3g} gradients"
            what = reach if np.isfinite(self.ratio_high) else "has no bound"
            return f"the 95% interval of a Hessian product's price {what}"
        return ""

    @property
    def sentence(self) -> str:
        if doubt := self.doubt:
            return f"The times do not identify prices: {doubt}. Counts stand alone."
        gradient = f"A gradient costs {_milliseconds(self.gradient)} ms{_interval(self, 'gradient', 1e3)}"
        if np.isfinite(self.ratio):
            product = f"a Hessian product {self.ratio:.2g} gradients{_interval(self, 'ratio', 1)}"
        else:
            product = self.why_not
        overhead = f"a meta-step {_milliseconds(self.overhead)} ms besides"
        said = (
            f"{gradient}, {product}, {overhead}; the model misses {100 * self.typical_error:.0f} % (median)"
        )
        if not self.unexplained:
            return f"{said}, no point by more than {100 * UNEXPLAINED:.0f} %."
        named = ", ".join(
            f"{label} at {steps} {100 * miss:+.0f} %" for label, steps, miss in self.unexplained
        )
        return f"{said}. It does not explain {named}."

    @property
    def theta(self) -> np.ndarray:
        """The three numbers, in the order of `NUMBERS`."""
        return np.array([getattr(self, name) for name in NUMBERS])

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return (
            Evidence(
                measure="time",
                workload=self.workload,
                methods=self.methods,
                metrics=("step_seconds", *COUNTS),
            ),
        )


def costs(rows: pd.DataFrame, time: pd.DataFrame | None = None) -> pd.DataFrame:
    """A line a timed point, from a run's rows; `time` is their `time_summary`, where it is at hand.

    - `COUNTS` a task, the median over blocks and seeds; NaN where it was not counted, and the `reason`.
    - `seconds`: the minimum, see `time_summary`; `predicted`: by its workload's model; `error`: the measured
      over the predicted, less 1.
    - `gradients`: all that it asked for, in gradients, at the model's price of a product.

    The last three are NaN where the times do not identify the prices (see `CostModel.doubt`).
    """
    points = _counted(rows, time)
    for column in ("predicted", "error", "gradients"):
        points[column] = np.nan
    for model in cost_models(points):
        if model.doubt:
            continue
        part = points[points.workload == model.workload]
        parts = _parts(part, model.theta)
        points.loc[part.index, "predicted"] = parts.sum(1)
        points.loc[part.index, "gradients"] = parts[:, 1:].sum(1) / model.gradient
    points["error"] = points.seconds / points.predicted - 1
    return points


def cost_models(table: pd.DataFrame) -> list[CostModel]:
    """One a workload of which any point was counted, from `costs`."""
    found = []
    for workload, part in table.groupby("workload"):
        usable = part.dropna(subset=[*COUNTS, "seconds"])
        if usable.empty:
            continue
        found.append(_model(str(workload), usable))
    return found


def _model(workload: str, part: pd.DataFrame) -> CostModel:
    theta = _theta(part)
    numbers = np.full(3, np.nan) if theta is None else theta
    errors = part.seconds / _parts(part, numbers).sum(1) - 1
    # What the model leaves is a method's own (its kernels, its overhead), so methods are what is sampled.
    halves = _jackknife(part)
    ratio = numbers[2] / numbers[1] if numbers[1] > 0 else np.nan
    far = errors.abs() > UNEXPLAINED
    misses = zip(part.method_label[far], part.inner_steps[far], errors[far], strict=True)
    return CostModel(
        workload=workload,
        overhead=float(numbers[0]),
        gradient=float(numbers[1]) if numbers[1] > 0 else float("nan"),
        gradient_low=float(max(numbers[1] - halves[0], 0)),
        gradient_high=float(numbers[1] + halves[0]),
        product=float(numbers[2]),
        ratio=float(ratio),
        ratio_low=float(max(ratio - halves[1], 0)),
        ratio_high=float(ratio + halves[1]),
        points=len(part),
        methods=tuple(dict.fromkeys(part.method_label)),
        typical_error=float(errors.abs().median()),
        unexplained=tuple((str(label), int(steps), float(miss)) for label, steps, miss in misses),
        why_not=_why_not(part, numbers),
    )


def _counted(rows: pd.DataFrame, time: pd.DataFrame | None) -> pd.DataFrame:
    time = time_summary(rows) if time is None else time
    points = time.loc[time.minimum.notna(), [*POINT, "minimum"]].rename(columns={"minimum": "seconds"})
    counts = rows[(rows.measure == "time") & rows.metric.isin(COUNTS)]
    table = counts.pivot_table(index=POINT, columns="metric", values="value", aggfunc="median")
    points = points.merge(table.reindex(columns=COUNTS), left_on=POINT, right_index=True, how="left")
    skipped = counts[counts.status == "skipped"].groupby(POINT).detail.first().rename("reason")
    points = points.merge(skipped, left_on=POINT, right_index=True, how="left")
    uncounted = points[COUNTS].isna().any(axis=1) & points.reason.isna()
    points["reason"] = points.reason.mask(uncounted, "not counted when it was timed").fillna("")
    return points.reset_index(drop=True)


def _design(part: pd.DataFrame) -> np.ndarray:
    gradients, products, losses = (part[metric].to_numpy(float) for metric in COUNTS)
    return np.stack([np.ones(len(part)), gradients + LOSS * losses, products], axis=1)


def _parts(part: pd.DataFrame, theta: np.ndarray) -> np.ndarray:
    """Seconds of overhead, gradients and products of each point; NaN where one is not known."""
    design = _design(part)
    return np.where((design == 0) & np.isnan(theta), 0.0, theta * design)


def _theta(part: pd.DataFrame) -> np.ndarray | None:
    """Overhead, price of a gradient and of a product, in seconds; NaN for a product that nobody made, None
    where the points do not tell them apart."""
    usable = part.dropna(subset=[*COUNTS, "seconds"])
    design = _design(usable)
    columns = [k for k in range(3) if (design[:, k] > 0).any()]
    if len(usable) <= len(columns) or not _identified(usable, columns):
        return None
    relative = design[:, columns] / usable.seconds.to_numpy(float)[:, None]
    weights = np.ones(len(usable))
    fitted = _non_negative(relative, weights)
    for _ in range(ROUNDS):
        miss = np.abs(relative @ fitted - 1)
        spread = max(
            float(np.median(miss)) / 0.6745, LEAST_SPREAD
        )  # of normal errors, the standard deviation
        weights = np.maximum(1 - (miss / (BIWEIGHT * spread)) ** 2, 0) ** 2
        if not _identified(usable[weights > 0], columns):
            break
        before, fitted = fitted, _non_negative(relative, weights)
        if np.allclose(before, fitted, rtol=1e-9, atol=0):
            break
    theta = np.full(3, np.nan)
    theta[columns] = fitted
    return theta


def _identified(part: pd.DataFrame, columns: list[int]) -> bool:
    design = _design(part)[:, columns]
    if len(design) < len(columns):
        return False
    scaled = design / np.linalg.norm(design, axis=0).clip(min=1e-300)
    values = np.linalg.svd(scaled, compute_uv=False)
    return bool(values[-1] > COLLINEAR * values[0])


def _non_negative(relative: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares to 1 without a negative number: the best of all choices of which are zero."""
    root = np.sqrt(weights)
    best, least = np.zeros(relative.shape[1]), float((weights).sum())
    for size in range(1, relative.shape[1] + 1):
        for chosen in combinations(range(relative.shape[1]), size):
            some = list(chosen)
            found, *_ = np.linalg.lstsq(relative[:, some] * root[:, None], root, rcond=None)
            left = float((((relative[:, some] @ found - 1) * root) ** 2).sum())
            if (found >= 0).all() and left < least:
                best, least = np.zeros(relative.shape[1]), left
                best[some] = found
    return best


def _jackknife(part: pd.DataFrame) -> tuple[float, float]:
    """95% half-widths of a gradient's price and of the ratio: each method is left out once. NaN where without
    one of them the points no longer tell."""
    without = list(_without_each(part))
    m = len(without)
    if m < 3 or any(each is None for each in without):
        return float("nan"), float("nan")
    thetas = np.array(without, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.stack([thetas[:, 1], thetas[:, 2] / thetas[:, 1]])
        errors = np.sqrt((m - 1) / m * ((values - values.mean(1, keepdims=True)) ** 2).sum(1))
    half = stdtrit(m - 1, (1 + LEVEL) / 2) * errors
    return float(half[0]), float(half[1])


def _without_each(part: pd.DataFrame) -> Iterator[np.ndarray | None]:
    for label in dict.fromkeys(part.method_label):
        yield _theta(part[part.method_label != label])


def _why_not(part: pd.DataFrame, theta: np.ndarray) -> str:
    if theta[1] == 0:
        return "the times do not grow with the gradients"
    if np.isfinite(theta).all():
        return ""
    if not (part.hessian_products > 0).any() and np.isfinite(theta[1]):
        return "no method made a Hessian product"
    if len(part) <= 3:
        return f"{len(part)} counted point{'' if len(part) == 1 else 's'} for three numbers"
    return (
        "gradients and Hessian products grow together in all that was timed: their prices are not told apart"
    )


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def _interval(model: CostModel, name: str, scale: float) -> str:
    low, high = (scale * getattr(model, f"{name}_{end}") for end in ("low", "high"))
    return f" ({low:.3g} to {high:.3g})" if np.isfinite(low) and np.isfinite(high) else ""
