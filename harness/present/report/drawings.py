"""The pictures that runs have, a workload each, drawn for a page that is as wide as a telephone or a desk."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from harness.analyze.finding import Evidence
from harness.analyze.loaded import LoadedRun
from harness.present.plots.draw import draw_pictures
from harness.present.plots.pictures import ALL_PICTURES, OVERVIEW, PICTURES, TRACE, TRAINING
from harness.present.plots.style import SCREEN
from harness.present.plots.wanted import Wanted

# On a telephone of 390 pixels letters of 9 points are then shown at 7, on a desk at 12.
PAGE = replace(
    SCREEN,
    name="page",
    width=4.8,
    axes=(4.0, 3.0),
    abreast=1,
    trace=(1.9, 1.6),
    traces_abreast=2,
    end_labels_up_to=1.15,
    titles=False,
)
SHOWN = tuple(name for name in ALL_PICTURES if name != OVERVIEW)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A picture of one workload. `evidence` is that of each run, by its name, which `points` has in `run`."""

    name: str
    measure: str
    workload: str
    title: str
    context: str
    figure: Figure
    points: pd.DataFrame
    evidence: tuple[tuple[str, tuple[Evidence, ...]], ...]


def drawings(runs: dict[str, LoadedRun]) -> Iterator[Drawing]:
    """Workload by workload, in the order of the rows."""
    for workload in dict.fromkeys(each for run in runs.values() for each in run.rows.workload.unique()):
        wanted = Wanted(pictures=SHOWN, workloads=(str(workload),))
        for drawn in draw_pictures(list(runs.values()), PAGE, wanted):
            contexts = dict.fromkeys(
                words for caption in drawn.captions for words in caption.context.split("; ")
            )
            yield Drawing(
                name=drawn.name,
                measure=measure_of(drawn.name),
                workload=str(workload),
                title=drawn.title,
                context=" ".join((f"{'; '.join(contexts)}.", *drawn.notes)),
                figure=drawn.figure,
                points=drawn.points,
                evidence=tuple((str(run), drawn.evidence) for run in drawn.points.run.unique()),
            )


def measure_of(picture: str) -> str:
    """The section that a picture belongs to: its measure, or its own name."""
    if picture == TRACE:
        return "memory"
    if picture == TRAINING:
        return "accuracy"
    return PICTURES[picture].measure if picture in PICTURES else picture
