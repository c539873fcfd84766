"""Who is more accurate, by how much and how sure that is: every pair of methods, the clearest first."""

from collections.abc import Iterator

import numpy as np

from harness.analyze.accuracy.difference import UNCOMPARED, WEAK, Difference
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import counted
from harness.present.report.blocks import Cell, Statement, Table
from harness.present.report.cells import NONE, count, number, numeric_columns, text
from harness.present.report.sources import Tracer
from harness.present.report.where import place
from harness.present.words import workload_in_words

LEAST_SEEDS = 3  # of an interval over training runs
TOLD_FIRST = 3  # of one workload: the largest differences that were called


def differences_of(runs: dict[str, LoadedRun]) -> dict[str, list[Difference]]:
    return {name: run.accuracy_differences() for name, run in runs.items()}


def difference_table(found: dict[str, list[Difference]]) -> Table:
    """A line a comparison: those at the steps that validation chose, then those at equal steps."""
    several = len(found) > 1
    workloads = len({each.workload for of in found.values() for each in of}) > 1
    pairs = [(run, each) for run, of in found.items() for each in of]
    needed = {each.needed_in_words for _, each in pairs}
    once = needed.pop() if len(needed) == 1 else ""  # of all comparisons, and then below them
    lines = []
    for run, each in sorted(pairs, key=lambda pair: not pair[1].chosen):
        lines.append(
            (
                Cell(f"{each.first} less {each.second}"),
                *([text(run)] if several else []),
                _steps(each),
                Cell("validation" if each.chosen else "equal" if each.inner_steps else "none in common"),
                _number(each, each.difference),
                _interval(each),
                number(each.p_holm, 2) if each.p_in_words else NONE,
                count(each.seeds),
                text(_verdict(each)),
                *([] if once else [text(each.needed_in_words)]),
                *([text(workload_in_words(each.workload))] if workloads else []),
            )
        )
    columns = (
        "first less second",
        *(["run"] if several else []),
        "inner steps",
        "steps chosen by",
        "difference",
        "95% interval",
        "p (Holm)",
        "seeds",
        "verdict",
        *([] if once else ["what would do"]),
        *(["workload"] if workloads else []),
    )
    return Table(
        caption="Differences of accuracy, first less second, in points (of loss: in its unit)",
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=(*_notes([each for _, each in pairs]), *([f"Of every comparison: {once}."] if once else [])),
    )


def _verdict(each: Difference) -> str:
    """Between methods; below three seeds, which cannot say, whether these trained models differ."""
    if each.verdict == WEAK and each.interval != "seeds" and each.models_differ:
        return "these models differ"
    return each.verdict


def _notes(pairs: list[Difference]) -> Iterator[str]:
    kinds = {each.interval for each in pairs}
    if "seeds" in kinds:
        yield "Over three seeds or more: Student's interval of the paired differences of the per-seed means."
    if any(each.same_tasks and each.interval == "seeds" for each in pairs):
        yield "Where all seeds have the same test tasks, being all that there are, it holds for these alone."
    if "tasks" in kinds:
        yield (
            "Below three seeds: a bootstrap over test tasks, paired by episode; it holds for these trained "
            "models only, so that no winner is called between methods."
        )
    if "unpaired" in kinds:
        yield (
            "Where the values of single tasks were not kept: from the half-widths of both sides, not paired, "
            "for these trained models only."
        )
    yield "p is Holm's correction over all comparisons of a workload."


def from_seeds_enough(found: dict[str, list[Difference]]) -> dict[str, list[Difference]]:
    """Those of the workloads that some method was trained on with three seeds: of the others the title of the
    picture says that no winner can be called."""
    most: dict[tuple[str, str], int] = {}
    for run, every in found.items():
        for each in every:
            most[run, each.workload] = max(each.seeds, most.get((run, each.workload), 0))
    return {
        run: [each for each in every if most[run, each.workload] >= LEAST_SEEDS]
        for run, every in found.items()
    }


def difference_findings(
    found: dict[str, list[Difference]], runs: dict[str, LoadedRun], tracer: Tracer
) -> Iterator[Statement]:
    """Of each run and workload the largest differences that were called; else that none was."""
    for run, every in found.items():
        for workload in dict.fromkeys(each.workload for each in every):
            pairs = [each for each in every if each.workload == workload]
            called = [each for each in pairs if each.better is not None]
            # What validation chose is the fair one; equal steps only where it chose none.
            called = [each for each in called if each.chosen] or called
            where = ", ".join(place(run, workload, runs))
            if not called and any(each.verdict != UNCOMPARED for each in pairs):
                evidence = dict.fromkeys(e for each in pairs for e in each.evidence)
                yield Statement(
                    sentence=f"Accuracy: no winner among {counted(len(pairs), 'comparison')} between methods "
                    f"can be called{_why(pairs)}.",
                    subject=where,
                    sources=tracer.sources(run, evidence),
                    doubt=tracer.doubt(run, evidence),
                )
            called.sort(key=lambda each: -abs(each.difference))
            for each in called[:TOLD_FIRST]:
                better = each.seen_from(str(each.better))
                yield Statement(
                    sentence=f"{better.sentence}.",
                    subject=where,
                    sources=tracer.sources(run, better.evidence),
                    doubt=tracer.doubt(run, better.evidence),
                )


def _why(pairs: list[Difference]) -> str:
    needed = [each.seeds_needed for each in pairs if each.seeds_needed]
    return f"; {min(needed)} seeds would do for the clearest" if needed else ""


def _steps(each: Difference) -> Cell:
    if each.inner_steps is not None:
        return count(each.inner_steps)
    return Cell(f"{each.first_steps:,} and {each.second_steps:,}", float(each.first_steps))


def _number(each: Difference, value: float) -> Cell:
    return Cell(each.shown(value), float(value)) if np.isfinite(value) else NONE


def _interval(each: Difference) -> Cell:
    if not (np.isfinite(each.low) and np.isfinite(each.high)):
        return NONE
    over = {"seeds": "", "tasks": " (tasks)", "unpaired": " (tasks, unpaired)"}.get(each.interval, "")
    return Cell(f"{each.shown(each.low)} to {each.shown(each.high)}{over}", float(each.low))
