"""What a panel shows, in words, and the rows that say so."""

from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.axes import Axes

from harness.analyze.finding import Evidence
from harness.analyze.words import listed
from harness.present.plots.curves import Curves, own_flags, shared_flags, split_flags
from harness.present.plots.pictures import PICTURES
from harness.present.plots.style import Style
from harness.present.plots.titles import finding
from harness.present.tables.caveats import merged
from harness.present.words import workload_in_words


@dataclass(frozen=True, kw_only=True)
class Caption:
    """`sentence` is the finding, `context` the workload, what the bars mean, and what the instruments warn of
    at all points, `doubts` what they warn of at some; `evidence` holds for each run that is drawn."""

    workload: str
    sentence: str
    context: str
    evidence: tuple[Evidence, ...]
    doubts: str = ""

    @property
    def text(self) -> str:
        """All, as the caption of a figure."""
        return f"{self.sentence} ({'; '.join(filter(None, (self.context, self.doubts)))})."

    def naming_scales(self, ax: Axes, style: Style) -> "Caption":
        """With what axes of a page do not say themselves."""
        scales = {ax.get_xlabel(): ax.get_xscale(), ax.get_ylabel(): ax.get_yscale()}
        logs = [name.replace("\n", " ") for name, scale in scales.items() if scale == "log"]
        if style.titles or not logs:
            return self
        axes = "axis" if len(logs) == 1 else "axes"
        return replace(self, context=f"{self.context}; logarithmic {axes}: {listed(logs)}")


def caption_of(name: str, summary: pd.DataFrame, curves: Curves) -> Caption:
    """Of the panel of one workload: `summary` holds the picture's points of all of them."""
    part = summary[summary.workload == curves.workload]
    valued = curves.points[curves.points.value.notna()]
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
        context="; ".join((_context(name, part), *flagged_throughout(valued))),
        evidence=(evidence,),
        doubts=flagged_somewhere(valued),
    )


def flagged_throughout(points: pd.DataFrame) -> list[str]:
    """What the instruments warn of at all points of a run, in words."""
    by_text: dict[str, list[str]] = {}
    for run, flags in shared_flags(points).items():
        for flag in merged(flags):  # a block has its own numbers
            by_text.setdefault(flag, []).append(run)
    count = points.run.nunique()
    return [
        f"{'' if len(runs) == count else f'{listed(runs)} '}flagged throughout: {flag}"
        for flag, runs in by_text.items()
    ]


def flagged_somewhere(points: pd.DataFrame) -> str:
    """By what the points are flagged that are ringed; empty where none is."""
    own = [flag for flags in own_flags(points) for flag in split_flags(flags)]
    return f"ringed points are flagged: {'; '.join(merged(own))}" if own else ""


def heading_names(workloads: list[str]) -> list[str]:
    """Workloads in words, without what all of them share; empty where there is only one."""
    if len(workloads) < 2:
        return [""] * len(workloads)
    words = [workload_in_words(workload).split(", ") for workload in workloads]
    names = [", ".join(word for word in own if not all(word in other for other in words)) for own in words]
    return [f"({chr(ord('a') + i % 26)}) {name}".rstrip() for i, name in enumerate(names)]


def _context(name: str, part: pd.DataFrame) -> str:
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
    return "; ".join(words)
