"""A change as people say it: values with their units, the difference, its interval, what it means."""

from collections.abc import Iterator, Sequence

import numpy as np

from harness.analyze.comparison.change import Change, Kind, Overall
from harness.analyze.comparison.compare import Comparison
from harness.analyze.gradient import error_in_words
from harness.analyze.scaling.growth import MIB
from harness.analyze.words import listed

DIRECTIONS: dict[Kind, tuple[str, str]] = {
    "bytes": ("larger", "smaller"),
    "coarse": ("larger", "smaller"),
    "seconds": ("slower", "faster"),
    "ratio": ("slower", "faster"),
    "score": ("higher", "lower"),
    "loss": ("higher", "lower"),
    "error": ("larger", "smaller"),
    "count": ("more", "fewer"),
}


def value_in_words(kind: Kind, value: float) -> str:
    """`26.4 MiB`, `34.2 ms`, `74.3 %`, `3.1e-2`; a dash where there is none."""
    if np.isnan(value):
        return "-"
    match kind:
        case "bytes" | "coarse":
            return f"{value / MIB:.{_decimals(value / MIB)}f} MiB" if value >= MIB / 10 else f"{value:,.0f} B"
        case "seconds":
            return f"{value:.3g} s" if value >= 1 else f"{1e3 * value:.{_decimals(1e3 * value)}f} ms"
        case "ratio":
            return f"x{value:.3g}"
        case "score":
            return f"{100 * value:.1f} %"
        case "error":
            return error_in_words(value)
        case "count":
            return f"{value:,.4g}"
    return f"{value:.4g}"


def difference_in_words(change: Change) -> str:
    """`+5.0 %`, `-1.2 points`, `x2.1`; exactly nothing is `0`."""
    if np.isnan(change.difference):
        return ""
    if change.difference == 0 and not np.isfinite(change.paired_ratio):
        return "0"
    match change.kind:
        case "bytes" | "coarse":
            if not change.first or _percent(change.ratio, 1) == "+0.0 %":  # what is nothing has no percent
                return f"{change.difference:+,.0f} B"
            return _percent(change.ratio, 1)
        case "seconds" | "ratio":
            return _percent(change.ratio, 1)
        case "score":
            return f"{_signed(100 * change.difference, 1)} points"
        case "error":
            return f"x{change.ratio:.3g}"
        case "count":
            return f"{change.difference:+,.4g}"
    return f"{change.difference:+.3g}"


def interval_in_words(change: Change) -> str:
    """`+12.1 to +28.4 %`; empty where there is none."""
    if not np.isfinite(change.low) or not np.isfinite(change.high):
        return ""
    match change.kind:
        case "seconds" | "ratio":
            low, high = (_signed(100 * (end - 1), 1) for end in (change.low, change.high))
            return f"{low} to {high} %"
        case "score":
            return f"{_signed(100 * change.low, 1)} to {_signed(100 * change.high, 1)} points"
        case "error":
            return "" if change.low == change.high else f"x{change.low:.3g} to x{change.high:.3g}"
    return f"{change.low:+.3g} to {change.high:+.3g}"


def verdict_in_words(change: Change, *, brief: bool = False) -> str:
    """`slower`, `larger`, `too weak to call`, or where that is clear `too weak`."""
    more, less = DIRECTIONS[change.kind]
    words = {"more": more, "less": less, "too weak": "too weak" if brief else "too weak to call"}
    return words.get(change.verdict, change.verdict)


def sentence(change: Change) -> str:
    """`maml at 4 inner steps, peak_bytes: 22.1 MiB, then 23.2 MiB (+5.0 %): larger`"""
    method = (
        change.label if change.label == change.other_label else f"{change.label} and {change.other_label}"
    )
    inside = ", ".join(filter(None, (difference_in_words(change), interval_in_words(change))))
    values = f"{value_in_words(change.kind, change.first)}, then {value_in_words(change.kind, change.second)}"
    figures = f"{values}{f' ({inside})' if inside else ''}: " if np.isfinite(change.first) else ""
    why = f" ({change.why})" if change.why else ""
    steps = f"{change.inner_steps:,} inner step{'' if change.inner_steps == 1 else 's'}"
    return f"{method} at {steps}, {change.metric}: {figures}{verdict_in_words(change)}{why}"


