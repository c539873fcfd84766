"""Memory over one meta-step: a panel a method, with the phases of the step behind the line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.growth import MIB
from harness.analyze.traces import COLUMNS, memory_traces, peak_phases
from harness.analyze.words import listed
from harness.present.palette import INK, Look, label_order, looks
from harness.present.plots.captions import Caption, heading_names
from harness.present.plots.lettering import width_of, wrap
from harness.present.plots.scales import name_values, plain
from harness.present.plots.sheet import ABOVE_AXES, EDGE, LINE, Foot, Heading, add_axes, new_figure
from harness.present.plots.style import SCREEN, Style
from harness.present.words import workload_in_words

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
GAP = 0.3  # inches between panels


def summarise_traces(runs: Sequence[LoadedRun], names: Sequence[str]) -> pd.DataFrame:
    """The traces of each run below one another, with the run's name in the column `run`."""
    parts = [memory_traces(run).assign(run=name) for name, run in zip(names, runs, strict=True)]
    full = [part for part in parts if len(part)]
    traces = pd.concat(full, ignore_index=True) if full else parts[0]
    return traces[["run", *COLUMNS]]


def trace_figure(
    traces: pd.DataFrame,
    every_look: dict[str, Look] | None = None,
    *,
    style: Style = SCREEN,
    notes: tuple[str, ...] = (),
) -> tuple[Figure, tuple[Caption, ...]]:
    """A block of panels a workload and run: all of a workload share their axis of memory."""
    every_look = every_look or looks(zip(traces.method, traces.method_label, strict=True))
    blocks = list(_blocks(traces))
    columns = min(style.traces_abreast, max(len(block.methods) for block in blocks))
    gap = GAP * style.marks
    # A heading may be wider than a single panel.
    width = style.width or max(style.left + columns * (style.trace[0] + gap), 5.0)
    panel = (min(style.trace[0], (width - style.left) / columns - gap), style.trace[1])
    captions = tuple(_caption(block, several=traces.run.nunique() > 1) for block in blocks)
    headings = [_heading(block, caption, blocks, width - 2 * EDGE, style)
                for block, caption in zip(blocks, captions, strict=True)]  # fmt: skip
    foot = Foot(keys=_phase_keys(traces), notes=notes)
    names = {
        label: _name(trace, panel[0] + 0.8 * gap, style) for block in blocks for label, trace in block.methods
    }
    name_height = max(map(len, names.values())) * LINE * style.text / 72 + 0.06
    row = name_height + panel[1] + 0.3 * style.marks
    rows = [-(-len(block.methods) // columns) for block in blocks]
    tall = [
        EDGE + heading.height + n * row + style.bottom - 0.3 * style.marks + 0.08
        for heading, n in zip(headings, rows, strict=True)
    ]
    figure = new_figure(width, sum(tall) + foot.height(width, style), style)
    top = figure.get_size_inches()[1]
    for block, heading, height in zip(blocks, headings, tall, strict=True):
        highest = traces.live_bytes[traces.workload == block.workload].max() / MIB
        for i, (label, trace) in enumerate(block.methods):
            down, across = divmod(i, columns)
            above = EDGE + heading.height + name_height + down * row
            left = style.left + across * (panel[0] + gap)
            ax = add_axes(figure, left, top - above - panel[1], *panel)
            ax.set_ylim(0, 1.22 * highest)
            draw_trace(ax, trace, every_look[label], style, names[label])
            ax.tick_params(labelleft=across == 0)
            if across == 0:
                name_values(ax, "live memory (MiB)", style)
            if i + columns >= len(block.methods):
                room = panel[0] + gap / 2
                words = "share of the step's operators (%)"
                fits = width_of(words, style.text, style.family) <= room
                ax.set_xlabel(words if fits else "share of operators (%)")
            if i == 0:
                heading.write(ax, above=72 * (name_height - ABOVE_AXES * style.marks) + 4)
        top -= height
    foot.write(figure, style)
    return figure, captions


def draw_trace(ax: Axes, trace: pd.DataFrame, look: Look, style: Style, name: Sequence[str]) -> None:
    """Live MiB against the share of operators, the peak marked."""
    x, live = 100 * trace.fraction.to_numpy(float), trace.live_bytes.to_numpy(float) / MIB
    for start, end, phase in phase_spans(trace):
        colour = PHASES.get(phase, OTHER_PHASE)
        ax.axvspan(100 * start, 100 * end, facecolor=colour, alpha=BAND_ALPHA, linewidth=0, zorder=0)
    marks = style.marks
    ax.plot(
        x, live, color=look.colour, linewidth=1.4 * marks, zorder=3, label=str(trace.method_label.iloc[0])
    )
    top = int(live.argmax())
    ax.plot(x[top], live[top], "o", ms=4.5 * marks, mfc=look.colour, mec="white", mew=0.7 * marks, zorder=4)
    side = "left" if x[top] < 30 else "right" if x[top] > 70 else "center"
    height = f"{live[top]:#.3g}" if live[top] < 100 else f"{live[top]:,.0f}"
    ax.annotate(
        f"{height} MiB", (x[top], live[top]), xytext=(0, 4 * marks), textcoords="offset points",
        ha=side, va="bottom", fontsize=style.note, color=INK, zorder=4,
    )  # fmt: skip
    ax.annotate("\n".join(name), (0, 1), xycoords="axes fraction", xytext=(0, 4 * marks),
                textcoords="offset points", fontsize=style.text, color=look.colour, fontweight="bold",
                annotation_clip=False)  # fmt: skip
    ax.set_xlim(0, 100)
    ax.set_xticks([0, 50, 100])
    ax.yaxis.set_major_locator(MaxNLocator(5 if style.titles else 4))
    ax.yaxis.set_major_formatter(FuncFormatter(plain))


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


@dataclass(frozen=True)
class Block:
    """The traces of one workload and run, and these by method in the palette's order."""

    workload: str
    run: str
    traces: pd.DataFrame
    methods: list[tuple[str, pd.DataFrame]]


def _blocks(traces: pd.DataFrame) -> Iterator[Block]:
    for workload, of_workload in traces.groupby("workload"):
        for run in dict.fromkeys(of_workload.run):
            block = of_workload[of_workload.run == run]
            pairs = block[["method", "method_label"]].drop_duplicates().itertuples(index=False, name=None)
            ordered = sorted(pairs, key=lambda pair: label_order(*pair))
            methods = [(label, block[block.method_label == label]) for _, label in ordered]
            yield Block(str(workload), str(run), block, methods)


def _caption(block: Block, *, several: bool) -> Caption:
    words = [block.run] if several else []
    words.append(workload_in_words(block.workload))
    words.append("live tensors over one meta-step, at the most inner steps that fit")
    evidence = tuple(
        Evidence(
            measure="memory",
            workload=block.workload,
            methods=(label,),
            metrics=("tracked_peak_bytes",),
            inner_steps=(int(trace.inner_steps.iloc[0]),),
        )
        for label, trace in block.methods
    )
    return Caption(
        workload=block.workload,
        sentence=where_memory_peaks(block.traces),
        context="; ".join(words),
        evidence=evidence,
    )


def _heading(block: Block, caption: Caption, blocks: list[Block], inches: float, style: Style) -> Heading:
    """On a page, only what tells the blocks apart."""
    if style.titles:
        return Heading.of(caption.sentence, caption.context, inches, style)
    name = heading_names([each.workload for each in blocks])[blocks.index(block)]
    runs = len({each.run for each in blocks})
    return Heading.of("", f"{name} {block.run}".strip() if runs > 1 else name, inches, style)


def _phase_keys(traces: pd.DataFrame) -> list[Patch]:
    phases = [phase for phase in PHASES if (traces.phase == phase).any()]
    phases += sorted(set(traces.phase) - set(PHASES))
    return [
        Patch(facecolor=PHASES.get(phase, OTHER_PHASE), alpha=BAND_ALPHA, label=phase) for phase in phases
    ]


def _name(trace: pd.DataFrame, inches: float, style: Style) -> list[str]:
    """Method and inner steps, in as many lines as fit into a panel's width."""
    count = trace.inner_steps.iloc[0]
    label, steps = str(trace.method_label.iloc[0]), f"{count} inner step{'' if count == 1 else 's'}"
    whole = f"{label}, {steps}"
    if width_of(whole, style.text, style.family, bold=True) <= inches:
        return [whole]
    return [*wrap(label, inches, style.text, style.family, bold=True), steps]
