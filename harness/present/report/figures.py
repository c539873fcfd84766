"""The figures of a report: each picture with its data in words and as a table, its rows and its commands."""

import re
import shlex
from typing import Any

import pandas as pd

from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.growth import MIB
from harness.analyze.training import training_summary
from harness.present.palette import label_order
from harness.present.plots.curves import NOTHING, Curves, curves_of
from harness.present.plots.pareto import AXES
from harness.present.plots.pictures import PICTURES, TRACE, TRAINING
from harness.present.report.blocks import Cell, Figure, Table
from harness.present.report.cells import NONE, count, in_digits, number, numeric_columns, text
from harness.present.report.drawings import PAGE, Drawing
from harness.present.report.ink import Ink
from harness.present.report.inline_svg import inline_svg
from harness.present.report.sources import Tracer
from harness.present.tables.grid import PARTLY
from harness.present.tables.training import cells_of

LINES_IN_WORDS = 24  # curves that a description tells one by one; of more it says how many, the table has all
INTERVALS = {
    "accuracy": "95% interval",
    "time": "95% interval",
    "gradient": "least and largest of a seed",
}
COUNTED = {"accuracy": "seeds", "time": "rounds", "gradient": "seeds"}
STEPS_ACROSS = 12  # columns of a table of methods by inner steps: of more, a line a point
FLAGGED = "‡"


def figure_block(
    drawing: Drawing, runs: dict[str, LoadedRun], tracer: Tracer, taken: set[str]
) -> tuple[Figure, set[Ink]]:
    """The block, and the colours that its picture needs. `taken` are the ids that the page has."""
    name = _free_id(f"figure-{drawing.name}", taken)
    curves = _curves(drawing)
    description = describe(curves) if curves else drawing.title
    svg, inks = inline_svg(drawing.figure, name, drawing.title, description, PAGE)
    block = Figure(
        id=name,
        svg=svg,
        title=drawing.title,
        caption=drawing.context,
        table=_table(drawing, curves, several=len(runs) > 1),
        sources=tuple(
            source for run, evidence in drawing.evidence for source in tracer.sources(run, evidence)
        ),
        commands=commands(
            drawing, {run: runs[run] for run in dict.fromkeys(run for run, _ in drawing.evidence)}
        ),
    )
    return block, inks


def commands(drawing: Drawing, named: dict[str, LoadedRun]) -> tuple[tuple[str, str], ...]:
    """What repeats the rows, a run each, and what repeats the picture."""
    found = []
    for name, run in named.items():
        what = f"rows of {name}" if len(named) > 1 else "rows"
        found.append((what, run.command or "unknown: the run's manifest does not say"))
    runs = named.values()
    folders = " ".join(shlex.quote(str(run.path)) for run in runs)
    workloads = {workload for run in runs for workload in _of_measure(run, drawing).workload.unique()}
    only = f" --workload {shlex.quote(drawing.workload)}" if len(workloads) > 1 else ""
    return (*found, ("picture", f"innerloop plot {folders} --metric {drawing.name}{only} --out figures"))


def _of_measure(run: LoadedRun, drawing: Drawing) -> pd.DataFrame:
    rows = run.rows[run.rows.measure == drawing.measure]
    return rows if len(rows) else run.rows


def describe(curves: Curves) -> str:
    """The data of a picture in words: of each curve its first and last value, and where it failed."""
    lines = list(curves.lines())
    told = [_line_in_words(run, label, line, curves) for run, label, line in lines[:LINES_IN_WORDS]]
    words = f"{curves.ylabel} against {curves.xlabel}. {'; '.join(told)}"
    rest = len(lines) - len(told)
    return f"{words}; and {rest} more, see the table." if rest else f"{words}."


def _line_in_words(run: str, label: str, line: pd.DataFrame, curves: Curves) -> str:
    whose = f"{label} in {run}" if len(curves.runs) > 1 else label
    known = line[line.value.notna()]
    parts = []
    if len(known):
        ends = [known.iloc[0], known.iloc[-1]][: len(known)]
        parts.append(" to ".join(f"{in_digits(end['value'], 3)} at {end['x']:,.0f}" for end in ends))
    for fate, failed in line[line.value.isna()].groupby("status", sort=False):
        parts.append(f"{fate} at {', '.join(f'{step:,}' for step in failed.inner_steps)}")
    return f"{whose}: {', '.join(parts) or 'nothing measured'}"


