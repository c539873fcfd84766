"""Learning curves: the score on validation tasks over meta-steps, a panel a workload."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.summary import FLOORS
from harness.analyze.training import SELECTED, chosen_curves
from harness.analyze.words import listed
from harness.present.palette import Look, label_order
from harness.present.plots.captions import Caption, heading_names
from harness.present.plots.curves import Curves, chance
from harness.present.plots.figures import BESIDE, looks_of
from harness.present.plots.keys import key_of, line_style, mark_keys, method_keys
from harness.present.plots.limits import set_limits
from harness.present.plots.margin import LABEL_GAP, label_ends, room_for_names
from harness.present.plots.panel import draw_floors
from harness.present.plots.pictures import TRAINING
from harness.present.plots.scales import BY_DATA, Logs, set_scales
from harness.present.plots.sheet import EDGE, Foot, Heading, panels
from harness.present.plots.style import SCREEN, Style
from harness.present.words import workload_in_words

NAMED = 4  # methods that a title names one by one
THIN, FAINT = 0.7, 0.4  # width and opacity of the line of a single seed
AT_END, SOMETIMES, BEFORE = "at the end of training", "at the end in some seeds only", "before the end"
ABSENT: dict[str, Any] = {
    **dict.fromkeys(("low", "high", "untrained", "budget", "predicted"), float("nan")),
    **{"status": "ok", "flag": "", "failed": 0, "failure": "", "over_budget": False, "is_nothing": False},
}
"""What points of learning curves do not have, as `Curves` wants it."""


def summarise_training(runs: Sequence[LoadedRun], names: Sequence[str]) -> pd.DataFrame:
    """The learning curves of each run below one another, at the inner steps that validation chose, with the
    run's name in the column `run` and the `FLOORS` of the test tasks."""
    parts = []
    for name, run in zip(names, runs, strict=True):
        part = chosen_curves(run.learning_curves)
        if len(part):
            floors = run.accuracy.groupby("workload")[[*FLOORS]].mean()
            part = part.merge(floors, left_on="workload", right_index=True, how="left")
            part.insert(0, "run", name)
            parts.append(part)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["run", "workload"])


def training_figure(
    points: pd.DataFrame,
    every_look: dict[str, Look] | None = None,
    *,
    style: Style = SCREEN,
    logs: Logs = BY_DATA,
    notes: tuple[str, ...] = (),
    overlaid: Sequence[str] = (),
) -> tuple[Figure, tuple[Caption, ...]]:
    """The seeds of a method as thin lines, their mean as a thick one, and what was selected as markers."""
    every_look = every_look or looks_of({TRAINING: points})
    own = {label: look for label, look in every_look.items() if label in set(points.method_label)}
    drawn = list(training_curves(points, overlaid))
    columns = style.columns(len(drawn))
    margin = room_for_names(own, style)
    fits = margin <= style.end_labels_up_to and len(own) * LABEL_GAP * style.text / 72 <= style.axes[1]
    at_ends = fits and (columns == 1 or style.width is None)
    right = margin if at_ends else BESIDE[style.titles]
    inches = style.left + style.axes_size(columns, right)[0] + right - 2 * EDGE
    captions = tuple(_caption(curves) for curves in drawn)
    sentences = [(caption.sentence, caption.context) for caption in captions]
    if not style.titles:
        sentences = [("", name) for name in heading_names([curves.workload for curves in drawn])]
    headings = [Heading.of(title, context, inches, style) for title, context in sentences]
    pairs = zip(points.method, points.method_label, strict=True)
    keys = [] if at_ends else method_keys(pairs, own, style)
    foot = Foot(keys=[*keys, *mark_keys(drawn, style), *_own_keys(points, style)], notes=notes)
    figure, axes = panels(len(drawn), columns, right, headings, foot, style)
    for ax, curves, heading in zip(axes, drawn, headings, strict=True):
        heading.write(ax)
        _draw(ax, curves, own, style, end_labels=at_ends, logs=logs)
    return figure, tuple(caption.naming_scales(ax, style) for caption, ax in zip(captions, axes, strict=True))


def training_curves(points: pd.DataFrame, overlaid: Sequence[str] = ()) -> Iterator[Curves]:
    """A panel a workload, accuracies in percent."""
    runs = tuple(overlaid or dict.fromkeys(points.run))
    for workload, part in points.groupby("workload"):
        loss = bool((part.score == "loss").any())
        unit = 1.0 if loss else 100.0
        scaled: dict[str, Any] = {name: unit * part[name].astype(float) for name in ("value", *FLOORS)}
        yield Curves(
            workload=str(workload),
            xlabel="meta-steps",
            ylabel="loss on validation tasks" if loss else "accuracy on validation tasks (%)",
            points=part.assign(x=part.meta_step, **scaled, **ABSENT),
            overlaid=runs,
            by_steps=False,
            bounded=not loss,
            even_steps=True,
        )


