"""What is claimed of memory: no limit of inner steps, that of one gradient, and the shapes of its curves."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, Verdict, curves_of, verdict_of
from harness.analyze.claims.roles import (
    FIRST_ORDER,
    IMAML,
    IMAML_GD,
    MAML,
    MANY,
    STRETCH,
    by_numbers,
    settings_of,
)
from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.bounds import exceeded_by
from harness.analyze.scaling.growth import MIB, Scaling
from harness.analyze.scaling.laws import FLAT, scaling_fits
from harness.analyze.words import listed
from harness.frame import split_workload

SMALL_FACTOR = 4.0
"""The paper names no number. A product with the Hessian that differentiates a gradient keeps that gradient's
forward and backward pass, twice what a gradient keeps, and a derivative of each."""

ONE_STEP = 0.05  # of the peak: unrolled, a sixteenfold loop holds several times as much
TOO_LITTLE = f"a shape takes three points, over a factor of {STRETCH} in inner steps"
PEAK = ("peak_bytes", "baseline_bytes")


def memory_of_one_gradient(run: LoadedRun) -> Iterator[Outcome]:
    """First-order MAML at its fewest inner steps holds one gradient at a time, of support or query: the
    larger is that of the inner loop where there are no more queries than shots."""
    for workload, curves in curves_of(run.memory, (*IMAML, FIRST_ORDER)):
        known = {label: curve for label, curve in curves.items() if curve.peak_bytes.notna().any()}
        gradients = [c.dropna(subset="peak_bytes") for c in known.values() if (c.method == FIRST_ORDER).all()]
        implicit = {label: curve for label, curve in known.items() if (curve.method != FIRST_ORDER).all()}
        if not implicit:
            continue
        settings = split_workload(workload)[1]
        if not gradients:
            words = "what one gradient takes is not known without fomaml"
        elif settings.get("queries", 0) > settings.get("shots", np.inf):
            words = "with more queries than shots, fomaml's peak is the query gradient's, not an inner one's"
        else:
            yield _factors(workload, implicit, gradients[0].iloc[0])
            continue
        yield Outcome(verdict=NOT_MEASURED, words=words, workload=workload)


def _factors(workload: str, implicit: dict[str, pd.DataFrame], gradient: pd.Series) -> Outcome:
    held = (gradient.peak_bytes - gradient.baseline_bytes) / MIB
    factors = {
        label: ((curve.peak_bytes - curve.baseline_bytes) / MIB / held).max()
        for label, curve in implicit.items()
    }
    lost = {label: curve[curve.status == "oom"] for label, curve in implicit.items()}
    label, steps = str(gradient.method_label), int(gradient.inner_steps)
    evidence = (
        Evidence(measure="memory", workload=workload, methods=(label,), metrics=PEAK, inner_steps=(steps,)),
        Evidence(measure="memory", workload=workload, methods=tuple(implicit), metrics=PEAK),
    )
    if not held > 0 or any(np.isnan(factor) for factor in factors.values()):
        words = "the memory beside parameters and outer state is not known"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
    times = listed([f"{label} at most {factor:.2f} times" for label, factor in factors.items()])
    measured = [curve.dropna(subset="peak_bytes") for curve in implicit.values()]
    counted = sorted({int(n) for curve in measured for n in curve.inner_steps})
    words = (
        f"beside parameters, outer state and batch, {times} the {held:.1f} MiB of one gradient ({label} at "
        f"{steps}; inner steps {counted[0]} to {counted[-1]})"
    )
    conditions: list[bool | None] = [factor <= SMALL_FACTOR for factor in factors.values()]
    if counted[-1] < MANY:
        conditions.append(None)
        words += f"; needs {MANY} inner steps or more"
    for name, points in lost.items():
        if len(points):
            more = (exceeded_by(points, "memory") - implicit[name].baseline_bytes.max()) / MIB / held
            conditions.append(False if (more > SMALL_FACTOR).any() else None)
            words += f"; {name} ran out of memory at {int(points.inner_steps.iloc[0])}"
    verdict = verdict_of(conditions)
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


def memory_sets_no_limit(run: LoadedRun) -> Iterator[Outcome]:
    for workload, unrolled, implicit in _curves(run):
        if not implicit:
            continue
        words = "; ".join(curve.sentence for curve in (*implicit, *unrolled))
        verdict = verdict_of(fits_without_limit(curve) for curve in implicit)
        if verdict == NOT_MEASURED:
            words += f". Needs {MANY} inner steps or more, over a factor of {STRETCH}"
        yield _outcome(verdict, words, workload, (*implicit, *unrolled))


def fits_without_limit(curve: Scaling) -> bool | None:
    """Whether memory stays as it is up to many inner steps; None where too few were measured."""
    if curve.first_step is None:
        return None  # beyond the budget at any number of steps: no limit of steps
    if curve.failure == "oom" and curve.failed_at is not None and curve.failed_at > curve.first_step:
        return False
    stays = has_shape(curve, "constant")
    return stays if not stays or (curve.last_step or 0) >= MANY else None


def has_shape(curve: Scaling, shape: str) -> bool | None:
    """Whether a curve has it over the factor that is asked for; None where too little was measured to see."""
    if curve.first_step is None or curve.last_step is None or curve.shape == "unknown":
        return None
    if curve.shape == shape:
        return True if curve.last_step >= STRETCH * curve.first_step else None
    if shape == "constant":  # one step up, from where the peak lies elsewhere, is no growth yet
        return None if curve.shape in ("late", "uneven") and abs(curve.change) <= ONE_STEP else False
    if curve.shape == "uneven":
        return False if curve.exponent_low > 1 or curve.exponent_high < 1 else None
    return None if curve.shape == "late" else False


def memory_is_linear_and_flat(run: LoadedRun) -> Iterator[Outcome]:
    settings = settings_of(run.rows, "memory")
    for workload, unrolled, implicit in _curves(run):
        if not unrolled or not implicit:
            continue
        conditions = _orders(unrolled, implicit)
        said = [curve.sentence for curve in (*unrolled, *implicit)]
        over_cg = _over_cg_steps(run.memory, workload, settings)
        if over_cg is None:
            said.append("whether it is flat in CG steps was not measured")
        else:
            low, high, change, steps = over_cg
            conditions.append(change <= FLAT)
            said.append(f"from {low} to {high} CG steps {100 * change:+.1f} % at {steps} inner steps")
        if None in conditions:
            said.append(TOO_LITTLE)
        yield _outcome(verdict_of(conditions), "; ".join(said), workload, (*unrolled, *implicit))


def memory_orders(run: LoadedRun) -> Iterator[Outcome]:
    for workload, unrolled, implicit in _curves(run):
        if not unrolled or not implicit:
            continue
        conditions = _orders(unrolled, implicit)
        said = [f"{curve.method_label} {_order_in_words(curve)}" for curve in (*unrolled, *implicit)]
        if None in conditions:
            said.append(TOO_LITTLE)
        yield _outcome(verdict_of(conditions), "; ".join(said), workload, (*unrolled, *implicit))


def _order_in_words(curve: Scaling) -> str:
    if curve.shape == "constant":
        return f"as steps^0 ({100 * curve.change:+.1f} %, steps {curve.first_step} to {curve.last_step})"
    about = curve.exponent_in_words
    if not about:
        return f"of no known exponent ({curve.shape})"
    return f"as a + b steps^p, p {about} (steps {curve.first_step} to {curve.last_step})"


def _orders(unrolled: Sequence[Scaling], implicit: Sequence[Scaling]) -> list[bool | None]:
    linear = [has_shape(curve, "linear") for curve in unrolled]
    return [*linear, *(has_shape(curve, "constant") for curve in implicit)]


def _curves(run: LoadedRun) -> Iterator[tuple[str, list[Scaling], list[Scaling]]]:
    """Each workload with the memory curves of MAML and of iMAML."""
    fits = sorted(scaling_fits(run.memory), key=lambda fit: by_numbers(fit.method_label))
    for workload in sorted({fit.workload for fit in fits}):
        here = [fit for fit in fits if fit.workload == workload]
        unrolled = [fit for fit in here if fit.method == MAML and fit.points]
        yield workload, unrolled, [fit for fit in here if fit.method in IMAML]


def _outcome(verdict: Verdict, words: str, workload: str, curves: Sequence[Scaling]) -> Outcome:
    evidence = tuple(each for curve in curves for each in curve.evidence)
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


def _over_cg_steps(
    memory: pd.DataFrame, workload: str, settings: dict[tuple[str, str], dict[str, Any]]
) -> tuple[int, int, float, int] | None:
    """Fewest and most CG steps, by how much their peaks differ, and at how many inner steps: the most. Of
    variants that differ in nothing else; where there are several such sets, of the one that differs most."""
    peaks = memory[(memory.workload == workload) & (memory.method == IMAML_GD)].dropna(subset="peak_bytes")
    own = peaks.method_label.map(lambda label: settings[workload, label])
    found = []
    for _, alike in peaks.groupby(own.map(lambda one: repr(sorted((one | {"cg_steps": 0}).items())))):
        cg = own[alike.index].map(lambda one: one.get("cg_steps", 0))
        for steps in sorted(alike.inner_steps.unique(), reverse=True):
            point = alike[alike.inner_steps == steps]
            numbers = cg[point.index]
            if numbers.nunique() == cg.nunique() > 1:
                change = float(point.peak_bytes.max() / point.peak_bytes.min() - 1)
                found.append((int(numbers.min()), int(numbers.max()), change, int(steps)))
                break
    return max(found, key=lambda each: each[2], default=None)


MEMORY_LIMIT = Stated(
    name="no memory limits",
    source="abstract, claim 2",
    statement="Memory sets no limit to the number of inner steps.",
    test="iMAML's peak memory stays the same, within 0.5%, up to 16 inner steps or more and over a factor "
    "of 4 at least, and no number of steps runs out of memory where fewer do not. (The paper's gradient "
    "descent takes 16 on Omniglot's 5-way tasks.)",
    needs="the peak memory of iMAML at 16 inner steps or more",
    command="innerloop run memory-limits",
    judge=memory_sets_no_limit,
)

MEMORY_FACTOR = Stated(
    name="memory of one gradient",
    source="abstract, claim 3",
    statement="Memory is, up to a small constant factor, no more than that of one inner-loop gradient.",
    test="At no number of inner steps, up to 16 or more, does iMAML's peak, less parameters, outer state and "
    "batch, exceed 4 times that of first-order MAML at its fewest inner steps. That holds one gradient at a "
    "time: at its peak an inner one, where there are no more queries than shots. Where iMAML runs out of "
    "memory it is open, unless what it is known to exceed is above 4 times already. (The paper names no "
    "factor. Differentiating a gradient keeps its forward and its backward pass, and a derivative of each: "
    "4.)",
    needs="the peak memory of iMAML at 16 inner steps or more and of first-order MAML",
    command="innerloop run memory-scaling",
    judge=memory_of_one_gradient,
)

CURVES = Stated(
    name="memory against inner steps",
    source="Figure 2 (b)",
    statement="Peak memory against inner steps. By Table 1, MAML's grows with them and iMAML's does not.",
    test="MAML's peak is linear in inner steps (the interval of its exponent holds 1 and neither 1/2 nor "
    "2; memory is exact but for the allocator's rounding) and iMAML's stays the same within 0.5%, each "
    "over a factor of 4 in inner steps at least. Expected besides, where several numbers of CG steps were "
    "measured (of the figure we have no values): within 0.5% also over those.",
    needs="the peak memory of MAML and iMAML",
    command="innerloop run memory-scaling -m maml -m 'imaml-gd[cg_steps=2]' -m 'imaml-gd[cg_steps=5]' -m "
    "'imaml-gd[cg_steps=10]'",
    judge=memory_is_linear_and_flat,
)

ORDERS = Stated(
    name="memory",
    source="Table 1",
    statement="MAML's memory is that of one gradient times the number of inner steps, implicit MAML's that "
    "of one.",
    test="Fitted as a + b steps^p over a factor of 4 in inner steps at least, the interval of MAML's p "
    "holds 1 and neither 1/2 nor 2, and iMAML's memory stays the same within 0.5%. (Inner steps stand for "
    "the gradient evaluations of the inner loop, which the table gives as an order of kappa.)",
    needs="the peak memory of MAML and iMAML",
    command="innerloop run memory-scaling",
    judge=memory_orders,
)
