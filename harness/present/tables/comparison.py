"""What `innerloop compare` prints: what was found, where the runs are unlike, a table of what differs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

import pandas as pd
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.analyze.comparison.change import HEADLINE_METRICS, METRICS, Change
from harness.analyze.comparison.change_in_words import (
    difference_in_words,
    interval_in_words,
    span,
    summary,
    value_in_words,
    verdict_in_words,
)
from harness.analyze.comparison.compare import Comparison
from harness.analyze.comparison.gates import Judged
from harness.present.palette import label_order
from harness.present.tables.grid import bare_table, section
from harness.present.words import NBSP, workload_in_words

STYLES = {"more": "yellow", "less": "yellow", "fails": "red", "works": "green", "too weak": "dim",
          "not called": "dim", "same": "dim"}  # fmt: skip
OUTCOME_STYLES = {"passed": "green", "failed": "red", "undecided": "yellow"}
INDENT = (0, 0, 0, 2)
COLUMNS = {
    name: {"label": "method", "other_label": "other_method"}.get(name, name)
    for name in (
        "base", "other", "measure", "workload", "metric", "label", "other_label", "inner_steps", "first",
        "second", "difference", "ratio", "low", "high", "basis", "p", "p_holm", "verdict", "why",
    )
}  # fmt: skip


def comparison_parts(comparisons: Sequence[Comparison], *, every: bool = False) -> Iterator[RenderableType]:
    """The renderables, top to bottom. `every` shows what is equal or too weak to call as well."""
    yield _sides(comparisons)
    for comparison in comparisons:
        a, b = comparison.base.letter, comparison.other.letter
        metrics = _metrics(comparison)
        found = list(summary(comparison, metrics))
        yield section(f"{a} and {b}: what was found", _lines(found or ["Nothing could be compared."]), [])
        if comparison.notes:
            yield section("What limits the comparison", _lines(comparison.notes), [])
        moved = {o.workload for o in comparison.overall if o.is_called and o.metric == "step_seconds"}
        shown = [
            c
            for c in comparison.changes
            if every
            or (c.is_called and (c.is_fate or c.metric in metrics))
            or (c.metric == "step_seconds" and c.workload in moved and not c.is_fate)
        ]
        several = comparison.points.workload.nunique() > 1
        for metric, workload in dict.fromkeys((c.metric, c.workload) for c in sorted(shown, key=_order)):
            own = [c for c in shown if (c.metric, c.workload) == (metric, workload)]
            where = f", {workload_in_words(workload)}" if several else ""
            yield section(f"{metric}, {a} to {b}{where}", _table(own, comparison), _about(own))


def gate_parts(judged: Sequence[Judged]) -> Iterator[RenderableType]:
    """A line a gate and comparison, and under it the points that did not pass."""
    for each in judged:
        gate, letter = each.gate, each.comparison.other.letter
        yield Text.assemble(
            f"Gate {gate.text}, {letter} against {each.comparison.base.letter}: ",
            (each.outcome, OUTCOME_STYLES[each.outcome]),
            f"{_counts(each)}",
        )
        for said, changes in _alike(each.failed).items():
            yield Padding(Text(f"failed: {_places(changes)}: {said}"), INDENT)
        for why in dict.fromkeys(change.why for change in each.undecided):
            places = _places([change for change in each.undecided if change.why == why])
            yield Padding(Text(f"undecided: {places}: {why}"), INDENT)


def differences_frame(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """Every change as a line, for `differences.csv`; `base` and `other` are letters."""
    records = [
        {"base": comparison.base.letter, "other": comparison.other.letter, "difference": change.difference,
         "ratio": change.ratio} | asdict(change)
        for comparison in comparisons
        for change in comparison.changes
    ]  # fmt: skip
    frame = pd.DataFrame(records, columns=list(COLUMNS)).rename(columns=COLUMNS)
    return frame


def _sides(comparisons: Sequence[Comparison]) -> Table:
    table = bare_table()
    table.add_column("")
    table.add_column("run", overflow="fold")
    table.add_column("where", overflow="fold")
    for side in (comparisons[0].base, *(comparison.other for comparison in comparisons)):
        table.add_row(side.letter, Text(side.run.name, "bold"), Text(str(side.run.path)))
    return table


def _lines(sentences: Iterable[str]) -> Table:
    """Sentences that hang under their first word where they wrap."""
    table = bare_table()
    table.show_header = False
    table.add_column(width=1)
    table.add_column(overflow="fold")
    for sentence in sentences:
        table.add_row("-", Text(sentence))
    return table


def _metrics(comparison: Comparison) -> list[str]:
    """The headline metrics; relative times only where times themselves cannot be held against each other; of
    the others those that differ though their measure's headline does not."""
    headline = [m for m in HEADLINE_METRICS if m != "relative_seconds" or _needs_relative(comparison)]
    moved = {c.measure for c in comparison.changes if c.metric in headline and c.verdict in ("more", "less")}
    others = {
        c.metric
        for c in comparison.changes
        if c.measure not in moved and c.verdict in ("more", "less") and c.metric not in HEADLINE_METRICS
    }
    return [*headline, *(metric for metric in METRICS if metric in others)]


