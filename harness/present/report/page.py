"""The report of one run or several: which sections it has, and what stands in each."""

from collections.abc import Sequence

from markupsafe import Markup

from harness.analyze.accuracy.difference import Difference
from harness.analyze.loaded import LoadedRun
from harness.analyze.scaling.crossings import Crossing
from harness.analyze.words import listed
from harness.present.plots.draw import names_of
from harness.present.report.blocks import Block, Caveats, Page, Prose, Section, Statements
from harness.present.report.choice import pareto_tables
from harness.present.report.comparisons import (
    difference_findings,
    difference_table,
    differences_of,
    from_seeds_enough,
)
from harness.present.report.drawings import Drawing, drawings
from harness.present.report.figures import figure_block
from harness.present.report.findings import findings_of_pictures
from harness.present.report.ink import Ink, style_sheet
from harness.present.report.laws import scaling_section
from harness.present.report.machines import (
    environment_table,
    selfcheck_sentences,
    selfcheck_table,
    unlike_sentences,
)
from harness.present.report.paper import claims_section
from harness.present.report.prices import (
    cost_section,
    crossings_of,
    crossings_section,
    shared_crossings,
)
from harness.present.report.protocol import methods_table, protocol_table
from harness.present.report.published import published_section
from harness.present.report.search import search_sections
from harness.present.report.sources import Tracer
from harness.present.report.trouble import caveats_of, failure_table, flag_table
from harness.present.tables.tuning import searches
from harness.present.words import workload_in_words

MEASURES = {
    "accuracy": "Accuracy",
    "memory": "Memory",
    "time": "Time",
    "gradient": "Error of the meta-gradient",
}

MOST_FINDINGS = 14  # at the head of a report
NOTHING = "Nothing was measured."


def build_page(loaded: Sequence[LoadedRun]) -> Page:
    """Everything that the runs have to say, and in one sentence what they were not asked."""
    runs = dict(zip(names_of(loaded), loaded, strict=True))
    tracer = Tracer(runs)
    drawn = list(drawings(runs))
    figures = _Figures(runs, drawn, tracer)
    differences = differences_of(runs)
    crossed = crossings_of(runs)
    sections = (
        _findings(runs, drawn, differences, crossed, tracer),
        *search_sections(runs),
        _curves(runs, figures),
        _comparisons(runs, differences, crossed, figures),
        published_section(runs, tracer),
        claims_section(runs, tracer),
        _trouble(runs),
        _protocol(runs),
        _environment(runs),
    )
    return Page(
        title=_title(loaded),
        subtitle=_subtitle(loaded),
        sections=sections,
        inks=Markup(style_sheet(figures.inks)),
    )


def _title(runs: Sequence[LoadedRun]) -> str:
    titles = [str(run.manifest.get("title") or run.manifest.get("suite") or run.name) for run in runs]
    return titles[0] if len(set(titles)) == 1 else listed(names_of(runs))


def _subtitle(runs: Sequence[LoadedRun]) -> str:
    rows = sum(len(run.rows) for run in runs)
    if len(runs) > 1:
        return f"{len(runs)} runs side by side: {listed(names_of(runs))}, {rows:,} rows"
    run = runs[0]
    cells = run.rows.cell_id.nunique()
    workloads = run.rows.workload.unique()  # of several, each sentence says its own
    where = f"; {workload_in_words(str(workloads[0]))}" if len(workloads) == 1 else ""
    return f"Run {run.manifest.get('run_id', run.name)}: {rows:,} rows of {cells:,} cells{where}"


