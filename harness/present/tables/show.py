"""What `innerloop show RUN` prints: the curves as tables, and what failed."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyze.accuracy.differences import accuracy_differences
from harness.analyze.finding import Doubts
from harness.analyze.loaded import LoadedRun, load_run
from harness.analyze.pareto import pareto_points
from harness.analyze.readings import memory_readings
from harness.analyze.scaling.crossings import Crossing, telling
from harness.analyze.scaling.growth import MIB, Scaling
from harness.analyze.scaling.laws import scaling_fits
from harness.analyze.scaling.pairs import paired_ratios
from harness.analyze.summary import FLOORS
from harness.analyze.words import counted
from harness.present.methods_used import methods_used
from harness.present.palette import NEWTON_METHODS, label_order, method_order
from harness.present.tables.caveats import failure_table, flag_table
from harness.present.tables.cost import cost_sections
from harness.present.tables.differences import difference_sections
from harness.present.tables.efficient import efficient_sections
from harness.present.tables.gradient import gradient_sections
from harness.present.tables.grid import PARTLY, bare_table, grid, section
from harness.present.tables.published import published_sections
from harness.present.tables.readings import readings_sections
from harness.present.tables.training import training_sections
from harness.present.tables.tuning import tuning_sections
from harness.settings import format_settings


def show_run(run: LoadedRun | Path | str) -> list[RenderableType]:
    """The renderables, top to bottom. Nothing is cut off at 80 columns: long cells wrap."""
    run = run if isinstance(run, LoadedRun) else load_run(run)
    frame, accuracy, memory, time = run.rows, run.accuracy, run.memory, run.time
    shown: list[RenderableType] = [header(run)]
    if searched := list(tuning_sections(run)):
        return shown + searched
    for workload, part in accuracy.groupby("workload"):
        loss = bool((part.metric == "loss").any())
        title = f"{'Loss' if loss else 'Accuracy, %,'} on fresh test tasks: {workload}"
        table = grid(part, "mean", _loss if loss else _percent)
        shown.append(section(title, table, [*_about_accuracy(part, loss), *_about_points(part, "mean")]))
        if len(untrained := part.dropna(subset="untrained")):
            floor = grid(untrained, "untrained", _untrained_loss if loss else _untrained_percent)
            shown.append(section("The same adaptation from the untrained initialisation", floor, []))
    shown += published_sections(run)
    shown += training_sections(run)
    shown += difference_sections(accuracy_differences(run))
    shown += gradient_sections(run)
    readings = memory_readings(frame)
    crossed = telling(run.crossings(), label_order)
    fits = scaling_fits(memory)
    held = Doubts(frame[frame.measure == "memory"])
    for workload, part in memory.groupby("workload"):
        table = grid(part, "peak_bytes", _mebibytes)
        notes = [
            *_scaling(fits, workload, held),
            *_crossings(crossed, workload, "memory", held),
            *_about_points(part, "peak_bytes"),
        ]
        shown.append(section(f"Peak memory of a meta-step, MiB: {workload}", table, notes))
        shown += readings_sections(readings[readings.workload == workload])
    ratios = paired_ratios(frame, method_order)
    timed = Doubts(frame[frame.measure == "time"])
    cost = cost_sections(run.costs(), timed)
    fits = scaling_fits(time, frame)
    for workload, part in time.groupby("workload"):
        notes = [*_about_time(part), *_scaling(fits, workload, timed), *_about_points(part, "median")]
        table = grid(part, "median", _milliseconds)
        shown.append(section(f"Time of a meta-step, ms: {workload}", table, notes))
        paired = ratios[ratios.workload == workload]
        if paired.ratio.notna().any():
            title = f"Time relative to {paired.reference.iloc[0]}, paired per round"
            notes = [*_about_ratios(paired), *_crossings(crossed, workload, "time", timed)]
            shown.append(section(title, grid(paired, "ratio", _ratio), notes))
        shown += cost.get(str(workload), [])
    shown += efficient_sections(pareto_points(run))
    if not run.failures.empty:
        shown.append(section("Failed and skipped", failure_table(run.failures), []))
    if (frame.metric == "flag").any():
        shown.append(section("Flags: read these numbers with care", flag_table(frame), []))
    if not frame.empty:
        shown.append(section("Settings", settings_table(frame), []))
    if frame.empty:
        shown.append(
            Text("No cell of the plan has finished yet." if run.cells_planned else "It has no rows.")
        )
    return shown


def header(run: LoadedRun) -> Text:
    """Suite, progress, and the machine in one line; then what is to be known before the figures."""
    finished, planned = f"{run.cells_finished:,}", run.cells_planned
    facts = [
        f"{finished} cells finished" if planned is None else f"{finished} of {planned:,} cells finished",
        _fact(run.environment, "device_name"),
        counted(threads, "thread") if (threads := run.environment.get("threads")) else "",
        f"torch {torch}" if (torch := _fact(run.environment, "torch")) else "",
    ]
    name = str(run.manifest.get("run_id", run.name))
    line = Text.assemble((name, "bold"), "".join(f" · {fact}" for fact in facts if fact), "\n")
    return line.append("".join(f"{caveat}\n" for caveat in run.caveats), "yellow")


def _fact(environment: dict[str, Any], name: str) -> str:
    """What the environment says under this name; empty where it says nothing."""
    return str(environment.get(name) or "")


def settings_table(frame: pd.DataFrame) -> Table:
    """What each method ran with."""
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    table.add_column("settings", overflow="fold", ratio=1)
    for label, where, settings in methods_used(frame):
        name = f"{label} ({where})" if where else label
        table.add_row(Text(name), Text(format_settings(json.loads(settings)).replace(",", ", ")))
    return table


def _percent(point: Any) -> str:
    half = (point.high - point.low) / 2
    return f"{100 * point.mean:.1f}" + (f" ±{100 * half:.1f}" if pd.notna(half) else "")


def _loss(point: Any) -> str:
    half = (point.high - point.low) / 2
    return f"{point.mean:.3g}" + (f" ±{half:.2g}" if pd.notna(half) else "")


def _untrained_percent(point: Any) -> str:
    return f"{100 * point.untrained:.1f}"


def _untrained_loss(point: Any) -> str:
    return f"{point.untrained:.3g}"


def _mebibytes(point: Any) -> str:
    mib = point.peak_bytes / MIB
    return f"{mib:.{1 if mib >= 1 else 3}f}"


def _milliseconds(point: Any) -> str:
    half = (point.high - point.low) / 2
    digits = 2 if point.median < 0.01 else 1 if point.median < 1 else 0
    return f"{1e3 * point.median:.{digits}f}" + (f" ±{1e3 * half:.{digits}f}" if pd.notna(half) else "")


def _about_accuracy(part: pd.DataFrame, loss: bool) -> list[str]:
    """What ± means, and the floors that the values are to be read against."""
    notes = []
    if (by_seed := part.seeds[part.interval_kind == "seeds"]).size:
        notes.append(f"± is a 95% t interval over {_range(by_seed.min(), by_seed.max(), '{:.0f}')} seeds.")
    if (part.interval_kind == "tasks").any():
        notes.append("± is 95% over test tasks (fewer than 3 seeds: the spread of training is not in it).")
    template, scale = ("{:.3g}", 1) if loss else ("{:.1f}", 100)
    floors = [
        f"{name} {_range(scale * part[column].min(), scale * part[column].max(), template)}"
        for column, name in ({"untrained": "untrained"} | FLOORS).items()
        if part[column].notna().any()
    ]
    return [*notes, *([f"Floors: {', '.join(floors)}."] if floors else [])]


def _about_points(part: pd.DataFrame, value: str) -> list[str]:
    notes = []
    if ((part.failed > 0) & part[value].notna()).any():
        notes.append(f"{PARTLY} some runs of this point failed; the value is of the others.")
    newton = sorted(set(part.method) & NEWTON_METHODS)
    if newton:
        notes.append(f"An inner step of {', '.join(newton)} is a Newton step.")
    return notes


def _range(low: float, high: float, template: str) -> str:
    first, last = template.format(low), template.format(high)
    return first if first == last else f"{first} to {last}"


def _about_time(part: pd.DataFrame) -> list[str]:
    rounds, blocks = part.rounds.max(), part.blocks.max()
    if not rounds:
        return []
    some = f"{counted(rounds, 'round')} in {counted(blocks, 'block')}"
    return [f"Median of {some}, ± half of its bootstrap 95% interval: within this run, not between runs."]


def _scaling(fits: list[Scaling], workload: Any, doubts: Doubts) -> list[str]:
    known = [f for f in fits if f.workload == workload and (f.slope is None or f.slope.is_known)]
    known.sort(key=lambda f: label_order(f.method, f.method_label))
    return [_with_doubt(each, doubts) for each in known]


def _crossings(crossed: list[Crossing], workload: object, measure: str, doubts: Doubts) -> list[str]:
    own = [each for each in crossed if (each.workload, each.measure) == (workload, measure)]
    return [_with_doubt(each, doubts) for each in own]


def _with_doubt(found: Scaling | Crossing, doubts: Doubts) -> str:
    doubt = doubts.about(found.evidence)
    return f"{found.sentence} ({doubt})" if doubt else found.sentence


def _ratio(point: Any) -> str:
    digits = 1 if point.ratio >= 10 else 2 if point.ratio >= 0.1 else 4
    interval = f" ({point.low:.{digits}f}-{point.high:.{digits}f})" if pd.notna(point.low) else ""
    return f"{point.ratio:.{digits}f}{interval}"


def _about_ratios(part: pd.DataFrame) -> list[str]:
    known = part[part.pairs > 0]
    pairs = _range(known.pairs.min(), known.pairs.max(), "{:.0f}")
    blocks = known.blocks.max()
    interval = f", with a 95% t interval over {blocks} blocks" if blocks > 1 else ""
    notes = [
        f"Median over the rounds of a block, geometric mean over blocks{interval}; {pairs} pairs a point."
    ]
    if (part.status == "unpaired").any():
        notes.append(f"unpaired: {part.reference.iloc[0]} was not timed at as many steps.")
    return notes
