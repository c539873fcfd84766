"""The three panels of Figure 2: error of the meta-gradient, memory and time against inner steps.

What the curves should look like is put as expected, for of the figure itself we have the axes and no values.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, curves_of, verdict_of
from harness.analyze.claims.cost import at_most_one, faster_from, in_words, ratios_to, seconds_of
from harness.analyze.claims.roles import (
    FIRST_ORDER,
    GRADIENT_DESCENT,
    IMAML_GD,
    MAML,
    STRETCH,
    lam_of,
    optimiser_of,
    settings_of,
)
from harness.analyze.finding import Evidence
from harness.analyze.gradient import error_in_words
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed

ERROR = "rel_error_implicit"
APPROACHED = 0.1  # of the error at the fewest steps
ABOVE_THE_FLOOR = 10.0  # times what the linear solver leaves in the end: below, it decides too
LEAST_ERROR = 1e-12  # what rounding may be on a problem of condition number 1000
POINTS = 3


def errors_approach(run: LoadedRun) -> Iterator[Outcome]:
    """MAML unrolled on the same proximal problem against iMAML, both by the same gradient descent."""
    settings = settings_of(run.rows, "gradient")
    for workload, curves in curves_of(run.gradient.dropna(subset=ERROR), (MAML, IMAML_GD)):
        loops: dict[tuple[float, Any], dict[str, pd.DataFrame]] = {}
        for label, curve in curves.items():
            own = settings[workload, label]
            if optimiser_of(own) == GRADIENT_DESCENT:
                loops.setdefault((lam_of(own), own.get("inner_lr")), {})[label] = curve
        for same in loops.values():
            own = {label: settings[workload, label] for label in same}
            unrolled = [label for label in same if own[label]["method"] == MAML]
            implicit = [label for label in same if label not in unrolled]
            if implicit and unrolled:
                implicit.sort(key=lambda label: own[label].get("cg_steps", 0))
                yield _errors_approach(run.rows, workload, unrolled[0], implicit, same)
            elif implicit:
                words = f"no maml with the lambda and the step size of {implicit[0]}"
                yield Outcome(verdict=NOT_MEASURED, words=words, workload=workload)


def _errors_approach(
    rows: pd.DataFrame, workload: str, maml: str, implicit: list[str], curves: dict[str, pd.DataFrame]
) -> Outcome:
    """`implicit`: labels by their CG steps, of which the one with the most is held against MAML."""
    best = implicit[-1]
    ends = {label: (curves[label].iloc[0][ERROR], curves[label].iloc[-1][ERROR]) for label in (maml, best)}
    left = ends[best][1]
    ratios = _paired_errors(rows, workload, maml, best)
    above = curves[maml].set_index("inner_steps")[ERROR] > max(ABOVE_THE_FLOOR * left, LEAST_ERROR)
    ratios = ratios[ratios.index.map(above).fillna(False).astype(bool)]
    labels = (maml, *implicit)
    evidence = (Evidence(measure="gradient", workload=workload, methods=labels, metrics=(ERROR,)),)
    if len(ratios) < POINTS:
        words = (
            f"{maml} and {best} share {len(ratios)} numbers of inner steps at which the linear solver's "
            f"error does not decide; it takes {POINTS}"
        )
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
    approach = [_approaches(curves[label]) for label in ends]
    nearer = bool((ratios["min"] > 1).all())
    finals = [float(curves[label].iloc[-1][ERROR]) for label in implicit]
    falls = all(more <= max(fewer, LEAST_ERROR) for fewer, more in pairwise(finals))
    from_to = [
        f"{label} from {error_in_words(first)} to {error_in_words(last)}"
        for label, (first, last) in ends.items()
    ]
    words = (
        f"the error falls for {listed(from_to)}; up to {int(ratios.index.max())} inner steps MAML's is "
        f"{_span(ratios['min'].min(), ratios['max'].max())} times iMAML's"
    )
    if None in approach:
        words += "; too weak to call: an error has not fallen to a tenth yet, but still falls"
    if len(finals) > 1:
        after = [f"{label} {error_in_words(e)}" for label, e in zip(implicit, finals, strict=True)]
        words += f"; in the end there remain {listed(after)}"
    overtaken = [
        f"{label} from {steps}"
        for label in implicit[:-1]
        if (steps := _overtaken_at(curves[label], curves[maml])) is not None
    ]
    if overtaken:
        words += f"; MAML is nearer than {listed(overtaken)} steps on"
    return Outcome(
        verdict=verdict_of([*approach, nearer, falls]), words=words, workload=workload, evidence=evidence
    )


def _approaches(curve: pd.DataFrame) -> bool | None:
    """Whether the error falls to a tenth; None where it is on its way at the most inner steps."""
    first, last = curve.iloc[0], curve.iloc[-1]
    if last[ERROR] <= APPROACHED * first[ERROR]:
        return True
    before = curve[curve.inner_steps * STRETCH <= last.inner_steps]
    return None if before.empty or last[ERROR] < before.iloc[-1][ERROR] else False


def _paired_errors(rows: pd.DataFrame, workload: str, above: str, below: str) -> pd.DataFrame:
    """The least and largest ratio of two methods' errors over seeds, on the same tasks, by inner steps."""
    errors = rows[(rows.workload == workload) & (rows.metric == ERROR) & (rows.status == "ok")]
    keys = ["inner_steps", "seed"]
    first, second = (
        errors[errors.method_label == label].groupby(keys)["value"].mean() for label in (above, below)
    )
    ratios = (first / second.mask(second == 0)).dropna()
    return ratios.groupby("inner_steps").agg(["min", "max"])


