"""Which pictures are drawn, of which methods and workloads, and on which axes."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analyze.loaded import LoadedRun
from harness.errors import UsageError, nearest
from harness.present.plots.pictures import ALL_PICTURES, PICTURES
from harness.present.plots.scales import BY_DATA, Logs


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Names of pictures, labels of methods, workloads as the rows spell them; where one is empty, all."""

    pictures: Collection[str] = ()
    methods: Collection[str] = ()
    workloads: Collection[str] = ()
    logs: Logs = BY_DATA

    def has(self, picture: str) -> bool:
        return not self.pictures or picture in self.pictures

    def of(self, summary: pd.DataFrame) -> pd.DataFrame:
        """Its lines that are wanted."""
        for column, names in (("method_label", self.methods), ("workload", self.workloads)):
            if names:
                summary = summary[summary[column].isin(list(names))]
        return summary


EVERYTHING = Wanted()


def pictures_named(words: Iterable[str]) -> tuple[str, ...]:
    """A picture's name, or a metric of the rows, which stands for all pictures that draw it."""
    found: list[str] = []
    metrics = {metric for picture in PICTURES.values() for metric in picture.metrics}
    for word in words:
        drawing = [name for name, picture in PICTURES.items() if word in picture.metrics]
        if word not in ALL_PICTURES and not drawing:
            known = [*ALL_PICTURES, *sorted(metrics - set(ALL_PICTURES))]
            raise UsageError(f"--metric {word} has no picture; {nearest(word, known, 'pictures')}")
        found += [word] if word in ALL_PICTURES else drawing
    return tuple(dict.fromkeys(found))


def methods_named(words: Iterable[str], runs: Sequence[LoadedRun]) -> tuple[str, ...]:
    """A label, or the bare name of a method, which stands for all of its variants."""
    known = {
        (str(method), str(label))
        for run in runs
        for method, label in run.rows[["method", "method_label"]].drop_duplicates().itertuples(index=False)
    }
    return _matching("--method", words, known)


def workloads_named(words: Iterable[str], runs: Sequence[LoadedRun]) -> tuple[str, ...]:
    """A workload as the rows spell it, or its bare name, which stands for all of its settings."""
    every = {str(workload) for run in runs for workload in run.rows.workload.unique()}
    return _matching("--workload", words, {(workload.partition("[")[0], workload) for workload in every})


def _matching(option: str, words: Iterable[str], known: Collection[tuple[str, str]]) -> tuple[str, ...]:
    found: list[str] = []
    for word in words:
        matches = sorted(full for name, full in known if word in (name, full))
        if not matches:
            names = sorted({name for pair in known for name in pair})
            raise UsageError(f"{option} {word} was not measured; {nearest(word, names, 'measured')}")
        found += matches
    return tuple(dict.fromkeys(found))
