"""The pictures of a measure against inner steps: a panel a workload, or a row of panels for all measures."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from harness.present.palette import Look, looks
from harness.present.plots.captions import Caption, caption_of, heading_names
from harness.present.plots.curves import curves_of
from harness.present.plots.keys import lost_keys, mark_keys, method_keys
from harness.present.plots.margin import LABEL_GAP, room_for_names
from harness.present.plots.panel import draw_panel
from harness.present.plots.scales import BY_DATA, Logs
from harness.present.plots.sheet import EDGE, Foot, Heading, panels
from harness.present.plots.style import SCREEN, Style

BESIDE = {True: 0.2, False: 0.16}  # inches between panels without names at their right: on a screen, on paper


def looks_of(summaries: dict[str, pd.DataFrame]) -> dict[str, Look]:
    """Of all methods together: a variant has its shade also where its siblings are missing."""
    pairs = [zip(s.method, s.method_label, strict=True) for s in summaries.values()]
    return looks(pair for each in pairs for pair in each)


def measure_figure(
    name: str,
    summary: pd.DataFrame,
    every_look: dict[str, Look] | None = None,
    *,
    style: Style = SCREEN,
    logs: Logs = BY_DATA,
    notes: tuple[str, ...] = (),
    overlaid: Sequence[str] = (),
) -> tuple[Figure, tuple[Caption, ...]]:
    """The panels of one picture, names at the line ends where they are short enough, with a caption each.

    `overlaid` are all runs, of which the picture may lack some."""
    drawn = curves_of(name, summary, overlaid)
    every_look = every_look or looks_of({name: summary})
    own = {label: look for label, look in every_look.items() if label in set(summary.method_label)}
    columns = style.columns(len(drawn))
    margin = room_for_names(own, style)
    at_ends = (len(drawn) == 1 and style.width is None) or margin <= style.end_labels_up_to
    if columns > 1 and style.width is not None:
        at_ends = False
    right = margin if at_ends else BESIDE[style.titles]
    size = style.axes_size(columns, right)
    if len(own) * LABEL_GAP * style.text / 72 > size[1]:  # more names than lines
        at_ends, right = False, BESIDE[style.titles]
        size = style.axes_size(columns, right)
    captions = tuple(caption_of(name, summary, curves) for curves in drawn)
    headings = _headings(captions, style.left + size[0] + right - 2 * EDGE, style)
    pairs = zip(summary.method, summary.method_label, strict=True)
    methods = lost_keys(drawn, own, style) if at_ends else method_keys(pairs, own, style)
    foot = Foot(keys=[*methods, *mark_keys(drawn, style)], notes=notes)
    figure, axes = panels(len(drawn), columns, right, headings, foot, style)
    for ax, curves, heading in zip(axes, drawn, headings, strict=True):
        heading.write(ax)
        draw_panel(ax, curves, own, style, end_labels=at_ends, logs=logs)
    return figure, tuple(caption.naming_scales(ax, style) for caption, ax in zip(captions, axes, strict=True))


def overview_figure(
    summaries: dict[str, pd.DataFrame],
    every_look: dict[str, Look] | None = None,
    *,
    style: Style = SCREEN,
    logs: Logs = BY_DATA,
    notes: tuple[str, ...] = (),
    overlaid: Sequence[str] = (),
) -> tuple[Figure, tuple[Caption, ...]]:
    """A picture of each measure in a row, a row a workload, one legend for all; of a single measure, the
    workloads in a row."""
    every = pd.concat([s[["workload", "method", "method_label"]] for s in summaries.values()])
    every_look = every_look or looks_of(summaries)
    overlaid = overlaid or list(dict.fromkeys(run for s in summaries.values() for run in s.run))
    drawn = {
        (curves.workload, name): curves
        for name, s in summaries.items()
        for curves in curves_of(name, s, overlaid)
    }
    workloads = list(dict.fromkeys(every.workload))
    abreast = len(summaries) if len(summaries) > 1 else len(workloads)
    columns = style.columns(abreast)
    places: list[tuple[str, str] | None] = []
    for workload in workloads:
        row = [(workload, name) if (workload, name) in drawn else None for name in summaries]
        # Where a page is too narrow for the row, what a workload lacks leaves no gap.
        places += row if columns == len(summaries) else [place for place in row if place]
    shown = [place for place in places if place]
    captions = {place: caption_of(place[1], summaries[place[1]], drawn[place]) for place in shown}
    right = BESIDE[style.titles]
    inches = style.left + style.axes_size(columns, right)[0] + right - 2 * EDGE
    headings = dict(zip(shown, _headings(tuple(captions.values()), inches, style), strict=True))
    pairs = zip(every.method, every.method_label, strict=True)
    keys = [*method_keys(pairs, every_look, style), *mark_keys(list(drawn.values()), style)]
    figure, axes = panels(
        len(places),
        columns,
        right,
        [headings[place] if place else None for place in places],
        Foot(keys=keys, notes=notes),
        style,
    )
    for ax, place in zip(axes, places, strict=True):
        if place is None:
            ax.set_axis_off()
            continue
        headings[place].write(ax)
        draw_panel(ax, drawn[place], every_look, style, end_labels=False, logs=logs)
        captions[place] = captions[place].naming_scales(ax, style)
    return figure, tuple(captions.values())


def _headings(captions: tuple[Caption, ...], inches: float, style: Style) -> list[Heading]:
    """On a page, only what tells the panels apart: the rest is in the caption."""
    if style.titles:
        return [Heading.of(caption.sentence, caption.context, inches, style) for caption in captions]
    names = heading_names([caption.workload for caption in captions])
    return [Heading.of("", name, inches, style) for name in names]
