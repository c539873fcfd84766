"""The cells that something on the page was measured in, so that it can be traced to rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.present.words import listed

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
        self._known: dict[tuple[str, Evidence], tuple[str, ...]] = {}

    def sources(self, run: str, evidence: Iterable[Evidence]) -> tuple[Source, ...]:
        return tuple(Source(run=run, words=words_of(each), cells=self._cells(run, each)) for each in evidence)

    def _cells(self, run: str, evidence: Evidence) -> tuple[str, ...]:
        key = (run, evidence)
        if key not in self._known:
            self._known[key] = tuple(evidence.cells(self._frames[run]))
        return self._known[key]


def words_of(evidence: Evidence) -> str:
    """What selects the rows: `memory, peak_bytes, of maml, at 1 and 2 inner steps: glyphs[...]`."""
    words = [evidence.measure]
    if evidence.metrics:
        words.append(listed(evidence.metrics))
    text = ", ".join(words)
    if evidence.methods:
        text += f", of {listed(evidence.methods)}"
    if evidence.inner_steps:
        text += f", at {listed([f'{steps:,}' for steps in evidence.inner_steps])} inner steps"
    return f"{text}: {evidence.workload}"
