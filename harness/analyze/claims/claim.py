"""What a claim of the paper is to this harness: a stated test, and what the rows of a run say to it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from harness.analyze.claims.protocol import Protocol
from harness.analyze.claims.roles import by_numbers
from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun

Verdict = Literal["reproduced", "not reproduced", "not measured"]
REPRODUCED: Verdict = "reproduced"
NOT_REPRODUCED: Verdict = "not reproduced"
NOT_MEASURED: Verdict = "not measured"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one workload of one run says to a claim. `not measured` is also what is too weak to call; the
    words then say what is missing. Without a workload it is about several or none."""

    verdict: Verdict
    words: str
    workload: str = ""
    evidence: tuple[Evidence, ...] = ()
    differs: str = ""  # in what its protocol is not the paper's, where that is known better than at large


Judge = Callable[[LoadedRun], Iterable[Outcome]]


@dataclass(frozen=True, kw_only=True)
class Stated:
    """A claim and its test, before any rows.

    statement: the paper's, in our words; nothing that was recalled only is in it.
    test: when it counts as reproduced and when not, with the thresholds and their reasons.
    needs: what a run must have measured, for those that have not.
    command: what measures it.
    """

    name: str
    source: str
    statement: str
    test: str
    needs: str
    command: str
    judge: Judge


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim with its verdict on one workload of one run; `run` is empty where no run could say anything.

    differs: in what the rows' protocol is not the paper's.
    """

    name: str
    source: str
    statement: str
    test: str
    verdict: Verdict
    sentence: str
    evidence: tuple[Evidence, ...]
    run: str
    workload: str
    differs: str
    command: str


def judged(stated: Stated, runs: Sequence[Protocol]) -> list[Claim]:
    """One for each run and workload that decides; where none does, those that come near it, with what they
    lack; where there are none of those either, one that says what is needed."""
    found = [(protocol, outcome) for protocol in runs for outcome in stated.judge(protocol.run)]
    deciding = [(protocol, outcome) for protocol, outcome in found if outcome.verdict != NOT_MEASURED]
    return [_claim(stated, *each) for each in deciding or found] or [_unmeasured(stated)]


def _claim(stated: Stated, protocol: Protocol, outcome: Outcome) -> Claim:
    place = protocol.place(outcome.workload) if outcome.workload else ""
    where = ", ".join(filter(None, (protocol.name, place)))
    decided = outcome.verdict != NOT_MEASURED
    return Claim(
        name=stated.name,
        source=stated.source,
        statement=stated.statement,
        test=stated.test,
        verdict=outcome.verdict,
        sentence=f"{where}: {outcome.words}{protocol.flagged(outcome.evidence)}",
        evidence=outcome.evidence,
        run=protocol.name,
        workload=outcome.workload,
        differs=outcome.differs or (protocol.differences(outcome.evidence) if decided else ""),
        command=stated.command,
    )


def _unmeasured(stated: Stated) -> Claim:
    return Claim(
        name=stated.name,
        source=stated.source,
        statement=stated.statement,
        test=stated.test,
        verdict=NOT_MEASURED,
        sentence=f"needs {stated.needs}",
        evidence=(),
        run="",
        workload="",
        differs="",
        command=stated.command,
    )


def verdict_of(conditions: Iterable[bool | None]) -> Verdict:
    """Of a test with several conditions, None being one that is too weak to call: one that fails decides."""
    conditions = list(conditions)
    if any(condition is not None and not condition for condition in conditions):  # numpy's False is not False
        return NOT_REPRODUCED
    return NOT_MEASURED if not conditions or None in conditions else REPRODUCED


def curves_of(summary: pd.DataFrame, methods: Sequence[str]) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """Each workload of a summary with the curves of these methods, by label; none without any of them."""
    chosen = summary[summary.method.isin(list(methods))]
    for workload, part in chosen.groupby("workload", sort=True):
        of_label = {str(label): curve for label, curve in part.groupby("method_label", sort=False)}
        yield str(workload), {label: of_label[label] for label in sorted(of_label, key=by_numbers)}
