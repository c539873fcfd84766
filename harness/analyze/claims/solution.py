"""The abstract's claim 1: the inner problem's solution alone counts, and not the path to it."""

from collections.abc import Iterator

import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, curves_of, verdict_of
from harness.analyze.claims.roles import IMAML, lam_of, optimiser_of, settings_of
from harness.analyze.finding import Evidence
from harness.analyze.gradient import error_in_words
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed

SOLVED = 1e-8  # of the inner residual ||grad G|| and of the solver's relative residual
AGREE = 1e-4
"""A residual r leaves an error of up to r / (lambda + least eigenvalue) in phi, relative to a meta-gradient
that may be small itself: four orders of magnitude are left for both."""

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
    unsolved = [name for name in paths if name not in worst]
    evidence = tuple(
        Evidence(
            measure="gradient",
            workload=workload,
            methods=tuple(dict.fromkeys(part.method_label)),
            metrics=EXACT_METRICS,
            inner_steps=tuple(sorted(set(map(int, part.inner_steps)))),
        )
        for part in (*points, *(paths[name] for name in unsolved))
    )
    if len(worst) < 2:
        only = f"only {listed(list(worst))}" if worst else "no inner optimiser"
        tried = f"{only} of {listed(list(paths))}" if len(paths) > 1 else only
        words = f"{tried} solved the inner problem to {error_in_words(SOLVED, 1)}; two must"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence)
    errors = listed([f"{name} {error_in_words(error)}" for name, error in worst.items()])
    words = f"where the inner problem is solved, the largest errors are: {errors}"
    if unsolved:
        words += f"; {listed(unsolved)} did not solve it to {error_in_words(SOLVED, 1)}"
    verdict = verdict_of(error <= AGREE for error in worst.values())
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


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
