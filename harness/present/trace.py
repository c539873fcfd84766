"""Memory over one meta-step: a panel a method, with the phases of the step behind the line."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.analyze.growth import MIB
from harness.analyze.traces import COLUMNS, memory_traces, peak_phases
from harness.present.palette import INK, Look, label_order, looks
from harness.present.sheet import (
    BOTTOM,
    LEFT,
    LEGEND,
    TOP,
    Heading,
    add_axes,
    add_legend,
    legend_lines,
    new_figure,
)
from harness.present.words import listed, workload_in_words

# Paul Tol's "pale", made for backgrounds: no method has such a colour.
PHASES = {
    "inner loop": "#BBCCEE",
    "query": "#EEEEBB",
    "backward": "#FFCCCC",
    "solve": "#CCDDAA",
    "outer update": "#DDDDDD",
}
OTHER_PHASE = "#CCEEFF"
BAND_ALPHA = 0.65  # so that the lightest line stands out
PANEL = (2.3, 2.0)  # inches
PANELS_A_ROW = 5
GAP, NAME, TICKS = 0.3, 0.24, 0.3  # between panels, above one for its name, below one for its ticks


def summarise_traces(runs: Sequence[Path | str], names: Sequence[str]) -> pd.DataFrame:
    """The traces of each run below one another, with the run's name in the column `run`."""
    parts = [memory_traces(run).assign(run=name) for name, run in zip(names, runs, strict=True)]
    full = [part for part in parts if len(part)]
    traces = pd.concat(full, ignore_index=True) if full else parts[0]
    return traces[["run", *COLUMNS]]


def trace_figure(traces: pd.DataFrame) -> Figure:
    """A block of panels a workload and run: all of a workload share their axis of memory."""
    styles = looks(zip(traces.method, traces.method_label, strict=True))
    blocks = list(_blocks(traces))
    columns = min(PANELS_A_ROW, max(len(methods) for _, _, methods in blocks))
    # A heading may be wider than a single panel.
    width = max(LEFT + columns * (PANEL[0] + GAP), 5.0)
    several = traces.run.nunique() > 1
    headings = [_heading(block, run if several else "", width - 0.5) for run, block, _ in blocks]
    phases = [phase for phase in PHASES if (traces.phase == phase).any()]
    phases += sorted(set(traces.phase) - set(PHASES))
    keys = [
        Patch(facecolor=PHASES.get(phase, OTHER_PHASE), alpha=BAND_ALPHA, label=phase) for phase in phases
    ]
    lines = legend_lines(keys, width)
    rows = [-(-len(methods) // columns) for _, _, methods in blocks]
    row = NAME + PANEL[1] + TICKS
    tall = [
        TOP + heading.extra_height + n * row + BOTTOM - TICKS
        for heading, n in zip(headings, rows, strict=True)
    ]
    figure = new_figure(width, sum(tall) + LEGEND * lines + 0.05)
    top = figure.get_size_inches()[1]
    for (_, block, methods), heading, height in zip(blocks, headings, tall, strict=True):
        highest = traces.live_bytes[traces.workload == block.workload.iloc[0]].max() / MIB
        for i, (label, trace) in enumerate(methods):
            down, across = divmod(i, columns)
            above = TOP + heading.extra_height + NAME + down * row
            ax = add_axes(figure, LEFT + across * (PANEL[0] + GAP), top - above - PANEL[1], *PANEL)
            ax.set_ylim(0, 1.16 * highest)
            draw_trace(ax, trace, styles[label])
            ax.tick_params(labelleft=across == 0)
            if across == 0:
                ax.set_ylabel("live memory (MiB)")
            if i + columns >= len(methods):
                ax.set_xlabel("share of the step's operators (%)")
            if i == 0:
                heading.write(ax, above=72 * NAME - 4)
        top -= height
    add_legend(figure, keys, lines)
    return figure


def draw_trace(ax: Axes, trace: pd.DataFrame, look: Look) -> None:
    """Live MiB against the share of operators, the peak marked."""
    x, live = 100 * trace.fraction.to_numpy(float), trace.live_bytes.to_numpy(float) / MIB
    for start, end, phase in phase_spans(trace):
        colour = PHASES.get(phase, OTHER_PHASE)
        ax.axvspan(100 * start, 100 * end, facecolor=colour, alpha=BAND_ALPHA, linewidth=0, zorder=0)
    ax.plot(x, live, color=look.colour, linewidth=1.4, zorder=3, label=str(trace.method_label.iloc[0]))
    top = int(live.argmax())
    ax.plot(x[top], live[top], "o", ms=4.5, mfc=look.colour, mec="white", mew=0.7, zorder=4)
    side = "left" if x[top] < 30 else "right" if x[top] > 70 else "center"
    height = f"{live[top]:#.3g}" if live[top] < 100 else f"{live[top]:,.0f}"
    ax.annotate(
        f"{height} MiB", (x[top], live[top]), xytext=(0, 4), textcoords="offset points",
        ha=side, va="bottom", fontsize=8, color=INK, zorder=4,
    )  # fmt: skip
    steps = trace.inner_steps.iloc[0]
    name = f"{trace.method_label.iloc[0]}, {steps} inner step{'' if steps == 1 else 's'}"
    ax.annotate(name, (0, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points",
                fontsize=9, color=look.colour, fontweight="bold", annotation_clip=False)  # fmt: skip
    ax.set_xlim(0, 100)
    ax.set_xticks([0, 50, 100])
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def phase_spans(trace: pd.DataFrame) -> list[tuple[float, float, str]]:
    """Where each phase begins and ends, as fractions of the step: one begins where the last has ended."""
    phases = trace.phase.to_numpy()
    fraction = trace.fraction.to_numpy(float)
    starts = [0, *(np.flatnonzero(phases[1:] != phases[:-1]) + 1)]
    ends = [0.0, *(float(fraction[i - 1]) for i in starts[1:]), 1.0]
    return [(a, b, str(phases[i])) for (a, b), i in zip(pairwise(ends), starts, strict=True)]


def where_memory_peaks(traces: pd.DataFrame) -> str:
    """The finding: the phase of each method's peak."""
    found: dict[str, list[str]] = {}
    methods = traces[["method", "method_label"]].drop_duplicates().itertuples(index=False, name=None)
    phases = peak_phases(traces)
    for _, label in sorted(methods, key=lambda pair: label_order(*pair)):
        found.setdefault(phases[label], []).append(label)
    if len(found) == 1 and len(phases) > 1:
        return f"Every method's memory peaks in the phase: {next(iter(found))}"
    order = [phase for phase in (*PHASES, *sorted(set(found) - set(PHASES))) if phase in found]
    return f"The peak lies in: {', '.join(f'{phase} ({listed(found[phase])})' for phase in order)}"


def _blocks(traces: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, list[tuple[str, pd.DataFrame]]]]:
    """Run, its traces of one workload, and these by method in the palette's order."""
    for _, of_workload in traces.groupby("workload"):
        for run in dict.fromkeys(of_workload.run):
            block = of_workload[of_workload.run == run]
            pairs = block[["method", "method_label"]].drop_duplicates().itertuples(index=False, name=None)
            ordered = sorted(pairs, key=lambda pair: label_order(*pair))
            yield run, block, [(label, block[block.method_label == label]) for _, label in ordered]


def _heading(block: pd.DataFrame, run: str, inches: float) -> Heading:
    words = [run] if run else []
    words.append(workload_in_words(str(block.workload.iloc[0])))
    words.append("live tensors over one meta-step, at the most inner steps that fit")
    return Heading.of(where_memory_peaks(block), "; ".join(words), inches)
