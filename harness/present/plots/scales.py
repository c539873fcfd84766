"""The axes of a panel: linear or logarithmic, by the data or as asked for, with numbers that do not touch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, Locator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from harness.present.plots.curves import Curves
from harness.present.plots.lettering import width_of, wrap
from harness.present.plots.limits import reach
from harness.present.plots.style import Style

LOG_FROM = 10.0  # a ratio of largest to smallest value that a linear axis would press flat
BETWEEN_NUMBERS = 0.5  # of the size of letters, between numbers along the axis
ROUND_STEPS = [1, 2, 2.5, 5, 10]
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Logs:
    """Which axes are logarithmic; None leaves it to the data."""

    x: bool | None = None
    y: bool | None = None


LOGS = {"x": Logs(True, False), "y": Logs(False, True), "xy": Logs(True, True), "none": Logs(False, False)}
BY_DATA = Logs()


def without_logarithm(drawn: list[Curves], logs: Logs) -> list[str]:
    """Which axes are linear although a logarithm was asked for, in words."""
    said = []
    if logs.x and any(curves.points.x.min() <= 0 for curves in drawn):
        said.append(f"{drawn[0].xlabel} of 0 have no logarithm: that axis is linear.")
    if logs.y and any(curves.points.value.min() <= 0 for curves in drawn):
        said.append(f"Not all values of {drawn[0].ylabel} have a logarithm: that axis is linear.")
    return [sentence[0].upper() + sentence[1:] for sentence in said]


def set_scales(ax: Axes, curves: Curves, style: Style, logs: Logs = BY_DATA) -> None:
    log = _set_heights(ax, curves, style, logs.y)
    places = sorted(float(place) for place in curves.points.x.unique())
    # Even steps show growth by the step as a straight line; beside a logarithm of values they would bend it,
    # where a logarithm of both keeps it straight.
    even = curves.even_steps and not log if logs.x is None else not logs.x
    even = even or places[0] <= 0
    if even:
        pad = 0.06 * max(1, places[-1] - places[0])
        ax.set_xlim(places[0] - pad, places[-1] + pad)
    else:
        ax.set_xscale("log", base=2 if curves.by_steps else 10)
        pad = 2**0.35
        ax.set_xlim(places[0] / pad, places[-1] * pad)
    if curves.by_steps:
        _name_each(ax, places, style)
    else:
        ax.xaxis.set_major_locator(locate_across(ax, style))
        ax.xaxis.set_major_formatter(FuncFormatter(plain))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlabel(curves.xlabel)


def _name_each(ax: Axes, steps: list[float], style: Style) -> None:
    """The numbers of inner steps as ticks: the largest, the smallest, and from the largest down what does not
    touch those."""

    def place(step: float) -> float:  # in inches
        return float(ax.transData.transform((step, 1.0))[0]) / ax.get_figure(root=True).dpi  # type: ignore[union-attr]

    def half(step: float) -> float:
        return width_of(f"{step:,.0f}", style.ticks, style.family) / 2

    gap = BETWEEN_NUMBERS * style.ticks / 72

    def apart(lower: float, upper: float) -> bool:
        return place(upper) - half(upper) - place(lower) - half(lower) >= gap

    shown = [steps[-1]]
    for step in reversed(steps[:-1]):
        if apart(step, shown[-1]) and (step == steps[0] or apart(steps[0], step)):
            shown.append(step)
    ax.set_xticks(shown, [f"{step:,.0f}" for step in shown])


def _set_heights(ax: Axes, curves: Curves, style: Style, wanted: bool | None) -> bool:
    """The scale of values. Returns whether it is logarithmic."""
    ax.set_autoscaley_on(False)  # limits are set by hand, and matplotlib's own warn of values like 1e-16
    values = [*curves.points.value.dropna(), *curves.budgets()]
    positive = bool(values) and min(values) > 0
    apart = positive and max(values) / min(values) > LOG_FROM
    by_data = not curves.bounded and (apart or (curves.is_error and bool(values)))
    log = by_data if wanted is None else wanted and positive
    show = plain
    if log:
        ax.set_yscale("log")
        decades = np.log10(reach(curves)[1] / min(values))  # floors and intervals may reach farther up
        ax.yaxis.set_major_locator(LogLocator(subs=parts_of_a_decade(decades)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        if curves.in_powers and decades >= 2.5:
            show = _power_of_ten
    name_values(ax, f"{curves.ylabel}, log scale" if log and style.titles else curves.ylabel, style)
    ax.yaxis.set_major_formatter(FuncFormatter(show))
    ax.grid(axis="y", color="#E6E6E6", linewidth=0.6)
    ax.set_axisbelow(True)
    return log


def locate_across(ax: Axes, style: Style) -> Locator:
    """Places for round numbers below the axes, as many as do not touch."""
    inches = ax.get_window_extent().width / ax.get_figure(root=True).dpi  # type: ignore[union-attr]
    low, high = ax.get_xlim()

    def room(count: float, numbers: Sequence[float]) -> bool:
        widest = max((width_of(plain(n, 0), style.ticks, style.family) for n in numbers), default=0.0)
        return count * (widest + BETWEEN_NUMBERS * style.ticks / 72) <= inches

    if ax.get_xscale() == "log":
        decades = np.log10(high / low)
        dense = ((1.0, 2.0, 3.0, 4.0, 6.0, 8.0),) if decades < 0.9 else ()
        for subs in (*dense, (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            locator = LogLocator(subs=subs)
            numbers = [n for n in locator.tick_values(low, high) if low <= n <= high]
            # The closest two are as far apart as all would be that many times a decade.
            closest = min(np.diff(np.log10([*subs, 10.0])))
            if room(decades / closest, numbers):
                return locator
        return LogLocator(subs=(1.0,), numticks=4)
    for bins in range(9, 1, -1):
        locate = MaxNLocator(bins, steps=ROUND_STEPS)
        numbers = [n for n in locate.tick_values(low, high) if low <= n <= high]
        if room(len(numbers), numbers):
            return locate
    return MaxNLocator(2)


def name_values(ax: Axes, name: str, style: Style) -> None:
    """The name of the axis of values, broken where it is longer than the axis."""
    inches = ax.get_window_extent().height / ax.get_figure(root=True).dpi + 0.2  # type: ignore[union-attr]
    ax.set_ylabel("\n".join(wrap(name, inches, style.text, style.family)))


def parts_of_a_decade(decades: float) -> tuple[int, ...]:
    """Which numbers of each decade stand beside an axis of so many."""
    if decades < 0.9:
        return (1, 2, 3, 4, 6, 8)
    return (1, 2, 5) if decades < 2.5 else (1,)


def plain(value: float, _: Any) -> str:
    return f"{value:,.6g}".replace("e-0", "e-")


def _power_of_ten(value: float, _: Any) -> str:
    """With letters of the text's own size: superscripts of a formula are set smaller than a page allows."""
    return f"10{f'{np.log10(value):.0f}'.translate(SUPERSCRIPTS)}"
