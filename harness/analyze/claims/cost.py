"""The abstract's claim 4: what iMAML takes of time, and of gradients and Hessian products."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, verdict_of
from harness.analyze.claims.roles import IMAML, IMAML_GD, MAML, MANY, lam_of, settings_of
from harness.analyze.finding import Evidence
from harness.analyze.gradient import error_in_words
from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.pairs import paired_ratios
from harness.analyze.words import listed
from harness.analyze.work import work_in


def no_dearer(run: LoadedRun) -> Iterator[Outcome]:
    yield from no_slower(run)
    yield from no_more_work(run)


def no_slower(run: LoadedRun) -> Iterator[Outcome]:
    """By the clock, paired within rounds, at as many steps of gradient descent."""
    for workload, ratios in ratios_to(run, MAML, IMAML).groupby("workload", sort=True):
        yield _no_slower(str(workload), ratios)


def _no_slower(workload: str, ratios: pd.DataFrame) -> Outcome:
    reference = str(ratios.reference.iloc[0])
    conditions: list[bool | None] = []
    said: list[str] = []
    evidence: list[Evidence] = []
    for (method, name), curve in ratios.groupby(["method", "method_label"], sort=True):
        label, last = str(name), curve.iloc[-1]
        if method != IMAML_GD:
            if len(said):
                said.append(f"{label}'s inner steps are Newton steps and not judged ({in_words(last)})")
                evidence.append(seconds_of(workload, (label, reference), (int(last.inner_steps),)))
            continue
        if last.inner_steps < MANY:
            continue
        first = curve.iloc[0]
        conditions.append(at_most_one(last))
        beginning = f", {in_words(first)}" if first.inner_steps < last.inner_steps else ""
        said.append(f"time of {label} over {reference}'s: {in_words(last)} inner steps{beginning}")
        if (from_steps := faster_from(curve)) is not None:
            said[-1] += f", less from {from_steps} on"
        if conditions[-1] is None:
            said[-1] += f": too weak to call, {more_blocks(last)}"
        steps = tuple(sorted(map(int, curve.inner_steps)))
        evidence.append(seconds_of(workload, (label, reference), steps))
    if not conditions:
        words = f"imaml-gd was not timed beside {reference} at {MANY} inner steps or more"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload)
    verdict = verdict_of(conditions)
    return Outcome(verdict=verdict, words="; ".join(said), workload=workload, evidence=tuple(evidence))


def no_more_work(run: LoadedRun) -> Iterator[Outcome]:
    """Counted: gradients and Hessian products to the smallest error that both reach, on one inner problem."""
    settings = settings_of(run.rows, "gradient")
    reached = work_in(run.gradient).dropna(subset="work")
    reached = reached[(reached.target == "rel_error_implicit") & reached.method.isin([MAML, *IMAML])]
    for workload, part in reached.groupby("workload", sort=True):
        lams = [lam_of(settings[str(workload), label]) for label in part.method_label]
        for _, lines in part.groupby(pd.Series(lams, part.index)):
            implicit, unrolled = lines[lines.method != MAML], lines[lines.method == MAML]
            if len(implicit) and len(unrolled):
                yield _no_more_work(str(workload), implicit, unrolled)


def _no_more_work(workload: str, implicit: pd.DataFrame, unrolled: pd.DataFrame) -> Outcome:
    """At what the measured points cross, for the grid of inner steps alone would make one the cheaper. Of
    several variants the cheapest, on either side."""
    cheapest = unrolled.dropna(subset="crossing").sort_values("crossing").drop_duplicates("error")
    both = implicit.dropna(subset="crossing").merge(cheapest, on="error", suffixes=("", "_of_maml"))
    variants = list(dict.fromkeys(unrolled.method_label))
    labels = (*dict.fromkeys(implicit.method_label), *variants)
    metrics = ("rel_error_implicit", "gradient_evaluations", "hessian_products")
    evidence = (Evidence(measure="gradient", workload=workload, methods=labels, metrics=metrics),)
    if both.empty:
        words = f"no error of 0.1 or less is seen to be crossed by both {listed(variants)} and an iMAML"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
    best = both.sort_values(["error", "crossing"]).iloc[0]
    words = (
        f"to an error of {error_in_words(best.error, 1)} {best.method_label} takes {best.crossing:.0f} "
        f"gradients and Hessian products a task, {best.method_label_of_maml} {best.crossing_of_maml:.0f}, "
        "both by interpolation between the inner steps that were measured"
    )
    verdict = verdict_of([best.crossing <= best.crossing_of_maml])
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


def ratios_to(run: LoadedRun, reference: str, methods: tuple[str, ...]) -> pd.DataFrame:
    """The points of `paired_ratios` that could be paired, of these methods to that one; none without it."""
    rows = run.rows[(run.rows.measure == "time") & run.rows.method.isin([reference, *methods])]
    # Every workload has a reference of its own: one without the wanted method would get another.
    with_it = rows[rows.method == reference].workload.unique()
    ratios = paired_ratios(rows[rows.workload.isin(with_it)], lambda method: method != reference)
    labels = rows[rows.method == reference].method_label.unique()
    return ratios[ratios.method.isin(methods) & ratios.reference.isin(labels) & (ratios.pairs > 0)]


def seconds_of(workload: str, methods: tuple[str, ...], steps: tuple[int, ...]) -> Evidence:
    return Evidence(
        measure="time", workload=workload, methods=methods, metrics=("step_seconds",), inner_steps=steps
    )


def at_most_one(point: pd.Series) -> bool | None:
    """Whether a ratio is no more than 1, None where its interval does not say."""
    if point.high <= 1:
        return True
    return False if point.low > 1 else None


def faster_from(ratios: pd.DataFrame) -> int | None:
    """The fewest inner steps from which on the whole interval of a method's ratio stays below 1."""
    below = (ratios.high < 1)[::-1].cummin()[::-1].to_numpy(bool)
    return int(ratios.inner_steps[below].iloc[0]) if below.any() else None


def in_words(point: pd.Series) -> str:
    """`0.45 (0.42 to 0.49) times at 16`"""
    interval = f" ({point.low:.2f} to {point.high:.2f})" if np.isfinite(point.low) else ""
    return f"{point.ratio:.2f}{interval} times at {point.inner_steps}"


def more_blocks(point: pd.Series) -> str:
    if point.blocks < 2:
        return "one block has no interval: run 3 or more"
    return (
        f"the interval over {point.blocks} blocks holds 1: run more with --set time.blocks={3 * point.blocks}"
    )


NO_DEARER = Stated(
    name="no more computation",
    source="abstract, claim 4",
    statement="There is no overall increase in total computational cost.",
    test="By the clock: at the most inner steps measured, 16 or more, the whole 95% interval of imaml-gd's "
    "time over MAML's, paired within rounds, is at most 1 (not reproduced: above 1). Or counted: to the "
    "smallest error of 0.1, 1e-2, 1e-4, 1e-6 and 1e-8 that MAML and an iMAML both reach, the cheapest "
    "iMAML takes no more gradients and Hessian products than the cheapest MAML on the same inner problem, "
    "interpolated between the measured inner steps. "
    "(The paper's gradient descent takes 16 steps on Omniglot's 5-way tasks. Newton steps are other steps, "
    "and are not held against MAML's one for one.)",
    needs="times of imaml-gd and MAML at 16 inner steps or more, or the work of both to a given error",
    command="innerloop run time-scaling",
    judge=no_dearer,
)
