"""Two or more runs side by side: what differs between the first and each other, and how sure that is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from harness.analyze.comparison.accuracies import overall_scores, score_changes
from harness.analyze.comparison.alignment import UNFINISHED, Alignment, align
from harness.analyze.comparison.change import METRICS, Change, Overall, Verdict, lines_of, place_of, succeeded
from harness.analyze.comparison.exact import error_changes, exact_changes
from harness.analyze.comparison.sides import Side, sides_of
from harness.analyze.comparison.timings import overall_ratios, overall_times, relative_changes, time_changes
from harness.analyze.comparison.unlike import (
    hardware_refusal,
    machine_unknown,
    protocol_differences,
    unlike_sides,
)
from harness.analyze.intervals import SEEDS_FOR_T
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import counted
from harness.errors import UsageError
from harness.rows import HEADLINES

PROTOCOL_OF = {"memory": ("baseline_bytes",), "time": ("step_seconds",), "accuracy": ("accuracy", "loss")}
"""The metrics whose detail says how a point was measured: `meta-batch of 1, vectorized, native batching`."""

OTHER_MACHINE = "not the same machine"
UNKNOWN_MACHINE = "not known to be the same machine"
PROCESSOR = ("device", "device_name", "cpu", "cpu_capability")
CALLABLE = ("more", "less", "too weak")
OF_ANY_DEVICE = ("tracked_peak_bytes", "predicted_peak_bytes", "baseline_bytes")


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison:
    """The base and one other run.

    changes: every point and metric that both have, what differs or not.
    overall: of times and scores, all points of a workload together, where they may be compared.
    notes: what must be known before any of them, a sentence each: in what the runs are unlike, what is only
        in one, what is not called and why.
    points: see `Alignment.points`.
    """

    base: Side
    other: Side
    changes: list[Change]
    overall: list[Overall]
    notes: list[str]
    points: pd.DataFrame

    @property
    def finds_nothing(self) -> bool:
        """Whether the runs have points in common, and no figure of them differs."""
        return bool(self.changes) and all(change.verdict == "same" for change in self.changes)

    def __repr__(self) -> str:
        """In a notebook: what was compared, and how many points differ."""
        differ = len({change.point for change in self.changes if change.is_called})
        return (
            f"Comparison of {self.base.name} and {self.other.name}: {counted(len(self.points), 'point')} in "
            f"common, {differ} called different; {counted(len(self.notes), 'note')}"
        )


def compare(runs: Sequence[LoadedRun], pairs: Sequence[tuple[str, str]] = ()) -> list[Comparison]:
    """The first run against each other one.

    `pairs` are methods to be held against each other, by label, the base's first; without them each method
    meets itself. Raises UsageError for fewer than two runs, and for a label that a run does not have.
    """
    if len(runs) < 2:
        raise UsageError("compare takes two runs or more; name another, or the same one twice.")
    base, *others = sides_of(runs)
    return [_compare(base, other, pairs) for other in others]


def _compare(base: Side, other: Side, pairs: Sequence[tuple[str, str]]) -> Comparison:
    aligned = align(base, other, pairs)
    refusals = Refusals.of(base, other, aligned)
    found = [*_changes(aligned, base, other, bool(pairs))]
    changes = [refusals.applied(change) for change in [*found, *_uncompared(aligned, found)]]
    comparable = {(change.metric, change.workload) for change in changes if change.verdict in CALLABLE}
    overall = [] if base.is_same_run(other) else list(_overall(aligned, {m for m, _ in comparable}))
    return Comparison(
        base=base,
        other=other,
        changes=[*_fates(aligned, base, other), *changes],
        overall=[each for each in overall if (each.metric, each.workload) in comparable],
        notes=list(_notes(base, other, aligned, changes)),
        points=aligned.points,
    )


def _changes(aligned: Alignment, base: Side, other: Side, are_mapped: bool) -> Iterator[Change]:
    read = {*aligned.base.metric, *aligned.other.metric}
    if "step_seconds" in read:
        read.add("relative_seconds")
    for metric, (_, kind) in METRICS.items():
        if metric not in read:
            continue
        match kind:
            case "seconds":
                yield from time_changes(aligned, is_same_run=base.is_same_run(other))
            case "ratio":
                if not (base.is_same_run(other) and are_mapped):  # or methods would meet their own reference
                    yield from relative_changes(aligned)
            case "score" | "loss":
                yield from score_changes(aligned, metric, base, other)
            case "error":
                yield from error_changes(aligned, metric, (base.letter, other.letter))
            case _:
                yield from exact_changes(aligned, metric, (base.letter, other.letter))


def _overall(aligned: Alignment, metrics: set[str]) -> Iterator[Overall]:
    if "step_seconds" in metrics:
        yield from overall_times(aligned)
    if "relative_seconds" in metrics:
        yield from overall_ratios(aligned)
    for metric in metrics.intersection(HEADLINES["accuracy"]):
        yield from overall_scores(aligned, metric)


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Why differences are not called: of time between machines, of a measure or a point that the two runs
    took in another way, of what allocators of two devices count."""

    same_run: bool
    hardware: str  # empty where times may be compared
    measures: dict[tuple[str, str], str]  # on a workload
    points: dict[tuple[Any, ...], str]
    devices: tuple[str, str]

    @classmethod
    def of(cls, base: Side, other: Side, aligned: Alignment) -> Self:
        protocols = {measure: protocol_differences(base, other, measure) for measure in HEADLINES}
        return cls(
            same_run=base.is_same_run(other),
            hardware=(UNKNOWN_MACHINE if machine_unknown(base, other) else OTHER_MACHINE)
            if hardware_refusal(base, other)
            else "",
            measures={
                (measure, workload): f"measured in another way: {'; '.join(changed)}"
                for measure, of_workloads in protocols.items()
                for workload, changed in of_workloads.items()
                if changed
            },
            points=_protocol_changes(aligned),
            devices=(_device(base), _device(other)),
        )

    def applied(self, change: Change) -> Change:
        """The change, with its figures alone where the two sides are not one experiment."""
        if self.same_run and change.label == change.other_label:
            return change
        why = self.measures.get((change.measure, change.workload)) or self.points.get(change.point, "")
        if not why and change.kind == "seconds":  # a ratio within a run crosses machines
            why = self.hardware
        counted_alike = "" in self.devices or self.devices[0] == self.devices[1]
        of_allocator = change.measure == "memory" and change.metric not in OF_ANY_DEVICE
        if not why and of_allocator and not counted_alike:
            why = f"the allocators of {' and '.join(self.devices)} do not count alike"
        return change.refused(why) if why else change


