"""How time grows with inner steps: the Theil-Sen slope of the minima, in words."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtri

from harness.analyze.summary import LEVEL, POINT

POINTS_FOR_A_SLOPE = 3  # below, one disturbed point is half of what there is
POINTS_FOR_AN_INTERVAL = 5
"""The interval is a normal approximation to Kendall's score. On lines with one-sided noise it covered the
true slope in 66% of draws from 3 points, 91% from 4, 98% from 5: below, it would promise too much."""


@dataclass(frozen=True, kw_only=True)
class TimeSlope:
    """The time curve of one method on one workload; NaN where it has too few points."""

    workload: str
    method: str
    method_label: str
    seconds_per_step: float
    low: float  # 95% interval; NaN where it would rest on too few points
    high: float
    points: int  # numbers of inner steps that were timed

    @property
    def is_known(self) -> bool:
        return self.points >= POINTS_FOR_A_SLOPE

    @property
    def sentence(self) -> str:
        if not self.is_known:
            return f"{self.method_label}: no slope from {self.points} point{'' if self.points == 1 else 's'}"
        slope, low, high = (1e3 * s for s in (self.seconds_per_step, self.low, self.high))
        digits = max(0, min(4, 2 - int(np.floor(np.log10(abs(slope)))))) if slope else 1
        known = self.points >= POINTS_FOR_AN_INTERVAL
        numbers = f"{low:.{digits}f} to {high:.{digits}f}" if known else f"from {self.points} points"
        return f"{self.method_label}: {slope:+.{digits}f} ms a step (Theil-Sen on minima, {numbers})"


def time_slopes(time: pd.DataFrame) -> list[TimeSlope]:
    """One a method and workload, from `time_summary`.

    Of the minimum over a seed's rounds, since noise on a shared machine only adds; Theil-Sen, since one point
    that was disturbed in every round must not turn the line.
    """
    found = []
    for (workload, method, label), curve in time.groupby(POINT[:3], sort=False):
        timed = curve.dropna(subset="minimum")
        slope = low = high = float("nan")
        if len(timed) >= POINTS_FOR_A_SLOPE:
            minima, steps = timed.minimum.to_numpy(float), timed.inner_steps.to_numpy(float)
            slope, *interval = theil_sen(steps, minima)
            if len(timed) >= POINTS_FOR_AN_INTERVAL:
                low, high = interval
        found.append(
            TimeSlope(
                workload=str(workload),
                method=str(method),
                method_label=str(label),
                seconds_per_step=float(slope),
                low=float(low),
                high=float(high),
                points=len(timed),
            )
        )
    return found


def theil_sen(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """The median of the slopes between all pairs of points, and its 95% interval. No two x are the same.

    Sen 1968, "Estimates of the regression coefficient based on Kendall's tau": the interval's ends are the
    slopes whose ranks lie off the middle by the normal quantile of Kendall's score, ties in y counted out.
    (`scipy.stats.theilslopes` does the same; `scipy.stats` takes half a second to import.)
    """
    first, second = np.nonzero(x[None, :] > x[:, None])
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    _, tied = np.unique(y, return_counts=True)
    variance = (_score_variance(np.array(len(y))) - _score_variance(tied).sum()) / 18
    spread = ndtri((1 + LEVEL) / 2) * np.sqrt(variance)
    low = max(round(float(len(slopes) - spread) / 2) - 1, 0)
    high = min(round(float(len(slopes) + spread) / 2), len(slopes) - 1)
    return float(np.median(slopes)), float(slopes[low]), float(slopes[high])


def _score_variance(points: np.ndarray) -> np.ndarray:
    """18 times the variance of Kendall's score of so many points; of so many ties, what they take off it."""
    return points * (points - 1) * (2 * points + 5)
