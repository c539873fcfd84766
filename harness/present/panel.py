"""One set of axes: a measure of one workload against inner steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from harness.frame import split_workload
from harness.present.palette import GREY, INK, LINE_STYLES, NEWTON_METHODS, Look, method_order

LOG_FROM = 10.0  # a ratio of largest to smallest value that a linear axis would press flat
DODGE = 0.3  # of a doubling of inner steps: all methods are spread over it, so that bars stay apart
LABELS_THAT_FIT = 18  # numbers along the axis of inner steps
LABEL_GAP = 11.0  # points between two labels in the margin


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What a panel draws: `points` has run, method, method_label, inner_steps, value, low, high, untrained,
    neighbour, status, failed, failure; values in the unit of the axis."""

    workload: str
    ylabel: str
    points: pd.DataFrame
    bounded: bool = False  # accuracy in percent: from 0, with the chance level
    even_steps: bool = False  # inner steps on a linear axis, where growth by the step is a straight line
    dodged: bool = False  # methods side by side, where their intervals would hide each other

    @property
    def runs(self) -> list[str]:
        return list(dict.fromkeys(self.points.run))

    def lines(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Run, method label and points, in the palette's order."""
        keys = self.points[["run", "method", "method_label"]].drop_duplicates().to_dict("records")
        keys.sort(key=lambda k: (self.runs.index(k["run"]), method_order(k["method"]), k["method_label"]))
        for key in keys:
            line = self.points[
                (self.points.run == key["run"]) & (self.points.method_label == key["method_label"])
            ]
            yield key["run"], key["method_label"], line.sort_values("inner_steps")


def draw_panel(ax: Axes, curves: Curves, looks: dict[str, Look], *, end_labels: bool = True) -> None:
    """Lines with intervals, floors, failed points and, in the right margin, the methods' names."""
    _scales(ax, curves)
    labels = list(dict.fromkeys(label for _, label, _ in curves.lines()))
    several = len(curves.runs) > 1
    last = curves.points.inner_steps.max()
    ends: dict[str, tuple[float, bool]] = {}
    for run, label, line in curves.lines():
        look = looks[label]
        known = line.dropna(subset="value")
        if known.empty:
            continue
        place = labels.index(label) - (len(labels) - 1) / 2
        x = known.inner_steps * 2 ** (DODGE * place / len(labels)) if curves.dodged else known.inner_steps
        style = LINE_STYLES[curves.runs.index(run) % len(LINE_STYLES)]
        face = look.colour if look.filled else "white"
        bars = [
            (known.value - known.low).fillna(0).clip(lower=0),
            (known.high - known.value).fillna(0).clip(lower=0),
        ]
        drawn = ax.errorbar(
            x, known.value, yerr=np.array(bars), color=look.colour, linestyle=style, marker=look.marker,
            markersize=5.5, markerfacecolor=face, linewidth=1.5, elinewidth=1, capsize=2.5, capthick=1,
            zorder=3, label=f"{run}: {label}",
        )  # fmt: skip
        # Only now: given above, the caps of the bars would take the edge's colour too.
        drawn.lines[0].set_markeredgecolor("white" if look.filled else look.colour)
        drawn.lines[0].set_markeredgewidth(0.6 if look.filled else 1.2)
        if known.untrained.notna().any():
            ax.plot(
                known.inner_steps, known.untrained, color=look.colour, alpha=0.4, linewidth=1,
                linestyle=(0, (1, 2)) if several else (0, (4, 3)), marker=look.marker, markersize=2.5,
            )  # fmt: skip
        _partly_failed(ax, x, known)
        ends.setdefault(label, (float(known.value.iloc[-1]), known.inner_steps.max() == last))
    _floors(ax, curves)
    _limits(ax, curves)
    _failed(ax, curves, looks)
    if end_labels:
        _label_ends(ax, ends, looks)


def step_label(curves: Curves) -> str:
    newton = sorted(set(curves.points.method) & NEWTON_METHODS)
    return f"inner steps ({', '.join(newton)}: Newton steps)" if newton else "inner steps"


def chance(workload: str) -> float | None:
    """Of guessing a class, in percent; None where the number of classes is unknown."""
    ways = split_workload(workload)[1].get("ways")
    return 100 / ways if isinstance(ways, int) and ways > 0 else None


def _scales(ax: Axes, curves: Curves) -> None:
    steps = sorted(int(step) for step in curves.points.inner_steps.unique())
    place: Callable[[float], float] = float if curves.even_steps or steps[0] <= 0 else np.log2
    if place is float:
        pad = 0.06 * max(1, steps[-1] - steps[0])
        ax.set_xlim(steps[0] - pad, steps[-1] + pad)
    else:
        ax.set_xscale("log", base=2)
        pad = 2**0.35
        ax.set_xlim(steps[0] / pad, steps[-1] * pad)
    shown = [steps[-1]]
    room = (place(steps[-1]) - place(steps[0])) / LABELS_THAT_FIT
    for step in reversed(steps[:-1]):
        if place(shown[-1]) - place(step) >= room:
            shown.append(step)
    ax.set_xticks(shown, [f"{step:,}" for step in shown])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(step_label(curves))
    ax.set_ylabel(curves.ylabel)
    values = curves.points.value.dropna()
    if not curves.bounded and len(values) and values.min() > 0 and values.max() / values.min() > LOG_FROM:
        ax.set_yscale("log")
        decades = np.log10(values.max() / values.min())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylabel(f"{curves.ylabel}, log scale")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)


