"""From how many inner steps on one method takes less than another: less time, less memory, a smaller error.

Both sides of a pair are held against each other where they were measured together: time within rounds (see
`pairs`), with a t interval over blocks; the error of the meta-gradient within seeds, with one over seeds;
memory exactly. A side is ahead where the interval of the ratio excludes 1: 95% each, so of twenty equal
points one may seem to be ahead. A peak that is known only to exceed a bound counts where the bound decides.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.finding import Evidence
from harness.analyze.gradient import ERRORS
from harness.analyze.intervals import mean_over_seeds, t_interval
from harness.analyze.scaling.bounds import exceeded
from harness.analyze.scaling.products import bent_products, products_of
from harness.analyze.steps import NEWTON_METHODS
from harness.analyze.summary import POINT
from harness.analyze.words import listed

METRICS = {"time": ("step_seconds",), "memory": ("peak_bytes",), "gradient": ERRORS}
LESS = {
    "step_seconds": ("is faster than", "slower"),
    "peak_bytes": ("needs less memory than", "more"),
    "rel_error_implicit": ("is closer to the implicit meta-gradient than", "farther"),
    "rel_error_unrolled": ("is closer to the derivative of phi_K than", "farther"),
}
MATERIAL = 0.03  # a lead below is no news, however sure
SAME_BYTES = 1e-3  # relative: what an allocator's rounding may make of equal needs
SMALLEST = 1e-13  # of a relative error, below which all is rounding; no step takes so few seconds
REPEATS_FOR_T = 2


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Two methods on one workload. `ahead` is of the first: 1 where it takes less, -1 where the second does,
    0 where that cannot be told, at each of `steps`."""

    measure: str
    metric: str
    workload: str
    methods: tuple[str, str]
    first: str  # labels
    second: str
    steps: tuple[int, ...]
    ahead: tuple[int, ...]
    ratio: tuple[float, ...]  # of the first to the second; NaN where one side is only bounded
    low: tuple[float, ...]
    high: tuple[float, ...]
    repeats: int  # blocks or seeds that the intervals rest on; 1 where they are exact or there are none
    products: tuple[str, ...] = ()  # of time: how the Hessian products of a side change, where that bends it

    @property
    def turns(self) -> int:
        """How often the lead changes, as far as it can be told."""
        told = [lead for lead in self.ahead if lead]
        return sum(a != b for a, b in pairwise(told))

    @property
    def verdict(self) -> str:
        """crosses: once, and then for good. never: one side is ahead wherever it can be told. changes: more
        than once. weak: nowhere can it be told."""
        if not any(self.ahead):
            return "weak"
        return ("never", "crosses")[self.turns] if self.turns < 2 else "changes"

    @property
    def winner(self) -> str:
        """Who is ahead at the most inner steps at which it can be told; empty if nowhere."""
        told = [lead for lead in self.ahead if lead]
        return "" if not told else self.first if told[-1] > 0 else self.second

    @property
    def loser(self) -> str:
        return "" if not self.winner else self.second if self.winner == self.first else self.first

    @property
    def from_step(self) -> int | None:
        """The measured number of inner steps from which on the winner is ahead at all that were measured."""
        lead = self.ahead[-1] if self.ahead else 0
        if not lead:
            return None
        k = len(self.ahead)
        while k and self.ahead[k - 1] == lead:
            k -= 1
        return self.steps[k]

    @property
    def before_step(self) -> int | None:
        """Of one crossing, the most inner steps at which the other side is still ahead."""
        if self.verdict != "crosses":
            return None
        last = [lead for lead in self.ahead if lead][-1]
        return max(step for step, lead in zip(self.steps, self.ahead, strict=True) if lead == -last)

    @property
    def estimate(self) -> float:
        """Of one crossing, where the ratio would be 1: on the straight line between the logarithms of the
        points (from 0 inner steps of the ratio alone) about its last change of side, from where the loser is
        still ahead to where the winner first is. An interpolation; NaN where a side is only bounded there."""
        if self.before_step is None:
            return float("nan")
        first = self.steps.index(self.before_step)
        last = next(k for k in range(first + 1, len(self.steps)) if self.ahead[k])
        between = slice(first, last + 1)
        ratios = np.array(self.ratio[between])
        steps, logs = self.steps[between], np.log(np.where(ratios > 0, ratios, np.nan))
        change = np.flatnonzero(np.sign(logs[:-1]) * np.sign(logs[1:]) < 0)
        if not len(change):
            return float("nan")
        k = int(change[-1])
        share = float(logs[k] / (logs[k] - logs[k + 1]))
        if steps[k] == 0:  # which has no logarithm
            return share * steps[k + 1]
        return float(steps[k] * (steps[k + 1] / steps[k]) ** share)

    @property
    def sentence(self) -> str:
        return "; ".join([self._in_words(), *self.products])

    def _in_words(self) -> str:
        less, more = LESS[self.metric]
        span = _span(self.steps)
        if self.verdict == "weak" and self.measure == "memory":
            return f"{self.first} and {self.second} need the same memory {span}, but for rounding"
        if self.verdict == "weak":
            return f"{self.first} or {self.second}: too weak to call {span}{self._why()}"
        if self.verdict == "changes":
            return f"{self.first} and {self.second} change places more than once {span}"
        pair = f"{self.winner} {less} {self.loser}"
        if self.verdict == "never":
            if all(self.ahead):
                return f"{pair} {span}: {self._ratios(range(len(self.steps)))}"
            told = [k for k, lead in enumerate(self.ahead) if lead]
            unsure = listed([str(k) for k, lead in zip(self.steps, self.ahead, strict=True) if not lead])
            at = listed([str(self.steps[k]) for k in told])
            return f"{pair} at {_counted(at)} ({self._ratios(told)}); {self._open} at {unsure}"
        return self._crossing(pair, more)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return (
            Evidence(
                measure=self.measure,
                workload=self.workload,
                methods=(self.first, self.second),
                metrics=(self.metric, "hessian_products") if self.products else (self.metric,),
                inner_steps=self.steps,
            ),
        )

    def _crossing(self, pair: str, more: str) -> str:
        where = f"still {more} at {self.before_step}"
        if np.isfinite(self.estimate):
            about = f"{self.estimate:.2g}" if self.estimate < 100 else f"{self.estimate:.0f}"
            where += f", equal at about {about} by interpolation"
        if self.from_step is None:
            told = [k for k, lead in enumerate(self.ahead) if lead]
            at = _counted(str(self.steps[told[-1]]))
            return f"At {at} {pair} ({self._ratios([told[-1]])}; {where}); {self._open} beyond"
        k = self.steps.index(self.from_step)
        return f"From {_counted(str(self.from_step))} on, {pair} ({self._ratios([k])}; {where})"

    @property
    def _open(self) -> str:
        """Of steps at which neither is ahead."""
        return "equal but for rounding" if self.measure == "memory" else "too weak to call"

    def _ratios(self, which: Sequence[int]) -> str:
        """The winner's share of the loser's, with the interval where there is one point and an interval."""
        turn = self.winner == self.second
        known, at = [], []
        for k in which:
            ratio, low, high = self.ratio[k], self.low[k], self.high[k]
            if np.isfinite(ratio):
                known.append((1 / ratio, 1 / high, 1 / low) if turn else (ratio, low, high))
                at.append(self.steps[k])
        if not known:
            return "by the bound of what did not fit"
        if len(known) == 1:
            ratio, low, high = known[0]
            interval = f", {_show(low)} to {_show(high)}" if np.isfinite(low) and low != high else ""
            where = "there" if len(which) == 1 else f"at {at[0]}, elsewhere by the bound of what did not fit"
            return f"{_show(ratio)} times {where}{interval}"
        ratios = [ratio for ratio, _, _ in known]
        least, most = _show(min(ratios)), _show(max(ratios))
        return f"{least} times" if least == most else f"{least} to {most} times"

    def _why(self) -> str:
        unit = "block" if self.measure == "time" else "seed"
        return f" (one {unit}: no interval)" if self.repeats < REPEATS_FOR_T else f" ({self.repeats} {unit}s)"


