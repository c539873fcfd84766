"""What the pictures of meta-gradients show, in one sentence each."""

import numpy as np
import pandas as pd

from harness.analyze.gradient import ROUNDING, error_in_words
from harness.analyze.steps import on_one_axis
from harness.analyze.words import listed
from harness.analyze.work import TARGETS, work_in
from harness.frame import split_workload
from harness.present.palette import label_order
from harness.present.words import NBSP

EXACT = 1e-9  # relative: an unrolled method that is further off computes another thing
CLOSE = 1.05  # a ratio of errors that is no difference
VANISHED = 1e-3  # of the largest norm
COUNTED = {"cg_steps": "CG step", "terms": "term"}  # settings that read as a number of things


def finding_of_gradient(name: str, points: pd.DataFrame) -> str:
    """`points` are those of one run and workload that have a value in this picture."""
    if name == "gradient-norm":
        return _of_norms(points)
    if name == "gradient-work":
        return _of_work(points)
    if name == "gradient-unrolled" and (exact := _exact(points)):
        return exact
    error = "rel_error_unrolled" if name == "gradient-unrolled" else "rel_error_implicit"
    parts = [part for part in (_what_variants_leave(points, error), _closest(points, error)) if part]
    sentence = "; ".join(parts)
    return "A" + sentence[1:] if sentence.startswith("at ") else sentence


def _exact(points: pd.DataFrame) -> str:
    """Which methods compute the derivative of phi_K to rounding, with every seed; empty where none does."""
    worst = {key: float(curve.rel_error_unrolled_high.max()) for key, curve in _by_method(points)}
    exact = [(label, value) for (_, label), value in worst.items() if value <= EXACT]
    others = [(label, value) for (_, label), value in worst.items() if value > EXACT]
    if not exact:
        return ""
    names = listed([label for label, _ in exact]) if len(exact) <= 4 else f"{len(exact)} methods"
    worst_of_exact = max(value for _, value in exact)
    to = f"to {error_in_words(worst_of_exact)}" if worst_of_exact else "to the last bit"
    what = f"{names} equal{'s' if len(exact) == 1 else ''} the derivative of phi_K {to}"
    if not others:
        return f"{'All ' if len(exact) > 4 else ''}{what}"
    label, value = max(others, key=lambda other: other[1])
    off = f"{label} is off by up to{NBSP}{error_in_words(value)}"
    return f"{what}; {off}" if len(others) == 1 else f"{what}; of {len(others)} others, {off}"


def _what_variants_leave(points: pd.DataFrame, error: str) -> str:
    """`At 256 inner steps the error is 3e-2 with 2 CG steps, 1e-4 with 5`; empty without such variants."""
    last = points[points.inner_steps == points.inner_steps.max()]
    families: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for method, label, value in last[["method", "method_label", error]].itertuples(index=False, name=None):
        settings = split_workload(label)[1]
        if len(settings) == 1:
            ((setting, number),) = settings.items()
            if isinstance(number, int | float) and setting in COUNTED:
                families.setdefault((method, setting), []).append((number, value))
    if not families:
        return ""
    (_, setting), variants = max(families.items(), key=lambda item: len(item[1]))
    if len(variants) < 2:
        return ""
    (number, value), *others = sorted(variants)
    thing = COUNTED[setting] + ("s" if number != 1 else "")
    first = f"{error_in_words(value, 1)} with {number}{NBSP}{thing}"
    rest = [f"{error_in_words(v, 1)} with{NBSP}{n}" for n, v in others]
    return f"At {int(last.inner_steps.iloc[0]):,} inner steps the error is {', '.join([first, *rest])}"