def _curves(drawing: Drawing) -> Curves | None:
    if drawing.name not in PICTURES:
        return None
    curves = next(iter(curves_of(drawing.name, drawing.points)), None)
    if (
        curves is not None and curves.is_error
    ):  # drawn above 0, for want of one on the axis; told as what it is
        drawn = curves.points[["value", "low", "high"]]
        curves.points[["value", "low", "high"]] = drawn.mask(drawn <= NOTHING, 0.0)
    return curves


def _table(drawing: Drawing, curves: Curves | None, *, several: bool) -> Table:
    notes: list[str] = []
    if drawing.name == TRACE:
        columns, lines = _peaks(drawing.points, several)
    elif drawing.name == TRAINING:
        columns, lines = _trained(drawing.points, several)
    elif curves is None:
        columns, lines = _weighed(drawing.points, several)
    elif curves.by_steps and curves.points.inner_steps.nunique() <= STEPS_ACROSS:
        columns, lines, notes = _grid(curves, drawing, several)
    else:
        columns, lines = _points(curves, drawing, several)
    return Table(
        caption=f"The points: {curves.ylabel}" if curves else "The points",
        columns=columns,
        lines=lines,
        numeric=numeric_columns(lines),
        notes=tuple(notes),
        elsewhere=f"{drawing.name}.csv, which the command for the picture writes beside it",
    )


def _grid(
    curves: Curves, drawing: Drawing, several: bool
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]], list[str]]:
    """Methods down, inner steps across; what each cell holds is said below."""
    steps = sorted(int(step) for step in curves.points.inner_steps.unique())
    lines = []
    for run, label, line in curves.lines():
        cells = {point["inner_steps"]: _in_grid(point) for point in line.to_dict("records")}
        lines.append((Cell(label), *([Cell(run)] if several else []), *(cells.get(s, NONE) for s in steps)))
    measure = PICTURES[drawing.name].measure
    points = curves.points
    notes = []
    if points.low.notna().any() and measure in INTERVALS:
        notes.append(f"Small: {INTERVALS[measure]}.")
    if counted := COUNTED.get(measure):
        counts = drawing.points[counted][drawing.points[counted] > 0]
        if len(counts):
            least, most = int(counts.min()), int(counts.max())
            number = f"{least} to {most}" if most > least else f"{most}"
            notes.append(f"{number} {counted if most > 1 else counted.removesuffix('s')} a point.")
    known = points.value.notna()
    marks = ((PARTLY, known & (points.failed > 0), "some rows of the point failed, the value is of others"),
             (FLAGGED, known & (points.flag != ""), "flagged, see Failures and flags"))  # fmt: skip
    notes += [f"{mark} {words}." for mark, where, words in marks if where.any()]
    columns = ("method", *(["run"] if several else []), *(f"{step:,}" for step in steps))
    return columns, lines, [" ".join(["Methods down, inner steps across.", *notes])]


def _in_grid(point: dict[Any, Any]) -> Cell:
    value = point["value"]
    if pd.isna(value):
        return text(point["status"])
    known = pd.notna(point["low"]) and pd.notna(point["high"])
    interval = f"{in_digits(point['low'])} to {in_digits(point['high'])}" if known else ""
    marks = (PARTLY if point["failed"] else "") + (FLAGGED if point["flag"] else "")
    return Cell(f"{in_digits(value)}{marks}", float(value), interval)


def _points(
    curves: Curves, drawing: Drawing, several: bool
) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """A line a point: what is drawn, in the unit of the axis, and what became of what is not."""
    measure = PICTURES[drawing.name].measure
    by_work = not curves.by_steps
    counted = COUNTED.get(measure)
    key = ["run", "method_label", "inner_steps"]
    counts = drawing.points.set_index(key)[counted].to_dict() if counted else {}
    interval = curves.points.low.notna().any()
    columns = [
        "method",
        *(["run"] if several else []),
        "inner steps",
        *(["work"] if by_work else []),
        "value",
    ]
    columns += [INTERVALS.get(measure, "interval")] if interval else []
    columns += [counted] if counted else []
    columns += ["what happened"]
    lines = []
    for run, label, line in curves.lines():
        for point in line.to_dict("records"):
            cells = [text(label), *([text(run)] if several else []), count(point["inner_steps"])]
            cells += [count(point["x"])] if by_work else []
            cells += [number(point["value"])]
            cells += [_interval(point["low"], point["high"])] if interval else []
            cells += [count(counts[run, label, point["inner_steps"]])] if counted else []
            lines.append((*cells, text(_fate(point))))
    return tuple(columns), lines


