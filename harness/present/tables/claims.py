"""What `innerloop claims RUN...` prints: a table of verdicts, then each claim with its test and figures."""

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.analyze.claims import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, Claim
from harness.present.tables.grid import bare_table
from harness.present.words import NBSP

PAPER = '"Meta-Learning with Implicit Gradients", arXiv 1909.04630'
TOO_WEAK = f"{NOT_MEASURED}: too weak"  # rows are there, and cannot decide
STYLES: dict[str, str] = {
    REPRODUCED: "green",
    NOT_REPRODUCED: "red",
    NOT_MEASURED: "dim",
    TOO_WEAK: "dim",
}
CONTRADICTED = "contradicting"
OPTION = re.compile(r"(?<= )(--?[a-z-]+) (?!-)")
RULES = (
    "A verdict holds for the rows that it rests on and the protocol that they were measured under. Each run "
    "and workload that decides a claim is told; rows of different runs are never mixed; what is too weak to "
    "call is not measured. Judged are maml, fomaml, imaml-gd, imaml-hf and maml-truncated."
)


def claim_sections(claims: Sequence[Claim], width: int = 80) -> list[RenderableType]:
    """The renderables, top to bottom; nothing is cut off at 80 columns."""
    grouped = [list(lines) for _, lines in groupby(claims, key=lambda claim: claim.name)]
    title = Text.assemble((f"The claims of {PAPER}", "bold"))
    shown: list[RenderableType] = [title, Text(), verdict_table(grouped), Text(), Text(RULES, "dim")]
    return [*shown, *(claim_section(lines, width) for lines in grouped)]


def verdict_table(grouped: Sequence[Sequence[Claim]]) -> Table:
    table = bare_table()
    for name in ("claim", "source", "verdict"):
        table.add_column(name, overflow="fold")
    for lines in grouped:
        verdict = verdict_in_words(lines)
        table.add_row(lines[0].name, lines[0].source, Text(verdict, STYLES.get(verdict, "yellow")))
    return table


def verdict_in_words(lines: Sequence[Claim]) -> str:
    """Of all lines of one claim: theirs, or how many say what."""
    counts = Counter(claim.verdict for claim in lines)
    if len(counts) == 1:
        weak = lines[0].verdict == NOT_MEASURED and any(claim.run for claim in lines)
        return TOO_WEAK if weak else lines[0].verdict
    told = ", ".join(f"{verdict} in {count}" for verdict, count in counts.items())
    return f"{CONTRADICTED}: {told}"


def claim_section(lines: Sequence[Claim], width: int = 80) -> Group:
    """One claim: what the paper says, the test, and what each run and workload says to it."""
    first = lines[0]
    verdict = verdict_in_words(lines)
    parts: list[RenderableType] = [
        Text(),
        Text.assemble((first.name, "bold"), f" ({first.source}): ", (verdict, STYLES.get(verdict, "yellow"))),
        Padding(Text(first.statement), (0, 0, 0, 2)),
        Padding(Text(f"Test: {first.test}", "dim"), (0, 0, 0, 2)),
    ]
    for claim in lines:
        mark = f"{claim.verdict}: " if len({line.verdict for line in lines}) > 1 else ""
        parts.append(Padding(Text(f"- {mark}{claim.sentence}"), (0, 0, 0, 2)))
    for differs in dict.fromkeys(claim.differs for claim in lines if claim.differs):
        parts.append(Padding(Text(f"Unlike the paper: {differs}.", "dim"), (0, 0, 0, 2)))
    parts.append(Padding(Text(f"To measure it:\n{shell_lines(first.command, width - 6)}"), (0, 0, 0, 2)))
    return Group(*parts)


def shell_lines(command: str, width: int) -> str:
    """A command in lines that a shell reads as one."""
    together = OPTION.sub(rf"\1{NBSP}", command)  # an option and its value stay on one line
    lines = textwrap.wrap(together, width - 2, break_long_words=False, break_on_hyphens=False)
    return " \\\n".join(f"    {line}" for line in lines).replace(NBSP, " ")
