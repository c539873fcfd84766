"""What ends a curve: failed points, memory budgets, and what would be needed beyond them."""

from itertools import pairwise
from typing import NamedTuple

import matplotlib.transforms as mtransforms
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from harness.analyze.summary import FLOORS
from harness.present.palette import GREY, Look, label_order
from harness.present.plots.curves import PREDICTIONS_TO, Curves, chance
from harness.present.plots.lettering import width_of
from harness.present.plots.numbers import Box, overlap
from harness.present.plots.style import Style

CROSS_GAP = 0.07  # of the height of the axes, between crosses at the same number of steps
LEAST_DECADES = {True: 1.0, False: 0.1}  # of a logarithmic axis: of errors, of anything else
UNIT_NAMES = ("MiB", "GiB", "TiB")


def reach(curves: Curves) -> tuple[float, float]:
    """The smallest and largest value that the axis must show, before any room for crosses; NaN if none."""
    values = curves.points[["value", "low", "high", "untrained", *FLOORS]].to_numpy(float)
    seen = values[np.isfinite(values)]
    budgets = list(curves.budgets())
    needed = curves.points.predicted.max()
    if budgets and pd.notna(needed):
        budgets.append(min(float(needed), PREDICTIONS_TO * max(budgets)))
    every = np.concatenate([seen, budgets])
    return (float(every.min()), float(every.max())) if len(every) else (float("nan"), float("nan"))


def set_limits(ax: Axes, curves: Curves) -> None:
    """Room at the top for the failed points, none wasted below."""
    lowest, highest = reach(curves)
    if np.isnan(highest):
        ax.set_ylim(0, 1)
        ax.set_yticks([])
        return
    at_edge, at_budget = (_tallest_stack(crosses) for crosses in _crosses(curves))
    share = 0.05 + 0.075 * at_edge  # of the height of the axes, kept free above the data
    if at_budget:
        share += CROSS_GAP * (at_budget - 1) + 0.02
    if ax.get_yscale() == "log":
        lowest = lowest if lowest > 0 else curves.points.value.min()
        if curves.bounded and (guess := chance(curves.workload)):
            lowest = min(lowest, guess)
        low, high = np.log10(lowest), np.log10(highest)
        least = LEAST_DECADES[curves.is_error]
        if high - low < least:  # values that are alike, on an axis that is logarithmic even then
            low, high = (low + high - least) / 2, (low + high + least) / 2
        low -= (0.12 if curves.points.is_nothing.any() else 0.06) * (high - low)  # their zeros stand below
        ax.set_ylim(10**low, 10 ** (low + (high - low) / (1 - share)))
    else:
        # An accuracy has two ends that mean something, and guessing is the lower one.
        guess = chance(curves.workload) if curves.bounded else None
        low = min(0.0, lowest) if guess is None else max(0.0, min(guess, lowest) - 5)
        highest = highest if highest > low else low + 1  # all that was measured is 0
        ax.set_ylim(low, low + (highest - low) / (1 - share))


def draw_limits(ax: Axes, curves: Curves, looks: dict[str, Look], style: Style) -> None:
    """Budgets as dashed lines; a cross a failed point, since there is no value, only the status: at the
    budget that was too small, at the upper edge otherwise, also where the machine itself had no more."""
    _predictions(ax, curves, looks, style)
    at_edge, at_budget = _crosses(curves)
    _budgets(ax, curves, at_budget, style)
    first = curves.points.x.min()
    said: set[tuple[str, str]] = set()
    taken: list[Box] = []
    words: list[_Words] = []
    for crosses, place in ((at_edge, ax.get_xaxis_transform()), (at_budget, ax.transData)):
        stacked: dict[tuple[int, float], int] = {}
        for point in crosses:
            step, level = point["x"], point["level"]
            count = stacked.get((step, level), 0)
            stacked[step, level] = count + 1
            height = ax.get_window_extent().height * CROSS_GAP * count * (-1 if place != ax.transData else 1)
            # In inches, so that a log axis stacks them as evenly as a linear one.
            up = mtransforms.ScaledTranslation(0, height / ax.figure.dpi, ax.figure.dpi_scale_trans)
            colour = looks[point["method_label"]].colour
            ax.plot(
                step, level, "x", color=colour, ms=7 * style.marks, mew=2 * style.marks, transform=place + up,
                clip_on=False, zorder=4,
            )  # fmt: skip
            x, y = (place + up).transform((step, level)) * 72 / ax.figure.dpi
            taken.append((x - 4 * style.marks, y - 4 * style.marks, x + 4 * style.marks, y + 4 * style.marks))
            if crosses is at_budget:  # the line says what it means
                continue
            text = f"{point['fate']}, {point['runs']}" if len(curves.runs) > 1 else point["fate"]
            if (point["method_label"], text) in said:  # once a line of crosses: beside its first
                continue
            said.add((point["method_label"], text))
            words.append(_Words(text, (step, level), place + up, (x, y), colour, step > first))
    for each in words:
        taken.append(_write_beside(ax, each, taken, style))


class _Words(NamedTuple):
    """What became of a point: `point` as `across` has it, and its `place` in points of the page."""

    text: str
    point: tuple[float, float]
    across: mtransforms.Transform
    place: tuple[float, float]
    colour: str
    at_left: bool


