"""What a picture shows, in one sentence: the titles of the plots."""

import pandas as pd

from harness.analyze.scaling.growth import MIB
from harness.analyze.scaling.laws import scaling_fits
from harness.analyze.steps import on_one_axis
from harness.analyze.words import listed
from harness.present.palette import label_order
from harness.present.plots.gradient_titles import finding_of_gradient
from harness.present.plots.pictures import PICTURES
from harness.present.words import NBSP

LISTED = 2  # slopes that fit into a title


def finding(name: str, summary: pd.DataFrame) -> str:
    """The sentence for one workload: `summary` is the picture's measure's with a column `run`."""
    picture = PICTURES[name]
    points = summary.dropna(subset=picture.value)
    runs = list(dict.fromkeys(summary.run))
    if points.empty:
        return f"{picture.subject}: no point succeeded"
    if len(runs) == 1:
        if picture.measure == "gradient":
            return finding_of_gradient(name, points)
        return {"accuracy": _most_accurate, "memory": _growing, "time": _fastest}[name](summary)
    # No difference is put in words: that takes points matched in settings, and a word on the machines.
    loss = name == "accuracy" and bool((points.metric == "loss").any())
    subject = "Test loss" if loss else picture.subject
    return f"{subject} of {listed(runs) if len(runs) == 2 else f'{len(runs)} runs'}"


def _most_accurate(summary: pd.DataFrame) -> str:
    """The two best at equal inner steps: to pick each method's best number would select on test tasks. Where
    each has one number of its own there is nothing to pick.

    The best has the highest accuracy only where its interval parts from those of all others."""
    loss = bool((summary.metric == "loss").any())
    points = summary.dropna(subset="mean")
    if _each_has_its_own_steps(points):
        at, where = points, "with each at its own inner steps"
    else:
        at = _at_shared_steps(points)
        where = _where(at)
    at = at.sort_values("mean", ascending=loss, kind="stable")
    best, others = at.iloc[0], at.iloc[1:]

    def reached(point: pd.Series) -> str:
        half = (point.high - point.low) / 2
        numbers = [number for number in (point["mean"], half) if pd.notna(number)]
        shown = [f"{number:.3g}" if loss else f"{100 * number:.1f}" for number in numbers]
        return f"{NBSP}±{NBSP}".join(shown) + ("" if loss else f"{NBSP}%")

    if others.empty:
        return f"{best.method_label} reaches {reached(best)} {where}"
    second = others.iloc[0]

    def beside(other: pd.Series) -> str:
        return f"{best.method_label} reaches {reached(best)}, {other.method_label} {reached(other)}"

    if set(at.interval_kind) != {"seeds"}:  # the spread of training is not known of all
        seeds = int(at.seeds.min())
        whose = "from" if seeds == min(best.seeds, second.seeds) else "with others from"
        count = f"{seeds}{NBSP}seed{'s' if seeds > 1 else ''}"
        return f"No winner can be called {whose} {count}: {where} {beside(second)}"
    close = others[~(best.high < others.low if loss else best.low > others.high)]
    if close.empty:
        word = "the lowest loss" if loss else "the highest accuracy"
        return (
            f"{best.method_label} has {word} of {len(at)} methods {where}: {reached(best)}; "
            f"{second.method_label} has {reached(second)}"
        )
    return f"Too close to call {where}: {beside(close.iloc[0])}"


def _growing(summary: pd.DataFrame) -> str:
    growths = sorted(scaling_fits(summary), key=lambda g: label_order(g.method, g.method_label))
    flat = [g.method_label for g in growths if g.shape == "constant"]
    linear = sorted((g for g in growths if g.shape == "linear"), key=lambda g: -g.per_step)
    other = [g.method_label for g in growths if g.shape not in ("constant", "linear", "unknown")]
    subject = PICTURES["memory"].subject
    parts = []
    if 0 < len(linear) <= LISTED:
        slopes = [f"{_slope(g.per_step)} ({g.method_label})" for g in linear]
        parts.append(f"grows by {listed(slopes)} an inner step")
    elif linear:
        least, most = _slope(linear[-1].per_step), _slope(linear[0].per_step)
        slopes_in_words = least if least == most else f"{least} to {most}"
        parts.append(f"grows linearly for {len(linear)} methods ({slopes_in_words} a step)")
    if other:
        parts.append(f"does not follow a straight line for {_listed_or_counted(other)}")
    if flat:
        parts.append(f"stays flat for {_listed_or_counted(flat)}")
    return f"{subject} {listed(parts)}" if parts else f"{subject} against inner steps"


def _slope(bytes_per_step: float) -> str:
    return f"{bytes_per_step / MIB:.4g}{NBSP}MiB"


def _listed_or_counted(methods: list[str]) -> str:
    return listed(methods) if len(methods) <= 2 * LISTED else f"{len(methods)} methods"


def _fastest(summary: pd.DataFrame) -> str:
    """A method is the fastest only where its interval ends below all others'."""
    at = _at_shared_steps(summary.dropna(subset="median")).sort_values("median", kind="stable")
    fast, slow, where = at.iloc[0], at.iloc[-1], _where(at)
    if len(at) == 1:
        return f"{fast.method_label} takes {_duration(fast['median'])} a meta-step {where}"
    close = at[~(at.low > fast.high)]  # also without an interval, from a single round
    first, last = (_duration(seconds) for seconds in close["median"].iloc[[0, -1]])
    if len(close) == 1:
        return (
            f"{fast.method_label} is the fastest of {len(at)} methods {where} ({first}); {_times(slow, fast)}"
        )
    range_of = first if first == last else f"{first} to {last}"
    names = _listed_or_counted(list(close.method_label))
    if len(close) == len(at):
        return f"Too close to call {where}: {names} take {range_of} a meta-step"
    who = f"{names} are the fastest of {len(at)} methods {where} ({range_of})"
    return f"{who}, too close to call; {_times(slow, fast)}"


def _times(slow: pd.Series, fast: pd.Series) -> str:
    """How much longer one takes than the other. The range is that between the ends of both intervals, so it
    covers at least as often as they do."""
    ratio = f"{slow['median'] / fast['median']:.2g}"
    ends = [f"{end:.2g}" for end in (slow.low / fast.high, slow.high / fast.low)]
    inside = "" if set(ends) == {ratio} or "nan" in ends else f" ({ends[0]} to {ends[1]})"
    whose = f" as {fast.method_label}"
    return f"{slow.method_label} takes {ratio}{inside} times as long{whose}"


def _each_has_its_own_steps(points: pd.DataFrame) -> bool:
    steps = points.groupby("method_label").inner_steps.nunique()
    return bool((steps == 1).all()) and points.inner_steps.nunique() > 1


def _at_shared_steps(points: pd.DataFrame) -> pd.DataFrame:
    """Those at the largest number of inner steps that most methods have, of methods whose steps are alike."""
    points = on_one_axis(points)
    methods = points.groupby("inner_steps").method_label.nunique()
    return points[points.inner_steps == methods[methods == methods.max()].index.max()]


def _where(at: pd.DataFrame) -> str:
    steps = int(at.inner_steps.iloc[0])
    return f"at {steps:,} inner step{'' if steps == 1 else 's'}"


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
