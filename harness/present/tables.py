"""What `innerloop show RUN` prints: the curves as tables, and what failed."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.analyze.growth import MIB, memory_growth
from harness.analyze.summary import accuracy_summary, failures, memory_summary, time_summary
from harness.frame import load_frame
from harness.present.palette import NEWTON_METHODS, method_order
from harness.settings import format_settings
from harness.store import RunFolder

STATUS_STYLE = {"skipped": "dim", "interrupted": "yellow"}
PARTLY = "†"


def show_run(path: Path | str | RunFolder) -> list[RenderableType]:
    """The renderables, top to bottom. Nothing is cut off at 80 columns: long cells wrap."""
    folder = path if isinstance(path, RunFolder) else RunFolder.open(path)
    frame = load_frame(folder)
    accuracy, memory, time = accuracy_summary(frame), memory_summary(frame), time_summary(frame)
    shown: list[RenderableType] = [header(folder)]
    for workload, part in accuracy.groupby("workload"):
        loss = bool((part.metric == "loss").any())
        title = f"{'Loss' if loss else 'Accuracy, %,'} on fresh test tasks: {workload}"
        grid = _grid(part, "mean", _loss if loss else _percent)
        shown.append(_section(title, grid, [*_about_accuracy(part, loss), *_about_points(part, "mean")]))
        if len(untrained := part.dropna(subset="untrained")):
            floor = _grid(untrained, "untrained", _untrained_loss if loss else _untrained_percent)
            shown.append(_section("The same adaptation from the untrained initialisation", floor, []))
    for workload, part in memory.groupby("workload"):
        grid = _grid(part, "peak_bytes", lambda point: f"{point.peak_bytes / MIB:.1f}")
        growth = sorted(memory_growth(part), key=lambda g: (method_order(g.method), g.method_label))
        notes = [*(g.sentence for g in growth), *_about_points(part, "peak_bytes")]
        shown.append(_section(f"Peak memory of a meta-step, MiB: {workload}", grid, notes))
    for workload, part in time.groupby("workload"):
        notes = [*_about_time(part), *_about_points(part, "median")]
        grid = _grid(part, "median", _milliseconds)
        shown.append(_section(f"Time of a meta-step, ms: {workload}", grid, notes))
    failed = failures(frame)
    if not failed.empty:
        shown.append(_section("Failed and skipped", failure_table(failed), []))
    flags = frame[frame.metric == "flag"]
    if not flags.empty:
        shown.append(_section("Flags: read these numbers with care", flag_table(flags), []))
    if not frame.empty:
        shown.append(_section("Settings", settings_table(frame), []))
    if frame.empty:
        shown.append(Text("No cell of the plan has finished yet."))
    return shown


def header(folder: RunFolder) -> Text:
    """Suite, progress, and the machine in one line."""
    manifest, environment = folder.manifest(), folder.environment()
    planned = {cell["id"] for cell in manifest.get("cells", [])}
    finished = [c for c in folder.finished().values() if c.cell_id in planned and not c.interrupted]
    facts = [
        f"{len(finished)} of {len(planned)} cells finished",
        _fact(environment, "device_name"),
        _counted(threads, "thread") if (threads := _fact(environment, "threads")) else "",
        f"torch {torch}" if (torch := _fact(environment, "torch")) else "",
    ]
    run = str(manifest.get("run_id", folder.path.name))
    return Text.assemble((run, "bold"), "".join(f" · {fact}" for fact in facts if fact), "\n")


def _fact(environment: dict[str, Any], name: str) -> str:
    """What the environment says under this name; empty where it says nothing."""
    return str(environment.get(name, ""))


def _counted(number: Any, thing: str) -> str:
    return f"{number} {thing}" if str(number) == "1" else f"{number} {thing}s"


def _section(title: str, table: Table, notes: list[str]) -> Group:
    return Group(Text(title, "bold"), table, *(Text(note, "dim") for note in notes), Text(""))


def _grid(points: pd.DataFrame, value: str, show: Callable[[Any], str]) -> Table:
    """Methods down, inner steps across; a failed point shows its status."""
    steps = sorted(int(step) for step in points.inner_steps.unique())
    cells: dict[tuple[str, str], dict[int, Text]] = {}
    for point in points.to_dict("records"):
        known = pd.notna(point[value])
        text = (
            show(SimpleNamespace(**{str(name): x for name, x in point.items()})) if known else point["status"]
        )
        style = "" if known else STATUS_STYLE.get(point["status"], "red")
        mark = PARTLY if known and point["failed"] else ""
        line = cells.setdefault((point["method"], point["method_label"]), {})
        line[point["inner_steps"]] = Text(text + mark, style)
    table = _table()
    table.add_column("inner steps", overflow="fold")
    for step in steps:
        column = [line[step] for line in cells.values() if step in line]
        width = max(len(word) for text in column for word in text.plain.split())
        table.add_column(str(step), justify="right", min_width=max(width, len(str(step))))
    for key in sorted(cells, key=lambda key: (method_order(key[0]), key[1])):
        table.add_row(escape(key[1]), *(cells[key].get(step, "") for step in steps))
    return table


def failure_table(failed: pd.DataFrame) -> Table:
    """Points that failed for one reason share a line."""
    table = _table()
    several = failed.workload.nunique() > 1
    for name in ("measure", *(["workload"] if several else []), "method", "inner steps", "status"):
        table.add_column(name, overflow="fold", min_width=min(len(name), 8))
    table.add_column("reason", overflow="fold", ratio=1)
    keys = ["measure", "workload", "method_label", "status", "reason"]
    for key, rows in failed.groupby(keys, sort=False):
        measure, workload, label, status, reason = map(str, key)
        steps = ", ".join(str(step) for step in sorted(rows.inner_steps.unique()))
        count = int(rows["count"].sum())
        times = f" ({count} rows)" if count > rows.inner_steps.nunique() else ""
        place = [measure, workload] if several else [measure]
        style = STATUS_STYLE.get(status, "red")
        before, after = [*place, label, steps], reason + times
        table.add_row(*map(Text, before), Text(status, style), Text(after))
    return table


def settings_table(frame: pd.DataFrame) -> Table:
    """What each method ran with."""
    table = _table()
    table.add_column("method", overflow="fold", min_width=8)
    table.add_column("settings", overflow="fold", ratio=1)
    methods = frame[["method", "method_label", "settings"]].drop_duplicates()
    rows = sorted(methods.itertuples(index=False, name=None), key=lambda row: (method_order(row[0]), row[1]))
    for _, label, settings in rows:
        table.add_row(Text(label), Text(format_settings(json.loads(settings)).replace(",", ", ")))
    return table


def flag_table(flags: pd.DataFrame) -> Table:
    """What the instruments warn of, point by point."""
    table = _table()
    for name in ("measure", "method", "inner steps", "seed"):
        table.add_column(name, overflow="fold", min_width=min(len(name), 8))
    table.add_column("warning", overflow="fold", ratio=1)
    keys = ["measure", "method_label", "inner_steps", "seed", "detail"]
    for key, _ in flags.groupby(keys, sort=False):
        table.add_row(*(Text(str(part)) for part in key))
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


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
        for name, column in (("untrained", "untrained"), ("nearest neighbour", "neighbour"))
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
    counted = f"{_counted(rounds, 'round')} in {_counted(blocks, 'block')}"
    return [f"Median of {counted}, ± half of its bootstrap 95% interval: within this run, not between runs."]