def _overtaken_at(implicit: pd.DataFrame, unrolled: pd.DataFrame) -> int | None:
    """The fewest inner steps from which on the unrolled one stays nearer; None where it is not in the end."""
    both = implicit.merge(unrolled, on="inner_steps", suffixes=("", "_unrolled"))
    nearer = (both[f"{ERROR}_unrolled"] < both[ERROR])[::-1].cummin()[::-1]
    return int(both.inner_steps[nearer].iloc[0]) if nearer.any() else None


def _span(low: float, high: float) -> str:
    first, last = f"{low:.2g}", f"{high:.2g}"
    return first if first == last else f"{first} to {last}"


def time_crosses(run: LoadedRun) -> Iterator[Outcome]:
    to_maml = ratios_to(run, MAML, (FIRST_ORDER, IMAML_GD))
    to_first_order = ratios_to(run, IMAML_GD, (FIRST_ORDER,))
    for workload, ratios in to_maml.groupby("workload", sort=True):
        first_order = ratios[ratios.method == FIRST_ORDER]
        implicit = ratios[ratios.method == IMAML_GD]
        against_implicit = to_first_order[to_first_order.workload == workload]
        if first_order.empty or implicit.empty or against_implicit.empty:
            continue
        yield _time_crosses(str(workload), first_order, against_implicit, implicit)


def _time_crosses(
    workload: str, first_order: pd.DataFrame, against_implicit: pd.DataFrame, implicit: pd.DataFrame
) -> Outcome:
    maml = str(implicit.reference.iloc[0])
    label = str(implicit.method_label.iloc[0])
    implicit = implicit[implicit.method_label == label]
    first, last = implicit.iloc[0], implicit.iloc[-1]
    fastest = [at_most_one(point) for _, point in pd.concat([first_order, against_implicit]).iterrows()]
    wide = last.inner_steps >= STRETCH * first.inner_steps
    slower_growth = None
    if wide and last.high < first.low:
        slower_growth = True
    elif wide and last.low > first.high:
        slower_growth = False
    to_maml = _span(first_order.ratio.min(), first_order.ratio.max())
    several = first.inner_steps < last.inner_steps
    ends = f"{in_words(first)} and {in_words(last)}" if several else in_words(last)
    words = (
        f"first-order MAML takes {to_maml} times the time of {maml} and "
        f"{_span(against_implicit.ratio.min(), against_implicit.ratio.max())} times that of "
        f"{against_implicit.reference.iloc[0]}; {label} takes {ends} inner steps that of {maml}"
    )
    if (from_steps := faster_from(implicit)) is not None:
        words += f", and less from {from_steps} on"
    verdict = verdict_of([*fastest, slower_growth])
    if verdict == NOT_MEASURED:
        words += (
            f"; too weak to call: intervals overlap, or span less than a factor of {STRETCH} in inner steps"
        )
    labels = (*dict.fromkeys(map(str, first_order.method_label)), label, maml)
    held = pd.concat([first_order, against_implicit, implicit])
    steps = tuple(sorted(set(map(int, held.inner_steps))))
    return Outcome(
        verdict=verdict, words=words, workload=workload, evidence=(seconds_of(workload, labels, steps),)
    )


ERRORS = Stated(
    name="error against inner steps",
    source="Figure 2 (a)",
    statement="The error of the meta-gradient against inner gradient steps, on a synthetic problem whose "
    "exact meta-gradient can be computed.",
    test="Expected (of the figure we have no values): the error of MAML and of iMAML with the most CG "
    "steps falls to a tenth or less (open where it has not, but still falls); at each number of inner "
    "steps at which MAML's is above 10 times what the linear solver leaves, iMAML's is smaller, for every "
    "seed; and where several numbers of CG steps were measured, more of them leave no more. MAML unrolls "
    "the same regularised problem.",
    needs="the errors of iMAML and of MAML with the same lambda, on a problem whose exact meta-gradient is "
    "known",
    command="innerloop run meta-gradient",
    judge=errors_approach,
)

TIME = Stated(
    name="time against inner steps",
    source="Figure 2 (c)",
    statement="The time of a meta-step against inner steps.",
    test="Expected (of the figure we have no values): first-order MAML is faster than MAML and imaml-gd at "
    "every number of inner steps, and imaml-gd's time over MAML's falls from the fewest to the most, a "
    "factor of 4 apart at least. All ratios are paired within rounds; whole 95% intervals must agree (not "
    "reproduced: one says the contrary).",
    needs="the times of first-order MAML, MAML and imaml-gd",
    command="innerloop run time-scaling",
    judge=time_crosses,
)
