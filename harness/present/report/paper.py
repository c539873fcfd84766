"""The paper's claims: the verdicts at a glance, then each claim with its test and its figures."""

from itertools import groupby

from harness.analyze.claims import NOT_MEASURED, Claim, claims
from harness.analyze.loaded import LoadedRun
from harness.present.report.blocks import Block, Commands, Prose, Section, Statement, Statements, Table
from harness.present.report.cells import text
from harness.present.report.sources import Tracer
from harness.present.tables.claims import PAPER, RULES, verdict_in_words


def claims_section(runs: dict[str, LoadedRun], tracer: Tracer) -> Section:
    grouped = [list(lines) for _, lines in groupby(claims(list(runs.values())), lambda claim: claim.name)]
    decided = [lines for lines in grouped if any(claim.verdict != NOT_MEASURED for claim in lines)]
    open_ = [lines for lines in grouped if lines not in decided]
    names = {run.name: name for name, run in runs.items()}
    parts = [_claim(lines, tracer, names, i) for i, lines in enumerate(decided)]
    blocks: list[Block] = [Prose(sentences=(f"Of {PAPER}. {RULES}",)), _verdicts(grouped)]
    if open_:
        blocks.append(_not_measured(open_))
    return Section(id="claims", title="The paper's claims", blocks=tuple(blocks), parts=tuple(parts))


def _verdicts(grouped: list[list[Claim]]) -> Table:
    lines = [(text(of[0].name), text(of[0].source), text(verdict_in_words(of))) for of in grouped]
    return Table(caption="Verdicts", columns=("claim", "source", "verdict"), lines=lines, is_open=True)


def _not_measured(grouped: list[list[Claim]]) -> Table:
    lines = [
        (text(of[0].name), text("; ".join(claim.sentence for claim in of)), text(of[0].command))
        for of in grouped
    ]
    return Table(caption="Not measured", columns=("claim", "why", "what measures it"), lines=lines)


def _claim(lines: list[Claim], tracer: Tracer, names: dict[str, str], number: int) -> Section:
    first = lines[0]
    mark = len({claim.verdict for claim in lines}) > 1
    items = tuple(
        Statement(
            sentence=f"{claim.verdict}: {claim.sentence}" if mark else claim.sentence,
            sources=tracer.sources(names[claim.run], claim.evidence) if claim.run in names else (),
        )
        for claim in lines
    )
    about = [first.statement, f"Test: {first.test}"]
    differs = dict.fromkeys(claim.differs for claim in lines if claim.differs)
    blocks: list[Block] = [Prose(sentences=tuple(about)), Statements(items=items, is_compact=True)]
    blocks += [Prose(sentences=tuple(f"Unlike the paper: {each}." for each in differs))] if differs else []
    blocks.append(Commands(commands=(("measured by", first.command),)))
    title = f"{first.name} ({first.source}): {verdict_in_words(lines)}"
    return Section(id=f"claim-{number + 1}", title=_capitalised(title), blocks=tuple(blocks))


def _capitalised(words: str) -> str:
    return words[:1].upper() + words[1:]
