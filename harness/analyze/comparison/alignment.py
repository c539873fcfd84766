"""Which points of two runs belong together, and what only one of them has.

A point is a measure of a method with its settings on a workload, at a number of inner steps.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from harness.analyze.comparison.sides import Side
from harness.analyze.loaded import LoadedRun
from harness.errors import UsageError, nearest
from harness.files import dumps
from harness.frame import split_workload
from harness.rows import HEADLINES
from harness.settings import flat, telling_apart

VARIANT = ["measure", "workload", "method", "settings"]
POINTS = [*VARIANT, "method_label", "inner_steps", "status", "failed", "observed", "detail"]
UNFINISHED = "unfinished"
"""The status of a point that was planned and has no row yet."""


class Variant(NamedTuple):
    """A method with its settings, as it was asked for in one measure of one workload."""

    measure: str
    workload: str
    method: str
    settings: str
    label: str

    @property
    def place(self) -> tuple[str, str]:
        return self.measure, self.workload


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Points of two runs, side by side.

    points: a line a point that both runs planned: `key` (of its pair of variants), `measure`, `workload`,
        `inner_steps`, and of each side the method's label, status, failed and observed rows, and a failure's
        detail, with the suffix `_a` or `_b`.
    base, other: the rows of those pairs, with their `key`.
    only: what one run has and the other never planned, a sentence each.
    settings: in which settings the methods of a pair differ, a sentence each.
    """

    points: pd.DataFrame
    base: pd.DataFrame
    other: pd.DataFrame
    only: list[str]
    settings: list[str]


def align(base: Side, other: Side, pairs: Sequence[tuple[str, str]] = ()) -> Alignment:
    """By name and settings; then a method that has one variant left on each side, whatever its settings.

    With `pairs` (label in the base, label in the other) only those methods are compared. Raises UsageError
    for a label that a run does not have.
    """
    points = [points_of_run(side.run) for side in (base, other)]
    variants = [_variants(p) for p in points]
    if pairs:
        matched = _mapped(base, other, variants[0], variants[1], pairs)
    else:
        matched = _matched(variants[0], variants[1])
    keys = [_keys([pair[i] for pair in matched]) for i in (0, 1)]
    keyed = [p.merge(k, on=VARIANT) for p, k in zip(points, keys, strict=True)]
    there = keyed[1].drop(columns=["measure", "workload"])
    both = keyed[0].merge(there, on=["key", "inner_steps"], suffixes=("_a", "_b"))
    shared = both[["key", "inner_steps"]]
    rows = [
        side.run.rows.merge(k, on=VARIANT).merge(shared, on=["key", "inner_steps"])
        for side, k in zip((base, other), keys, strict=True)
    ]
    return Alignment(
        points=both,
        base=rows[0],
        other=rows[1],
        only=[] if pairs else _only(base, other, points, [k.merge(shared) for k in keyed]),
        settings=_settings(base, other, matched),
    )


def _variants(points: pd.DataFrame) -> list[Variant]:
    chosen = points[[*VARIANT, "method_label"]].drop_duplicates(VARIANT)
    return [Variant(*record) for record in chosen.itertuples(index=False, name=None)]


def points_of_run(run: LoadedRun) -> pd.DataFrame:
    """Every point that a run observed or planned, with the columns `POINTS`.

    `ok` where any value is there; `observed` counts the rows that say how it fared, `failed` those of them
    that did not succeed, `skipped` ones aside.
    """
    rows = run.rows
    headline = pd.Series(False, index=rows.index)
    for measure, metrics in HEADLINES.items():
        headline |= (rows.measure == measure) & rows.metric.isin(metrics)
    rows = rows[headline]
    rows = rows.assign(
        worst=rows.status.ne("ok") + rows.status.eq("skipped") * 1,
        is_failed=~rows.status.isin(["ok", "skipped"]),
        is_counted=rows.status.ne("skipped"),
    ).sort_values("worst", kind="stable")
    grouped = rows.groupby([*VARIANT, "inner_steps"], sort=False)
    found = grouped.agg(
        method_label=("method_label", "first"),
        status=("status", "first"),
        failed=("is_failed", "sum"),
        observed=("is_counted", "sum"),
    ).reset_index()
    failures = rows[rows.status != "ok"].groupby([*VARIANT, "inner_steps"], sort=False)
    why = failures.agg(detail=("detail", "first"), failure=("status", "first")).reset_index()
    found = found.merge(why, on=[*VARIANT, "inner_steps"], how="left").fillna({"detail": "", "failure": ""})
    found["detail"] = found.detail.where(found.status != "ok", found.failure)
    planned = _planned(run)
    if len(planned):
        labels = rows.drop_duplicates(VARIANT)[[*VARIANT, "method_label"]]
        missing = planned.merge(found[[*VARIANT, "inner_steps"]], how="left", indicator=True)
        missing = missing[missing.pop("_merge") == "left_only"].merge(labels, on=VARIANT, how="left")
        missing["method_label"] = missing.method_label.fillna(missing.method)
        missing = missing.assign(status=UNFINISHED, failed=0, observed=0, detail="")
        found = pd.concat([found[POINTS], missing[POINTS]], ignore_index=True) if len(missing) else found
    found.loc[found.status == "interrupted", "status"] = UNFINISHED
    return found[POINTS]


