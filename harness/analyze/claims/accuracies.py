"""Tables 2 and 3: whether a run reaches the accuracies that the paper prints."""

from collections.abc import Callable, Iterator
from itertools import groupby

from harness.analyze.claims.claim import NOT_MEASURED, Outcome, Stated, verdict_of
from harness.analyze.claims.protocol import ENOUGH_TRAINING, Training
from harness.analyze.claims.roles import IMAML
from harness.analyze.loaded import LoadedRun
from harness.analyze.published.beside import LOWER, Beside, unlike_in_words
from harness.analyze.published.figures import FIGURES, SECOND_HAND, TABLE_2, TABLE_3, Figure
from harness.analyze.words import listed

LEAST_MARGIN = 0.2
"""Points: the least by which Hessian-free iMAML gains on MAML in Table 2, where it gains."""


def margin_of(figure: Figure) -> float:
    """By how many points a figure may be missed: the width of the interval that is printed with it."""
    return max(2 * figure.half, LEAST_MARGIN)


def reached(beside: Beside, *, is_repetition: bool) -> bool | None:
    """Whether a figure is reached, None where that is too weak to call.

    It is missed only by what repeats it: in its network and with enough training. Reached with less, it is
    reached all the same.
    """
    if beside.interval != "seeds":
        return None
    if beside.difference_low >= -margin_of(beside.figure):
        return True
    return False if beside.verdict == LOWER and is_repetition else None


def reached_in(table: str) -> Callable[[LoadedRun], Iterator[Outcome]]:
    """The judge of one table: an outcome a workload."""

    def judge(run: LoadedRun) -> Iterator[Outcome]:
        found = [each for each in run.published() if each.figure.table == table]
        for workload, group in groupby(found, key=lambda each: each.workload):
            yield _of_workload(run, workload, list(group))

    return judge


def _of_workload(run: LoadedRun, workload: str, found: list[Beside]) -> Outcome:
    words = "; ".join(each.sentence for each in found)
    differs = unlike_in_words(found)
    evidence = tuple(each.evidence for each in found)
    if found[0].another:
        words = f"{found[0].another}: {words}"
        return Outcome(
            verdict=NOT_MEASURED, words=words, workload=workload, evidence=evidence, differs=differs
        )
    training = Training.of(run, workload)
    conditions: list[bool | None] = []
    why: dict[str, None] = {}
    for each in found:
        if each.figure.method not in IMAML or each.figure.remark == SECOND_HAND:
            continue
        other_network = each.facts.network_is_other(each.figure)
        condition = reached(each, is_repetition=not other_network and training.is_enough)
        conditions.append(condition)
        if condition is None:
            why |= dict.fromkeys(_what_is_missing(each, training, [one.words for one in other_network]))
    if not conditions:
        why["None of the paper's own rows is among them"] = None
    words = ". ".join([words, *why])
    return Outcome(
        verdict=verdict_of(conditions), words=words, workload=workload, evidence=evidence, differs=differs
    )


def _what_is_missing(each: Beside, training: Training, other_network: list[str]) -> Iterator[str]:
    if each.interval != "seeds":
        yield f"Judged from three seeds on, {each.method_label} has {each.seeds}"
    elif each.verdict != LOWER:
        yield f"{each.method_label} is too weak to call: its interval reaches from 0 to beyond the margin"
    else:
        if other_network:
            yield f"{each.method_label} misses it with another network, {listed(other_network)}"
        if training.too_brief:
            yield training.too_brief


def _printed(table: str) -> str:
    """`5-way 1-shot: iMAML, GD 99.16 ± 0.35, ...; ...`, of the paper's own rows."""
    own = [each for each in FIGURES if each.table == table and each.method in IMAML]
    shapes = dict.fromkeys((each.ways, each.shots) for each in own)
    return "; ".join(
        f"{ways}-way {shots}-shot: "
        + ", ".join(
            f"{each.row} {each.printed}{f' [{each.remark}]' if each.remark else ''}"
            for each in own
            if (each.ways, each.shots) == (ways, shots)
        )
        for ways, shots in shapes
    )


TEST = (
    "On each workload, all of iMAML's variants that were run, at the inner steps that validation chose, over "
    "three seeds or more: reached where the 95% interval of the difference to the figure lies above minus "
    "the width of the interval that is printed with the figure, 0.2 points at the least. Not reproduced where "
    "one is not, its whole interval lies below 0, and it has the published network and enough training: judged "
    f"are {ENOUGH_TRAINING}. The interval is made of ours and of the printed ±, as of independent means and as "
    "if that were a 95% half-width. Other methods' rows, and what was read second-hand, are told, not judged."
)


def _stated(table: str, data: str, suite: str) -> Stated:
    return Stated(
        name=f"accuracies on {data}",
        source=table,
        statement=f"Accuracies of iMAML in %, {_printed(table)}.",
        test=TEST,
        needs=f"accuracies of iMAML on {data} in the table's settings, three seeds at least",
        command=f"innerloop run {suite} --seed 0,1,2 --data-root path/to/data",
        judge=reached_in(table),
    )


TABLE_2_REACHED = _stated(TABLE_2, "Omniglot", "omniglot")
TABLE_3_REACHED = _stated(TABLE_3, "Mini-ImageNet", "mini-imagenet")
