"""How memory, time and work grow: sentences, with the numbers of each law."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.growth import MIB, Scaling
from harness.analyze.work import CONDITIONED, Order, orders_in, work_in
from harness.present.palette import label_order
from harness.present.report.blocks import Block, Cell, Prose, Section, Statement, Statements, Table
from harness.present.report.cells import NONE, in_digits, numeric_columns, text
from harness.present.report.sources import Tracer
from harness.present.report.where import place
from harness.present.words import workload_in_words

UNIDENTIFIED = Scaling(measure="", workload="", method="", method_label="", shape="unknown")
UNITS = {"memory": ("MiB", 1 / MIB), "time": ("ms", 1e3)}


def scaling_section(runs: dict[str, LoadedRun], tracer: Tracer) -> Section:
    fits = [(run, fit) for run, loaded in runs.items() for fit in _fits(loaded)]
    blocks: list[Block] = []
    if fits:
        items = [
            Statement(
                sentence=f"{fit.sentence}.",
                subject=", ".join([fit.measure, *place(run, fit.workload, runs)]),
                sources=tracer.sources(run, fit.evidence),
                doubt=tracer.doubt(run, fit.evidence),
            )
            for run, fit in fits
        ]
        blocks += [Statements(items=tuple(items), is_compact=True), _table(fits, runs)]
    items = list(_orders(runs, tracer))
    blocks += [Statements(items=tuple(items), is_compact=True)] if items else []
    if not blocks:
        blocks.append(Prose(sentences=("Neither memory nor time was measured; `innerloop run quick` does.",)))
    return Section(id="scaling", title="How it grows", blocks=tuple(blocks))


def _fits(run: LoadedRun) -> Iterator[Scaling]:
    for _, of_workload in groupby(run.scaling(), key=lambda fit: (fit.measure, fit.workload)):
        yield from sorted(of_workload, key=lambda fit: label_order(fit.method, fit.method_label))


def _orders(runs: dict[str, LoadedRun], tracer: Tracer) -> Iterator[Statement]:
    """Work to a given error against the condition number: of each method the smallest error that is known at
    the most condition numbers."""
    for run, loaded in runs.items():
        found = orders_in(work_in(loaded.gradient), loaded.rows)
        found.sort(key=lambda order: (-order.points, order.error))
        best = {order.method_label: order for order in reversed(found)}
        for order in sorted(best.values(), key=lambda order: label_order(order.method, order.method_label)):
            evidence = tuple(_evidence(order, loaded))
            yield Statement(
                sentence=f"{order.sentence}.",
                subject=", ".join(["work", *([run] if len(runs) > 1 else [])]),
                sources=tracer.sources(run, evidence),
                doubt=tracer.doubt(run, evidence),
            )


def _evidence(order: Order, run: LoadedRun) -> Iterator[Evidence]:
    """Its errors and its work at every condition number."""
    rows = run.rows[(run.rows.measure == "gradient") & (run.rows.method_label == order.method_label)]
    for workload in rows.workload[rows.workload_name == CONDITIONED].unique():
        yield Evidence(
            measure="gradient",
            workload=str(workload),
            methods=(order.method_label,),
            metrics=(order.target, "gradient_evaluations", "hessian_products", "solver_matvecs"),
        )


def _table(fits: list[tuple[str, Scaling]], runs: dict[str, LoadedRun]) -> Table:
    several = len(runs) > 1
    several_places = len({fit.workload for _, fit in fits}) > 1
    lines = []
    for run, fit in fits:
        law = fit if fit.shape not in ("uneven", "unknown") else UNIDENTIFIED
        unit, scale = UNITS[fit.measure]
        lines.append(
            (
                Cell(fit.method_label),
                *([Cell(run)] if several else []),
                Cell(fit.measure),
                Cell(fit.shape),
                _with_interval(law.exponent, law.exponent_low, law.exponent_high),
                _with_interval(law.a * scale, law.a_low * scale, law.a_high * scale),
                _with_interval(law.b * scale, law.b_low * scale, law.b_high * scale),
                Cell(unit),
                text("" if fit.first_step is None else f"{fit.first_step:,} to {fit.last_step:,}"),
                text("" if fit.failed_at is None else f"{fit.failure} at {fit.failed_at:,}"),
                *([text(workload_in_words(fit.workload))] if several_places else []),
            )
        )
    columns = (
        *("method", *(["run"] if several else []), "measure", "shape", "p", "a", "b", "unit"),
        *("over steps", "ends in", *(["workload"] if several_places else [])),
    )
    return Table(
        caption="The laws a + b steps^p, as they were fitted",
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=(
            "Small: 95% intervals of time; of memory, all laws within the allocator's rounding. Points that "
            "failed are bounds from below, never left out.",
        ),
    )


def _with_interval(value: float, low: float, high: float) -> Cell:
    if not np.isfinite(value):
        return NONE
    ends = f"{in_digits(low, 3)} to {in_digits(high, 3)}" if np.isfinite(low) and np.isfinite(high) else ""
    return Cell(in_digits(value, 3), float(value), ends)
