"""The abstract's claims 1 and 2: the inner problem's solution alone counts, many inner steps do no harm."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, curves_of, verdict_of
from harness.analyze.claims.roles import (
    IMAML,
    MAML,
    MANY,
    STRETCH,
    lam_of,
    listed,
    optimiser_of,
    settings_of,
)
from harness.analyze.finding import Evidence
from harness.analyze.gradient import error_in_words
from harness.analyze.loaded import LoadedRun

SOLVED = 1e-8  # of the inner residual ||grad G|| and of the solver's relative residual
AGREE = 1e-4
"""A residual r leaves an error of up to r / (lambda + least eigenvalue) in phi, relative to a meta-gradient
that may be small itself: four orders of magnitude are left for both."""

KEPT = 0.5  # of the norm: a gradient that vanishes does so exponentially in the steps, and is soon far below
NORM_METRICS = ("meta_gradient_norm", "rel_error_implicit")
EXACT_METRICS = ("rel_error_implicit", "inner_residual", "solver_residual")


def any_optimiser_will_do(run: LoadedRun) -> Iterator[Outcome]:
    settings = settings_of(run.rows, "gradient")
    for workload, curves in curves_of(run.gradient.dropna(subset="rel_error_implicit"), IMAML):
        problems: dict[float, dict[str, list[pd.DataFrame]]] = {}
        for label, curve in curves.items():
            own = settings[workload, label]
            problems.setdefault(lam_of(own), {}).setdefault(optimiser_of(own), []).append(curve)
        for paths in problems.values():
            yield _paths_agree(workload, {name: pd.concat(parts) for name, parts in paths.items()})


def _paths_agree(workload: str, paths: dict[str, pd.DataFrame]) -> Outcome:
    worst: dict[str, float] = {}
    points: list[pd.DataFrame] = []
    for name, curve in paths.items():
        residuals = curve[["inner_residual", "solver_residual"]].max(axis=1, skipna=False)
        solved = curve[(residuals <= SOLVED) & (curve.diverged == 0)]
        if len(solved):
            worst[name] = float(solved.rel_error_implicit.max())
            points.append(solved)
    evidence = tuple(
        Evidence(
            measure="gradient",
            workload=workload,
            methods=tuple(dict.fromkeys(part.method_label)),
            metrics=EXACT_METRICS,
            inner_steps=tuple(sorted(set(map(int, part.inner_steps)))),
        )
        for part in points
    )
    if len(worst) < 2:
        only = f"only {listed(list(worst))}" if worst else "no inner optimiser"
        tried = f"{only} of {listed(list(paths))}" if len(paths) > 1 else only
        words = f"{tried} solved the inner problem to {error_in_words(SOLVED, 1)}; two must"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
    errors = listed([f"{name} {error_in_words(error)}" for name, error in worst.items()])
    words = f"where the inner problem is solved, the largest errors are: {errors}"
    if unsolved := [name for name in paths if name not in worst]:
        words += f"; {listed(unsolved)} did not solve it to {error_in_words(SOLVED, 1)}"
    verdict = verdict_of(error <= AGREE for error in worst.values())
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


def gradients_do_not_vanish(run: LoadedRun) -> Iterator[Outcome]:
    settings = settings_of(run.rows, "gradient")
    summary = run.gradient.dropna(subset="meta_gradient_norm")
    for workload, curves in curves_of(summary, IMAML):
        of_lam: dict[float, dict[str, pd.DataFrame]] = {}
        for label, curve in curves.items():
            of_lam.setdefault(lam_of(settings[workload, label]), {})[label] = curve
        for same_problem in of_lam.values():
            outcome = _norm_is_kept(workload, same_problem)
            unrolled = summary[(summary.workload == workload) & (summary.method == MAML)]
            yield outcome if outcome.verdict == NOT_MEASURED else _beside_maml(outcome, unrolled, settings)


def _norm_is_kept(workload: str, curves: dict[str, pd.DataFrame]) -> Outcome:
    """Against the exact one's norm where that is known, else against the norm at a quarter of the steps."""
    points = pd.concat(curves.values())
    nearest = points.nsmallest(1, "rel_error_implicit")
    known = points.rel_error_implicit.notna().any()
    exact = float(nearest.meta_gradient_norm.iloc[0]) if known else float("nan")
    kept: dict[str, tuple[float, int, int]] = {}
    for label, curve in curves.items():
        last, before = curve.iloc[-1], curve[curve.inner_steps * STRETCH <= curve.inner_steps.max()]
        if last.inner_steps < MANY or before.empty:
            continue
        reference = exact if known else float(before.meta_gradient_norm.iloc[-1])
        kept[label] = (
            float(last.meta_gradient_norm) / reference,
            int(before.inner_steps.iloc[-1]),
            int(last.inner_steps),
        )
    evidence = [
        Evidence(
            measure="gradient",
            workload=workload,
            methods=tuple(kept),
            metrics=NORM_METRICS,
            inner_steps=tuple(sorted({step for _, first, last in kept.values() for step in (first, last)})),
        )
    ]
    if known:
        evidence.append(
            Evidence(
                measure="gradient",
                workload=workload,
                methods=(str(nearest.method_label.iloc[0]),),
                metrics=NORM_METRICS,
                inner_steps=(int(nearest.inner_steps.iloc[0]),),
            )
        )
    if not kept or (known and nearest.rel_error_implicit.iloc[0] >= KEPT):
        words = (
            f"no iMAML was measured at {MANY} inner steps or more and at a quarter of them"
            if not kept
            else "no point is near enough to the exact meta-gradient to know its norm"
        )
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload)
    shares = [share for share, _, _ in kept.values()]
    least, most = f"{min(shares):.2f}", f"{max(shares):.2f}"
    spread = least if least == most else f"{least} to {most}"
    what = "the exact one's" if known else "that at a quarter of the steps"
    longest = max(last for _, _, last in kept.values())
    variants = f"{len(kept)} variants of iMAML" if len(kept) > 1 else next(iter(kept))
    words = f"at up to {longest:,} inner steps the norm is {spread} times {what} ({variants})"
    verdict = verdict_of(share >= KEPT for share in shares)
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=tuple(evidence))