def _write_beside(ax: Axes, words: _Words, taken: list[Box], style: Style) -> Box:
    """Beside the cross, or below it where other words or crosses stand on both sides. Returns where."""
    x, y = words.place
    width, half = 72 * width_of(words.text, style.note, style.family), 0.6 * style.note
    left = ("right", (-6, 0)), (x - 6 - width, y - half, x - 6, y + half)
    right = ("left", (6, 0)), (x + 6, y - half, x + 6 + width, y + half)
    below = ("center", (0, -11)), (x - width / 2, y - 11 - half, x + width / 2, y - 11 + half)
    order = (left, right, below) if words.at_left else (right, left, below)
    (align, shift), box = min(order, key=lambda side: sum(overlap(side[1], other) for other in taken))
    ax.annotate(
        words.text, words.point, xycoords=words.across, xytext=shift, textcoords="offset points", ha=align,
        va="center", fontsize=style.note, color=words.colour, zorder=4,
    )  # fmt: skip
    return box


def in_words(mib: float) -> str:
    """`1 GiB`, `400 MiB`: the unit that a budget was probably given in."""
    for unit in UNIT_NAMES[:-1]:
        if mib < 1024:
            return f"{mib:.4g} {unit}"
        mib /= 1024
    return f"{mib:.4g} {UNIT_NAMES[-1]}"


def _crosses(curves: Curves) -> tuple[list[dict], list[dict]]:
    """At the upper edge and at a budget, each with its `level` and its `fate` in words. Runs that fare alike
    share one."""
    shown = curves.budgets()
    failed = curves.failed.copy()
    failed["level"] = failed.budget.where(failed.over_budget & failed.budget.isin(list(shown)))
    of_machine = (failed.status == "oom") & ~failed.over_budget
    failed["fate"] = failed.status.mask(of_machine, "oom (machine)")
    keys = ["method", "method_label", "x", "fate", "level"]
    crosses = failed.groupby(keys, as_index=False, dropna=False).agg(
        runs=("run", lambda names: ", ".join(dict.fromkeys(names)))
    )
    ordered = sorted(crosses.to_dict("records"), key=lambda p: label_order(p["method"], p["method_label"]))
    points = [{str(name): value for name, value in point.items()} for point in ordered]
    at_edge = [point | {"level": 0.965} for point in points if pd.isna(point["level"])]
    return at_edge, [point for point in points if pd.notna(point["level"])]


def _tallest_stack(crosses: list[dict]) -> int:
    places = [(point["x"], point["level"]) for point in crosses]
    return max(map(places.count, places), default=0)


def _budgets(ax: Axes, curves: Curves, crosses: list[dict], style: Style) -> None:
    budgets = curves.budgets()
    for level, runs in budgets.items():
        ax.axhline(level, color=GREY, linewidth=style.marks, linestyle=(0, (6, 3)), zorder=1.5)
        whose = f", {', '.join(runs)}" if len(budgets) > 1 else ""
        text = f"budget {in_words(level)}{whose}"
        inches = ax.get_window_extent().width / ax.figure.dpi
        share = (width_of(text, style.note, style.family) + 0.12) / inches
        left, align = _free_place(ax, [p["x"] for p in crosses if p["level"] == level], share)
        ax.annotate(
            text, (left, level), xycoords=ax.get_yaxis_transform(),
            xytext=(3 if align == "left" else 0, 3), textcoords="offset points", ha=align, va="bottom",
            fontsize=style.note, color=GREY, zorder=2.5 if align == "left" else 3.5,  # a gap holds no markers
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )  # fmt: skip


def _free_place(ax: Axes, steps: list[int], needed: float) -> tuple[float, str]:
    """Where a label that takes this share of the width does not touch the crosses that pile up from the line:
    on the left, or else in the middle of the widest gap. As a share of the width, with the alignment."""
    places = [float(ax.transAxes.inverted().transform(ax.transData.transform((s, 1)))[0]) for s in steps]
    if not places or min(places) > needed:
        return 0.0, "left"
    start, end = max(pairwise([*sorted(set(places)), 1.0]), key=lambda gap: gap[1] - gap[0])
    return (start + end) / 2, "center"


def _predictions(ax: Axes, curves: Curves, looks: dict[str, Look], style: Style) -> None:
    """From the last point that was run on, as far as the axis goes."""
    for run, label, line in curves.lines():
        needed = line.dropna(subset="predicted")
        if needed.empty or not curves.budgets():
            continue
        run_up_to = line[line.value.notna() & (line.x < needed.x.min())].tail(1)
        steps = [*run_up_to.x, *needed.x]
        colour = looks[label].colour
        ax.plot(
            steps, [*run_up_to.value, *needed.predicted], color=colour, alpha=0.55, linewidth=style.marks,
            linestyle=(0, (1, 1.6)), zorder=2, label=f"{run}: {label}, predicted",
        )  # fmt: skip
        ax.plot(
            needed.x, needed.predicted, "o", ms=3.5 * style.marks, mfc="white", mec=colour,
            mew=0.8 * style.marks, alpha=0.8, zorder=2.1,
        )  # fmt: skip
