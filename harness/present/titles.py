"""What a picture shows, in one sentence: the titles of the plots."""

import pandas as pd

from harness.analyze.growth import MIB
from harness.analyze.scaling import scaling_fits
from harness.present.gradient_titles import finding_of_gradient
from harness.present.palette import label_order
from harness.present.pictures import PICTURES
from harness.present.words import NBSP, listed

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
    loss = bool((summary.metric == "loss").any())
    points = summary.dropna(subset="mean").sort_values("mean", ascending=loss)
    best_of_each = points.drop_duplicates("method_label")
    best = best_of_each.iloc[0]

    def reached(point: pd.Series) -> str:
        half = (point.high - point.low) / 2
        numbers = [number for number in (point["mean"], half) if pd.notna(number)]
        shown = [f"{number:.3g}" if loss else f"{100 * number:.1f}" for number in numbers]
        return f"{NBSP}±{NBSP}".join(shown) + ("" if loss else f"{NBSP}%")

    if len(best_of_each) == 1:
        return f"{best.method_label} reaches {reached(best)} at {best.inner_steps} inner steps"
    second = best_of_each.iloc[1]
    both = f"{best.method_label} reaches {reached(best)}, {second.method_label} {reached(second)}"
    if {best.interval_kind, second.interval_kind} != {"seeds"}:  # the spread of training is not known
        seeds = min(best.seeds, second.seeds)
        return f"{both} (from{NBSP}{seeds}{NBSP}seed{'s' if seeds > 1 else ''})"
    if best.high < second.low if loss else best.low > second.high:
        word = "the lowest loss" if loss else "the highest accuracy"
        return f"{best.method_label} has {word}: {reached(best)} at {best.inner_steps} inner steps"
    return f"Too close to call: {both}"


def _growing(summary: pd.DataFrame) -> str:
    growths = sorted(scaling_fits(summary), key=lambda g: label_order(g.method, g.method_label))
    flat = [g.method_label for g in growths if g.shape == "flat"]
    linear = sorted((g for g in growths if g.shape == "linear"), key=lambda g: -g.per_step)
    other = [g.method_label for g in growths if g.shape not in ("flat", "linear", "unknown")]
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
    points = summary.dropna(subset="median")
    methods = points.groupby("inner_steps").method_label.nunique()
    steps = methods[methods == methods.max()].index.max()  # the largest at which most methods were timed
    ordered = points[points.inner_steps == steps].sort_values("median")
    fast, slow = ordered.iloc[0], ordered.iloc[-1]
    if len(ordered) == 1:
        return f"{fast.method_label} takes {_duration(fast['median'])} a meta-step at {steps} inner steps"
    ratio = slow["median"] / fast["median"]
    return (
        f"{fast.method_label} is the fastest at {steps} inner steps ({_duration(fast['median'])}); "
        f"{slow.method_label} takes {ratio:.2g} times as long"
        if ratio >= 1.05
        else f"At {steps} inner steps all methods take about {_duration(fast['median'])} a meta-step"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