def _beside_maml(
    outcome: Outcome, maml: pd.DataFrame, settings: dict[tuple[str, str], dict[str, Any]]
) -> Outcome:
    """With what becomes of the norm of MAML meanwhile, where that was measured, on whichever problem."""
    longest = max(outcome.evidence[0].inner_steps)
    words, evidence = outcome.words, list(outcome.evidence)
    for label, curve in maml[maml.inner_steps <= longest].groupby("method_label", sort=False):
        if len(curve) < 2:
            continue
        first, last = curve.iloc[0], curve.iloc[-1]
        norms = [error_in_words(float(point.meta_gradient_norm)) for point in (first, last)]
        lam = lam_of(settings[outcome.workload, str(label)])
        words += (
            f"; that of MAML at lambda {lam:g} goes from {norms[0]} at {first.inner_steps} "
            f"to {norms[1]} at {last.inner_steps:,}"
        )
        evidence.append(
            Evidence(
                measure="gradient",
                workload=outcome.workload,
                methods=(str(label),),
                metrics=("meta_gradient_norm",),
                inner_steps=(int(first.inner_steps), int(last.inner_steps)),
            )
        )
    return replace(outcome, words=words, evidence=tuple(evidence))


PATH = Stated(
    name="any inner optimiser",
    source="abstract, claim 1",
    statement="The meta-gradient depends only on the solution of the inner problem and not on the path to "
    "it: any inner optimiser will do.",
    test="Wherever the inner residual and the linear solver's are at most 1e-8, the implicit meta-gradient "
    "is within 1e-4 of the exact one, for each of at least two inner optimisers. (Four orders of "
    "magnitude are left for the conditioning of the problem and a small meta-gradient.) An optimiser that "
    "does not solve the inner problem is no evidence either way.",
    needs="the errors of iMAML with two inner optimisers on a problem whose exact meta-gradient is known",
    command="innerloop run inner-optimisers",
    judge=any_optimiser_will_do,
)

VANISHING = Stated(
    name="no vanishing gradients",
    source="abstract, claim 2",
    statement="Many inner steps do not make the meta-gradient vanish.",
    test="At the most inner steps measured, 16 or more, the norm of iMAML's meta-gradient is at least half "
    "of the exact one's, or, where that is not known, of its own at a quarter of the steps. (A gradient "
    "that vanishes does so exponentially in the steps. The paper's gradient descent takes 16 on "
    "Omniglot's 5-way tasks.)",
    needs="the norm of iMAML's meta-gradient at 16 inner steps or more",
    command="innerloop run meta-gradient",
    judge=gradients_do_not_vanish,
)
