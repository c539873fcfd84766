"""Accuracy, gradients, memory and time against inner steps, of one run or of several laid over each other.

Each picture has the rows it shows beside it, as `<name>.csv`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analyze.gradient import gradient_summary
from harness.analyze.summary import accuracy_summary, memory_summary, time_summary
from harness.frame import load_frame
from harness.present.caveats import merged
from harness.present.curves import NOTHING, Curves, curves_of, points_shown
from harness.present.palette import GREY, INK, LINE_STYLES, Look, label_order, looks
from harness.present.panel import draw_panel
from harness.present.pictures import PICTURES
from harness.present.sheet import AXES, STYLE, Heading, panels, save
from harness.present.titles import finding
from harness.present.trace import summarise_traces, trace_figure
from harness.present.words import workload_in_words
from harness.store import RunFolder, replace_file

WIDEST_MARGIN = 1.6  # inches beside each of several panels: longer names go into a legend below
SUMMARIES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "accuracy": accuracy_summary,
    "gradient": gradient_summary,
    "memory": memory_summary,
    "time": time_summary,
}


def draw(runs: Sequence[Path | str], out: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write the `PICTURES` of what was measured, `memory-trace` and `overview` in each format, with
    `<name>.csv`.

    What no run has is left out. Several workloads are facets; several runs share axes, told apart
    by line style. Where there is nothing to draw, nothing is written.
    """
    summaries = {measure: summarise(runs, measure) for measure in SUMMARIES}
    every = {name: points_shown(name, summaries[picture.measure]) for name, picture in PICTURES.items()}
    shown = {name: points for name, points in every.items() if len(points)}
    if not shown:
        return []
    styles = _looks(shown)
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(sns.axes_style("ticks") | STYLE):
        for name, points in shown.items():
            written.append(_write_csv(points, out / f"{name}.csv"))
            written += save(measure_figure(name, points, styles), out / name, formats)
        first = {PICTURES[name].measure: name for name in reversed(shown)}
        overview = {name: points for name, points in shown.items() if name in first.values()}
        written += save(overview_figure(overview), out / "overview", formats)
        traces = summarise_traces(runs, _names([Path(run) for run in runs]))
        if len(traces):
            written.append(_write_csv(traces, out / "memory-trace.csv"))
            written += save(trace_figure(traces), out / "memory-trace", formats)
    return written


def summarise(runs: Sequence[Path | str], measure: str) -> pd.DataFrame:
    """The summary of each run below one another, with the run's name in the column `run`; that of memory
    also with the run's `budget_bytes`."""
    names = _names([Path(run) for run in runs])
    parts = []
    for name, run in zip(names, runs, strict=True):
        folder = RunFolder.open(run)
        part = SUMMARIES[measure](load_frame(folder))
        if measure == "memory":
            budget = folder.manifest().get("memory_budget") if folder.manifest_path.exists() else None
            part["budget_bytes"] = float("nan") if budget is None else float(budget)
        part.insert(0, "run", name)
        parts.append(part)
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


def measure_figure(name: str, summary: pd.DataFrame, styles: dict[str, Look] | None = None) -> Figure:
    """The panels of one picture side by side, names at the line ends where they are short enough."""
    drawn = curves_of(name, summary)
    every = styles or _looks({name: summary})
    styles = {label: look for label, look in every.items() if label in set(summary.method_label)}
    margin = 0.45 + 0.075 * max(map(len, styles))
    at_ends = len(drawn) == 1 or margin <= WIDEST_MARGIN
    right = margin if at_ends else 0.2
    headings = [_heading(name, summary, curves, AXES[0] + right) for curves in drawn]
    methods = _lost_keys(drawn, styles) if at_ends else _method_keys(summary, styles)
    figure, axes = panels(1, len(drawn), right, headings, [*methods, *_keys(drawn)])
    for ax, curves, heading in zip(axes, drawn, headings, strict=True):
        heading.write(ax)
        draw_panel(ax, curves, styles, end_labels=at_ends)
    return figure


def overview_figure(summaries: dict[str, pd.DataFrame]) -> Figure:
    """A picture of each measure in a row, a row a workload, one legend for all."""
    every = pd.concat([s[["workload", "method", "method_label"]] for s in summaries.values()])
    styles = _looks(summaries)
    workloads = list(dict.fromkeys(every.workload))
    drawn = {
        (curves.workload, name): curves for name, s in summaries.items() for curves in curves_of(name, s)
    }
    keys = [*_method_keys(every, styles), *_keys(list(drawn.values()))]
    places = [(workload, name) for workload in workloads for name in summaries]
    headings = {
        place: _heading(place[1], summaries[place[1]], curves, AXES[0] + 0.3)
        for place, curves in drawn.items()
    }
    figure, axes = panels(len(workloads), len(summaries), 0.2, list(headings.values()), keys)
    for ax, place in zip(axes, places, strict=True):
        if place not in drawn:
            ax.set_axis_off()
            continue
        headings[place].write(ax)
        draw_panel(ax, drawn[place], styles, end_labels=False)
    return figure