NEEDED = [*POINT, "measure", "metric", "seed", "cell_id", "repeat", "value", "status", "detail"]


def crossings(rows: pd.DataFrame) -> list[Crossing]:
    """Of every workload, metric and pair of methods that were measured at two numbers of inner steps or more.

    Newton steps are another axis: `NEWTON_METHODS` are left out.
    """
    found: list[Crossing] = []
    held = [metric for metrics in METRICS.values() for metric in metrics]
    is_wanted = rows.metric.isin([*held, "hessian_products"]) & ~rows.method.isin(NEWTON_METHODS)
    wanted = rows.loc[is_wanted, NEEDED]
    products = products_of(wanted)
    for measure, metrics in METRICS.items():
        for metric in metrics:
            of_metric = wanted[(wanted.measure == measure) & (wanted.metric == metric)]
            for workload, part in of_metric.groupby("workload", sort=True):
                own = products if measure == "time" else {}
                found += _pairs(measure, metric, str(workload), part, own)
    return found


def telling(
    found: Sequence[Crossing],
    rank: Callable[[str, str], Any] = lambda method, label: label,
    most: int = 4,
) -> list[Crossing]:
    """Those worth a sentence, at most so many of a workload and metric, the earliest first.

    That cross, by a `MATERIAL` ratio on either side. Not of implementations over other libraries, whose
    crossings repeat those of the method itself. `rank` is a key that sorts methods and their labels.
    """
    metrics = [metric for metrics in METRICS.values() for metric in metrics]

    def order(each: Crossing) -> tuple[Any, ...]:
        sides = zip(each.methods, (each.first, each.second), strict=True)
        step = each.from_step if each.from_step is not None else np.inf
        return each.workload, metrics.index(each.metric), step, sorted(rank(*side) for side in sides)

    told: list[Crossing] = []
    for each in sorted((each for each in found if each.verdict == "crosses"), key=order):
        of_libraries = any("@" in method for method in each.methods)
        leads = zip(each.ahead, each.ratio, strict=True)
        # A ratio that is not known, for a side did not fit, is no small one.
        is_material = {lead for lead, ratio in leads if lead and not abs(ratio - 1) <= MATERIAL} == {1, -1}
        same = sum((other.workload, other.metric) == (each.workload, each.metric) for other in told)
        if is_material and not of_libraries and same < most:
            told.append(each)
    return told


