"""The cells that something on the page was measured in, so that it can be traced to rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from harness.analyze.finding import Doubts, Evidence
from harness.analyze.loaded import LoadedRun
from harness.analyze.words import listed

IDS_SHOWN = 100  # of one list: more are given by the words that select them in rows.jsonl
TRACED = ["measure", "workload", "method_label", "metric", "inner_steps", "cell_id"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows of one run: what selects them, and the ids of their cells."""

    run: str
    words: str
    cells: tuple[str, ...]

    @property
    def shown(self) -> tuple[str, ...]:
        return self.cells[:IDS_SHOWN]

    @property
    def cut(self) -> int:
        """How many ids are not on the page."""
        return max(0, len(self.cells) - IDS_SHOWN)


class Tracer:
    """Finds the cells of evidence, in rows that differ in what evidence can ask for."""

    def __init__(self, runs: Mapping[str, LoadedRun]) -> None:
        self._frames = {name: run.rows[TRACED].drop_duplicates() for name, run in runs.items()}
        self._known: dict[tuple[str, Evidence], Source] = {}
        self._doubts = {name: Doubts(frame) for name, frame in self._frames.items()}

    def sources(self, run: str, evidence: Iterable[Evidence]) -> tuple[Source, ...]:
        """Of the evidence that the run has rows of."""
        return tuple(source for each in evidence if (source := self._source(run, each)).cells)

    def doubt(self, run: str, evidence: Iterable[Evidence]) -> str:
        """Of how many of its points an instrument warns, in words; empty where of none."""
        return self._doubts[run].about(evidence)

    def _source(self, run: str, evidence: Evidence) -> Source:
        key = (run, evidence)
        if key not in self._known:
            rows = evidence.rows(self._frames[run])
            words = words_of(_narrowed(evidence, rows))
            self._known[key] = Source(run=run, words=words, cells=tuple(dict.fromkeys(rows.cell_id)))
        return self._known[key]


def _narrowed(evidence: Evidence, rows: pd.DataFrame) -> Evidence:
    """Without what the run lacks: evidence may stand for several runs."""
    methods, metrics, steps = (set(rows[name]) for name in ("method_label", "metric", "inner_steps"))
    return replace(
        evidence,
        methods=tuple(each for each in evidence.methods if each in methods),
        metrics=tuple(each for each in evidence.metrics if each in metrics),
        inner_steps=tuple(each for each in evidence.inner_steps if each in steps),
    )


def words_of(evidence: Evidence) -> str:
    """What selects the rows: `memory, peak_bytes, of maml, at 1 and 2 inner steps: glyphs[...]`."""
    words = [evidence.measure]
    if evidence.metrics:
        words.append(listed(evidence.metrics))
    text = ", ".join(words)
    if evidence.methods:
        text += f", of {listed(evidence.methods)}"
    if evidence.inner_steps:
        steps = [f"{step:,}" for step in evidence.inner_steps]
        text += f", at {listed(steps)} inner step{'' if steps == ['1'] else 's'}"
    return f"{text}: {evidence.workload}"
