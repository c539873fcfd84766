"""One set of axes: a measure of one workload against inner steps."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.present.palette import GREY, INK, Look
from harness.present.plots.curves import Curves, chance
from harness.present.plots.keys import FLOOR_LINES, line_style
from harness.present.plots.limits import draw_limits, set_limits
from harness.present.plots.margin import label_ends
from harness.present.plots.scales import BY_DATA, Logs, set_scales
from harness.present.plots.style import Style

LATE = 0.6  # of the width of the axes: from here on words stand at the left of their point
DODGE = 0.3  # of a doubling of inner steps: all methods are spread over it, so that bars stay apart


def draw_panel(
    ax: Axes,
    curves: Curves,
    looks: dict[str, Look],
    style: Style,
    *,
    end_labels: bool = True,
    logs: Logs = BY_DATA,
) -> None:
    """Lines with intervals, floors, failed points and, in the right margin, the methods' names."""
    set_scales(ax, curves, style, logs)
    marks = style.marks
    labels = list(dict.fromkeys(label for _, label, _ in curves.lines()))
    several = len(curves.overlaid) > 1
    last = curves.points.x.max()
    flagged = curves.own_flags != ""
    dodged = curves.dodged and ax.get_xscale() == "log"  # by factors, which a linear axis does not have
    ends: dict[str, tuple[float, bool]] = {}
    for run, label, line in curves.lines():
        look = looks[label]
        known = line.dropna(subset="value")
        if known.empty:
            continue
        place = labels.index(label) - (len(labels) - 1) / 2
        x = known.x * 2 ** (DODGE * place / len(labels)) if dodged else known.x
        dash = line_style(run, curves.overlaid) if several else look.dash
        bars = [
            (known.value - known.low).fillna(0).clip(lower=0),
            (known.high - known.value).fillna(0).clip(lower=0),
        ]
        drawn = ax.errorbar(
            x, known.value, yerr=np.array(bars), color=look.colour, linestyle=dash, marker=look.marker,
            markersize=marks * look.size, markerfacecolor=look.face, linewidth=marks * look.width,
            elinewidth=marks, capsize=2.5 * marks, capthick=marks, zorder=look.height,
            label=f"{run}: {label}",
        )  # fmt: skip
        # Only now: given above, the caps of the bars would take the edge's colour too.
        drawn.lines[0].set_markeredgecolor("white" if look.filled else look.colour)
        drawn.lines[0].set_markeredgewidth(marks * (0.6 if look.filled else 1.2))
        if known.untrained.notna().any():
            ax.plot(
                known.x, known.untrained, color=look.colour, alpha=0.4, linewidth=marks,
                linestyle=(0, (1, 2)) if several else (0, (4, 3)), marker=look.marker, markersize=2.5 * marks,
            )  # fmt: skip
        _partly_failed(ax, x, known, style)
        _mark_nothing(ax, known, style)
        ringed = flagged[known.index]
        if ringed.any():
            ax.plot(
                x[ringed], known.value[ringed], "o", ms=11 * marks, mfc="none", mec=INK, mew=0.9 * marks,
                zorder=3.5, label=f"{run}: {label}, flagged",
            )  # fmt: skip
        ends.setdefault(label, (float(known.value.iloc[-1]), known.x.iloc[-1] == last))
    draw_floors(ax, curves.points, chance(curves.workload) if curves.bounded else None, style)
    set_limits(ax, curves)
    draw_limits(ax, curves, looks, style)
    if end_labels:
        label_ends(ax, ends, looks, style)


def _mark_nothing(ax: Axes, known: pd.DataFrame, style: Style) -> None:
    for point in known[known.is_nothing].to_dict("records"):
        ax.annotate("0", (point["x"], point["value"]), xytext=(0, -7 * style.marks), fontsize=style.least,
                    ha="center", va="top", textcoords="offset points", color=INK,
                    annotation_clip=False)  # fmt: skip


def _partly_failed(ax: Axes, x: pd.Series, known: pd.DataFrame, style: Style) -> None:
    for place, point in zip(x, known.to_dict("records"), strict=True):
        if point["failed"]:
            # At the right end it would run out of the axes.
            late = ax.transAxes.inverted().transform(ax.transData.transform((place, 1)))[0] > LATE
            ax.annotate(f"{point['failed']} {point['failure']}", (place, point["value"]),
                        xytext=(-5 if late else 5, -9), fontsize=style.least, textcoords="offset points",
                        ha="right" if late else "left", color=INK)  # fmt: skip


def draw_floors(ax: Axes, points: pd.DataFrame, level: float | None, style: Style) -> None:
    """What learning must clear: classifiers that learn nothing, which keys name, and guessing."""
    for floor, dash in FLOOR_LINES.items():
        if len(known := points[floor].dropna()):
            ax.axhline(float(known.mean()), color=GREY, linewidth=0.8, linestyle=dash, zorder=1)
    if level is not None:
        ax.axhline(level, color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        ax.annotate(
            "chance", (1, level), xycoords=ax.get_yaxis_transform(), xytext=(-3, 2.5),
            textcoords="offset points", ha="right", fontsize=style.note, color=GREY,
        )  # fmt: skip