def _needs_relative(comparison: Comparison) -> bool:
    times = [c for c in comparison.changes if c.metric == "step_seconds" and not c.is_fate]
    return bool(times) and all(c.verdict == "not called" for c in times)


def _table(changes: Sequence[Change], comparison: Comparison) -> Table:
    """Points of a method whose change is in the same words share a line."""
    a, b = comparison.base.letter, comparison.other.letter
    merged: dict[tuple[str, ...], list[Change]] = {}
    for change in sorted(changes, key=_order):
        why = change.why if change.is_fate else ""
        words = (
            difference_in_words(change),
            interval_in_words(change),
            verdict_in_words(change, brief=True),
            why,
        )
        merged.setdefault((_methods(change), *words), []).append(change)
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    in_bytes = changes[0].measure == "memory"
    intervals = any(c.interval_known for c in changes)
    for name in ("steps", a, b, "change", *(["bytes"] if in_bytes else ["95%"] if intervals else [])):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", overflow="fold", min_width=6)
    for (methods, difference, interval, verdict, why), points in merged.items():
        points.sort(key=lambda c: c.inner_steps)
        steps = ", ".join(str(change.inner_steps) for change in points)
        values = (_values(points, name) for name in ("first", "second"))
        style = STYLES[points[0].verdict]
        ends = []
        if in_bytes:
            ends = [_bytes(points)]
        elif intervals:
            ends = [interval.removesuffix(" %").removesuffix(" points").replace(" ", NBSP)]
        table.add_row(Text(methods), steps, *values, difference, *ends, Text(why or verdict, style))
    return table


def _order(change: Change) -> tuple[object, ...]:
    """What differs comes first."""
    ranks = ("fails", "works", "more", "less", "too weak", "not called", "same")
    group = 0 if change.is_called else ranks.index(change.verdict)
    metrics = list(METRICS)
    label = label_order(change.method, change.label)
    return group, metrics.index(change.metric), label, change.other_label, change.inner_steps


def _about(changes: Sequence[Change]) -> list[str]:
    """What the intervals rest on, and what was corrected."""
    bases = dict.fromkeys(c.basis for c in changes if c.interval_known)
    whys = dict.fromkeys(c.why for c in changes if c.why and not c.is_fate)
    corrected = any(pd.notna(c.p_holm) for c in changes)
    holm = "; verdicts are corrected for all points (Holm), intervals are not" if corrected else ""
    return [
        *([f"95% over {'; '.join(bases)}{holm}."] if bases else []),
        *([f"{'; '.join(whys)}."] if whys else []),
    ]


def _methods(change: Change) -> str:
    same = change.label == change.other_label
    return change.label if same else f"{change.label} / {change.other_label}"


def _values(points: Sequence[Change], name: str) -> str:
    values = sorted(getattr(change, name) for change in points)
    return span(*(value_in_words(points[0].kind, value) for value in (values[0], values[-1])))


def _bytes(points: Sequence[Change]) -> str:
    """The exact difference; of several points the least to the largest."""
    known = sorted(change.difference for change in points if pd.notna(change.difference))
    return span(*(f"{value:+,.0f}" if value else "0" for value in (known[0], known[-1]))) if known else ""


def _counts(judged: Judged) -> str:
    counted = {"failed": len(judged.failed), "undecided": len(judged.undecided), "passed": judged.passed}
    told = [f"{count} {word}" for word, count in counted.items() if count]
    if not told:
        return f" (no point of {judged.gate.metric} is in both runs)"
    weak = (
        f", {judged.unsure} of them with an interval that alone reaches beyond the gate"
        if judged.unsure
        else ""
    )
    return f" ({', '.join(told)}{weak})"


def _alike(failed: Sequence[Change]) -> dict[str, list[Change]]:
    """By how much -> the points that did, in the order of the table."""
    alike: dict[str, list[Change]] = {}
    for change in sorted(failed, key=_order):
        interval = interval_in_words(change)
        figures = difference_in_words(change) + (f", 95% {interval}" if interval else "")
        alike.setdefault(change.why if change.is_fate else figures, []).append(change)
    return alike


def _places(changes: Sequence[Change]) -> str:
    """`maml at 1, 2; fomaml at 4`"""
    steps: dict[str, list[int]] = {}
    for change in sorted(changes, key=_order):
        steps.setdefault(_methods(change), []).append(change.inner_steps)
    return "; ".join(f"{name} at {', '.join(map(str, sorted(set(s))))}" for name, s in steps.items())
