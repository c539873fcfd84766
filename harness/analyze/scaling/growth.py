"""What is known of how one curve grows with inner steps, and how it is put in words."""

from dataclasses import dataclass

import numpy as np

from harness.analyze.finding import Evidence
from harness.analyze.scaling.slopes import TimeSlope

MIB = 2**20
FLAT = 0.005  # of the least peak over the whole stretch
NAMED = {"sqrt": 0.5, "linear": 1.0, "quadratic": 2.0}
POINTS_FOR_A_SHAPE = 3  # two points always lie on a line


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """One method's curve on one workload. Values are in bytes or seconds; NaN where nothing is known."""

    measure: str  # "memory" | "time"
    workload: str
    method: str
    method_label: str
    shape: str
    """constant, linear: as it says. sqrt, quadratic: where the exponent is known that well. sublinear,
    superlinear: on one side of linear. late: flat, then growth of which too little is seen. uneven: the
    exponent may lie on either side of linear, or be that of several of these. unknown: too few points."""
    exponent: float = np.nan
    exponent_low: float = np.nan  # 0 where nothing bounds it from below
    exponent_high: float = np.nan  # infinite where nothing bounds it from above
    a: float = np.nan
    a_low: float = np.nan
    a_high: float = np.nan
    b: float = np.nan  # of the named exponent where the shape has one, else of `exponent`
    b_low: float = np.nan
    b_high: float = np.nan
    exact: bool = False  # the points lie on the law to within the allocator's rounding
    per_step: float = np.nan  # mean growth over the stretch that the law holds on; of time, Theil-Sen
    change: float = np.nan  # from the first to the last step of that stretch, as a fraction; NaN from nothing
    change_low: float = np.nan
    change_high: float = np.nan
    first_step: int | None = None
    last_step: int | None = None
    flat_until: int | None = None  # the last step of a flat part before the law
    steps: tuple[int, ...] = ()  # all that were asked for
    points: int = 0  # that have a value
    slope: TimeSlope | None = None
    failed_at: int | None = None  # the smallest number of inner steps that failed, and how
    failure: str = ""
    bound: float = np.nan  # what it is known to exceed there
    foretold: float = np.nan  # what the law says of it
    predicted: float = np.nan  # what the memory measure's prediction says of it
    products: str = ""  # how its Hessian products change with the steps, where that bends the time

    @property
    def sentence(self) -> str:
        products = f"; {self.products}" if self.products else ""
        return f"{self.method_label}: {self._shape_in_words()}{self._end_in_words()}{products}"

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        metrics: tuple[str, ...] = {"memory": ("peak_bytes",), "time": ("step_seconds",)}[self.measure]
        metrics = (*metrics, "hessian_products") if self.products else metrics
        return (
            Evidence(
                measure=self.measure,
                workload=self.workload,
                methods=(self.method_label,),
                metrics=(*metrics, "predicted_peak_bytes") if np.isfinite(self.predicted) else metrics,
                inner_steps=self.steps,
            ),
        )

    @property
    def exponent_in_words(self) -> str:
        """`0.97 to 1.05`; one number where both ends round to it; `below 0.3`, `above 1.2`; empty where
        nothing bounds it."""
        low, high = f"{self.exponent_low:.2f}", f"{self.exponent_high:.2f}"
        if np.isnan(self.exponent_low) or (self.exponent_low == 0 and np.isinf(self.exponent_high)):
            return ""
        if self.exponent_low == 0:
            return f"below {max(self.exponent_high, 0.01):.2f}"
        if np.isinf(self.exponent_high):
            return f"above {low}"
        return low if low == high else f"{low} to {high}"

    def _shape_in_words(self) -> str:
        if self.first_step is None:
            return "nothing measured"
        if self.last_step == self.first_step and self.flat_until is None:
            return f"measured at {self.first_step} inner step{'' if self.first_step == 1 else 's'} only"
        return self._memory_in_words() if self.measure == "memory" else self._time_in_words()

    def _memory_in_words(self) -> str:
        stretch = f"steps {self.first_step} to {self.last_step}"
        flat = f"flat to {self.flat_until} steps, then " if self.flat_until is not None else ""
        by_step = f"{flat}{_signed(self.per_step / MIB, 2)} MiB a step ({stretch})"
        change = f"{flat}{_signed(100 * self.change, 1 if self.shape == 'constant' else 0)} % ({stretch})"
        change = change if np.isfinite(self.change) else by_step
        about = self.exponent_in_words
        inside = f" ({about})" if about else ""
        match self.shape:
            case "constant":
                return f"flat ({_signed(100 * self.change, 1)} %, {stretch})"
            case "linear":
                return f"{by_step}, linear" + ("" if self.exact else f": exponent {about}")
            case "sqrt" | "quadratic":
                name = {"sqrt": "as the square root", "quadratic": "as the square"}[self.shape]
                growth = f"{self.b / MIB:.2f} MiB x {name.removeprefix('as the ')} of the steps"
                return f"{change}, {name} ({growth})" + ("" if self.exact else f": exponent {about}")
            case "sublinear" | "superlinear":
                uneven = "" if self.exact else ", not on a smooth curve"
                return f"{change}, {self.shape}: exponent {about}{uneven}"
            case "late":
                if self.last_step == self.flat_until:
                    return f"flat to {self.flat_until} steps, then growth that was not measured"
                return f"{by_step}, too few points for a law"
            case "uneven":
                return f"{change}, not on a smooth curve: exponent not identified{inside}"
        if np.isfinite(self.exponent_low) and self.exponent_low > 0:
            return f"{by_step}, two points only; with what failed, exponent {about}"
        return f"{by_step}, two points only"

    def _time_in_words(self) -> str:
        assert self.slope is not None
        slope = self.slope.sentence.removeprefix(f"{self.method_label}: ")
        about = self.exponent_in_words
        if not self.exponent_low <= 1 <= self.exponent_high and self.shape not in ("constant", "unknown"):
            slope = self._change_in_words()  # a curve that is no line has no slope
        if self.points == POINTS_FOR_A_SHAPE and about and self.shape not in ("constant", "unknown"):
            return f"{slope}; if a power of the steps, exponent {about}"
        match self.shape:
            case "constant":
                change = f"{_signed(100 * self.change_low, 0)} % to {_signed(100 * self.change_high, 0)} %"
                return (
                    f"flat ({change}, steps {self.first_step} to {self.last_step}); exponent not identified"
                )
            case "linear":
                return f"{slope}, linear: exponent {about}"
            case "sqrt" | "quadratic":
                name = {"sqrt": "the square root", "quadratic": "the square"}[self.shape]
                return f"{slope}, as {name} of the steps: exponent {about}"
            case "sublinear" | "superlinear":
                return f"{slope}, {self.shape}: exponent {about}"
            case "uneven":
                return f"{slope}, exponent not identified" + (f" ({about})" if about else "")
        return slope

    def _change_in_words(self) -> str:
        ends = f"{_signed(100 * self.change_low, 0)} to {_signed(100 * self.change_high, 0)}, "
        known = ends if np.isfinite(self.change_low) and np.isfinite(self.change_high) else ""
        return f"{_signed(100 * self.change, 0)} % ({known}steps {self.first_step} to {self.last_step})"

    def _end_in_words(self) -> str:
        if self.failed_at is None:
            return ""
        facts = []
        if np.isfinite(self.bound):
            facts.append(f"more than {self._amount(self.bound)}")
            if np.isfinite(self.foretold):
                facts.append(f"by the law {self._amount(self.foretold)}")
        if np.isfinite(self.predicted):
            facts.append(f"predicted {self._amount(self.predicted)}")
        return f"; {self.failure} at {self.failed_at}" + (f" ({', '.join(facts)})" if facts else "")

    def _amount(self, value: float) -> str:
        return f"{value / MIB:,.1f} MiB" if self.measure == "memory" else f"{value:.3g} s"


def _signed(value: float, digits: int) -> str:
    """`+0.0` for what rounds to nothing, never `-0.0`."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
