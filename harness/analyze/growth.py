"""How memory grows with inner steps, in words: per step and linear, flat, or neither."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analyze.summary import POINT

MIB = 2**20
FLAT = 0.01  # of the peak over the whole measured range: an allocator rounds by less
LINEAR = 0.02  # of the rise: the largest distance from the straight line of a curve that is called linear
POINTS_FOR_A_SHAPE = 3  # two points always lie on a line


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The memory curve of one method on one workload."""

    workload: str
    method: str
    method_label: str
    shape: str  # "flat" | "linear" | "sublinear" | "superlinear" | "uneven" | "unknown"
    bytes_per_step: float
    change: float  # of the peak from the first to the last step, as a fraction
    first_step: int | None
    last_step: int | None
    failed_at: int | None  # the smallest number of inner steps that failed, and how
    failure: str

    @property
    def sentence(self) -> str:
        return f"{self.method_label}: {self._shape_in_words()}{self._end_in_words()}"

    def _shape_in_words(self) -> str:
        if self.first_step is None:
            return "nothing measured"
        if self.last_step == self.first_step:
            return f"measured at {self.first_step} inner steps only"
        steps = f"(steps {self.first_step} to {self.last_step})"
        if self.shape == "flat":
            return f"flat ({_signed(100 * self.change, 1)} %, steps {self.first_step} to {self.last_step})"
        if self.shape in ("sublinear", "superlinear", "uneven"):  # one slope would mislead
            shape = "not on a straight line" if self.shape == "uneven" else self.shape
            return f"{_signed(100 * self.change, 0)} % {steps}, {shape}"
        shape = "two points only" if self.shape == "unknown" else self.shape
        return f"{_signed(self.bytes_per_step / MIB, 2)} MiB a step {steps}, {shape}"

    def _end_in_words(self) -> str:
        return f"; {self.failure} at {self.failed_at}" if self.failed_at is not None else ""


def memory_growth(memory: pd.DataFrame) -> list[Growth]:
    """One a method and workload, from `memory_summary`.

    Short loops may peak elsewhere than in the loop, so a straight line is looked for in the longest stretch
    that ends at the largest number of steps, and the words say where it begins.
    """
    found = []
    for (workload, method, label), curve in memory.groupby(POINT[:3], sort=False):
        measured = curve.dropna(subset="peak_bytes")
        missing = curve[curve.peak_bytes.isna()]
        steps, peaks = measured.inner_steps.to_numpy(float), measured.peak_bytes.to_numpy(float)
        shape, start = _shape(steps, peaks)
        slope = np.polyfit(steps[start:], peaks[start:], 1)[0] if len(steps) - start > 1 else np.nan
        found.append(
            Growth(
                workload=str(workload),
                method=str(method),
                method_label=str(label),
                shape=shape,
                bytes_per_step=float(slope),
                change=float(peaks[-1] / peaks[start] - 1) if len(peaks) else float("nan"),
                first_step=int(steps[start]) if len(steps) else None,
                last_step=int(steps[-1]) if len(steps) else None,
                failed_at=int(missing.inner_steps.iloc[0]) if len(missing) else None,
                failure=str(missing.status.iloc[0]) if len(missing) else "",
            )
        )
    return found


def _shape(steps: np.ndarray, peaks: np.ndarray) -> tuple[str, int]:
    """The shape, and the index from which on it holds."""
    if len(steps) < 2:
        return "unknown", 0
    if peaks.max() / peaks.min() - 1 <= FLAT:
        return "flat", 0
    if len(steps) < POINTS_FOR_A_SHAPE:
        return "unknown", 0
    for start in range(len(steps) - POINTS_FOR_A_SHAPE + 1):
        if _is_straight(steps[start:], peaks[start:]):
            stretch = peaks[start:]
            return ("flat" if stretch.max() / stretch.min() - 1 <= FLAT else "linear"), start
    slopes = np.diff(peaks) / np.diff(steps)
    if (slopes >= 0).all() and (np.diff(slopes) < 0).all():
        return "sublinear", 0
    if (slopes >= 0).all() and (np.diff(slopes) > 0).all():
        return "superlinear", 0
    return "uneven", 0


def _is_straight(steps: np.ndarray, peaks: np.ndarray) -> bool:
    if peaks.max() / peaks.min() - 1 <= FLAT:
        return True
    line = np.polyval(np.polyfit(steps, peaks, 1), steps)
    return bool(np.abs(peaks - line).max() <= LINEAR * np.ptp(peaks))


def _signed(value: float, digits: int) -> str:
    """`+0.0` for what rounds to nothing, never `-0.0`."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