def overall_in_words(overall: Overall, base: str, other: str) -> str:
    """Of the seconds of all points of a workload together."""
    interval = (
        f"95% {overall.low:.2f} to {overall.high:.2f}, {overall.units[0]} and {overall.units[1]} blocks"
        if overall.has_interval
        else "a single block on a side gives no interval"
    )
    doubt = "" if overall.is_called else "; too weak to call"
    return (
        f"over {overall.points} points together {other} takes {overall.estimate:.2f} times as long as {base} "
        f"({interval}{doubt})"
    )


def summary(comparison: Comparison, metrics: Sequence[str]) -> Iterator[str]:
    """What the comparison finds, a sentence for each of `metrics` that it has."""
    base, other = comparison.base.letter, comparison.other.letter
    if comparison.finds_nothing:
        points = len(comparison.points)
        yield f"Nothing differs between {base} and {other}: {points} points in common, every figure the same."
        return
    fates: dict[tuple[str, str, str], list[int]] = {}
    for change in comparison.changes:
        if change.verdict in ("fails", "works"):
            place = (change.measure, change.label, change.why)
            fates.setdefault(place, []).append(change.inner_steps)
    for (measure, label, why), steps in fates.items():
        yield f"{measure} of {label} at {', '.join(map(str, sorted(steps)))} inner steps: {why}."
    pending: dict[tuple[str, str], int] = {}
    for change in comparison.changes:
        if change.is_fate and change.verdict == "not called":
            pending[change.measure, change.why] = pending.get((change.measure, change.why), 0) + 1
    for (measure, why), count in pending.items():
        yield f"{measure}: {count} point{'' if count == 1 else 's'} not compared: {why}."
    for metric in metrics:
        own = [c for c in comparison.changes if c.metric == metric and np.isfinite(c.first)]
        if not own:
            continue
        parts = []
        if metric == "step_seconds":
            together = [each for each in comparison.overall if each.metric == metric]
            several = len(together) > 1
            parts = [
                (f"of {each.workload} " if several else "") + overall_in_words(each, base, other)
                for each in together
            ]
        for verdict in ("more", "less", "too weak", "not called", "same"):
            some = [c for c in own if c.verdict == verdict]
            if some:
                parts.append(_counted(some, len(own)))
        references = listed(list(dict.fromkeys(c.reference for c in own if c.reference)))
        yield f"{metric}{f' (to {references})' if references else ''}: {'; '.join(parts)}."


def _counted(changes: Sequence[Change], total: int) -> str:
    """`larger at 25 of 25 points, +5.0 %`"""
    words = {verdict_in_words(c) for c in changes}.pop()
    words = "the same" if words == "same" else words
    place = f"{words} at {len(changes)} of {total} point{'' if total == 1 else 's'}"
    if changes[0].verdict in ("same", "not called"):
        whys = dict.fromkeys(c.why for c in changes if c.why and c.verdict == "not called")
        return place + (f" ({'; '.join(whys)})" if whys else "")
    ordered = sorted(changes, key=lambda c: (c.ratio, c.difference))
    return f"{place}, {span(*(difference_in_words(c) for c in (ordered[0], ordered[-1])))}"


def span(first: str, last: str) -> str:
    """Two quantities as a range, the unit once.

    >>> span("-2.0 points", "+1.0 points")
    '-2.0 to +1.0 points'
    """
    if first == last:
        return first
    number, _, unit = first.partition(" ")
    return f"{number} to {last}" if unit and last.endswith(f" {unit}") else f"{first} to {last}"


def _percent(ratio: float, digits: int) -> str:
    return f"{_signed(100 * (ratio - 1), digits)} %"


def _signed(value: float, digits: int) -> str:
    """`+0.0` for what rounds to nothing, never `-0.0`."""
    return f"{round(value, digits) + 0.0:+,.{digits}f}"


def _decimals(value: float) -> int:
    return 1 if value >= 10 else 2 if value >= 1 else 3
