"""The pictures of one run, or of several laid over each other: drawn one by one, or written as files.

Each file of a picture has the points that it shows beside it, as `<name>.csv`; one for a paper its caption.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.analyze.comparison.sides import sides_of
from harness.analyze.comparison.unlike import unlike
from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.trade_offs import trade_offs
from harness.files import replace_file
from harness.present.plots.captions import Caption
from harness.present.plots.curves import JOIN, curves_of, points_shown
from harness.present.plots.figures import looks_of, measure_figure, overview_figure
from harness.present.plots.pareto import measure_of, measures_of, pareto_figure
from harness.present.plots.pictures import OVERVIEW, PARETO, PICTURES, TRACE, TRAINING
from harness.present.plots.scales import without_logarithm
from harness.present.plots.sheet import save
from harness.present.plots.style import SCREEN, Style
from harness.present.plots.trace import summarise_traces, trace_figure
from harness.present.plots.training import summarise_training, training_figure
from harness.present.plots.wanted import EVERYTHING, Wanted

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
    """Write all pictures of `draw_pictures`. Where there is nothing to draw, nothing is written."""
    pictures = draw_pictures(runs, style, wanted)
    return [path for drawn in pictures for path in write_picture(drawn, out, formats, style)]


def write_picture(drawn: Drawn, out: Path, formats: Sequence[str], style: Style) -> list[Path]:
    """One in each format, with its points, and for a paper its caption."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {}
    if len(drawn.points):
        texts["csv"] = drawn.points.to_csv(index=False, lineterminator="\n")
    if not style.titles:
        texts["txt"] = f"{drawn.text}\n"
    for suffix, text in texts.items():
        replace_file(out / f"{drawn.name}.{suffix}", text)
    written = [out / f"{drawn.name}.{suffix}" for suffix in texts]
    return written + save(drawn.figure, out / drawn.name, formats, style)


def draw_pictures(
    runs: Sequence[LoadedRun], style: Style = SCREEN, wanted: Wanted = EVERYTHING
) -> Iterator[Drawn]:
    """The `PICTURES` of what was measured, an overview of them, what accuracy costs, memory over a step, and
    validation over meta-steps.

    What no run has is left out. Several workloads are panels; several runs share axes, told apart by line
    style, and what is unlike about them is noted. A figure is written with `sheet.render`, in
    the same style.
    """
    names = names_of(runs)

    def unlike_in(measures: Iterable[str]) -> tuple[str, ...]:
        """What stands under a picture of these measures."""
        return tuple(finding.sentence for finding in unlike(runs, list(dict.fromkeys(measures))))

    summaries = {measure: summarise(runs, measure) for measure in SUMMARIES}
    every = {name: points_shown(name, summaries[picture.measure]) for name, picture in PICTURES.items()}
    looks = looks_of(summaries)  # of all, so that a method looks the same whatever is left out
    chosen = {name: wanted.of(points) for name, points in every.items()}
    shown = {name: points for name, points in chosen.items() if len(points)}
    for name, points in shown.items():
        if not wanted.has(name):
            continue
        notes = (
            *_skipped(wanted.of(summaries[PICTURES[name].measure])),
            *without_logarithm(curves_of(name, points), wanted.logs),
            *unlike_in([PICTURES[name].measure]),
        )
        with style.applied():
            figure, captions = measure_figure(
                name, points, looks, style=style, logs=wanted.logs, notes=notes, overlaid=names
            )
        yield Drawn(name=name, figure=figure, captions=captions, points=points, notes=notes)
    if shown and wanted.has(OVERVIEW):
        first = {PICTURES[name].measure: name for name in reversed(shown)}
        overview = {name: points for name, points in shown.items() if name in first.values()}
        notes = unlike_in(first)
        with style.applied():
            figure, captions = overview_figure(
                overview, looks, style=style, logs=wanted.logs, notes=notes, overlaid=names
            )
        yield Drawn(name=OVERVIEW, figure=figure, captions=captions, points=pd.DataFrame(), notes=notes)
    if wanted.has(PARETO):
        points = wanted.of(trade_offs(runs, names))
        if len(points):
            points = _with_flags(points, summaries)
            notes = (*_apart(points), *unlike_in(measures_of(points)))
            with style.applied():
                figure, captions = pareto_figure(
                    points, looks, style=style, logs=wanted.logs, notes=notes, overlaid=names
                )
            yield Drawn(name=PARETO, figure=figure, captions=captions, points=points, notes=notes)
    if wanted.has(TRACE):
        traces = wanted.of(summarise_traces(runs, names))
        if len(traces):
            notes = unlike_in(["memory"])
            with style.applied():
                figure, captions = trace_figure(traces, looks, style=style, notes=notes)
            yield Drawn(name=TRACE, figure=figure, captions=captions, points=traces, notes=notes)
    if wanted.has(TRAINING):
        curves = wanted.of(summarise_training(runs, names))
        if len(curves):
            notes = unlike_in(["accuracy"])
            with style.applied():
                figure, captions = training_figure(
                    curves, looks, style=style, logs=wanted.logs, notes=notes, overlaid=names
                )
            yield Drawn(name=TRAINING, figure=figure, captions=captions, points=curves, notes=notes)


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
    """Folder names; of several with a letter before, since two may have one name."""
    return [runs[0].name] if len(runs) == 1 else [side.name for side in sides_of(runs)]


def _skipped(summary: pd.DataFrame) -> tuple[str, ...]:
    """Which methods were skipped altogether, in words."""
    run = set(summary.method_label[summary.status != "skipped"])
    skipped = [label for label in dict.fromkeys(summary.method_label) if label not in run]
    return (f"Skipped, so not drawn: {', '.join(skipped)}.",) if skipped else ()


def _with_flags(points: pd.DataFrame, summaries: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """With a column `flag`: what the instruments warn of at the two measures of each point."""
    key = ["run", "workload", "method_label", "inner_steps"]
    flags = {
        (measure, *place): flag
        for measure, summary in summaries.items()
        for *place, flag in summary[[*key, "flag"]].itertuples(index=False, name=None)
        if flag
    }
    found = []
    for quality, cost, *place in points[["quality", "cost", *key]].itertuples(index=False, name=None):
        both = (flags.get((measure, *place), "") for measure in (measure_of(quality), measure_of(cost)))
        found.append(JOIN.join(filter(None, both)))
    return points.assign(flag=found)


def _apart(points: pd.DataFrame) -> tuple[str, ...]:
    """In what the measures of some points were not alike, and what was lost, in words."""
    notes = [note for note in dict.fromkeys(points.note) if note]
    which = "all" if points.note.nunique() == 1 else "some"
    return (f"At {which} points: {'; '.join(notes)}.",) if notes else ()
