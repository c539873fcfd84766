"""The rows of a measure, point by point, as arrays: of a large run a frame a point would take minutes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

POINT = ["workload", "method", "method_label", "inner_steps"]
FATE = ["status", "failed", "failure", "detail", "flag"]


class PointRows:
    """The rows of one point, in their order."""

    def __init__(self, point: dict[str, Any], table: "_Table", lines: slice) -> None:
        self.point = point
        self._metrics, self._statuses = table.metrics, table.statuses
        self._metric, self._status, self._detail = (
            table.metric[lines],
            table.status[lines],
            table.detail[lines],
        )
        self._value, self._seed, self._cell = table.value[lines], table.seed[lines], table.cell[lines]
        self._ok = self._status == self._statuses.get("ok")

    def has(self, metric: str) -> bool:
        return bool(self._are(metric).any())

    def values(self, metric: str) -> np.ndarray:
        """What was read of a metric, wherever it could be."""
        return self._value[self._read(metric)]

    def details(self, metric: str) -> np.ndarray:
        """What is said of those values."""
        return self._detail[self._read(metric)]

    def seed_means(self, metric: str) -> np.ndarray:
        """Of each seed that has it the mean."""
        lines = self._read(metric)
        _, which, counts = np.unique(self._seed[lines], return_inverse=True, return_counts=True)
        return np.bincount(which, self._value[lines]) / counts

    def seed_minima(self, metric: str) -> np.ndarray:
        lines = self._read(metric)
        values, seeds = self._value[lines], self._seed[lines]
        return np.array([values[seeds == seed].min() for seed in np.unique(seeds)])

    def blocks(self, metric: str) -> list[np.ndarray]:
        """The values of each cell, in the order of the cells' ids."""
        lines = self._read(metric)
        values, cells = self._value[lines], self._cell[lines]
        return [values[cells == cell] for cell in np.unique(cells)]

    def seeds(self, *metrics: str) -> int:
        """How many have a value of any of these."""
        return len(np.unique(self._seed[self._are(*metrics) & self._ok]))

    def count(self, status: str, *metrics: str) -> int:
        return int((self._are(*metrics) & (self._status == self._statuses.get(status))).sum())

    def fate(self, *metrics: str, skipped: bool = True) -> dict[str, Any]:
        """`ok` where any value exists; `failed`, `failure` and `detail` tell what became of the others.

        `flag` is what an instrument warns of at this point. With `skipped=False` rows of that status do not
        count.
        """
        headline = self._are(*metrics)
        if not skipped:
            headline &= self._status != self._statuses.get("skipped")
        bad = np.flatnonzero(headline & ~self._ok)
        failure = detail = ""
        if len(bad):
            names = {code: name for name, code in self._statuses.items()}
            codes, counts = np.unique(self._status[bad], return_counts=True)
            failure = min(names[code] for code in codes[counts == counts.max()])
            detail = str(self._detail[bad[self._status[bad] == self._statuses[failure]][0]])
        status = "ok" if len(bad) < headline.sum() else failure
        flag = "; ".join(dict.fromkeys(self._detail[self._are("flag")]))
        return dict(zip(FATE, (status, len(bad), failure, detail, flag), strict=True))

    def _are(self, *metrics: str) -> np.ndarray:
        lines = np.zeros(len(self._metric), bool)
        for metric in metrics:
            lines |= self._metric == self._metrics.get(metric)
        return lines

    def _read(self, metric: str) -> np.ndarray:
        return self._are(metric) & self._ok & ~np.isnan(self._value)


class _Table:
    """The columns that a point's rows are asked for, words as numbers."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.metric, self.metrics = _numbered(rows.metric)
        self.status, self.statuses = _numbered(rows.status)
        self.cell = pd.factorize(rows.cell_id, sort=True)[0]
        self.seed, self.value = rows.seed.to_numpy(), rows.value.to_numpy(float)
        self.detail = rows.detail.to_numpy(object)


def _numbered(words: pd.Series) -> tuple[np.ndarray, dict[str, int]]:
    numbers, names = pd.factorize(words)
    return numbers, {str(name): i for i, name in enumerate(names)}


def points_of(frame: pd.DataFrame, measure: str) -> Iterator[PointRows]:
    """Each point of a measure, sorted."""
    columns = [*POINT, "metric", "status", "cell_id", "seed", "value", "detail"]
    rows = frame.loc[frame.measure == measure, columns]
    if rows.empty:
        return
    groups = rows.groupby(POINT)
    number = groups.ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    table = _Table(rows.iloc[order])
    ends = np.cumsum(np.bincount(number))
    points = rows[POINT].iloc[order[np.r_[0, ends[:-1]]]].to_dict("records")
    for point, start, end in zip(points, np.r_[0, ends[:-1]], ends, strict=True):
        yield PointRows({str(name): value for name, value in point.items()}, table, slice(start, end))


def tidy(records: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    """A summary: `POINT`, these columns, and `FATE`."""
    names = [*POINT, *columns, *FATE]
    return pd.DataFrame(records, columns=names).sort_values(POINT, ignore_index=True)


def mean_of(values: np.ndarray) -> float:
    """NaN of nothing, and so are the others."""
    return float(values.mean()) if len(values) else float("nan")


def median_of(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def least_of(values: np.ndarray) -> float:
    return float(values.min()) if len(values) else float("nan")


def most_of(values: np.ndarray) -> float:
    return float(values.max()) if len(values) else float("nan")
