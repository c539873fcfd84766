"""Where one method overtakes another, and what its steps cost in gradients and Hessian products."""

from collections.abc import Iterator

import pandas as pd

from harness.analyze.cost import COUNTS, cost_models
from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.crossings import LESS, Crossing, telling
from harness.analyze.words import listed
from harness.present.palette import label_order
from harness.present.report.blocks import Block, Cell, Prose, Section, Statement, Statements, Table
from harness.present.report.cells import NONE, count, number, numeric_columns, text
from harness.present.report.sources import Tracer
from harness.present.report.where import place
from harness.present.words import workload_in_words

NO_CROSSING = (
    "No two curves are known to cross materially, on any measure, at the inner steps that were measured."
)
NOT_COUNTED = (
    "Time cells of these runs do not say how many gradients and Hessian products a step took: they are older "
    "than that count. `innerloop run time-scaling` counts them."
)


def crossings_of(runs: dict[str, LoadedRun]) -> list[tuple[str, Crossing]]:
    """Those worth a sentence, of each run."""
    return [(run, each) for run, loaded in runs.items() for each in telling(loaded.crossings(), label_order)]


def shared_crossings(
    found: list[tuple[str, Crossing]], runs: dict[str, LoadedRun], tracer: Tracer
) -> Iterator[Statement]:
    """One sentence where several runs show the same two methods cross; each run's figures stand below."""
    groups: dict[tuple[str, str, str, str], list[tuple[str, Crossing]]] = {}
    for run, each in found:
        groups.setdefault((each.workload, each.metric, each.winner, each.loser), []).append((run, each))
    for (workload, metric, winner, loser), shown in groups.items():
        if len(shown) == 1:
            yield from crossing_statements(shown, runs, tracer)
            continue
        whose: dict[str, list[str]] = {}
        for run, each in shown:
            whose.setdefault(_from_where(each), []).append(run)
        pair = f"{winner} {LESS[metric][0]} {loser}"
        (first, _), *others = whose.items()
        told = [f"{words} in {listed(of)}" for words, of in whose.items()] if others else [first]
        sentence = f"{_begun(listed(told))}, {pair}."
        names = listed([run for run, _ in shown])
        yield Statement(
            sentence=sentence,
            subject=", ".join([shown[0][1].measure, *place(names, workload, runs)]),
            sources=tuple(each for run, of in shown for each in tracer.sources(run, of.evidence)),
            doubt="; ".join(
                f"{run}: {doubt}" for run, of in shown if (doubt := tracer.doubt(run, of.evidence))
            ),
        )


def _from_where(crossing: Crossing) -> str:
    if crossing.from_step is not None:
        return f"from {crossing.from_step:,} inner steps on"
    last = max(step for step, lead in zip(crossing.steps, crossing.ahead, strict=True) if lead)
    return f"at {last:,} inner steps"


def crossing_statements(
    found: list[tuple[str, Crossing]], runs: dict[str, LoadedRun], tracer: Tracer
) -> Iterator[Statement]:
    for run, each in found:
        yield Statement(
            sentence=f"{_begun(each.sentence)}.",
            subject=", ".join([each.measure, *place(run, each.workload, runs)]),
            sources=tracer.sources(run, each.evidence),
            doubt=tracer.doubt(run, each.evidence),
        )


def crossings_section(
    found: list[tuple[str, Crossing]], runs: dict[str, LoadedRun], tracer: Tracer
) -> Section:
    items = tuple(crossing_statements(found, runs, tracer))
    blocks: tuple[Block, ...] = (Statements(items=items, is_compact=True),) if items else ()
    return Section(
        id="crossings", title="Who overtakes whom", blocks=blocks or (Prose(sentences=(NO_CROSSING,)),)
    )


def cost_section(runs: dict[str, LoadedRun], tracer: Tracer) -> Section:
    """A sentence a workload, and a table of what each timed point asked for."""
    tables = {run: loaded.costs() for run, loaded in runs.items()}
    models = [(run, model) for run, table in tables.items() for model in cost_models(table)]
    items = tuple(
        Statement(
            sentence=model.sentence,
            subject=", ".join(place(run, model.workload, runs)),
            sources=tracer.sources(run, model.evidence),
            doubt=tracer.doubt(run, model.evidence),
        )
        for run, model in models
    )
    blocks: list[Block] = [Statements(items=items, is_compact=True)] if items else []
    table = _table(tables)
    blocks += [table] if table.lines else [Prose(sentences=(_why_none(runs),))]
    return Section(id="cost", title="Cost in gradients and Hessian products", blocks=tuple(blocks))


def _why_none(runs: dict[str, LoadedRun]) -> str:
    timed = any((run.rows.measure == "time").any() for run in runs.values())
    return NOT_COUNTED if timed else "Time was not measured; `innerloop run time-scaling` does."


def _begun(sentence: str) -> str:
    """A method's name keeps its small letter, also where a sentence begins with it."""
    return sentence[:1].upper() + sentence[1:] if sentence.startswith(("from ", "at ")) else sentence


def _table(tables: dict[str, pd.DataFrame]) -> Table:
    several = len(tables) > 1
    points = pd.concat([table.assign(run=run) for run, table in tables.items()], ignore_index=True)
    points = points[points[COUNTS].notna().any(axis=1)]
    places = points.workload.nunique() > 1
    records = [{str(name): value for name, value in point.items()} for point in points.to_dict("records")]
    records.sort(
        key=lambda p: (p["run"], p["workload"], label_order(p["method"], p["method_label"]), p["inner_steps"])
    )
    lines = [
        (
            Cell(point["method_label"]),
            *([Cell(point["run"])] if several else []),
            count(point["inner_steps"]),
            *(number(point[name], 3) for name in COUNTS),
            number(point["gradients"], 3),
            number(1e3 * point["seconds"]),
            number(1e3 * point["predicted"]),
            NONE
            if pd.isna(point["error"])
            else Cell(f"{100 * point['error']:+.0f} %", float(point["error"])),
            *([text(workload_in_words(point["workload"]))] if places else []),
        )
        for point in records
    ]
    columns = (
        *("method", *(["run"] if several else []), "inner steps"),
        *("gradients", "Hessian products", "losses", "all, in gradients"),
        *("measured (ms)", "by the model (ms)", "difference", *(["workload"] if places else [])),
    )
    return Table(
        caption="What a task's meta-step asks for, and the time that it takes",
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=("Counted in the first steps of a block, a task; measured is the minimum over its rounds.",),
    )