def _looks(summaries: dict[str, pd.DataFrame]) -> dict[str, Look]:
    """Of all methods together: a variant has its shade also where its siblings are missing."""
    pairs = [zip(s.method, s.method_label, strict=True) for s in summaries.values()]
    return looks(pair for each in pairs for pair in each)


def _heading(name: str, summary: pd.DataFrame, curves: Curves, inches: float) -> Heading:
    part = summary[summary.workload == curves.workload]
    return Heading.of(finding(name, part), _context(name, part, curves.shared_flags()), inches)


def _context(name: str, part: pd.DataFrame, shared_flags: list[str]) -> str:
    """The workload, what the bars mean, and what the instruments warn of at all points."""
    words = [workload_in_words(str(part.workload.iloc[0]))]
    picture = PICTURES[name]
    if picture.measure == "gradient":
        words += [picture.truth] if picture.truth else []
        if part.seeds.max() > 1:
            words.append(f"geometric mean of {part.seeds.max()} seeds, bars: least to largest")
    if name == "accuracy":
        seeds = part.seeds[part.interval_kind == "seeds"]
        if len(seeds):
            count = f"{seeds.min()}" if seeds.nunique() == 1 else f"{seeds.min()} to {seeds.max()}"
            words.append(f"bars: 95% t interval over {count} seeds")
        if (part.interval_kind == "tasks").any():
            words.append("bars: 95% over test tasks only" + (" below 3 seeds" if len(seeds) else ""))
    if name == "time" and part.rounds.max():
        words.append(f"median of {part.rounds.max()} rounds, bars: bootstrap 95%")
    words += [f"flagged throughout: {flag}" for flag in merged(shared_flags)]  # a block has its own numbers
    return "; ".join(words)


def _keys(drawn: list[Curves]) -> list[Line2D]:
    """What line styles, rings and crosses mean, where they occur."""
    keys = []
    runs = list(dict.fromkeys(run for curves in drawn for run in curves.runs))
    if len(runs) > 1:
        keys += [
            Line2D([], [], color=INK, linestyle=LINE_STYLES[i % len(LINE_STYLES)], label=run)
            for i, run in enumerate(runs)
        ]
    if any(curves.points.untrained.notna().any() for curves in drawn):
        dots: Any = (0, (1, 2)) if len(runs) > 1 else (0, (4, 3))
        keys.append(
            Line2D([], [], color=INK, alpha=0.4, lw=1, ls=dots, label="same adaptation, untrained start")
        )
    if any(curves.points.value.isna().any() for curves in drawn):
        keys.append(Line2D([], [], color=INK, marker="x", ls="", mew=2, label="failed: no value"))
    if any(curves.budgets() for curves in drawn):
        keys.append(
            Line2D([], [], color=GREY, lw=1, ls=(0, (6, 3)), label="budget of live tensors; cross: oom")
        )
    if any(curves.budgets() and curves.points.predicted.notna().any() for curves in drawn):
        dotted: Any = (0, (1, 1.6))
        keys.append(
            Line2D([], [], color=INK, alpha=0.6, lw=1, ls=dotted, marker="o", ms=3.5, mfc="white",
                   label="live tensors, predicted, not run")
        )  # fmt: skip
    if any(curves.points.is_nothing.any() for curves in drawn):
        keys.append(
            Line2D(
                [], [], color=INK, marker="$0$", ms=5, ls="", label=f"no error at all, drawn at {NOTHING:.0e}"
            )
        )
    if any(curves.is_flagged().any() for curves in drawn):
        keys.append(
            Line2D([], [], color=INK, marker="o", ls="", ms=9, mfc="none", mew=0.9,
                   label="flagged: see the table")
        )  # fmt: skip
    return keys


def _lost_keys(drawn: list[Curves], styles: dict[str, Look]) -> list[Line2D]:
    """The methods that have crosses only: there is no line whose end would name them."""
    every = pd.concat([curves.points for curves in drawn])
    valued = set(every.method_label[every.value.notna()])
    return [
        Line2D([], [], color=look.colour, marker="x", ls="", mew=2, label=label)
        for label, look in styles.items()
        if label not in valued
    ]


def _method_keys(every: pd.DataFrame, styles: dict[str, Look]) -> list[Line2D]:
    pairs = sorted(set(zip(every.method, every.method_label, strict=True)), key=lambda p: label_order(*p))
    return [
        Line2D(
            [], [], color=look.colour, marker=look.marker, ms=look.size - 0.5, lw=look.width, ls=look.dash,
            label=label, mfc=look.face,
        )
        for label, look in ((label, styles[label]) for _, label in pairs)
    ]  # fmt: skip


def _names(runs: list[Path]) -> list[str]:
    """Folder names; with their parents where two are the same."""
    paths = [run.resolve() for run in runs]
    short = [path.name for path in paths]
    names = [n if short.count(n) == 1 else f"{p.parent.name}/{n}" for n, p in zip(short, paths, strict=True)]
    return [n if names.count(n) == 1 else f"{n} ({names[:i].count(n) + 1})" for i, n in enumerate(names)]


def _write_csv(frame: pd.DataFrame, path: Path) -> Path:
    replace_file(path, frame.to_csv(index=False, lineterminator="\n"))
    return path
