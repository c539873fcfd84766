"""Which pictures are drawn, of which methods and workloads, and on which axes."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from harness.analyze.loaded import LoadedRun
from harness.analyze.training import VALIDATION
from harness.analyze.words import listed
from harness.errors import UsageError, nearest
from harness.present.plots.pictures import ALL_PICTURES, PICTURES, TRAINING
from harness.present.plots.scales import BY_DATA, Logs


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Names of pictures, labels of methods, workloads as the rows spell them; where one is empty, all.

    `scores`: accuracy or loss, where only the workloads that have it are wanted."""

    pictures: Collection[str] = ()
    scores: Collection[str] = ()
    methods: Collection[str] = ()
    workloads: Collection[str] = ()
    logs: Logs = BY_DATA

    def has(self, picture: str) -> bool:
        return not self.pictures or picture in self.pictures

    def of(self, summary: pd.DataFrame) -> pd.DataFrame:
        """Its lines that are wanted."""
        wanted = {"method_label": self.methods, "workload": self.workloads, "metric": self.scores}
        for column, names in wanted.items():
            if names and column in summary:
                summary = summary[summary[column].isin(list(names))]
        return summary


EVERYTHING = Wanted()


def pictures_named(words: Iterable[str], runs: Sequence[LoadedRun]) -> tuple[str, ...]:
    """A picture's name, or a metric that was measured, which stands for all pictures whose values it is."""
    found: list[str] = []
    shown = {*VALIDATION, *(metric for picture in PICTURES.values() for metric in picture.shows)}
    for word in words:
        showing = [name for name, picture in PICTURES.items() if word in picture.shows]
        showing += [TRAINING] if word in VALIDATION else []
        if word in ALL_PICTURES:
            found.append(word)
        elif showing and any((run.rows.metric == word).any() for run in runs):
            found += showing
        elif drawing := [name for name, picture in PICTURES.items() if word in picture.metrics]:
            why = "was not measured" if showing else "has no picture of its own"
            raise UsageError(f"--metric {word} {why}; it belongs to the picture {listed(drawing)}.")
        else:
            known = [*ALL_PICTURES, *sorted(shown - set(ALL_PICTURES))]
            raise UsageError(f"--metric {word} has no picture; {nearest(word, known, 'pictures')}")
    return tuple(dict.fromkeys(found))


def scores_named(words: Collection[str]) -> tuple[str, ...]:
    """`loss` alone leaves out the workloads that have an accuracy; the picture `accuracy` shows both."""
    return ("loss",) if "loss" in words and "accuracy" not in words else ()


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
