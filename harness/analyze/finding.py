"""A sentence about a run, and the rows that it rests on."""

from collections.abc import Sequence
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

    def cells(self, frame: pd.DataFrame) -> list[str]:
        """The ids of the cells that those rows were measured in, in the order of the rows."""
        return list(dict.fromkeys(self.rows(frame).cell_id))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a run shows, in words. Every figure in `sentence` is computed from the rows of `evidence`."""

    sentence: str
    evidence: tuple[Evidence, ...]

    def cells(self, frame: pd.DataFrame) -> list[str]:
        return list(dict.fromkeys(cell for each in self.evidence for cell in each.cells(frame)))
