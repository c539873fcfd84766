"""What is to be known before the numbers are believed: failed points, and what the instruments warn of."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd
from rich.table import Table
from rich.text import Text

from harness.present.palette import label_order
from harness.present.tables.grid import STATUS_STYLE, bare_table

NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[+-]?\d+)?%?(?!\w)")

BLOCKS = re.compile(r"\bblock (\d+ to \d+) was\b")


def failure_table(failed: pd.DataFrame) -> Table:
    """Points that failed for one reason share a line."""
    table = bare_table()
    several = failed.workload.nunique() > 1
    for name in ("measure", *(["workload"] if several else []), "method", "inner steps", "status"):
        table.add_column(name, overflow="fold", min_width=min(len(name), 8))
    table.add_column("reason", overflow="fold", ratio=1)
    keys = ["measure", "workload", "method_label", "status", "reason"]
    for key, rows in failed.groupby(keys, sort=False):
        measure, workload, label, status, reason = map(str, key)
        steps = _listed(rows.inner_steps)
        count = int(rows["count"].sum())
        times = f" ({count} rows)" if count > rows.inner_steps.nunique() else ""
        place = [measure, workload] if several else [measure]
        style = STATUS_STYLE.get(status, "red")
        before, after = [*place, label, steps], reason + times
        table.add_row(*map(Text, before), Text(status, style), Text(after))
    return table


def flag_table(frame: pd.DataFrame) -> Table:
    """A line a warning, with all the points that it is about."""
    table = bare_table()
    lines = flag_lines(frame)
    several = lines.workload.nunique() > 1
    shown = ["measure", *(["workload"] if several else []), "methods", "inner steps", "seeds"]
    for name in shown:
        table.add_column(name, overflow="fold", min_width=min(len(name), 8))
    table.add_column("warning", overflow="fold", ratio=1)
    for line in lines.to_dict("records"):
        table.add_row(*(Text(line[name]) for name in (*shown, "warning")))
    return table


def flag_lines(frame: pd.DataFrame) -> pd.DataFrame:
    """The flags of a run, as text: measure, workload, methods, inner steps, seeds, warning.

    Methods with the same warning at the same points share a line. Within a method, so do warnings that
    differ in their numbers only: those become ranges.
    """
    flags = frame[frame.metric == "flag"]
    place = ["measure", "workload"]
    valued = frame.loc[frame.value.notna(), [*place, "method_label", "inner_steps"]].drop_duplicates()
    steps_of = {key: _listed(steps) for key, steps in valued.groupby([*place, "method_label"]).inner_steps}
    methods_of = valued.groupby(place).method_label.nunique().to_dict()  # what failed cannot be doubted
    pattern = flags.detail.map(_without_numbers).rename("pattern")
    merged: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for key, rows in flags.groupby([*place, "method", "method_label", pattern], sort=False):
        measure, workload, method, label, _ = map(str, key)
        steps, warning = _listed(rows.inner_steps), with_ranges(list(rows.detail))
        # Methods need not be measured at the same steps to be flagged at all of theirs.
        where = "all" if steps_of.get((measure, workload, label)) == steps else steps
        line = (measure, workload, where, _listed(rows.seed), warning)
        merged.setdefault(line, []).append((method, label, steps))
    records = []
    for (measure, workload, where, seeds, warning), points in merged.items():
        every = methods_of.get((measure, workload), 0)
        points.sort(key=lambda point: label_order(*point[:2]))
        labels = [label for _, label, _ in points]
        exact = {steps for _, _, steps in points}
        records.append(
            {
                "measure": measure,
                "workload": workload,
                "methods": "all methods" if len(labels) == every > 1 else ", ".join(labels),
                "inner steps": exact.pop() if len(exact) == 1 else where,
                "seeds": seeds,
                "warning": warning,
            }
        )
    return pd.DataFrame(records, columns=[*place, "methods", "inner steps", "seeds", "warning"])


def with_ranges(texts: Sequence[str]) -> str:
    """Texts that differ in their numbers only, as one: each number that differs becomes a range.

    >>> with_ranges(["14% of 5 solves", "9% of 5 solves"])
    '9% to 14% of 5 solves'
    >>> with_ranges(["busy while block 0 was timed", "busy while block 2 was timed"])
    'busy while blocks 0 to 2 were timed'
    """
    columns = zip(*(NUMBER.findall(text) for text in texts), strict=True)
    ranges = []
    for numbers in columns:
        ordered = sorted(set(numbers), key=lambda number: float(number.removesuffix("%").replace(",", "")))
        ranges.append(ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}")
    found = iter(ranges)
    return BLOCKS.sub(r"blocks \1 were", NUMBER.sub(lambda _: next(found), texts[0]))


def merged(texts: Iterable[str]) -> list[str]:
    """One text for all that differ in their numbers only, in the order of the first of each."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(_without_numbers(text), []).append(text)
    return [with_ranges(group) for group in alike.values()]


def _without_numbers(text: str) -> str:
    return NUMBER.sub("#", text)


def _listed(numbers: pd.Series) -> str:
    return ", ".join(str(int(number)) for number in sorted(numbers.unique()))