def _findings(
    runs: dict[str, LoadedRun],
    drawn: list[Drawing],
    differences: dict[str, list[Difference]],
    crossed: list[tuple[str, Crossing]],
    tracer: Tracer,
) -> Section:
    items = (
        *findings_of_pictures(drawn, runs, tracer),
        *shared_crossings(crossed, runs, tracer),
        *difference_findings(from_seeds_enough(differences), runs, tracer),
    )
    first, rest = items[:MOST_FINDINGS], items[MOST_FINDINGS:]
    blocks: list[Block] = [Statements(items=first)] if first else []
    if rest:
        title = f"{len(rest)} more finding{'' if len(rest) == 1 else 's'}"
        blocks.append(Statements(items=rest, title=title, is_compact=True))
    if not items:
        searched = any(map(searches, runs.values()))
        none = "No test task was looked at: this is a search for settings." if searched else NOTHING
        blocks.append(Prose(sentences=(none,)))
    if caveats := caveats_of(runs):
        blocks.append(Caveats(sentences=tuple(caveats)))
    return Section(id="findings", title="What was found", blocks=tuple(blocks))


class _Figures:
    """The figures of a page, each made once, and the colours that they need."""

    def __init__(self, runs: dict[str, LoadedRun], drawn: list[Drawing], tracer: Tracer) -> None:
        self.runs, self.drawn, self.tracer = runs, drawn, tracer
        self.ids: set[str] = set()
        self.inks: set[Ink] = set()

    def of(self, measure: str) -> tuple[Block, ...]:
        blocks = []
        for drawing in self.drawn:
            if drawing.measure == measure:
                block, used = figure_block(drawing, self.runs, self.tracer, self.ids)
                blocks.append(block)
                self.inks |= used
        return tuple(blocks)


def _curves(runs: dict[str, LoadedRun], figures: _Figures) -> Section:
    parts = []
    for measure, title in MEASURES.items():
        blocks = figures.of(measure) or (Prose(sentences=(_not_measured(measure, runs),)),)
        parts.append(Section(id=measure, title=title, blocks=blocks))
    return Section(id="curves", title="Curves", parts=tuple(parts))


def _not_measured(measure: str, runs: dict[str, LoadedRun]) -> str:
    suites = {"gradient": "meta-gradient", "accuracy": "quick", "memory": "quick", "time": "quick"}
    whose = "this run" if len(runs) == 1 else "these runs"
    return f"Not measured in {whose}; `innerloop run {suites[measure]}` does."


def _comparisons(
    runs: dict[str, LoadedRun],
    differences: dict[str, list[Difference]],
    crossed: list[tuple[str, Crossing]],
    figures: _Figures,
) -> Section:
    table = difference_table(differences)
    none = "No two methods were tested on one workload; `innerloop run quick` trains and tests five."
    choices = (*figures.of("pareto"), *pareto_tables(runs))
    nothing = "No point has two of accuracy, gradient error, peak memory and time, a quality among them."
    parts = (
        scaling_section(runs, figures.tracer),
        crossings_section(crossed, runs, figures.tracer),
        cost_section(runs, figures.tracer),
        Section(
            id="differences",
            title="Differences of accuracy",
            blocks=(table,) if table.lines else (Prose(sentences=(none,)),),
        ),
        Section(
            id="pareto", title="What is worth choosing", blocks=choices or (Prose(sentences=(nothing,)),)
        ),
    )
    return Section(id="comparisons", title="Comparisons", parts=parts)


def _trouble(runs: dict[str, LoadedRun]) -> Section:
    tables = {"Nothing failed.": failure_table(runs), "Nothing was flagged.": flag_table(runs)}
    blocks: list[Block] = [
        table if table.lines else Prose(sentences=(none,)) for none, table in tables.items()
    ]
    return Section(id="failures", title="Failures and flags", blocks=tuple(blocks))


def _protocol(runs: dict[str, LoadedRun]) -> Section:
    return Section(id="protocol", title="Protocol", blocks=(protocol_table(runs), methods_table(runs)))


def _environment(runs: dict[str, LoadedRun]) -> Section:
    checks = selfcheck_table(runs)
    blocks: list[Block] = [environment_table(runs), Prose(sentences=tuple(selfcheck_sentences(runs)))]
    blocks += [checks] if checks.lines else []
    if len(runs) > 1:
        blocks[:0] = [Prose(sentences=tuple(unlike_sentences(runs)))]
    return Section(id="environment", title="Environment and instruments", blocks=tuple(blocks))
