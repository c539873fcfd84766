"""The abstract's claim 5: gains in accuracy on few-shot image recognition."""

from collections.abc import Iterator

from harness.analyze.accuracy.difference import Difference
from harness.analyze.accuracy.differences import accuracy_differences
from harness.analyze.claims.claim import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, Outcome, Stated
from harness.analyze.claims.protocol import ENOUGH_TRAINING, LEAST_TRAINING, Training
from harness.analyze.claims.roles import IMAML, MAML
from harness.analyze.intervals import SEEDS_FOR_T
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed

LEAST_GAIN = 0.002
"""Of accuracy: where Hessian-free iMAML gains on MAML in the paper's Table 2, it does so by 0.2 points at the
least (Omniglot 20-way 5-shot, 99.14 against 98.9)."""


def accuracy_gains(run: LoadedRun) -> Iterator[Outcome]:
    """Each method at the inner steps that its validation tasks choose, paired by seed."""
    found: dict[str, list[Difference]] = {}
    for difference in accuracy_differences(run):
        methods = {difference.first_method, difference.second_method}
        if difference.metric == "accuracy" and MAML in methods and methods & set(IMAML):
            implicit = difference.first if difference.first_method in IMAML else difference.second
            found.setdefault(difference.workload, []).append(difference.seen_from(implicit))
    for workload, every in found.items():
        if chosen := [difference for difference in every if difference.chosen]:
            yield _gains(workload, chosen, Training.of(run, workload).too_brief)
        else:
            words = "no validation scores choose the inner steps at which to compare iMAML and MAML"
            yield Outcome(verdict=NOT_MEASURED, words=words, workload=workload)


def _gains(workload: str, differences: list[Difference], untrained: str) -> Outcome:
    words = "; ".join(_in_words(difference) for difference in differences)
    variants: dict[str, list[Difference]] = {}
    for difference in differences:  # each against every MAML: a badly chosen one is easily beaten
        variants.setdefault(difference.first, []).append(difference)
    if untrained:
        verdict = NOT_MEASURED
        words += f". {untrained}"
    elif any(all(each.better == each.first for each in every) for every in variants.values()):
        verdict = REPRODUCED
    elif all(any(map(_gains_nothing, every)) for every in variants.values()):
        verdict = NOT_REPRODUCED
    else:
        verdict = NOT_MEASURED
        words += f". {_what_is_missing(differences)}"
    evidence = tuple(dict.fromkeys(each for difference in differences for each in difference.evidence))
    return Outcome(verdict=verdict, words=words, workload=workload, evidence=evidence)


def _in_words(difference: Difference) -> str:
    p = f", {difference.p_in_words}" if difference.p_in_words else ""
    return (
        f"{difference.first} {difference.difference_in_words} against {difference.second} "
        f"({difference.interval_in_words}{p}; at {difference.first_steps} and {difference.second_steps} "
        "inner steps, as validation chose)"
    )


def _what_is_missing(differences: list[Difference]) -> str:
    """Why this is too weak to call, and what would do."""
    if few := [difference.seeds for difference in differences if difference.interval != "seeds"]:
        return f"Too weak to call: it takes {SEEDS_FOR_T} seeds, measured: {min(few)}"
    needs = [d.needed_in_words for d in differences if d.needed_in_words]
    return f"Too weak to call: {listed(list(dict.fromkeys(needs)))}"


def _gains_nothing(difference: Difference) -> bool:
    """Whether no gain worth the name is left in the interval over seeds."""
    return difference.interval == "seeds" and (
        difference.better == difference.second or difference.high < LEAST_GAIN
    )


GAINS = Stated(
    name="gains in accuracy",
    source="abstract, claim 5",
    statement="iMAML gains in accuracy on few-shot image recognition.",
    test="Each method at the inner steps that its validation tasks choose, one of iMAML's variants is more "
    "accurate than MAML (than each, where several were run) on test tasks: a t test on differences paired by "
    "seed, three or more, with Holm's correction over all comparisons on the workload, at 5%. Not reproduced "
    "where every variant is less accurate, or its 95% interval ends below a gain of 0.2 points, the least of "
    f"the paper's Table 2. Judged are {ENOUGH_TRAINING}: accuracies before that "
    "tell how fast a method begins to learn.",
    needs="accuracies of iMAML and MAML on image classification, three seeds at least, well trained",
    command="innerloop run omniglot-minimal --measure accuracy --seed 0,1,2,3,4 "
    f"--set accuracy.meta_steps={LEAST_TRAINING} --data-root path/to/omniglot",
    judge=accuracy_gains,
)
