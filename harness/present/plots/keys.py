"""The keys of a picture: what colours, line styles, rings and crosses mean, where they occur."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from harness.analyze.summary import FLOORS
from harness.present.palette import GREY, INK, LINE_STYLES, Look, label_order
from harness.present.plots.curves import NOTHING, Curves
from harness.present.plots.style import Style

FLOOR_LINES: dict[str, Any] = {"neighbour": "-", "hausdorff": (0, (7, 1.5, 1.5, 1.5))}
"""How the line of each floor that learns nothing is drawn."""


def mark_keys(drawn: list[Curves], style: Style) -> list[Line2D]:
    """What line styles, rings and crosses mean, where they occur."""
    overlaid = drawn[0].overlaid
    keys = run_keys({run for curves in drawn for run in curves.runs}, overlaid, style)
    if any(curves.points.untrained.notna().any() for curves in drawn):
        dots: Any = (0, (1, 2)) if len(overlaid) > 1 else (0, (4, 3))
        keys.append(key_of("same adaptation, untrained start", style, alpha=0.4, lw=1, ls=dots))
    keys += floor_keys([curves.points for curves in drawn], style)
    if any(curves.points.value.isna().any() for curves in drawn):
        keys.append(key_of("failed: no value", style, marker="x", ls="", mew=2, ms=6))
    if any(curves.budgets() for curves in drawn):
        dashes: Any = (0, (6, 3))
        keys.append(key_of("budget of live tensors; cross: oom", style, color=GREY, lw=1, ls=dashes))
    if any(curves.budgets() and curves.points.predicted.notna().any() for curves in drawn):
        dotted: Any = (0, (1, 1.6))
        words = "live tensors, predicted, not run"
        keys.append(key_of(words, style, alpha=0.6, lw=1, ls=dotted, marker="o", ms=3.5, mfc="white"))
    if any(curves.points.is_nothing.any() for curves in drawn):
        keys.append(key_of(f"no error at all, drawn at {NOTHING:.0e}", style, marker="$0$", ms=5, ls=""))
    if any((curves.own_flags != "").any() for curves in drawn):
        keys.append(flag_key(style))
    return keys


def floor_keys(every: Iterable[pd.DataFrame], style: Style) -> list[Line2D]:
    """Of the floors that any of these points have, in columns of their names."""
    every = list(every)
    return [
        key_of(FLOORS[floor], style, color=GREY, lw=0.8, ls=dash)
        for floor, dash in FLOOR_LINES.items()
        if any(points[floor].notna().any() for points in every)
    ]


def flag_key(style: Style) -> Line2D:
    return key_of("flagged by an instrument", style, marker="o", ls="", ms=9, mfc="none", mew=0.9)


def run_keys(shown: Collection[str], overlaid: Sequence[str], style: Style) -> list[Line2D]:
    """Line styles of those that are shown of several runs; none for one."""
    if len(overlaid) < 2:
        return []
    return [key_of(run, style, ls=line_style(run, overlaid), lw=1.5) for run in overlaid if run in shown]


def line_style(run: str, overlaid: Sequence[str]) -> Any:
    """The same in every panel and picture of these runs."""
    return LINE_STYLES[overlaid.index(run) % len(LINE_STYLES)]


def lost_keys(drawn: list[Curves], looks: dict[str, Look], style: Style) -> list[Line2D]:
    """The methods that have crosses only: there is no line whose end would name them."""
    every = pd.concat([curves.points for curves in drawn])
    valued = set(every.method_label[every.value.notna()])
    return [
        key_of(label, style, color=look.colour, marker="x", ls="", mew=2, ms=6)
        for label, look in looks.items()
        if label not in valued
    ]


def method_keys(labels: Iterable[tuple[str, str]], looks: dict[str, Look], style: Style) -> list[Line2D]:
    """One each (method, method_label), in the palette's order."""
    ordered = sorted(set(labels), key=lambda pair: label_order(*pair))
    return [
        key_of(
            label, style, color=look.colour, marker=look.marker, ms=look.size - 0.5, lw=look.width,
            ls=look.dash, mfc=look.face,
        )
        for label, look in ((label, looks[label]) for _, label in ordered)
    ]  # fmt: skip


def key_of(label: str, style: Style, **look: Any) -> Line2D:
    """Sizes are those of the screen."""
    sizes = {name: look[name] * style.marks for name in ("lw", "ms", "mew") if name in look}
    return Line2D([], [], label=label, **{"color": INK} | look | sizes)