def _pairs(
    measure: str,
    metric: str,
    workload: str,
    part: pd.DataFrame,
    products: dict[tuple[str, str], dict[int, float]],
) -> Iterator[Crossing]:
    values, names, steps = _cube(measure, part)
    largest = np.nanmax(np.where(np.isnan(values), -np.inf, values), axis=(2, 3))  # -inf where there is none
    bounds = _bounds(measure, part, names, steps)
    for i, j in combinations(range(len(names)), 2):
        if measure == "memory":
            ratio, low, high, ahead = _exactly(largest[i], largest[j])
            ahead = np.where(bounds[j] > largest[i], 1, np.where(bounds[i] > largest[j], -1, ahead))
            ahead = np.where(np.isneginf(largest[i]) & np.isneginf(largest[j]), 0, ahead)
            repeats = 1
        else:
            ratio, low, high, ahead, repeats = _paired(values[i], values[j])
        seen = np.isfinite(ratio) | (ahead != 0)
        if seen.sum() < 2:
            continue
        yield Crossing(
            measure=measure,
            metric=metric,
            workload=workload,
            methods=(names[i][0], names[j][0]),
            first=names[i][1],
            second=names[j][1],
            steps=tuple(int(step) for step in steps[seen]),
            ahead=tuple(int(lead) for lead in ahead[seen]),
            ratio=tuple(float(x) for x in ratio[seen]),
            low=tuple(float(x) for x in low[seen]),
            high=tuple(float(x) for x in high[seen]),
            repeats=repeats,
            products=tuple(
                said
                for _, label in (names[i], names[j])
                if (said := bent_products(_at(steps[seen], products.get((workload, label), {})), label))
            ),
        )