def _device(side: Side) -> str:
    return str(side.run.environment.get("device", ""))


def _protocol_changes(aligned: Alignment) -> dict[tuple[Any, ...], str]:
    """Points that the two runs measured in another way, as their rows say, where manifests do not."""
    said = []
    for rows in (aligned.base, aligned.other):
        named = pd.Series(False, index=rows.index)
        for measure, metrics in PROTOCOL_OF.items():
            named |= (rows.measure == measure) & rows.metric.isin(metrics)
        ok = rows[named & (rows.status == "ok") & (rows.detail != "")]
        said.append(ok.groupby(["key", "inner_steps"]).detail.first())
    both = pd.concat(said, axis=1, keys=["first", "second"], join="inner").reset_index()
    moved = aligned.points.merge(both[both["first"] != both.second], on=["key", "inner_steps"])
    return {
        (p.measure, p.workload, p.method_label_a, p.method_label_b, p.inner_steps):
            f"measured in another way: {p.first} in the first, {p.second} in the other"
        for p in lines_of(moved)
    }  # fmt: skip


def _fates(aligned: Alignment, base: Side, other: Side) -> Iterator[Change]:
    """Points that one run finished and the other did not, or not in all its rows."""
    for point in lines_of(aligned.points):
        first, second = _share(point, "a"), _share(point, "b")
        if point.status_a == point.status_b and first == second:
            continue
        place = place_of(point, _headline(point.measure))
        if UNFINISHED in (point.status_a, point.status_b):
            side = base if point.status_a == UNFINISHED else other
            yield Change(**place, verdict="not called", why=f"unfinished in {side.name}")
            continue
        verdict: Verdict = "fails" if second > first else "works"
        if first == second or "skipped" in (point.status_a, point.status_b):
            verdict = "not called"
        why = f"{_fate(point, 'a')} in {base.letter}, {_fate(point, 'b')} in {other.letter}"
        yield Change(**place, verdict=verdict, why=why)


