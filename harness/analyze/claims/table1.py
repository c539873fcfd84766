"""The orders of Table 1: compute in the condition number, memory in inner steps, and what error is left."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, curves_of, verdict_of
from harness.analyze.claims.roles import (
    ACCELERATED,
    GRADIENT_DESCENT,
    IMAML,
    IMAML_GD,
    MAML,
    TRUNCATED,
    optimiser_of,
    settings_of,
)
from harness.analyze.finding import Evidence
from harness.analyze.gradient import error_in_words
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed
from harness.analyze.work import Order, orders_in, work_in

FACTOR = 2.0  # in the work, over the span of condition numbers: a constant or a logarithm may well make it
TELLS_APART = 0.25  # half of what lies between the orders kappa and sqrt(kappa)
LEAST_SPAN = FACTOR ** (1 / TELLS_APART)  # of condition numbers: 16
CONDITIONS = 3  # two always lie on a line

ROUNDING = 1e-10  # relative, in float64: what a sum over thousands of steps may leave, with room
DECADES = 3.0  # of the inner residual
PROPORTIONAL = 0.25  # of an exponent: nearer to 1 than to a square root or the power 3/2


def compute_order(optimiser: str, exponent: float) -> Callable[[LoadedRun], Iterator[Outcome]]:
    """A test of work ~ kappa^exponent for inner loops with this optimiser."""

    def judge(run: LoadedRun) -> Iterator[Outcome]:
        settings = settings_of(run.rows, "gradient")
        with_it = {label for (_, label), own in settings.items() if _descends(own) == optimiser}
        if not with_it:
            return
        found: dict[str, list[Order]] = {}
        for order in orders_in(work_in(run.gradient), run.rows):
            if order.method_label in with_it and order.target == "rel_error_implicit":
                found.setdefault(order.method_label, []).append(order)
        if not found:
            span = f"a factor of {LEAST_SPAN:.0f} apart"
            words = f"with {optimiser} no error was seen to be crossed at condition numbers {span}"
            yield Outcome(verdict=NOT_MEASURED, words=words)
            return
        best = [max(each, key=lambda order: (order.points, -order.error)) for each in found.values()]
        workloads = [w for (w, label), _ in settings.items() if label in found]
        conditions = [_has_order(order, exponent) for order in best]
        words = "; ".join(order.sentence for order in best)
        if None in conditions:
            words += (
                f". Too weak to call: takes {CONDITIONS} condition numbers over a factor of {LEAST_SPAN:.0f}"
            )
        evidence = tuple(
            Evidence(measure="gradient", workload=workload, methods=tuple(found), metrics=WORK_METRICS)
            for workload in dict.fromkeys(workloads)
        )
        yield Outcome(verdict=verdict_of(conditions), words=words, evidence=evidence)

    return judge


WORK_METRICS = ("rel_error_implicit", "gradient_evaluations", "hessian_products", "solver_matvecs")


def _descends(settings: dict[str, Any]) -> str:
    return optimiser_of(settings) if settings["method"] in (MAML, IMAML_GD) else ""


def _has_order(order: Order, exponent: float) -> bool | None:
    tolerance = np.log(FACTOR) / np.log(order.highest / order.lowest)
    if order.points < CONDITIONS or tolerance > TELLS_APART:
        return None
    return bool(abs(order.exponent - exponent) <= tolerance)


def unrolled_error_is_nothing(run: LoadedRun) -> Iterator[Outcome]:
    for workload, curves in curves_of(run.gradient.dropna(subset="rel_error_unrolled"), (MAML,)):
        largest = max(float(curve.rel_error_unrolled_high.max()) for curve in curves.values())
        steps = max(int(curve.inner_steps.max()) for curve in curves.values())
        most = f"an error of at most {error_in_words(largest)}" if largest else "no error to the last bit"
        words = f"{listed(list(curves))}: {most} up to {steps:,} inner steps"
        evidence = Evidence(
            measure="gradient", workload=workload, methods=tuple(curves), metrics=("rel_error_unrolled",)
        )
        yield Outcome(
            verdict=verdict_of([largest <= ROUNDING]), words=words, workload=workload, evidence=(evidence,)
        )


def implicit_error_is_delta(run: LoadedRun) -> Iterator[Outcome]:
    """The slope of log(error) against log(inner residual), above what the linear solver leaves."""
    for workload, curves in curves_of(run.gradient.dropna(subset="rel_error_implicit"), IMAML):
        fits = {label: fit for label, curve in curves.items() if (fit := _power_of_delta(curve)) is not None}
        labels = tuple(fits or curves)
        metrics = ("rel_error_implicit", "inner_residual", "solver_residual")
        evidence = (Evidence(measure="gradient", workload=workload, methods=labels, metrics=metrics),)
        if not fits:
            words = (
                f"the inner residual does not fall by {DECADES:.0f} decades before the linear solver decides"
            )
            yield Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
            continue
        said = [
            f"{label} as delta^{power:.2f} over {decades:.0f} decades"
            for label, (power, decades) in fits.items()
        ]
        verdict = verdict_of(abs(power - 1) <= PROPORTIONAL for power, _ in fits.values())
        words = f"the error falls with the inner residual delta, {listed(said)}"
        yield Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


def _power_of_delta(curve: pd.DataFrame) -> tuple[float, float] | None:
    """The exponent, and the decades of the inner residual that it was fitted over; None of too few."""
    floor = (10 * curve.solver_residual).clip(lower=1e-12)
    errors = curve.rel_error_implicit
    near = (errors > floor) & (errors < 1) & (curve.inner_residual > 0) & (curve.diverged == 0)
    above = curve[near]
    if len(above) < CONDITIONS:
        return None
    residuals = np.log10(above.inner_residual.to_numpy(float))
    if np.ptp(residuals) < DECADES:
        return None
    power = np.polyfit(residuals, np.log10(above.rel_error_implicit.to_numpy(float)), 1)[0]
    return float(power), float(np.ptp(residuals))


def truncated_error_is_eps(run: LoadedRun) -> Iterator[Outcome]:
    """At the most inner steps, over those variants that differentiate fewer steps than there are, and differ
    in nothing else."""
    settings = settings_of(run.rows, "gradient")
    for workload, curves in curves_of(run.gradient.dropna(subset="rel_error_unrolled"), (TRUNCATED,)):
        loops: dict[str, dict[str, pd.DataFrame]] = {}
        for label, curve in curves.items():
            rest = repr(sorted((settings[workload, label] | {"backward_steps": 0}).items()))
            loops.setdefault(rest, {})[label] = curve
        for same in loops.values():
            kept = {label: int(settings[workload, label].get("backward_steps", 1)) for label in same}
            yield from _truncated_error_is_eps(workload, same, kept)


def _truncated_error_is_eps(
    workload: str, curves: dict[str, pd.DataFrame], kept: dict[str, int]
) -> Iterator[Outcome]:
    """`kept`: of each label the number of differentiated steps."""
    common = set.intersection(*(set(curve.inner_steps) for curve in curves.values()))
    if not common:
        return
    steps = int(max(common))
    left: dict[int, tuple[str, float]] = {}
    for label, curve in curves.items():
        if kept[label] < steps:
            error = curve.loc[curve.inner_steps == steps, "rel_error_unrolled"].iloc[0]
            left[kept[label]] = (label, float(error))
    evidence = (
        Evidence(
            measure="gradient",
            workload=workload,
            methods=tuple(curves),
            metrics=("rel_error_unrolled",),
            inner_steps=(steps,),
        ),
    )
    if len(left) < 2:
        words = f"{'one' if left else 'no'} number of differentiated steps below {steps}; it takes two"
        yield Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
        return
    errors = [left[number][1] for number in sorted(left)]
    shown = [f"{error_in_words(left[number][1])} with the last {number}" for number in sorted(left)]
    words = f"of {steps} inner steps, an error of {listed(shown)} differentiated"
    holds = errors[0] > ROUNDING and all(more < fewer or more <= ROUNDING for fewer, more in pairwise(errors))
    yield Outcome(verdict=verdict_of([holds]), words=words, workload=workload, evidence=evidence)


ORDER_TEST = (
    "Over three or more condition numbers of the inner problem, at least a factor of 16 apart, the "
    "exponent of the condition number in the work (gradients and Hessian products) to one error is {} "
    "within log 2 / log span: what a factor of 2 in the work makes over that span, and at most half of the "
    "distance to the other order. That error is the smallest of 0.1, 1e-2, 1e-4, 1e-6 and 1e-8 of those "
    "that are crossed at the most condition numbers; the work is interpolated to it between the measured "
    "inner steps, and the exponent has no interval."
)

COMPUTE_PLAIN = Stated(
    name="compute, gradient descent",
    source="Table 1",
    statement="With gradient descent, the inner loop takes work in the order of the condition number kappa "
    "(MAML's row).",
    test=ORDER_TEST.format("1"),
    needs="errors and work of iMAML or MAML with gradient descent at three condition numbers of ridge "
    "regression",
    command="innerloop run inner-optimisers",
    judge=compute_order(GRADIENT_DESCENT, 1.0),
)

COMPUTE_ACCELERATED = Stated(
    name="compute, accelerated",
    source="Table 1",
    statement="Implicit MAML takes work in the order of the square root of kappa (with an accelerated "
    "inner loop).",
    test=ORDER_TEST.format("1/2"),
    needs="errors and work of iMAML with an accelerated optimiser at three condition numbers of ridge "
    "regression",
    command="innerloop run inner-optimisers",
    judge=compute_order(ACCELERATED, 0.5),
)

ERROR_UNROLLED = Stated(
    name="error, MAML",
    source="Table 1",
    statement="MAML with full back-propagation leaves no error in the derivative of its inner loop.",
    test="At every number of inner steps and seed, its relative error against that derivative is at most "
    "1e-10, which is rounding in float64. (The derivative is confirmed by central differences of the "
    "inner loop in every cell.)",
    needs="MAML's error against the derivative of its inner loop",
    command="innerloop run meta-gradient",
    judge=unrolled_error_is_nothing,
)

ERROR_TRUNCATED = Stated(
    name="error, truncated MAML",
    source="Table 1",
    statement="Truncated back-propagation leaves an error eps, which the number of differentiated steps "
    "sets.",
    test="At the most inner steps, the error against the derivative of the whole loop is above rounding "
    "(1e-10) with the fewest differentiated steps, and smaller with each larger number of them, of two or "
    "more.",
    needs="the errors of maml-truncated with two numbers of backward_steps",
    command="innerloop run meta-gradient -m '+maml-truncated[backward_steps=4]' -m "
    "'+maml-truncated[backward_steps=16]' -m '+maml-truncated[backward_steps=64]'",
    judge=truncated_error_is_eps,
)

ERROR_IMPLICIT = Stated(
    name="error, implicit MAML",
    source="Table 1",
    statement="Implicit MAML leaves an error in the order of delta, the accuracy of the inner solution.",
    test="Over three decades or more of the inner residual, the error against the exact meta-gradient "
    "falls as its power 1 within 1/4: nearer to it than to its square root. Errors of 1 and more, where "
    "nothing is near, and those below 10 times the linear solver's residual are left out. (The inner "
    "residual stands for delta, which it bounds on a strongly convex problem.)",
    needs="iMAML's errors and inner residuals over three decades",
    command="innerloop run inner-optimisers",
    judge=implicit_error_is_delta,
)