def _planned(run: LoadedRun) -> pd.DataFrame:
    """The points of the manifest's plan; empty where it names none."""
    records = {
        (
            str(cell["measure"]),
            str(cell["workload"]),
            str(point["method"]),
            dumps({k: v for k, v in point["settings"].items() if k != "inner_steps"}),
            int(point["inner_steps"]),
        )
        for cell in run.manifest.get("cells", [])
        for point in cell.get("points", [])
    }
    return pd.DataFrame(sorted(records), columns=[*VARIANT, "inner_steps"])


def _matched(first: Sequence[Variant], second: Sequence[Variant]) -> list[tuple[Variant, Variant]]:
    """Equal settings first, then variants that are told apart by the same words, then single ones."""
    pairs: list[tuple[Variant, Variant]] = []
    rules: tuple[Callable[[Variant], object], ...] = (
        lambda v: (v.place, v.method, v.settings),
        lambda v: (v.place, v.method, v.label),
        lambda v: (v.place, v.method),
    )
    for rule in rules:
        left = [[v for v in side if v not in {p[i] for p in pairs}] for i, side in enumerate((first, second))]
        known = [Counter(map(rule, side)) for side in left]
        partners = {rule(v): v for v in left[1]}
        pairs += [(v, partners[k]) for v in left[0] if known[0][k := rule(v)] == known[1][k] == 1]
    return pairs


def _mapped(
    base: Side,
    other: Side,
    first: Sequence[Variant],
    second: Sequence[Variant],
    wanted: Sequence[tuple[str, str]],
) -> list[tuple[Variant, Variant]]:
    pairs: dict[tuple[Variant, Variant], None] = {}
    for labels in wanted:
        chosen = []
        for side, variants, label in zip((base, other), (first, second), labels, strict=True):
            chosen.append([v for v in variants if v.label == label])
            if not chosen[-1]:
                raise UsageError(
                    f"--map {'='.join(labels)}: {side.name} has no method '{label}'; "
                    f"{nearest(label, {v.label for v in variants}, 'its methods')}"
                )
        pairs |= dict.fromkeys((a, b) for a in chosen[0] for b in chosen[1] if a.place == b.place)
    return list(pairs)


def _keys(variants: Sequence[Variant]) -> pd.DataFrame:
    """The number of its pair beside each variant; a variant may be in several pairs."""
    records = [(*v.place, v.method, v.settings, key) for key, v in enumerate(variants)]
    return pd.DataFrame(records, columns=[*VARIANT, "key"]).astype({name: "str" for name in VARIANT})


def _only(
    base: Side, other: Side, points: Sequence[pd.DataFrame], paired: Sequence[pd.DataFrame]
) -> list[str]:
    """In words, the coarsest that is true: a workload, a measure of it, methods, inner steps."""
    said = []
    for side, own, theirs, partners in (
        (base, points[0], points[1], paired[0]),
        (other, points[1], points[0], paired[1]),
    ):
        alone = own.merge(partners[[*VARIANT, "inner_steps"]], how="left", indicator=True)
        alone = alone[alone.pop("_merge") == "left_only"]
        for workload in dict.fromkeys(own.workload):
            if workload not in set(theirs.workload):
                said.append(f"Only in {side.name}: {_briefly(workload, {*own.workload, *theirs.workload})}.")
                alone = alone[alone.workload != workload]
        several = own.workload.nunique() > 1
        for (measure, workload), part in alone.groupby(["measure", "workload"], sort=False):
            of = f" of {_briefly(str(workload), own.workload)}" if several else ""
            if not ((theirs.measure == measure) & (theirs.workload == workload)).any():
                said.append(f"Only in {side.name}: the measure {measure}{of}.")
                continue
            by_steps: dict[str, list[str]] = {}
            for label, steps in part.groupby("method_label", sort=False).inner_steps:
                every = own[
                    (own.measure == measure) & (own.workload == workload) & (own.method_label == label)
                ]
                is_all = len(every) == len(steps)
                words = "" if is_all else f" at {', '.join(map(str, sorted(steps)))} inner steps"
                by_steps.setdefault(words, []).append(str(label))
            listed = "; ".join(f"{', '.join(labels)}{words}" for words, labels in by_steps.items())
            said.append(f"Only in {side.name}, {measure}{of}: {listed}.")
    return said


def _briefly(workload: str, others: Iterable[str]) -> str:
    """The workload's name with those of its settings that tell it from others of its name.

    >>> _briefly("glyphs[shots=1,ways=5]", ["glyphs[shots=5,ways=5]", "sinusoid"])
    'glyphs[shots=1]'
    """
    name, settings = split_workload(workload)
    kin = [kept for other, kept in map(split_workload, {*others, workload}) if other == name]
    inside = ",".join(f"{key}={settings[key]}" for key in telling_apart(kin) if key in settings)
    return f"{name}[{inside}]" if inside else name


def _settings(base: Side, other: Side, pairs: Iterable[tuple[Variant, Variant]]) -> list[str]:
    said: dict[str, None] = {}
    for a, b in pairs:
        if a.method != b.method or a.settings == b.settings:
            continue
        first, second = (flat(json.loads(v.settings)) for v in (a, b))
        clauses = [
            f"{name} {_value(first, name)} in {base.letter}, {_value(second, name)} in {other.letter}"
            for name in sorted({*first, *second})
            if first.get(name) != second.get(name)
        ]
        said[f"{a.label} differs in its settings: {'; '.join(clauses)}."] = None
    return list(said)


def _value(settings: dict[str, Any], name: str) -> str:
    return str(settings.get(name, "not set"))