def _at(steps: np.ndarray, products: dict[int, float]) -> dict[int, float]:
    return {int(step): products[step] for step in steps if step in products}


def _cube(measure: str, part: pd.DataFrame) -> tuple[np.ndarray, list[tuple[str, str]], np.ndarray]:
    """Values [methods, steps, groups, rounds], NaN where there is none. Groups are blocks or seeds."""
    keys = part[["method", "method_label"]].drop_duplicates().sort_values(["method", "method_label"])
    names = [(str(method), str(label)) for method, label in keys.itertuples(index=False, name=None)]
    steps = np.unique(part.inner_steps.to_numpy(int))
    ok = part[part.status == "ok"]
    group, _ = pd.factorize(ok.cell_id if measure == "time" else ok.seed)
    turn = np.zeros(len(ok), int)
    if measure == "time":
        turn = (ok.repeat - ok.groupby("cell_id").repeat.transform("min")).to_numpy(int)
    shape = (len(names), len(steps), group.max(initial=0) + 1, turn.max(initial=0) + 1)
    cube = np.full(shape, np.nan)
    places = {label: i for i, (_, label) in enumerate(names)}
    method = ok.method_label.map(places).to_numpy(int)
    place = (method, np.searchsorted(steps, ok.inner_steps.to_numpy(int)), group, turn)
    np.fmax.at(cube, place, ok.value.to_numpy(float))
    return cube, names, steps


def _bounds(measure: str, part: pd.DataFrame, names: list[tuple[str, str]], steps: np.ndarray) -> np.ndarray:
    """What each point [methods, steps] that failed is known to exceed; -inf where nothing is known."""
    bounds = np.full((len(names), len(steps)), -np.inf)
    places = {label: i for i, (_, label) in enumerate(names)}
    failed = part[part.status == "oom"]
    for label, step, status, detail in zip(
        failed.method_label, failed.inner_steps, failed.status, failed.detail, strict=True
    ):
        bound = exceeded(measure, status, detail)
        if np.isfinite(bound):
            bounds[places[label], int(np.searchsorted(steps, step))] = bound
    return bounds


def _exactly(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
    """Ratio, its ends, and who is ahead by more than rounding, of exact values."""
    known = np.isfinite(first) & np.isfinite(second)
    with np.errstate(divide="ignore", invalid="ignore"):  # a method may hold nothing
        ratio = np.where(known, first, np.nan) / np.where(known, second, 1.0)
    ahead = np.where(ratio < 1 - SAME_BYTES, 1, np.where(ratio > 1 + SAME_BYTES, -1, 0))
    return ratio, ratio, ratio, ahead


def _paired(first: np.ndarray, second: np.ndarray) -> tuple[Any, ...]:
    """The same of values [steps, groups, rounds] that are paired in rounds, by a t interval over the groups'
    medians; and over how many at most."""
    ratios = np.maximum(first, SMALLEST) / np.maximum(second, SMALLEST)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing there is no median
        of_groups = np.log(np.nanmedian(ratios, axis=2))
    mean, spread, count = mean_over_seeds(of_groups)
    interval = t_interval(mean, spread, count)
    ahead = np.where(interval.high < 0, 1, np.where(interval.low > 0, -1, 0))
    return np.exp(mean), np.exp(interval.low), np.exp(interval.high), ahead, int(count.max(initial=0))


def _span(steps: Sequence[int]) -> str:
    return f"from {steps[0]} to {steps[-1]} inner steps"


def _counted(steps: str) -> str:
    return f"{steps} inner step{'' if steps == '1' else 's'}"


def _show(ratio: float) -> str:
    """A lead by a hair is not shown as none."""
    if not 0.1 <= ratio < 10:
        return f"{ratio:.2g}"
    digits = 2
    while digits < 5 and ratio != 1 and float(f"{ratio:.{digits}f}") == 1:
        digits += 1
    return f"{ratio:.{digits}f}"