def _draw(
    ax: Axes, curves: Curves, looks: dict[str, Look], style: Style, *, end_labels: bool, logs: Logs
) -> None:
    set_scales(ax, curves, style, logs)
    last = curves.points.x.max()
    marks = style.marks
    ends: dict[str, tuple[float, bool]] = {}
    for run, label, line in curves.lines():
        look = looks[label]
        dash = line_style(run, curves.overlaid) if len(curves.overlaid) > 1 else look.dash
        of_step = line.pivot(index="x", columns="seed", values="value")
        for seed in of_step if of_step.shape[1] > 1 else ():
            known = of_step[seed].dropna()
            ax.plot(
                known.index, known, color=look.colour, linewidth=THIN * marks, alpha=FAINT, linestyle=dash,
                zorder=2, label=f"{run}: {label}, seed {seed}",
            )  # fmt: skip
        mean = of_step.dropna().mean(axis=1)  # where a seed has ended, the mean of the others would jump
        ax.plot(
            mean.index, mean, color=look.colour, linewidth=look.width * marks, linestyle=dash,
            zorder=look.height, label=f"{run}: {label}",
        )  # fmt: skip
        chosen = line[line.is_selected]
        ax.plot(
            chosen.x, chosen.value, linestyle="none", marker=look.marker, markersize=look.size * marks,
            markerfacecolor=look.face, markeredgecolor="white" if look.filled else look.colour,
            color=look.colour, markeredgewidth=(0.6 if look.filled else 1.2) * marks, zorder=look.height + 1,
            label=f"{run}: {label}, selected",
        )  # fmt: skip
        if len(mean):
            ends.setdefault(label, (float(mean.iloc[-1]), mean.index[-1] == last))
    draw_floors(ax, curves.points, chance(curves.workload) if curves.bounded else None, style)
    set_limits(ax, curves)
    if end_labels:
        label_ends(ax, ends, looks, style)


def _own_keys(points: pd.DataFrame, style: Style) -> list[Line2D]:
    keys = []
    if points.is_selected.any():
        keys.append(key_of("selected by validation, of each seed", style, marker="o", ls="", ms=5))
    if points.seed.nunique() > 1:
        keys.insert(0, key_of("single seeds", style, lw=THIN, alpha=FAINT))
    return keys


def finding_of_training(points: pd.DataFrame) -> str:
    """Whether validation was best when training ended, in which case longer training might have helped."""
    if points.run.nunique() > 1:
        return f"Validation over meta-steps of {listed(list(dict.fromkeys(points.run)))}"
    at_end: dict[str, list[str]] = {}
    pairs = points[["method", "method_label"]].drop_duplicates().itertuples(index=False, name=None)
    for _, label in sorted(pairs, key=lambda pair: label_order(*pair)):
        own = points[points.method_label == label]
        tested = own[own.is_selected].set_index("seed").meta_step
        ends = own.groupby("seed").meta_step.max()[tested.index]
        if len(tested):  # otherwise the rows do not say which was selected
            last = (tested == ends).mean()
            when = AT_END if last == 1 else BEFORE if last == 0 else SOMETIMES
            at_end.setdefault(when, []).append(label)
    if not at_end:
        return "Validation over meta-steps"
    methods = points.method_label.nunique()
    if any(methods == len(labels) > 1 for labels in at_end.values()):
        return f"Validation is best {next(iter(at_end))}, for every method"
    parts = [f"{when} for {_named(at_end[when])}" for when in (AT_END, SOMETIMES, BEFORE) if when in at_end]
    return f"Validation is best {'; '.join(parts)}"


def _steps_in_words(points: pd.DataFrame) -> str:
    """Once for all that have the same: of every method, or of all variants of one."""
    if points.inner_steps.nunique() == 1:
        return str(points.inner_steps.iloc[0])
    told: dict[tuple[str, str], int] = {}
    for method, own in points.groupby("method"):
        label = "method" if own.inner_steps.nunique() == 1 else "method_label"
        told |= {
            (str(method), str(name)): int(steps)
            for name, steps in zip(own[label], own.inner_steps, strict=True)
        }
    return ", ".join(f"{key[1]} {told[key]}" for key in sorted(told, key=lambda key: label_order(*key)))


def _named(labels: list[str]) -> str:
    return listed(labels) if len(labels) <= NAMED else f"{len(labels)} methods"


def _caption(curves: Curves) -> Caption:
    points = curves.points
    words = [workload_in_words(curves.workload)]
    words.append(f"inner steps as validation chose: {_steps_in_words(points)}")
    if (seeds := points.groupby(["run", "method_label"]).seed.nunique().max()) > 1:
        words.append(f"thick: mean of up to {seeds} seeds, as far as all were trained")
    if points[[*FLOORS]].notna().to_numpy().any():
        words.append("floors: on the test tasks")
    score = "loss" if not curves.bounded else "accuracy"
    evidence = Evidence(
        measure="accuracy",
        workload=curves.workload,
        methods=tuple(dict.fromkeys(points.method_label)),
        metrics=(f"validation_{score}", SELECTED),
        inner_steps=tuple(sorted({int(each) for each in points.inner_steps})),
    )
    return Caption(
        workload=curves.workload,
        sentence=finding_of_training(points),
        context="; ".join(words),
        evidence=(evidence,),
    )
