"""Published figures beside those of the runs: the paper's accuracies, the dataset's baseline, and what the
suites name as their deviations."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from harness.analyze.loaded import LoadedRun
from harness.analyze.published.baseline import AgainstBaseline, against_baseline
from harness.analyze.published.beside import Beside
from harness.present.palette import label_order
from harness.present.report.blocks import Block, Cell, Prose, Section, Statement, Statements, Table
from harness.present.report.cells import NONE, count, numeric_columns, text
from harness.present.report.sources import Tracer
from harness.present.tables.published import (
    ERROR_COLUMNS,
    HAUSDORFF,
    floors_of,
    notes_on,
    notes_on_all,
    notes_on_errors,
    number,
    plus_minus,
    spread,
)
from harness.present.words import workload_in_words

NOTHING = (
    "Nothing that was tested here has figures in the paper: its tables have Omniglot, 5- and 20-way with 1 "
    "and 5 shots, and Mini-ImageNet, 5-way 1-shot."
)


def published_section(runs: dict[str, LoadedRun], tracer: Tracer) -> Section:
    blocks = [
        block for name, run in runs.items() for block in _of_run(name, run, tracer, several=len(runs) > 1)
    ]
    return Section(
        id="published",
        title="Beside published figures",
        blocks=tuple(blocks) or (Prose(sentences=(NOTHING,)),),
    )


def _of_run(name: str, run: LoadedRun, tracer: Tracer, *, several: bool) -> Iterator[Block]:
    every = run.published()
    whose = f", {name}" if several else ""
    for workload, group in groupby(every, key=lambda each: each.workload):
        found = list(group)
        where = f"{workload_in_words(workload)}{whose}"
        yield _beside_table(found, f"The paper's {found[0].figure.table}, accuracy in %: {where}")
        yield _sentences(found, name, tracer)
    if every:
        yield Prose(sentences=tuple(notes_on_all(every)))
    for workload, of in groupby(against_baseline(run), key=lambda each: each.workload):
        errors = sorted(of, key=lambda each: label_order(each.method, each.method_label))
        where = f"{workload_in_words(workload)}{whose}"
        yield _error_table(errors, f"Errors in % beside the {HAUSDORFF}: {where}")
        yield _sentences(errors, name, tracer)
    after = (f"Protocol and settings after {run.source}.",) if run.source else ()
    if run.deviations or run.source:
        these = "these" if run.deviations else "no"
        said = (
            f"The suite{' of ' + name if whose else ''} names {these} deviations from the published protocol."
        )
        yield Prose(sentences=(said, *run.deviations, *after))


def _sentences(found: Sequence[Beside] | Sequence[AgainstBaseline], run: str, tracer: Tracer) -> Statements:
    items = tuple(
        Statement(
            sentence=f"{each.sentence}.",
            sources=tracer.sources(run, [each.evidence]),
            doubt=tracer.doubt(run, [each.evidence]),
        )
        for each in found
    )
    return Statements(items=items, title="The same in sentences, with their rows", is_compact=True)


def _beside_table(found: list[Beside], caption: str) -> Table:
    lines = [
        (
            Cell(each.method_label),
            count(each.inner_steps),
            Cell(each.ours_in_words, each.mean),
            text(each.basis),
            Cell(each.figure.printed, each.figure.accuracy),
            text(f"{each.figure.row}, {each.figure.source}"),
            Cell(each.difference_in_words, each.difference, each.interval_in_words),
            text("" if each.another else each.verdict),
        )
        for each in found
    ]
    columns = ("method", "inner steps", "ours", "± over", "published", "source", "difference", "ours is")
    return Table(
        caption=caption,
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=("Small: 95% interval of the difference, in points.", *notes_on(found)),
    )


def _error_table(errors: list[AgainstBaseline], caption: str) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for each in errors:
        halves = (*spread(each.halves), *spread(each.difference_halves))
        own, paired = [text(half) for half in halves[:2]], [text(half) for half in halves[2:]]
        difference = Cell(f"{each.difference + 0.0:+.1f}", each.difference)
        error = Cell(number(each.error), each.error)
        lines.append((Cell(each.method_label), count(each.inner_steps), error, *own, difference, *paired))
    for name, value, half in floors_of(errors):
        floor = Cell(number(value), value)
        lines.append((Cell(name), NONE, floor, NONE, text(plus_minus(half)), NONE, NONE, NONE))
    return Table(
        caption=caption,
        columns=("method", *ERROR_COLUMNS),
        lines=lines,
        numeric=frozenset(range(1, 1 + len(ERROR_COLUMNS))),
        notes=tuple(notes_on_errors(errors)),
    )
