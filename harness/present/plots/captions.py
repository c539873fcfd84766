"""What a panel shows, in words, and the rows that say so."""

from dataclasses import dataclass

import pandas as pd

from harness.analyze.finding import Evidence
from harness.present.plots.curves import Curves
from harness.present.plots.pictures import PICTURES
from harness.present.plots.titles import finding
from harness.present.tables.caveats import merged
from harness.present.words import workload_in_words


@dataclass(frozen=True, kw_only=True)
class Caption:
    """`sentence` is the finding, `context` the workload, what the bars mean, and what the instruments warn of
    at all points; `evidence` holds for each run that is drawn."""

    workload: str
    sentence: str
    context: str
    evidence: tuple[Evidence, ...]

    @property
    def text(self) -> str:
        """Both, as the caption of a figure."""
        return f"{self.sentence} ({self.context})."


def caption_of(name: str, summary: pd.DataFrame, curves: Curves) -> Caption:
    """Of the panel of one workload: `summary` holds the picture's points of all of them."""
    part = summary[summary.workload == curves.workload]
    evidence = Evidence(
        measure=PICTURES[name].measure,
        workload=curves.workload,
        methods=tuple(dict.fromkeys(part.method_label)),
        metrics=PICTURES[name].metrics,
        inner_steps=tuple(sorted({int(steps) for steps in part.inner_steps})),
    )
    return Caption(
        workload=curves.workload,
        sentence=finding(name, part),
        context=_context(name, part, curves.shared_flags()),
        evidence=(evidence,),
    )


def heading_names(workloads: list[str]) -> list[str]:
    """Workloads in words, without what all of them share; empty where there is only one."""
    if len(workloads) < 2:
        return [""] * len(workloads)
    words = [workload_in_words(workload).split(", ") for workload in workloads]
    names = [", ".join(word for word in own if not all(word in other for other in words)) for own in words]
    return [f"({chr(ord('a') + i % 26)}) {name}".rstrip() for i, name in enumerate(names)]


def _context(name: str, part: pd.DataFrame, shared_flags: list[str]) -> str:
    words = [workload_in_words(str(part.workload.iloc[0]))]
    picture = PICTURES[name]
    if picture.measure == "gradient":
        words += [picture.truth] if picture.truth else []
        if part.seeds.max() > 1:
            words.append(f"geometric mean of {part.seeds.max()} seeds, bars: least to largest")
    if name == "accuracy":
        seeds = part.seeds[part.interval_kind == "seeds"]
        if len(seeds):
            count = f"{seeds.min()}" if seeds.nunique() == 1 else f"{seeds.min()} to {seeds.max()}"
            words.append(f"bars: 95% t interval over {count} seeds")
        if (part.interval_kind == "tasks").any():
            words.append("bars: 95% over test tasks only" + (" below 3 seeds" if len(seeds) else ""))
    if name == "time" and part.rounds.max():
        words.append(f"median of {part.rounds.max()} rounds, bars: bootstrap 95%")
    words += [f"flagged throughout: {flag}" for flag in merged(shared_flags)]  # a block has its own numbers
    return "; ".join(words)