def _limits(ax: Axes, curves: Curves) -> None:
    """Room at the top for the failed points, none wasted below."""
    values = curves.points[["value", "low", "high", "untrained", "neighbour"]].to_numpy(float)
    if not np.isfinite(values).any():
        ax.set_ylim(0, 1)
        ax.set_yticks([])
        return
    highest = np.nanmax(values)
    failed = curves.points[curves.points.value.isna()]
    crosses = failed[["method_label", "inner_steps", "status"]].drop_duplicates()
    stack = 0 if failed.empty else crosses.groupby("inner_steps").size().max()
    share = 0.05 + 0.075 * stack  # of the height of the axes, kept free above the data
    if ax.get_yscale() == "log":
        lowest = np.nanmin(curves.points[["value", "low"]].to_numpy(float))
        lowest = lowest if lowest > 0 else curves.points.value.min()
        low, high = np.log10(lowest), np.log10(highest)
        low -= 0.06 * (high - low)
        ax.set_ylim(10**low, 10 ** (low + (high - low) / (1 - share)))
    else:
        # An accuracy has two ends that mean something, and guessing is the lower one.
        guess = chance(curves.workload) if curves.bounded else None
        low = 0.0 if guess is None else max(0.0, min(guess, float(np.nanmin(values))) - 5)
        ax.set_ylim(low, low + (highest - low) / (1 - share))


def _failed(ax: Axes, curves: Curves, looks: dict[str, Look]) -> None:
    """A cross at the upper edge: there is no value, only the status."""
    failed = curves.points[curves.points.value.isna()]
    failed = failed.groupby(["method", "method_label", "inner_steps", "status"], as_index=False).agg(
        runs=("run", lambda names: ", ".join(dict.fromkeys(names)))
    )
    last = curves.points.inner_steps.max()
    place = ax.get_xaxis_transform()
    stacked: dict[int, int] = {}
    ordered = sorted(failed.to_dict("records"), key=lambda p: (method_order(p["method"]), p["method_label"]))
    for point in ordered:
        step, colour = point["inner_steps"], looks[point["method_label"]].colour
        height = 0.965 - 0.07 * stacked.get(step, 0)
        stacked[step] = stacked.get(step, 0) + 1
        text = f"{point['status']} ({point['runs']})" if len(curves.runs) > 1 else point["status"]
        ax.plot(step, height, "x", color=colour, ms=7, mew=2, transform=place, clip_on=False, zorder=4)
        ax.annotate(
            text, (step, height), xycoords=place, xytext=(-6 if step == last else 6, 0),
            textcoords="offset points", ha="right" if step == last else "left", va="center", fontsize=8,
            color=colour, zorder=4,
        )  # fmt: skip


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


def _label_ends(ax: Axes, ends: dict[str, tuple[float, bool]], looks: dict[str, Look]) -> None:
    """Names in the right margin at the height of the line's end, pushed apart where they would overlap."""
    if not ends:
        return
    height = ax.get_window_extent().height * 72 / ax.figure.dpi  # in points
    low, high = (
        ax.transAxes.inverted().transform(ax.transData.transform([(1, y) for y, _ in ends.values()]))[:, 1],
        1.0,
    )
    names = list(ends)
    wanted = np.clip(low, 0, high) * height
    order = np.argsort(wanted, kind="stable")
    places = spread(wanted[order], LABEL_GAP, height)
    for name, want, place in zip((names[i] for i in order), wanted[order], places, strict=True):
        look = looks[name]
        face = look.colour if look.filled else "white"
        to_points: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        if abs(want - place) > 2 and ends[name][1]:
            ax.annotate("", (1, want / height), (9, place - want), **to_points,
                        arrowprops={"arrowstyle": "-", "color": look.colour, "lw": 0.6, "alpha": 0.7,
                                    "shrinkA": 0, "shrinkB": 0})  # fmt: skip
        ax.annotate(name, (1, place / height), (20, 0), **to_points, color=look.colour, va="center",
                    fontsize=9, annotation_clip=False)  # fmt: skip
        marker_at = 1 + 13 / (ax.get_window_extent().width * 72 / ax.figure.dpi)
        ax.plot([marker_at], [place / height], marker=look.marker, color=look.colour, markersize=5,
                markerfacecolor=face, transform=ax.transAxes, clip_on=False)  # fmt: skip


def spread(wanted: np.ndarray, gap: float, height: float) -> np.ndarray:
    """Ascending heights moved as little as need be to stand `gap` apart within 0..height, in their order."""
    groups: list[list[float]] = []  # [centre, count] of labels that touch
    for want in wanted:
        groups.append([float(want), 1])
        while len(groups) > 1 and _top(groups[-2], gap) + gap > _bottom(groups[-1], gap) + 1e-9:
            (centre, count), (below, more) = groups.pop(), groups.pop()
            groups.append([(centre * count + below * more) / (count + more), count + more])
    places = [c - gap * (n - 1) / 2 + gap * i for c, n in groups for i in range(int(n))]
    found = np.array(places)
    for i in range(len(found) - 1, -1, -1):  # a pile at the top moves down, then one at the bottom up
        found[i] = min(found[i], height if i == len(found) - 1 else found[i + 1] - gap)
    for i in range(len(found)):
        found[i] = max(found[i], 0.0 if i == 0 else found[i - 1] + gap)
    return found


def _top(group: list[float], gap: float) -> float:
    return group[0] + gap * (group[1] - 1) / 2


def _bottom(group: list[float], gap: float) -> float:
    return group[0] - gap * (group[1] - 1) / 2
