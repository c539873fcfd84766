"""What a sentence rests on is enough to say it: from the rows of its evidence alone it comes out again."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
from claims import loaded
from rows import row, whole_run

from harness.analyze.cost import cost_models
from harness.analyze.finding import Doubts, Evidence
from harness.analyze.loaded import LoadedRun, load_run
from harness.frame import frame_of

REFERENCE = Path(__file__).parents[2] / "results" / "reference"
RUNS = ("quick", "memory-limits", "meta-gradient", "inner-optimisers")
BESIDE = re.compile(r", p [^;)]* by Holm among \d+|some \d+ seeds would do|\. Flagged: .*")
"""Holm's correction is of all comparisons on a workload; flags are no measurement."""


class Said(Protocol):
    @property
    def sentence(self) -> str: ...
    @property
    def evidence(self) -> tuple[Evidence, ...]: ...


SAID: dict[str, Callable[[LoadedRun], Iterable[Said]]] = {
    "scaling": LoadedRun.scaling,
    "crossings": LoadedRun.crossings,
    "cost": lambda run: cost_models(run.costs()),
    "claims": lambda run: [claim for claim in run.claims() if claim.evidence],
}


@pytest.mark.parametrize("name", ["synthetic", *RUNS])
def test_a_sentence_can_be_told_from_the_rows_of_its_evidence(name: str) -> None:
    run = loaded(whole_run()) if name == "synthetic" else load_run(REFERENCE / name)
    told = 0
    for say in SAID.values():
        for each in say(run):
            rows = {index for evidence in each.evidence for index in evidence.rows(run.rows).index}
            alone = replace(run, rows=run.rows.loc[sorted(rows)])
            again = {BESIDE.sub("", other.sentence) for other in say(alone)}
            assert BESIDE.sub("", each.sentence) in again
            told += 1
    assert told


def test_a_sentence_is_flagged_by_the_points_that_it_rests_on_and_no_others() -> None:
    timed = {"measure": "time", "metric": "step_seconds", "settings": {}}
    rows = [row(**timed, method=method, inner_steps=k) for method in ("maml", "fomaml") for k in (1, 2, 4)]
    doubts = {**timed, "metric": "flag", "value": None, "detail": "a busy machine"}
    every = [row(**doubts, method="maml", inner_steps=k) for k in (1, 2, 4)]
    of_memory = row(**{**doubts, "measure": "memory"}, method="fomaml", inner_steps=1)
    frame = frame_of([*rows, *every, of_memory])

    def said(*methods: str, steps: tuple[int, ...] = ()) -> str:
        metrics = ("step_seconds",)
        workload = rows[0].workload
        one = Evidence(measure="time", workload=workload, methods=methods, metrics=metrics, inner_steps=steps)
        return Doubts(frame).about([one])

    assert said("fomaml") == ""
    assert said("maml") == "flagged: all 3 points"
    assert said("maml", steps=(4,)) == "flagged: the only point"
    assert said("maml", "fomaml") == "flagged: 3 of 6 points"
