"""The strongest sentences of runs, for the head of a report; each with the rows that it rests on."""

from collections.abc import Iterable, Iterator

from harness.present.report.blocks import Statement
from harness.present.report.drawings import Drawing
from harness.present.report.sources import Tracer
from harness.present.words import workload_in_words

HEADLINES = ("accuracy", "memory", "time", "gradient")  # pictures whose title is a finding of its own


def findings_of_pictures(drawings: Iterable[Drawing], tracer: Tracer) -> Iterator[Statement]:
    """The title of each picture, which says what it shows."""
    for drawing in drawings:
        if drawing.name in HEADLINES:
            yield Statement(
                sentence=drawing.title,
                subject=workload_in_words(drawing.workload),
                sources=tuple(s for run, evidence in drawing.evidence for s in tracer.sources(run, evidence)),
            )
