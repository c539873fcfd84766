"""The abstract's claim 2, its first half: many inner steps do not make the meta-gradient vanish."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, curves_of, verdict_of
from harness.analyze.claims.roles import IMAML, MAML, MANY, STRETCH, lam_of, settings_of
from harness.analyze.finding import Evidence
from harness.analyze.gradient import error_in_words
from harness.analyze.loaded import LoadedRun

KEPT = 0.5  # of the norm: a gradient that vanishes does so exponentially in the steps, and is soon far below
NORM_METRICS = ("meta_gradient_norm", "rel_error_implicit")


@dataclass(frozen=True)
class Norm:
    """A method's norm at its most inner steps, as a share of the exact one's or of its own at fewer."""

    share: float
    stays: bool | None  # None where it is on its way to some value that is not known
    steps: tuple[int, ...]


def gradients_do_not_vanish(run: LoadedRun) -> Iterator[Outcome]:
    settings = settings_of(run.rows, "gradient")
    summary = run.gradient.dropna(subset="meta_gradient_norm")
    for workload, curves in curves_of(summary, IMAML):
        of_lam: dict[float, dict[str, pd.DataFrame]] = {}
        for label, curve in curves.items():
            of_lam.setdefault(lam_of(settings[workload, label]), {})[label] = curve
        for same_problem in of_lam.values():
            outcome = _norms_stay(workload, same_problem)
            unrolled = summary[(summary.workload == workload) & (summary.method == MAML)]
            yield outcome if outcome.verdict == NOT_MEASURED else _beside_maml(outcome, unrolled, settings)


def _norms_stay(workload: str, curves: dict[str, pd.DataFrame]) -> Outcome:
    points = pd.concat(curves.values())
    known = bool(points.rel_error_implicit.notna().any())
    nearest = points.sort_values("rel_error_implicit", kind="stable").iloc[0]
    if known and nearest.rel_error_implicit >= KEPT:
        words = "no point is near enough to the exact meta-gradient to know its norm"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload)
    exact = float(nearest.meta_gradient_norm) if known else None
    norms = {label: norm for label, curve in curves.items() if (norm := norm_of(curve, exact)) is not None}
    if not norms:
        words = f"no iMAML was measured at {MANY} inner steps or more and at a quarter of them"
        return Outcome(verdict=NOT_MEASURED, words=words, workload=workload)
    evidence = [_rows(workload, tuple(norms), *(norm.steps for norm in norms.values()))]
    if known:
        evidence.append(_rows(workload, (str(nearest.method_label),), (int(nearest.inner_steps),)))
    shares = [norm.share for norm in norms.values()]
    least, most = f"{min(shares):.2f}", f"{max(shares):.2f}"
    spread = least if least == most else f"{least} to {most}"
    what = "the exact one's" if known else "that at a quarter of the steps"
    longest = max(norm.steps[-1] for norm in norms.values())
    variants = f"{len(norms)} variants of iMAML" if len(norms) > 1 else next(iter(norms))
    words = f"at up to {longest:,} inner steps the norm is {spread} times {what} ({variants})"
    verdict = verdict_of(norm.stays for norm in norms.values())
    if verdict == NOT_MEASURED:
        words += "; too weak to call: it falls, but ever less, and may end above zero"
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=tuple(evidence))


def norm_of(curve: pd.DataFrame, exact: float | None) -> Norm | None:
    """Of a curve of norms; None of one that ends at few inner steps, or has no norm to hold it against."""
    norms = pd.Series(curve.meta_gradient_norm.to_numpy(float), curve.inner_steps.astype(int))
    last = int(norms.index[-1])
    before = norms[norms.index * STRETCH <= last]
    if last < MANY or before.empty:
        return None
    reference = float(before.iloc[-1]) if exact is None else exact
    if reference == 0:
        return None
    share, steps = float(norms.iloc[-1]) / reference, (int(before.index[-1]), last)
    if exact is not None or share >= KEPT:
        return Norm(share, share >= KEPT, steps)
    halves = [last]  # the last two doublings: exponential decay falls by more in each than in the one before
    while len(halves) < 3 and len(lower := norms.index[norms.index * 2 <= halves[0]]):
        halves.insert(0, int(lower[-1]))
    if len(halves) < 3:
        return Norm(share, None, steps)
    first, middle, end = (float(norms[step]) for step in halves)
    vanishes = end * first <= middle * middle  # end / middle against middle / first, and none may be zero
    return Norm(share, False if vanishes else None, tuple(sorted({*halves, *steps})))


def _rows(workload: str, methods: tuple[str, ...], *steps: tuple[int, ...]) -> Evidence:
    return Evidence(
        measure="gradient",
        workload=workload,
        methods=methods,
        metrics=NORM_METRICS,
        inner_steps=tuple(sorted({step for each in steps for step in each})),
    )


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


VANISHING = Stated(
    name="no vanishing gradients",
    source="abstract, claim 2",
    statement="Many inner steps do not make the meta-gradient vanish.",
    test="At the most inner steps measured, 16 or more, the norm of iMAML's meta-gradient is at least half "
    "of the exact one's, or, where that is not known, of its own at a quarter of the steps (not "
    "reproduced: less, and it falls ever faster). (A gradient that vanishes does so exponentially in the "
    "steps. The paper's gradient descent takes 16 on Omniglot's 5-way tasks.)",
    needs="the norm of iMAML's meta-gradient at 16 inner steps or more",
    command="innerloop run meta-gradient",
    judge=gradients_do_not_vanish,
)
