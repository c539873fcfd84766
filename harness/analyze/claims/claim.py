"""What a claim of the paper is to this harness: a stated test, and what the rows of a run say to it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from harness.analyze.claims.roles import listed
from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.frame import split_workload
from harness.settings import format_settings, telling_apart

Verdict = Literal["reproduced", "not reproduced", "not measured"]
REPRODUCED: Verdict = "reproduced"
NOT_REPRODUCED: Verdict = "not reproduced"
NOT_MEASURED: Verdict = "not measured"

ALWAYS_NAMED = ("ways", "shots", "condition")  # of a workload's settings; shots where there are ways
PAPERS_OWN = ("omniglot", "mini-imagenet")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one workload of one run says to a claim. `not measured` is also what is too weak to call; the
    words then say what is missing. Without a workload it is about several or none."""

    verdict: Verdict
    words: str
    workload: str = ""
    evidence: tuple[Evidence, ...] = ()


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


def judged(stated: Stated, runs: Sequence[LoadedRun]) -> list[Claim]:
    """One for each run and workload that decides; where none does, those that come near it, with what they
    lack; where there are none of those either, one that says what is needed."""
    found = [(run, outcome) for run in runs for outcome in stated.judge(run)]
    deciding = [(run, outcome) for run, outcome in found if outcome.verdict != NOT_MEASURED]
    return [_claim(stated, run, outcome) for run, outcome in deciding or found] or [_unmeasured(stated)]


def _claim(stated: Stated, run: LoadedRun, outcome: Outcome) -> Claim:
    place = place_of(run, outcome.workload) if outcome.workload else ""
    where = ", ".join(filter(None, (run.name, place)))
    decided = outcome.verdict != NOT_MEASURED
    return Claim(
        name=stated.name,
        source=stated.source,
        statement=stated.statement,
        test=stated.test,
        verdict=outcome.verdict,
        sentence=f"{where}: {outcome.words}{flagged(run, outcome.evidence)}",
        evidence=outcome.evidence,
        run=run.name,
        workload=outcome.workload,
        differs=differences(run, outcome.evidence) if decided else "",
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


def place_of(run: LoadedRun, workload: str) -> str:
    """A workload by its name and the settings that matter or tell it from others of the run."""
    name, settings = split_workload(workload)
    others = [split_workload(text) for text in run.rows.workload.unique()]
    apart = telling_apart([each for other, each in others if other == name])
    named = ALWAYS_NAMED if "ways" in settings else ALWAYS_NAMED[2:]
    shown = {key: value for key, value in settings.items() if key in (*named, *apart)}
    return f"{name}[{format_settings(shown)}]" if shown else name


def flagged(run: LoadedRun, evidence: Iterable[Evidence]) -> str:
    """A clause on the methods whose rows an instrument doubts; empty without any."""
    flags = run.rows[run.rows.metric == "flag"]
    doubted = [replace(each, metrics=()).rows(flags).method_label for each in evidence]
    labels = list(dict.fromkeys(label for labels in doubted for label in labels))
    return f". Flagged: {listed(labels)}, see `innerloop show`" if labels else ""


def differences(run: LoadedRun, evidence: Iterable[Evidence]) -> str:
    """What is known to be unlike the paper in the rows of this evidence."""
    names = list(dict.fromkeys(split_workload(each.workload)[0] for each in evidence))
    measures = {each.measure for each in evidence}
    said = []
    if measures & {"memory", "time", "accuracy"}:
        strange = [name for name in names if name not in PAPERS_OWN]
        said += [f"{', '.join(strange)} in the place of Omniglot"] if strange else []
    if measures & {"memory", "time"}:
        machine = run.environment.get("device_name")
        said += [f"read on {machine}"] if machine else []
        said.append("the paper's instruments are not known, so shapes are compared and no absolute values")
    if "accuracy" in measures:
        said.append("trained as the suite says, not for as long as in the paper")
    if "gradient" in measures:
        said.append("in float64, on ridge regression of our own making" if names == ["linear-regression"] else
                    "in float64, at the initial parameters")  # fmt: skip
    return "; ".join(said)


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
        yield str(workload), {str(label): curve for label, curve in part.groupby("method_label", sort=False)}
