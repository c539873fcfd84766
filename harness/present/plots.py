"""Accuracy, memory and time against inner steps, of one run or of several laid over each other.

Each picture has the rows it shows beside it, as `<name>.csv`.
"""

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analyze.growth import MIB
from harness.analyze.summary import accuracy_summary, memory_summary, time_summary
from harness.errors import UsageError
from harness.frame import load_frame
from harness.present.palette import GREY, INK, LINE_STYLES, Look, looks, method_order
from harness.present.panel import Curves, draw_panel
from harness.present.titles import VALUE, finding, workload_in_words
from harness.store import RunFolder, replace_file

SUMMARIES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "accuracy": accuracy_summary,
    "memory": memory_summary,
    "time": time_summary,
}
UNITS = {"accuracy": 100.0, "memory": 1 / MIB, "time": 1e3}  # to percent, MiB, ms
YLABELS = {
    "accuracy": "accuracy on fresh tasks (%)",
    "memory": "peak memory of a meta-step (MiB)",
    "time": "time of a meta-step (ms)",
}
# Inches. Margins are fixed: labels are placed once, and the files are the same every time.
AXES = (4.3, 3.4)
LEFT, TOP, BOTTOM, LEGEND, TITLE_LINE, CONTEXT_LINE = 0.75, 0.68, 0.55, 0.25, 0.17, 0.14
STYLE = {
    "font.size": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "svg.hashsalt": "innerloop",
}


def draw(runs: Sequence[Path | str], out: Path, formats: Sequence[str] = ("svg", "png")) -> list[Path]:
    """Write `accuracy`, `memory`, `time` and `overview` in each format, and `<measure>.csv`.

    A measure that no run has is left out. Several workloads are facets; several runs share axes, told apart
    by line style. Raises UsageError where there is nothing to draw.
    """
    summaries = {measure: part for measure in SUMMARIES if len(part := summarise(runs, measure))}
    if not summaries:
        raise UsageError(
            f"{', '.join(map(str, runs))}: no accuracy, memory or time was measured; nothing to plot."
        )
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(sns.axes_style("ticks") | STYLE):
        for measure, summary in summaries.items():
            path = out / f"{measure}.csv"
            replace_file(path, summary.to_csv(index=False, lineterminator="\n"))
            written.append(path)
            written += _save(measure_figure(measure, summary), out / measure, formats)
        written += _save(overview_figure(summaries), out / "overview", formats)
    return written


def summarise(runs: Sequence[Path | str], measure: str) -> pd.DataFrame:
    """The summary of each run below one another, with the run's name in the column `run`."""
    names = _names([Path(run) for run in runs])
    parts = []
    for name, run in zip(names, runs, strict=True):
        part = SUMMARIES[measure](load_frame(RunFolder.open(run)))
        part.insert(0, "run", name)
        parts.append(part)
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


def curves_of(measure: str, summary: pd.DataFrame) -> list[Curves]:
    """A panel a workload, values in the unit of the axis."""
    found = []
    for workload, part in summary.groupby("workload"):
        loss = measure == "accuracy" and bool((part.metric == "loss").any())
        unit = 1.0 if loss else UNITS[measure]
        points = part[["run", "method", "method_label", "inner_steps", "status", "failed", "failure"]].copy()
        points["value"] = part[VALUE[measure]] * unit
        for name in ("low", "high", "untrained", "neighbour"):
            points[name] = part[name] * unit if name in part else float("nan")
        ylabel = "loss on fresh tasks" if loss else YLABELS[measure]
        bounded = measure == "accuracy" and not loss
        found.append(
            Curves(
                workload=str(workload),
                ylabel=ylabel,
                points=points,
                bounded=bounded,
                dodged=measure == "accuracy",
                even_steps=measure == "memory",
            )
        )
    return found


def measure_figure(measure: str, summary: pd.DataFrame) -> Figure:
    """The panels of one measure side by side, names at the line ends."""
    panels = curves_of(measure, summary)
    styles = looks(zip(summary.method, summary.method_label, strict=True))
    right = 0.45 + 0.075 * max(map(len, styles))
    parts = [summary[summary.workload == curves.workload] for curves in panels]
    headings = [Heading.of(measure, part, AXES[0] + right) for part in parts]
    figure, axes = _figure(1, len(panels), right, headings, _keys(panels))
    for ax, curves, heading in zip(axes, panels, headings, strict=True):
        heading.write(ax)
        draw_panel(ax, curves, styles)
    return figure


def overview_figure(summaries: dict[str, pd.DataFrame]) -> Figure:
    """All measures in a row, a row a workload, one legend for all."""
    every = pd.concat([s[["workload", "method", "method_label"]] for s in summaries.values()])
    styles = looks(zip(every.method, every.method_label, strict=True))
    workloads = list(dict.fromkeys(every.workload))
    panels = {
        (curves.workload, measure): curves
        for measure, s in summaries.items()
        for curves in curves_of(measure, s)
    }
    keys = [*_method_keys(every, styles), *_keys(list(panels.values()))]
    places = [(workload, measure) for workload in workloads for measure in summaries]
    parts = {place: summaries[place[1]][summaries[place[1]].workload == place[0]] for place in panels}
    headings = {place: Heading.of(place[1], part, AXES[0] + 0.3) for place, part in parts.items()}
    figure, axes = _figure(len(workloads), len(summaries), 0.2, list(headings.values()), keys)
    for ax, place in zip(axes, places, strict=True):
        if place not in panels:
            ax.set_axis_off()
            continue
        headings[place].write(ax)
        draw_panel(ax, panels[place], styles, end_labels=False)
    return figure


