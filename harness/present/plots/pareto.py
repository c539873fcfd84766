"""What accuracy costs: against peak memory and against seconds, with the points that no other one beats."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from harness.analyze.finding import Evidence
from harness.analyze.gradient import ERRORS
from harness.analyze.pareto import MEASURES
from harness.analyze.scaling.growth import MIB
from harness.analyze.words import listed
from harness.present.palette import GREY, INK, Look, label_order
from harness.present.plots.captions import Caption, flagged_somewhere, flagged_throughout, heading_names
from harness.present.plots.curves import own_flags
from harness.present.plots.keys import flag_key, key_of, line_style, run_keys
from harness.present.plots.lettering import width_of
from harness.present.plots.numbers import number_efficient
from harness.present.plots.scales import (
    BY_DATA,
    LOG_FROM,
    Logs,
    locate_across,
    name_values,
    parts_of_a_decade,
    plain,
)
from harness.present.plots.sheet import EDGE, Foot, Heading, panels
from harness.present.plots.style import SCREEN, Style
from harness.present.words import workload_in_words


@dataclass(frozen=True)
class Axis:
    """What stands along it, what a value is multiplied by to be in its unit, and what it is in words."""

    name: str
    unit: float
    words: str
    metrics: tuple[str, ...]  # of the rows


AXES = {
    "peak_bytes": Axis("peak memory of a meta-step (MiB)", 1 / MIB, "peak memory", ("peak_bytes",)),
    "step_seconds": Axis("time of a meta-step (ms)", 1e3, "time", ("step_seconds",)),
    "accuracy": Axis("accuracy on fresh tasks (%)", 100.0, "accuracy", ("accuracy",)),
    "loss": Axis("loss on fresh tasks", 1.0, "loss", ("loss",)),
    "gradient_error": Axis("relative error of the meta-gradient", 1.0, "error of the meta-gradient", ERRORS),
}
WIDEST_NUMBER = "100,000"  # half of it may stand beyond the end of an axis
LISTED = 4  # efficient points that fit into a title
PALE = 0.4  # of the colour of a point that is beaten, but not beyond its interval


def pareto_figure(
    points: pd.DataFrame,
    looks: dict[str, Look],
    *,
    style: Style = SCREEN,
    logs: Logs = BY_DATA,
    notes: tuple[str, ...] = (),
    overlaid: Sequence[str],
) -> tuple[Figure, tuple[Caption, ...]]:
    """A panel a workload and cost, one legend for all. `overlaid` are all runs, of which it may lack some."""
    shown = [(workload, cost, part) for (workload, cost), part in points.groupby(["workload", "cost"])]
    columns = min(2, style.abreast, len(shown))  # memory and time beside each other
    right = max(0.2 * style.marks, width_of(WIDEST_NUMBER, style.ticks, style.family) / 2)
    captions = tuple(_caption(str(workload), str(cost), part) for workload, cost, part in shown)
    inches = style.left + style.axes_size(columns, right)[0] + right - 2 * EDGE
    names = heading_names([caption.workload for caption in captions])
    headings = [
        Heading.of(caption.sentence, caption.context if style.titles else name, inches, style)
        for caption, name in zip(captions, names, strict=True)
    ]
    keys = [
        *_method_keys(points, looks, style),
        *run_keys(set(points.run), overlaid, style),
        *_mark_keys(points, style),
        *([flag_key(style)] if any((own_flags(part) != "").any() for _, _, part in shown) else []),
    ]
    foot = Foot(keys=keys, notes=notes)
    figure, axes = panels(len(shown), columns, right, headings, foot, style)
    for ax, (_, cost, part), heading in zip(axes, shown, headings, strict=True):
        heading.write(ax)
        _draw(ax, str(cost), part, looks, overlaid, style, logs)
    return figure, tuple(caption.naming_scales(ax, style) for caption, ax in zip(captions, axes, strict=True))


def measures_of(points: pd.DataFrame) -> list[str]:
    """Of their qualities, then of their costs."""
    names = [*points.quality.unique(), *points.cost.unique()]
    return list(dict.fromkeys(map(measure_of, names)))


def measure_of(axis: str) -> str:
    return "accuracy" if axis == "loss" else MEASURES[axis]


def _caption(workload: str, cost: str, part: pd.DataFrame) -> Caption:
    quality = str(part.quality.iloc[0])
    what = f"{AXES[quality].words} against {AXES[cost].words}"
    methods = tuple(dict.fromkeys(part.method_label))
    steps = tuple(sorted({int(step) for step in part.inner_steps}))
    evidence = tuple(
        Evidence(
            measure=measure,
            workload=workload,
            methods=methods,
            metrics=AXES[axis].metrics,
            inner_steps=steps,
        )
        for axis, measure in zip((quality, cost), measures_of(part), strict=True)
    )
    context = [
        workload_in_words(workload),
        "beaten: another point is as good in both and better in one",
        "numbers: inner steps",
    ]
    bars = "bars: 95%" if quality != "gradient_error" else "bars of the error: least to largest seed"
    context += [bars, *flagged_throughout(part)]
    return Caption(
        workload=workload,
        sentence=_finding(what, part),
        context="; ".join(context),
        evidence=evidence,
        doubts=flagged_somewhere(part),
    )


def _finding(what: str, part: pd.DataFrame) -> str:
    if part.run.nunique() > 1:
        return f"{what[0].upper()}{what[1:]} of {part.run.nunique()} runs"
    best = part[part.is_efficient]
    steps: dict[tuple[str, str], list[int]] = {}
    for method, label, count in best[["method", "method_label", "inner_steps"]].itertuples(index=False):
        steps.setdefault((str(method), str(label)), []).append(int(count))
    ordered = sorted(steps.items(), key=lambda item: label_order(*item[0]))
    if len(ordered) <= LISTED:
        names = listed(
            [f"{label} at {', '.join(f'{n:,}' for n in sorted(counts))}" for (_, label), counts in ordered]
        )
        one = len(best) == 1 and best.inner_steps.iloc[0] == 1
        names += " inner step" if one else " inner steps"
    else:
        names = f"{len(best)} points of {len(ordered)} methods"
    close = int((part.may_be_efficient & ~part.is_efficient).sum())
    others = f"{close} other{'s are' if close > 1 else ' is'} beaten within intervals only"
    found = f"{what[0].upper()}{what[1:]}: no point beats {names}"
    return f"{found}; {others}" if close else found


def _draw(
    ax: Axes,
    cost: str,
    part: pd.DataFrame,
    looks: dict[str, Look],
    overlaid: Sequence[str],
    style: Style,
    logs: Logs,
) -> None:
    part = part.copy()
    axes = {"quality": AXES[str(part.quality.iloc[0])], "cost": AXES[cost]}
    for name, axis in axes.items():
        part[[f"{name}_value", f"{name}_low", f"{name}_high"]] *= axis.unit
    _set_axes(ax, part, cost, style, logs)
    marks = style.marks
    for run in overlaid:
        front = part[(part.run == run) & part.is_efficient].sort_values("cost_value")
        dash = line_style(run, overlaid)
        ax.plot(front.cost_value, front.quality_value, color=GREY, lw=marks, ls=dash, zorder=1.5,
                drawstyle="steps-post",
                label=f"{run}: efficient")  # fmt: skip
    for point in part.sort_values("is_efficient", kind="stable").to_dict("records"):
        look = looks[point["method_label"]]
        x, y = point["cost_value"], point["quality_value"]
        for name, value in (("cost", x), ("quality", y)):
            low, high = (point[f"{name}_{end}"] for end in ("low", "high"))
            if low < value or high > value:
                ends = ([low, high], [y, y]) if name == "cost" else ([x, x], [low, high])
                ax.plot(*ends, color=look.colour, lw=0.8 * marks, alpha=0.5, zorder=2)
        ax.plot(
            [x], [y], color=look.colour, marker=look.marker, ms=7 * marks, mec=look.colour, mew=1.1 * marks,
            ls="", mfc=_face(look.colour, point), zorder=3.5 if point["is_efficient"] else 3,
            label=f"{point['run']}: {point['method_label']}",
        )  # fmt: skip
    ringed = part[own_flags(part) != ""]
    if len(ringed):
        ax.plot(ringed.cost_value, ringed.quality_value, "o", ms=12 * marks, mfc="none", mec=INK,
                mew=0.9 * marks, zorder=3.2, label="flagged")  # fmt: skip
    number_efficient(ax, part, looks, style)


def _face(colour: str, point: dict) -> str | tuple[str, float]:
    if point["is_efficient"]:
        return colour
    return _mixed(colour) if point["may_be_efficient"] else "white"


def _mixed(colour: str) -> str:
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(PALE * part + (1 - PALE) * 255):02X}" for part in parts)


def _set_axes(ax: Axes, part: pd.DataFrame, cost: str, style: Style, logs: Logs) -> None:
    is_error = part.quality.iloc[0] == "gradient_error"
    for axis, name, asked in ((ax.xaxis, "cost", logs.x), (ax.yaxis, "quality", logs.y)):
        values = part[f"{name}_value"]
        apart = values.min() > 0 and values.max() / values.min() > LOG_FROM
        by_data = apart and (name == "cost" or is_error or part.quality.iloc[0] == "loss")
        log = (by_data if asked is None else asked) and values.min() > 0
        low = part[[f"{name}_value", f"{name}_low"]].min().min()
        high = part[[f"{name}_value", f"{name}_high"]].max().max()
        if log:
            low = max(low, values.min() / 2)
            decades = np.log10(high / low)
            (ax.set_xscale if name == "cost" else ax.set_yscale)("log")
            axis.set_minor_formatter(NullFormatter())
            if name == "quality":
                axis.set_major_locator(LogLocator(subs=parts_of_a_decade(decades)))
            pad = (high / low) ** 0.09 if high > low else 1.5
            ends = (low / pad, high * pad)
        else:
            pad = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
            ends = (low - pad, high + pad)
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(plain))
        (ax.set_xlim if name == "cost" else ax.set_ylim)(*ends)
    ax.xaxis.set_major_locator(locate_across(ax, style))
    ax.set_xlabel(AXES[cost].name)
    name_values(ax, AXES[str(part.quality.iloc[0])].name, style)
    ax.grid(color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)


def _method_keys(points: pd.DataFrame, looks: dict[str, Look], style: Style) -> list[Line2D]:
    pairs = sorted(set(zip(points.method, points.method_label, strict=True)), key=lambda p: label_order(*p))
    return [
        key_of(label, style, color=looks[label].colour, marker=looks[label].marker, ms=6, ls="")
        for _, label in pairs
    ]


def _mark_keys(points: pd.DataFrame, style: Style) -> list[Line2D]:
    words = {"beaten by no other point": INK}
    if (points.may_be_efficient & ~points.is_efficient).any():
        words["beaten within the intervals only"] = _mixed(INK)
    if (~points.may_be_efficient).any():
        words["beaten"] = "white"
    return [
        key_of(
            text, style, color=GREY, lw=1, ls="-" if face == INK else "", marker="o", ms=6, mfc=face, mec=INK
        )
        for text, face in words.items()
    ]  # fmt: skip