def _interval(low: float, high: float) -> Cell:
    if pd.isna(low) or pd.isna(high):
        return NONE
    return Cell(f"{in_digits(low)} to {in_digits(high)}", float(low))


def _fate(point: dict[Any, Any]) -> str:
    words = []
    if pd.isna(point["value"]):
        words.append(str(point["status"]))
    elif point["failed"]:
        words.append(f"{point['failed']} failed ({point['failure']})")
    if point["flag"]:
        words.append("flagged")
    return ", ".join(words) or "ok"


def _peaks(traces: pd.DataFrame, several: bool) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """A line a method: where its live memory is the highest."""
    keys = traces[["run", "method", "method_label"]].drop_duplicates().itertuples(index=False, name=None)
    lines: list[tuple[Cell, ...]] = []
    for run, _, label in sorted(keys, key=lambda key: label_order(*key[1:])):
        trace = traces[(traces.run == run) & (traces.method_label == label)]
        top = trace.iloc[int(trace.live_bytes.to_numpy().argmax())]
        where = (count(top.inner_steps), number(top.live_bytes / MIB), text(top.phase))
        share = Cell(f"{100 * top.fraction:.0f} %", float(top.fraction))
        lines.append((Cell(str(label)), *([text(run)] if several else []), *where, share))
    places = ("method", *(["run"] if several else []))
    return (*places, "inner steps", "highest (MiB)", "phase", "after this share of the operators"), lines


def _trained(points: pd.DataFrame, several: bool) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """A line a method: where its training ended and what was selected, over its seeds."""
    lines: list[tuple[Cell, ...]] = []
    for run, own in points.groupby("run", sort=False):
        summary = training_summary(own)
        records = [{str(name): value for name, value in line.items()} for line in summary.to_dict("records")]
        for line in sorted(records, key=lambda line: label_order(line["method"], line["method_label"])):
            whose = [text(run)] if several else []
            lines.append((Cell(line["method_label"]), *whose, *(text(each) for each in cells_of(line))))
    places = ("method", *(["run"] if several else []), "inner steps")
    return (*places, "ended", "selected", "at the end", "validation"), lines


def _weighed(points: pd.DataFrame, several: bool) -> tuple[tuple[str, ...], list[tuple[Cell, ...]]]:
    """A line a point and cost: what it gives, what it takes, and whether another point beats it."""
    records = [{str(name): value for name, value in point.items()} for point in points.to_dict("records")]
    records.sort(
        key=lambda p: (p["cost"], not p["is_efficient"], label_order(p["method"], p["method_label"]))
    )
    lines = []
    for point in records:
        gives, takes = (_on_axis(point, side) for side in ("quality", "cost"))
        beaten = "no" if point["is_efficient"] else "perhaps" if point["may_be_efficient"] else "yes"
        run = [text(point["run"])] if several else []
        steps = count(point["inner_steps"])
        lines.append((Cell(point["method_label"]), *run, steps, *gives, *takes, Cell(beaten)))
    places = ("method", *(["run"] if several else []), "inner steps")
    return (*places, "gives", "quality", "takes", "cost", "beaten"), lines


def _on_axis(point: dict[str, Any], side: str) -> tuple[Cell, Cell]:
    """The name of the axis, and the value in its unit."""
    axis = AXES[point[side]]
    value, low, high = (axis.unit * point[f"{side}_{end}"] for end in ("value", "low", "high"))
    ends = f"{in_digits(low, 3)} to {in_digits(high, 3)}" if low < high else ""
    return Cell(axis.name), Cell(in_digits(value), float(value), ends)


def _free_id(wanted: str, taken: set[str]) -> str:
    plain = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    taken.add(name)
    return name