def _closest(points: pd.DataFrame, error: str) -> str:
    """The closest method and the closest of another algorithm, halfway along the axis."""
    points = on_one_axis(points)
    methods = points.groupby("inner_steps").method_label.nunique()
    shared = methods.index[methods == methods.max()]
    steps = int(shared[np.abs(np.log(shared) - np.log(shared.to_numpy(float)).mean()).argmin()])
    at = points[points.inner_steps == steps].sort_values(error, kind="stable")
    last = points.sort_values("inner_steps").groupby("method_label")[error].last()
    tied = at[at[error] <= CLOSE * at[error].iloc[0]]  # of these the one that comes closest in the end
    best = tied.loc[tied.method_label.map(last).sort_values(kind="stable").index[0]]
    others = at[at.method.str.partition("@")[0] != best.method.partition("@")[0]]
    others = others if len(others) else at[at.method_label != best.method_label]
    where = f"at {steps:,} inner step{'' if steps == 1 else 's'}"
    if others.empty:
        return f"{best.method_label} has an error of {error_in_words(best[error])} {where}"
    other = others.iloc[0]
    both = [f"{p.method_label} ({error_in_words(p[error])})" for p in (best, other)]
    if other[error] <= ROUNDING:
        return f"{where} {both[0]} and {both[1]} are exact to rounding"
    if other[error] <= CLOSE * best[error]:
        return f"{where} {both[0]} is as close as {both[1]}"
    closer = f"{where} {both[0]} is closer than {both[1]}"
    if at.seeds.max() == 1:
        return f"{closer}, from 1{NBSP}seed"
    parted = best[f"{error}_high"] < other[f"{error}_low"]
    return closer if parted else f"{closer} in the mean over seeds, whose ranges overlap"


def _of_norms(points: pd.DataFrame) -> str:
    last = int(points.inner_steps.max())
    # Each curve is judged at its own end; one number stands for all only where they end together.
    together = points.groupby("method_label").inner_steps.max().nunique() == 1
    end = f"{last:,} inner step{'' if last == 1 else 's'}" if together else "its most inner steps"
    shares = {}
    for key, curve in _by_method(points):
        norms = curve.sort_values("inner_steps").meta_gradient_norm
        if len(norms) > 1 and norms.max() > 0:
            shares[key] = norms.iloc[-1] / norms.max()
    if not shares:
        return f"The norm of the meta-gradient at {end}"
    gone = [label for (_, label), share in shares.items() if share < VANISHED]
    kept = [share for share in shares.values() if share >= VANISHED]
    if not kept:
        return f"By {end} every meta-gradient has vanished"
    least, most = (f"{100 * share:.0f}" for share in (min(kept), max(kept)))
    share = f"{least}{NBSP}%" if least == most else f"{least} to {most}{NBSP}%"
    if gone:
        others = f"the norm of the others is {share} of its largest"
        return f"By {end} the meta-gradient has vanished for {listed(gone)}; {others}"
    return f"No meta-gradient vanishes: at {end} its norm is {share} of its largest"


def _of_work(points: pd.DataFrame) -> str:
    """The cheapest and the dearest method at the smallest of the usual errors that two or more reach."""
    reached = work_in(points).dropna(subset="work")
    if reached.empty:
        return f"No method comes within an error of {error_in_words(max(TARGETS), 1)}"
    methods = reached.groupby("error").method_label.nunique()
    error = (methods[methods > 1] if (methods > 1).any() else methods).index.min()
    ordered = reached[reached.error == error].sort_values("work", kind="stable")
    cheap, dear = ordered.iloc[0], ordered.iloc[-1]
    # The cheapest point that was measured: between it and the one before, less may have done.
    takes = f"takes {cheap.method_label} at most{NBSP}{cheap.work:,.0f} gradients and products"
    found = f"An error of {error_in_words(error, 1)} {takes}"
    return found if len(ordered) == 1 else f"{found}, {dear.method_label} at most{NBSP}{dear.work:,.0f}"


def _by_method(points: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Method and label with their points, in the palette's order."""
    curves = {
        (str(method), str(label)): part
        for (method, label), part in points.groupby(["method", "method_label"])
    }
    return sorted(curves.items(), key=lambda item: label_order(*item[0]))