def _uncompared(aligned: Alignment, changes: Sequence[Change]) -> Iterator[Change]:
    """Points that succeeded in both runs, and in no seed in both."""
    compared = {change.point for change in changes}
    for point in lines_of(aligned.points[succeeded(aligned.points)]):
        place = place_of(point, _headline(point.measure))
        change = Change(**place, verdict="not called", why="no seed in common")
        if change.point not in compared:
            yield change


def _headline(measure: str) -> str:
    return HEADLINES[measure][0]


def _fate(point: Any, letter: str) -> str:
    status, failed = getattr(point, f"status_{letter}"), getattr(point, f"failed_{letter}")
    if status == "ok" and failed:
        return (
            f"{getattr(point, f'detail_{letter}')} in {failed} of {getattr(point, f'observed_{letter}')} rows"
        )
    return str(status)


def _share(point: Any, letter: str) -> float:
    observed = getattr(point, f"observed_{letter}")
    return getattr(point, f"failed_{letter}") / observed if observed else 0.0


def _notes(base: Side, other: Side, aligned: Alignment, changes: Sequence[Change]) -> Iterator[str]:
    for side in dict.fromkeys((base, other)):
        for caveat in side.run.caveats:
            yield f"{side.name}: {caveat}"
        if side.run.rows.empty and not side.run.caveats:
            yield f"{side.name} has no rows."
    yield from unlike_sides(base, other)
    yield from aligned.settings
    yield from aligned.only
    if unknown := {*base.run.rows.measure, *other.run.rows.measure} - HEADLINES.keys():
        names = ", ".join(sorted(unknown))
        yield f"Not compared, for none of their metrics is known here: the measures {names}."
    if aligned.points.empty:
        yield f"{base.name} and {other.name} have no point in common."
        return
    yield from _seeds(base, other, aligned)
    yield from _flags(base, other, aligned)
    processors = [{name: side.run.environment.get(name) for name in PROCESSOR} for side in (base, other)]
    are_known = all(any(known.values()) for known in processors)
    if are_known and processors[0] != processors[1] and any(_is_moved_score(c) for c in changes):
        yield (
            "The processors are unlike, and training repeats exactly on one kind of processor only: a part "
            "of each difference in accuracy may come from the processor."
        )
    if any(_is_moved_score(c) and np.isnan(c.low) for c in changes):
        yield (
            f"Accuracies of fewer than {SEEDS_FOR_T} seeds have no interval where the scores of single test "
            "tasks (per_task.csv), by which they would be paired, are not in both runs."
        )
    if are_known and processors[0] != processors[1] and any(_is_moved(c, "scratch_bytes") for c in changes):
        yield "Kernels' scratch, a part of peak_bytes, depends on the processor; tracked_peak_bytes does not."
    if any(c.kind == "seconds" and "unpaired" in c.basis and c.verdict in CALLABLE for c in changes):
        yield (
            "Times of two runs are unpaired, their intervals over blocks: what lasted through a whole run, "
            "such as another program, is not in them."
        )


def _is_moved(change: Change, metric: str) -> bool:
    return change.metric == metric and change.is_called


def _is_moved_score(change: Change) -> bool:
    return change.kind in ("score", "loss") and change.verdict in CALLABLE


def _seeds(base: Side, other: Side, aligned: Alignment) -> Iterator[str]:
    for measure in dict.fromkeys(aligned.points.measure):
        seeds = [set(rows[rows.measure == measure].seed) for rows in (aligned.base, aligned.other)]
        if all(seeds) and seeds[0] != seeds[1]:
            first, second, shared = (
                ", ".join(map(str, sorted(each))) for each in (*seeds, seeds[0] & seeds[1])
            )
            told = f"those in both count: {shared}" if shared else "none is in both, and nothing is compared"
            yield (
                f"The seeds of {measure} are {first} in {base.letter} and {second} in {other.letter}; {told}."
            )


def _flags(base: Side, other: Side, aligned: Alignment) -> Iterator[str]:
    for side, rows in ((base, aligned.base), (other, aligned.other)):
        flags = rows[(rows.measure == "time") & (rows.metric == "flag")]
        if len(flags):
            points = len(flags[["key", "inner_steps"]].drop_duplicates())
            some = "1 timed point" if points == 1 else f"{points} timed points"
            yield f"Flagged at {some} of {side.name}, such as: {flags.detail.iloc[0]}."
