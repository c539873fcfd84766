"""A sentence about a run, and the rows that it rests on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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

    def names(self, method_label: str, inner_steps: int) -> bool:
        """Whether a point of the measure and workload is meant, whatever was read there."""
        return (not self.methods or method_label in self.methods) and (
            not self.inner_steps or inner_steps in self.inner_steps
        )

    def cells(self, frame: pd.DataFrame) -> list[str]:
        """The ids of the cells that those rows were measured in, in the order of the rows."""
        return list(dict.fromkeys(self.rows(frame).cell_id))


class Doubts:
    """Which points of a run an instrument warns of, sorted out once for all that is asked of them."""

    def __init__(self, frame: pd.DataFrame) -> None:
        """`frame`: a run's rows, or those of a measure."""
        names = ["measure", "workload", "method_label", "inner_steps", "metric"]
        self._metrics: dict[tuple[str, str], dict[tuple[str, int], set[str]]] = {}
        for measure, workload, label, steps, metric in frame[names].drop_duplicates().to_numpy():
            points = self._metrics.setdefault((measure, workload), {})
            points.setdefault((label, steps), set()).add(metric)

    def about(self, evidence: Iterable[Evidence]) -> str:
        """Of how many points that a sentence rests on an instrument warns, as words to put after it.

        `flagged: all 5 points`, `flagged: 2 of 5 points`; empty where of none.
        """
        every: dict[tuple[str, str, str, int], bool] = {}
        for each in evidence:
            for (label, steps), metrics in self._metrics.get((each.measure, each.workload), {}).items():
                if each.names(label, steps) and (not each.metrics or not metrics.isdisjoint(each.metrics)):
                    every[each.measure, each.workload, label, steps] = "flag" in metrics
        number = sum(every.values())
        if number < len(every):
            return f"flagged: {number} of {len(every)} points" if number else ""
        return f"flagged: all {number} points" if number > 1 else "flagged: the only point" if number else ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a run shows, in words. Every figure in `sentence` is computed from the rows of `evidence`."""

    sentence: str
    evidence: tuple[Evidence, ...]

    def cells(self, frame: pd.DataFrame) -> list[str]:
        return list(dict.fromkeys(cell for each in self.evidence for cell in each.cells(frame)))
