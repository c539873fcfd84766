"""A sentence about a run, and the rows that it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Which rows of a run: those of a measure of one workload, of some methods (by label), metrics and inner
    steps; where one of those is empty, of all."""

    measure: str
    workload: str
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    inner_steps: tuple[int, ...] = ()

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Those of `frame`, which is a run's rows."""
        chosen = (frame.measure == self.measure) & (frame.workload == self.workload)
        wanted: dict[str, Sequence[object]] = {
            "method_label": self.methods,
            "metric": self.metrics,
            "inner_steps": self.inner_steps,
        }
        for column, values in wanted.items():
            if values:
                chosen &= frame[column].isin(list(values))
        return frame[chosen]

    def cells(self, frame: pd.DataFrame) -> list[str]:
        """The ids of the cells that those rows were measured in, in the order of the rows."""
        return list(dict.fromkeys(self.rows(frame).cell_id))


def flagged(frame: pd.DataFrame, evidence: Iterable[Evidence]) -> str:
    """Of how many points that a sentence rests on an instrument warns, as words to put after it.

    `flagged: all 5 points`, `flagged: 2 of 5 points`; empty where of none. `frame`: a run's rows, or those of
    a measure.
    """
    flags = frame[frame.metric == "flag"]
    evidence = list(evidence)
    doubted = _points(replace(each, metrics=()).rows(flags) for each in evidence)
    if not doubted:
        return ""
    every = _points(each.rows(frame) for each in evidence)
    number = len(doubted & every)
    if number < len(every):
        return f"flagged: {number} of {len(every)} points" if number else ""
    return "flagged: the only point" if number == 1 else f"flagged: all {number} points"


def _points(parts: Iterable[pd.DataFrame]) -> set[tuple[object, ...]]:
    place = ["measure", "workload", "method_label", "inner_steps"]
    return {key for part in parts for key in part[place].itertuples(index=False, name=None)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a run shows, in words. Every figure in `sentence` is computed from the rows of `evidence`."""

    sentence: str
    evidence: tuple[Evidence, ...]

    def cells(self, frame: pd.DataFrame) -> list[str]:
        return list(dict.fromkeys(cell for each in self.evidence for cell in each.cells(frame)))