def _figure(
    rows: int, columns: int, right: float, headings: list["Heading"], keys: list[Line2D]
) -> tuple[Figure, list[Axes]]:
    top = TOP + max(heading.extra_height for heading in headings)
    cell = (LEFT + AXES[0] + right, top + AXES[1] + BOTTOM)
    width = columns * cell[0]
    lines = math.ceil(sum(0.65 + 0.07 * len(str(key.get_label())) for key in keys) / width)
    legend = LEGEND * lines + 0.05
    height = rows * cell[1] + legend
    figure = Figure(figsize=(width, height), dpi=200)
    FigureCanvasAgg(figure)
    axes = []
    for i in range(rows):
        for j in range(columns):
            left, bottom = j * cell[0] + LEFT, height - i * cell[1] - top - AXES[1]
            ax = figure.add_axes((left / width, bottom / height, AXES[0] / width, AXES[1] / height))
            sns.despine(ax=ax)
            axes.append(ax)
    if keys:
        figure.legend(
            handles=keys, loc="lower center", ncols=math.ceil(len(keys) / lines), frameon=False, fontsize=8.5,
            borderaxespad=0.3, handlelength=2.6, columnspacing=1.6,
        )  # fmt: skip
    return figure, axes


@dataclass(frozen=True)
class Heading:
    """The finding of a panel, and below it the workload and what the bars mean, both wrapped to its width."""

    title: list[str]
    context: list[str]

    @classmethod
    def of(cls, measure: str, part: pd.DataFrame, inches: float) -> "Heading":
        def wrapped(text: str, letters_per_inch: float) -> list[str]:
            return textwrap.wrap(text, int(inches * letters_per_inch), break_on_hyphens=False)

        return cls(wrapped(finding(measure, part), 12.5), wrapped(_context(measure, part), 16.5))

    @property
    def extra_height(self) -> float:
        """Inches beyond what one line of each takes."""
        return TITLE_LINE * (len(self.title) - 1) + CONTEXT_LINE * (len(self.context) - 1)

    def write(self, ax: Axes) -> None:
        offset: dict[str, Any] = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "annotation_clip": False,
            "va": "bottom",
        }
        above = 25 + 72 * CONTEXT_LINE * (len(self.context) - 1)
        ax.annotate("\n".join(self.title), (0, 1), (-38, above), fontsize=10, fontweight="bold", **offset)
        ax.annotate("\n".join(self.context), (0, 1), (-38, 11), fontsize=8, color=GREY, **offset)


def _context(measure: str, part: pd.DataFrame) -> str:
    """The workload, and what the bars mean."""
    words = [workload_in_words(str(part.workload.iloc[0]))]
    if measure == "accuracy":
        seeds = part.seeds[part.interval_kind == "seeds"]
        if len(seeds):
            count = f"{seeds.min()}" if seeds.nunique() == 1 else f"{seeds.min()} to {seeds.max()}"
            words.append(f"bars: 95% t interval over {count} seeds")
        if (part.interval_kind == "tasks").any():
            words.append("bars: 95% over test tasks only" + (" below 3 seeds" if len(seeds) else ""))
    if measure == "time" and part.rounds.max():
        words.append(f"median of {part.rounds.max()} rounds, bars: bootstrap 95%")
    return "; ".join(words)


def _keys(panels: list[Curves]) -> list[Line2D]:
    """What line styles and crosses mean, where they occur."""
    keys = []
    runs = list(dict.fromkeys(run for curves in panels for run in curves.runs))
    if len(runs) > 1:
        keys += [
            Line2D([], [], color=INK, linestyle=LINE_STYLES[i % len(LINE_STYLES)], label=run)
            for i, run in enumerate(runs)
        ]
    if any(curves.points.untrained.notna().any() for curves in panels):
        dots: Any = (0, (1, 2)) if len(runs) > 1 else (0, (4, 3))
        keys.append(
            Line2D([], [], color=INK, alpha=0.4, lw=1, ls=dots, label="same adaptation, untrained start")
        )
    if any(curves.points.value.isna().any() for curves in panels):
        keys.append(Line2D([], [], color=INK, marker="x", ls="", mew=2, label="failed: no value"))
    return keys


def _method_keys(every: pd.DataFrame, styles: dict[str, Look]) -> list[Line2D]:
    pairs = sorted(
        set(zip(every.method, every.method_label, strict=True)), key=lambda p: (method_order(p[0]), p[1])
    )
    return [
        Line2D(
            [],
            [],
            color=look.colour,
            marker=look.marker,
            ms=5,
            label=label,
            mfc=look.colour if look.filled else "white",
        )
        for label, look in ((label, styles[label]) for _, label in pairs)
    ]


def _names(runs: list[Path]) -> list[str]:
    """Folder names; with their parents where two are the same."""
    paths = [run.resolve() for run in runs]
    short = [path.name for path in paths]
    names = [n if short.count(n) == 1 else f"{p.parent.name}/{n}" for n, p in zip(short, paths, strict=True)]
    return [n if names.count(n) == 1 else f"{n} ({names[:i].count(n) + 1})" for i, n in enumerate(names)]


def _save(figure: Figure, path: Path, formats: Sequence[str]) -> list[Path]:
    written = []
    for kind in formats:
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format=kind, metadata={"Date": None} if kind == "svg" else None, facecolor="white"
        )
        target = path.with_name(f"{path.name}.{kind}")
        replace_file(target, buffer.getvalue())
        written.append(target)
    return written
