"""One set of axes: a measure of one workload against inner steps."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from harness.present.curves import Curves, chance
from harness.present.limits import draw_limits, reach, set_limits
from harness.present.margin import label_ends
from harness.present.palette import GREY, INK, LINE_STYLES, Look

LOG_FROM = 10.0  # a ratio of largest to smallest value that a linear axis would press flat
DODGE = 0.3  # of a doubling of inner steps: all methods are spread over it, so that bars stay apart
LABELS_THAT_FIT = 18  # numbers of up to three digits along the axis of inner steps
DIGIT = 0.018  # of the width of the axes: a digit or comma of such a number


def draw_panel(ax: Axes, curves: Curves, looks: dict[str, Look], *, end_labels: bool = True) -> None:
    """Lines with intervals, floors, failed points and, in the right margin, the methods' names."""
    _scales(ax, curves)
    labels = list(dict.fromkeys(label for _, label, _ in curves.lines()))
    several = len(curves.runs) > 1
    last = curves.points.x.max()
    flagged = curves.is_flagged()
    ends: dict[str, tuple[float, bool]] = {}
    for run, label, line in curves.lines():
        look = looks[label]
        known = line.dropna(subset="value")
        if known.empty:
            continue
        place = labels.index(label) - (len(labels) - 1) / 2
        x = known.x * 2 ** (DODGE * place / len(labels)) if curves.dodged else known.x
        style = LINE_STYLES[curves.runs.index(run) % len(LINE_STYLES)] if several else look.dash
        bars = [
            (known.value - known.low).fillna(0).clip(lower=0),
            (known.high - known.value).fillna(0).clip(lower=0),
        ]
        drawn = ax.errorbar(
            x, known.value, yerr=np.array(bars), color=look.colour, linestyle=style, marker=look.marker,
            markersize=look.size, markerfacecolor=look.face, linewidth=look.width, elinewidth=1, capsize=2.5,
            capthick=1, zorder=look.height, label=f"{run}: {label}",
        )  # fmt: skip
        # Only now: given above, the caps of the bars would take the edge's colour too.
        drawn.lines[0].set_markeredgecolor("white" if look.filled else look.colour)
        drawn.lines[0].set_markeredgewidth(0.6 if look.filled else 1.2)
        if known.untrained.notna().any():
            ax.plot(
                known.x, known.untrained, color=look.colour, alpha=0.4, linewidth=1,
                linestyle=(0, (1, 2)) if several else (0, (4, 3)), marker=look.marker, markersize=2.5,
            )  # fmt: skip
        _partly_failed(ax, x, known)
        _mark_nothing(ax, known)
        ringed = flagged[known.index]
        if ringed.any():
            ax.plot(
                x[ringed], known.value[ringed], "o", ms=11, mfc="none", mec=INK, mew=0.9, zorder=3.5,
                label=f"{run}: {label}, flagged",
            )  # fmt: skip
        ends.setdefault(label, (float(known.value.iloc[-1]), known.x.iloc[-1] == last))
    _floors(ax, curves)
    set_limits(ax, curves)
    draw_limits(ax, curves, looks)
    if end_labels:
        label_ends(ax, ends, looks)


def _scales(ax: Axes, curves: Curves) -> None:
    log = _set_heights(ax, curves)
    places = sorted(float(place) for place in curves.points.x.unique())
    # Even steps show growth by the step as a straight line; beside a logarithm of values they would bend it,
    # where a logarithm of both keeps it straight.
    even = (curves.even_steps and not log) or places[0] <= 0
    if even:
        pad = 0.06 * max(1, places[-1] - places[0])
        ax.set_xlim(places[0] - pad, places[-1] + pad)
    else:
        ax.set_xscale("log", base=2 if curves.by_steps else 10)
        pad = 2**0.35
        ax.set_xlim(places[0] / pad, places[-1] * pad)
    if curves.by_steps:
        _name_each(ax, places, float if even else np.log2)
    elif not even:
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(_plain))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(curves.xlabel)


def _name_each(ax: Axes, steps: list[float], place: Callable[[float], float]) -> None:
    """The numbers of inner steps as ticks, from the largest down, as far as they do not touch."""
    shown = [steps[-1]]
    room = (place(steps[-1]) - place(steps[0])) / LABELS_THAT_FIT
    for step in reversed(steps[:-1]):
        digits = (len(f"{step:,.0f}") + len(f"{shown[-1]:,.0f}")) / 2
        width = (digits + 1) * DIGIT * (place(steps[-1]) - place(steps[0]))
        if place(shown[-1]) - place(step) >= max(room, width):
            shown.append(step)
    ax.set_xticks(shown, [f"{step:,.0f}" for step in shown])


def _set_heights(ax: Axes, curves: Curves) -> bool:
    """The scale of values. Returns whether it is logarithmic."""
    ax.set_autoscaley_on(False)  # limits are set by hand, and matplotlib's own warn of values like 1e-16
    ax.set_ylabel(curves.ylabel)
    values = [*curves.points.value.dropna(), *curves.budgets()]
    apart = bool(values) and min(values) > 0 and max(values) / min(values) > LOG_FROM
    log = not curves.bounded and (apart or (curves.is_error and bool(values)))
    show = _plain
    if log:
        ax.set_yscale("log")
        decades = np.log10(reach(curves)[1] / min(values))  # floors and intervals may reach farther up
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylabel(f"{curves.ylabel}, log scale")
        if curves.in_powers and decades >= 2.5:
            show = _power_of_ten
    ax.yaxis.set_major_formatter(FuncFormatter(show))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)
    return log


def _plain(value: float, _: Any) -> str:
    return f"{value:,.6g}"


def _power_of_ten(value: float, _: Any) -> str:
    return f"$10^{{{np.log10(value):.0f}}}$"


def _mark_nothing(ax: Axes, known: pd.DataFrame) -> None:
    for point in known[known.is_nothing].to_dict("records"):
        ax.annotate("0", (point["x"], point["value"]), xytext=(0, -7), fontsize=7, ha="center", va="top",
                    textcoords="offset points", color=INK, annotation_clip=False)  # fmt: skip


def _partly_failed(ax: Axes, x: pd.Series, known: pd.DataFrame) -> None:
    for place, point in zip(x, known.to_dict("records"), strict=True):
        if point["failed"]:
            ax.annotate(f"{point['failed']} {point['failure']}", (place, point["value"]), xytext=(5, -9),
                        fontsize=7, textcoords="offset points", color=INK)  # fmt: skip


def _floors(ax: Axes, curves: Curves) -> None:
    """What learning must clear: a nearest neighbour in pixels, and guessing."""
    across = ax.get_yaxis_transform()
    common: dict[str, Any] = {
        "xycoords": across,
        "textcoords": "offset points",
        "fontsize": 7.5,
        "color": GREY,
    }
    neighbour = curves.points.neighbour.dropna()
    if len(neighbour):
        level = float(neighbour.mean())
        ax.axhline(level, color=GREY, linewidth=0.8, zorder=1)
        # On the left, where the fewest lines pass, and behind them where one does.
        ax.annotate(
            "nearest neighbour in pixels", (0, level), xytext=(3, 3), ha="left", zorder=1.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}, **common,
        )  # fmt: skip
    level_of_chance = chance(curves.workload) if curves.bounded else None
    if level_of_chance is not None:
        ax.axhline(level_of_chance, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        ax.annotate("chance", (1, level_of_chance), xytext=(-3, 2.5), ha="right", **common)
