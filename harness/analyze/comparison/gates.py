"""Gates: what a change must not exceed, such as `peak_bytes>5%`, and what each point says to it.

A gate holds over the points that both runs planned. It is decided on the estimate and, where a metric has
noise, on its 95% interval too:

- exact metrics (bytes, errors of meta-gradients, counts of work) fail beyond the amount;
- the others fail where the estimate is beyond the amount and the interval excludes that nothing changed. So a
  20% regression is found by a gate of 15%, as soon as it stands out of the noise at all, and noise alone does
  not fail a gate;
- they pass where the interval of all points of the workload together (a point's own, where there is no such)
  ends before the amount;
- else, and where there is no interval, no value, or no point at all, the gate is undecided. It has not
  passed: a gate that saw nothing guards nothing.

Of 200 simulated pairs of runs of three blocks that differ in nothing, a gate of 15% on `step_seconds` passed
191 and left 9 undecided where the blocks of a run scattered by 3%; where they scattered by 10% it passed 38,
left 157 undecided and failed 5. It failed all of 40 pairs whose other run was slower by 20%, at 3%.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from harness.analyze.comparison.change import METRICS, NOISY, Change, Kind, Overall, unchanged
from harness.analyze.comparison.change_in_words import interval_in_words
from harness.analyze.comparison.compare import Comparison
from harness.errors import UsageError, nearest
from harness.quantities import BYTES

Outcome = Literal["passed", "failed", "undecided"]
EXAMPLES = "'peak_bytes>5%', 'step_seconds>15%' or 'accuracy<-1points'"
UNITS: dict[Kind, dict[str, float]] = {
    "bytes": dict(BYTES),
    "coarse": dict(BYTES),
    "seconds": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
    "ratio": {},
    "score": {"points": 0.01},
    "loss": {"": 1.0},
    "error": {},
    "count": {"": 1.0},
}
"""Units of a difference beside `%`, which is of the base's value. A score has no `%`: nobody could tell
whether a point or a hundredth of the score is meant."""

MORE: dict[Kind, str] = {
    "seconds": "time more blocks, on a quieter machine",
    "ratio": "time more blocks, on a quieter machine",
    "score": "run more seeds",
    "loss": "run more seeds",
}
"""What narrows an interval."""

GRAMMAR = re.compile(r"\s*(\w+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z%]*)\s*")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A point fails beyond `limit`: a fraction of the base's value where `is_relative`, else in the metric's
    unit. `above`: it fails above it (`>`), else below."""

    text: str
    metric: str
    above: bool
    limit: float
    is_relative: bool

    def exceeds(self, change: Change) -> bool:
        """Whether the estimate is beyond the limit."""
        return self._is_beyond(change.ratio - 1 if self.is_relative else change.difference)

    def may_exceed(self, change: Change) -> bool:
        """Whether the interval reaches beyond the limit."""
        end = change.high if self.above else change.low
        if change.kind in ("seconds", "ratio"):
            return self._is_beyond(end - 1 if self.is_relative else change.first * (end - 1))
        return self._is_beyond(end / change.first if self.is_relative else end)

    def _is_beyond(self, amount: float) -> bool:
        if math.isclose(amount, self.limit, rel_tol=1e-9):  # 105 bytes are 5% more than 100, not more than 5%
            return False
        return amount > self.limit if self.above else amount < self.limit


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What one gate makes of one comparison."""

    gate: Gate
    comparison: Comparison
    failed: list[Change]
    undecided: list[Change]  # each with the reason in `why`
    passed: int
    unsure: int  # of those that passed, how many intervals of their own reach beyond the limit

    @property
    def outcome(self) -> Outcome:
        if self.failed:
            return "failed"
        return "undecided" if self.undecided or not self.passed else "passed"


def parse_gate(text: str) -> Gate:
    """`METRIC>AMOUNT` or `METRIC<AMOUNT`. Raises UsageError with the nearest that is one."""
    match = GRAMMAR.fullmatch(text)
    where = f"--fail-on '{text}'"
    if match is None:
        raise UsageError(f"{where} is no gate; write METRIC>AMOUNT or METRIC<AMOUNT, such as {EXAMPLES}.")
    metric, direction, number, unit = match.groups()
    if metric not in METRICS:
        raise UsageError(
            f"{where}: metric '{metric}' cannot be compared; {nearest(metric, METRICS, 'those')}"
        )
    kind = METRICS[metric][1]
    units = UNITS[kind]
    allowed = [*([] if kind == "score" else ["%"]), *units]
    if unit not in allowed:
        shown = " or ".join(f"'{metric}{direction}{number}{each}'" for each in allowed[:3])
        said = f"the amount has the unit '{unit}'" if unit else "the amount has no unit"
        raise UsageError(f"{where}: {said}, which {metric} does not take; write {shown}.")
    amount = float(number)
    if (amount < 0) is (direction == ">") and amount != 0:
        other = "<" if direction == ">" else ">"
        raise UsageError(
            f"{where} would fail where nothing changed; "
            f"did you mean '{metric}{other}{number}{unit}' or '{metric}{direction}{-amount:g}{unit}'?"
        )
    is_relative = unit == "%"
    if math.isinf(amount) or (is_relative and amount <= -100):
        raise UsageError(f"{where} can never fail: no {metric} changes by as much; write a smaller amount.")
    limit = amount / 100 if is_relative else amount * units[unit]
    return Gate(
        text=text.strip(), metric=metric, above=direction == ">", limit=limit, is_relative=is_relative
    )


def judge(gates: Sequence[Gate], comparisons: Sequence[Comparison]) -> list[Judged]:
    """Every gate on every comparison."""
    return [_judged(gate, comparison) for comparison in comparisons for gate in gates]


def _judged(gate: Gate, comparison: Comparison) -> Judged:
    failed, undecided, passed, unsure = [], [], 0, 0
    together = {o.workload: o for o in comparison.overall if o.metric == gate.metric and o.has_interval}
    for change in _gated(gate, comparison):
        outcome, why = _outcome(gate, change, together.get(change.workload))
        if outcome == "failed":
            failed.append(change)
        elif outcome == "undecided":
            undecided.append(replace(change, why=why))
        else:
            passed += 1
            unsure += change.kind in NOISY and change.verdict != "same" and gate.may_exceed(change)
    return Judged(
        gate=gate, comparison=comparison, failed=failed, undecided=undecided, passed=passed, unsure=unsure
    )


def _gated(gate: Gate, comparison: Comparison) -> Iterator[Change]:
    """The changes of the gate's metric, and what became of its measure's points that have no value."""
    measure = METRICS[gate.metric][0]
    for change in comparison.changes:
        is_fate = change.is_fate and change.measure == measure
        if change.metric == gate.metric or is_fate:
            yield replace(change, metric=gate.metric) if is_fate else change


def _outcome(gate: Gate, change: Change, together: Overall | None) -> tuple[Outcome, str]:
    if change.verdict == "fails":
        return "failed", ""
    if change.verdict in ("same", "works"):
        return "passed", ""
    if change.verdict == "not called":
        return "undecided", change.why
    if change.kind in ("bytes", "error", "count"):
        return ("failed", "") if gate.exceeds(change) else ("passed", "")
    if change.kind == "coarse":
        if not gate.exceeds(change):
            return "passed", ""
        return ("undecided", change.why) if change.verdict == "too weak" else ("failed", "")
    if not np.isfinite(change.low) or change.why:  # one block, or too few seeds
        return "undecided", change.why or "no interval"
    if gate.exceeds(change):
        if change.low <= unchanged(change.kind) <= change.high:
            return "undecided", "beyond the gate, but its interval holds no change too"
        return "failed", ""
    widest = replace(change, low=together.low, high=together.high) if together else change
    if not gate.may_exceed(widest):
        return "passed", ""
    whose = f"the interval of all {together.points} points together" if together else "its interval"
    ends = f" (95% {interval_in_words(widest)})" if together else ""
    return "undecided", f"within the gate, but {whose} reaches beyond it{ends}: {MORE[change.kind]}"
