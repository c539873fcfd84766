"""Names in the right margin, at the height of their line's end."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from harness.present.palette import Look
from harness.present.plots.lettering import width_of
from harness.present.plots.style import Style

LABEL_GAP = 1.22  # of the size of letters: between two labels in the margin
NAME_AT, MARKER_AT, LEADER = 20, 13, 9  # points from the axes, times the size of marks


def room_for_names(labels: Iterable[str], style: Style) -> float:
    """Inches beside the axes that the longest name takes."""
    longest = max(width_of(label, style.text, style.family) for label in labels)
    return NAME_AT * style.marks / 72 + longest + 0.08


def label_ends(ax: Axes, ends: dict[str, tuple[float, bool]], looks: dict[str, Look], style: Style) -> None:
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
    places = spread(wanted[order], LABEL_GAP * style.text, height)
    width = ax.get_window_extent().width * 72 / ax.figure.dpi
    marks = style.marks
    for name, want, place in zip((names[i] for i in order), wanted[order], places, strict=True):
        look = looks[name]
        to_points: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
        if abs(want - place) > 2 and ends[name][1]:
            ax.annotate("", (1, want / height), (LEADER * marks, place - want), **to_points,
                        arrowprops={"arrowstyle": "-", "color": look.colour, "lw": 0.6 * marks, "alpha": 0.7,
                                    "shrinkA": 0, "shrinkB": 0})  # fmt: skip
        ax.annotate(name, (1, place / height), (NAME_AT * marks, 0), **to_points, color=look.colour,
                    va="center", fontsize=style.text, annotation_clip=False)  # fmt: skip
        ax.plot([1 + MARKER_AT * marks / width], [place / height], marker=look.marker, color=look.colour,
                markersize=5 * marks, markerfacecolor=look.face, transform=ax.transAxes,
                clip_on=False)  # fmt: skip


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
