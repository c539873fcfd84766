"""The strongest sentences of runs, for the head of a report; each with the rows that it rests on."""

from collections.abc import Iterable, Iterator

from harness.analyze.loaded import LoadedRun
from harness.present.plots.titles import finding
from harness.present.report.blocks import Statement
from harness.present.report.drawings import Drawing
from harness.present.report.sources import Tracer
from harness.present.report.where import place

HEADLINES = ("accuracy", "memory", "time", "gradient")  # pictures whose title is a finding of its own


def findings_of_pictures(
    drawings: Iterable[Drawing], runs: dict[str, LoadedRun], tracer: Tracer
) -> Iterator[Statement]:
    """What each picture shows of each run: differences between runs are for `compare` to call."""
    for drawing in drawings:
        if drawing.name not in HEADLINES:
            continue
        for run, evidence in drawing.evidence:
            points = drawing.points[drawing.points.run == run]
            yield Statement(
                sentence=f"{finding(drawing.name, points)}.",
                subject=", ".join(place(run, drawing.workload, runs)),
                sources=tracer.sources(run, evidence),
                doubt=tracer.doubt(run, evidence),
            )
