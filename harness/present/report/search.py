"""A search for settings: each method's trials, as `show` has them."""

from harness.analyze.loaded import LoadedRun
from harness.present.report.blocks import Block, Cell, Prose, Section, Table
from harness.present.report.cells import text
from harness.present.tables.tuning import (
    COLUMNS,
    judged_in_words,
    searched_in_words,
    searches,
    title_of,
    trials_of,
)


def search_sections(runs: dict[str, LoadedRun]) -> tuple[Section, ...]:
    """One, or none where no run searched for anything."""
    blocks: list[Block] = []
    for name, run in runs.items():
        whose = f", {name}" if len(runs) > 1 else ""
        for method in searches(run):
            lines = [
                (text(number), Cell(score, float(score)) if score else text(None), text(settings))
                for number, score, settings in trials_of(run, method)
            ]
            blocks.append(
                Table(
                    caption=f"{title_of(method)}{whose}",
                    columns=COLUMNS,
                    lines=lines,
                    numeric=frozenset({1}),
                    notes=(searched_in_words(method),),
                )
            )
        if searches(run):
            blocks.append(Prose(sentences=(judged_in_words(run),)))
    return (Section(id="search", title="The search for settings", blocks=tuple(blocks)),) if blocks else ()
