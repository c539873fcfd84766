"""The pictures of one run, or of several laid over each other: drawn one by one, or written as files.

Each file of a picture has the points that it shows beside it, as `<name>.csv`; one for a paper its caption.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.present.captions import Caption
from harness.present.curves import points_shown
from harness.present.figures import looks_of, measure_figure, overview_figure
from harness.present.pictures import OVERVIEW, PICTURES, TRACE
from harness.present.sheet import save
from harness.present.style import SCREEN, Style
from harness.present.trace import summarise_traces, trace_figure
from harness.present.wanted import EVERYTHING, Wanted
from harness.store import replace_file

SUMMARIES: dict[str, Callable[[LoadedRun], pd.DataFrame]] = {
    "accuracy": lambda run: run.accuracy,
    "gradient": lambda run: run.gradient,
    "memory": lambda run: run.memory,
    "time": lambda run: run.time,
}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One picture.

    captions: one a panel, with the finding, what the bars mean, and the rows that say so.
    points: what is drawn, a line a point, in the units of the rows; empty where other pictures have it.
    notes: what holds for the whole picture, such as how the runs are unlike.
    """

    name: str
    figure: Figure
    captions: tuple[Caption, ...]
    points: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The findings of all panels."""
        return "; ".join(dict.fromkeys(caption.sentence for caption in self.captions))

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        return tuple(dict.fromkeys(each for caption in self.captions for each in caption.evidence))

    @property
    def text(self) -> str:
        """The caption for a paper: panels by their letters."""
        panels = [caption.text for caption in self.captions]
        if len(panels) > 1:
            panels = [f"({chr(ord('a') + i % 26)}) {panel}" for i, panel in enumerate(panels)]
        return " ".join([*panels, *self.notes])


def draw(
    runs: Sequence[LoadedRun],
    out: Path,
    formats: Sequence[str] = ("svg", "png"),
    style: Style = SCREEN,
    wanted: Wanted = EVERYTHING,
) -> list[Path]:
    """Write the pictures of `draw_pictures` in each format, with their points. Where there is nothing to
    draw, nothing is written."""
    written = []
    for drawn in draw_pictures(runs, style, wanted):
        out.mkdir(parents=True, exist_ok=True)
        if len(drawn.points):
            points = drawn.points.to_csv(index=False, lineterminator="\n")
            written.append(_write(points, out / f"{drawn.name}.csv"))
        if not style.titles:
            written.append(_write(f"{drawn.text}\n", out / f"{drawn.name}.txt"))
        written += save(drawn.figure, out / drawn.name, formats, style)
    return written


def draw_pictures(
    runs: Sequence[LoadedRun], style: Style = SCREEN, wanted: Wanted = EVERYTHING
) -> Iterator[Drawn]:
    """The `PICTURES` of what was measured, an overview of them, and memory over a step, one after another.

    What no run has is left out. Several workloads are panels; several runs share axes, told apart by line
    style. A figure is written with `harness.present.sheet.render`, in the same style.
    """
    summaries = {measure: summarise(runs, measure) for measure in SUMMARIES}
    every = {name: points_shown(name, summaries[picture.measure]) for name, picture in PICTURES.items()}
    looks = looks_of(every)  # of all, so that a method looks the same whatever is left out
    chosen = {name: wanted.of(points) for name, points in every.items()}
    shown = {name: points for name, points in chosen.items() if len(points)}
    for name, points in shown.items():
        if not wanted.has(name):
            continue
        notes = _skipped(wanted.of(summaries[PICTURES[name].measure]))
        with style.applied():
            figure, captions = measure_figure(name, points, looks, style=style, logs=wanted.logs, notes=notes)
        yield Drawn(name=name, figure=figure, captions=captions, points=points, notes=notes)
    if shown and wanted.has(OVERVIEW):
        first = {PICTURES[name].measure: name for name in reversed(shown)}
        overview = {name: points for name, points in shown.items() if name in first.values()}
        with style.applied():
            figure, captions = overview_figure(overview, looks, style=style, logs=wanted.logs)
        yield Drawn(name=OVERVIEW, figure=figure, captions=captions, points=pd.DataFrame())
    if wanted.has(TRACE):
        traces = wanted.of(summarise_traces(runs, names_of(runs)))
        if len(traces):
            with style.applied():
                figure, captions = trace_figure(traces, style=style)
            yield Drawn(name=TRACE, figure=figure, captions=captions, points=traces)


def summarise(runs: Sequence[LoadedRun], measure: str) -> pd.DataFrame:
    """The summary of each run below one another, with the run's name in the column `run`; that of memory
    also with the run's `budget_bytes`."""
    parts = []
    for name, run in zip(names_of(runs), runs, strict=True):
        part = SUMMARIES[measure](run).copy()
        if measure == "memory":
            budget = run.manifest.get("memory_budget")
            part["budget_bytes"] = float("nan") if budget is None else float(budget)
        part.insert(0, "run", name)
        parts.append(part)
    full = [part for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else parts[0]


def names_of(runs: Sequence[LoadedRun]) -> list[str]:
    """Folder names; with their parents where two are the same."""
    paths = [run.path.resolve() for run in runs]
    short = [path.name for path in paths]
    names = [n if short.count(n) == 1 else f"{p.parent.name}/{n}" for n, p in zip(short, paths, strict=True)]
    return [n if names.count(n) == 1 else f"{n} ({names[:i].count(n) + 1})" for i, n in enumerate(names)]


def _skipped(summary: pd.DataFrame) -> tuple[str, ...]:
    """Which methods were skipped altogether, in words."""
    run = set(summary.method_label[summary.status != "skipped"])
    skipped = [label for label in dict.fromkeys(summary.method_label) if label not in run]
    return (f"Skipped, so not drawn: {', '.join(skipped)}.",) if skipped else ()


def _write(text: str, path: Path) -> Path:
    replace_file(path, text)
    return path
