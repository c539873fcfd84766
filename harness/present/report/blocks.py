"""What a report is made of, before it is HTML: sections of sentences, tables and figures.

All text is plain: the templates escape it. Only `Figure.svg` is markup, and is made by `inline_svg`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from harness.present.report.sources import Source

FOLDED_ABOVE = 24  # lines: a longer table is closed until it is asked for
LINES_PRINTED = 150
LINES_SHOWN = 1000  # of one table: 100,000 rows stay under 10 MB, and the files hold all


@dataclass(frozen=True)
class Cell:
    """`key` is what a column is sorted by where the text would be sorted wrongly; `below` stands under the
    text and is smaller, as an interval does."""

    text: str
    key: float | None = None
    below: str = ""


@dataclass(frozen=True, kw_only=True)
class Prose:
    kind: ClassVar[str] = "prose"
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Caveats:
    """What a reader must know before the numbers are believed."""

    kind: ClassVar[str] = "caveats"
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A finding with the rows that it rests on, what it is about (a workload, a run), and of how many of its
    points the instruments warn."""

    sentence: str
    sources: tuple[Source, ...]
    subject: str = ""
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Statements:
    kind: ClassVar[str] = "statements"
    items: tuple[Statement, ...]
    title: str = ""  # where it is closed until it is asked for
    is_compact: bool = False  # many of one kind, rather than what is told first


@dataclass(frozen=True, kw_only=True)
class Table:
    """`lines` below `columns`; the first column names its line. `numeric` columns stand to the right."""

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    lines: Sequence[tuple[Cell, ...]]
    numeric: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    elsewhere: str = ""  # where the lines are that are too many for a page
    is_open: bool = False  # whatever its length

    @property
    def shown(self) -> Sequence[tuple[Cell, ...]]:
        return self.lines[:LINES_SHOWN]

    @property
    def is_folded(self) -> bool:
        return len(self.lines) > FOLDED_ABOVE and not self.is_open

    @property
    def is_printed(self) -> bool:
        """Whether it is unfolded on paper, where nobody can ask for it."""
        return len(self.lines) <= LINES_PRINTED

    @property
    def cut(self) -> str:
        """What is said of the lines that are not on the page; empty where all are."""
        if len(self.lines) <= LINES_SHOWN:
            return ""
        where = f" All are in {self.elsewhere}." if self.elsewhere else ""
        return f"The first {LINES_SHOWN:,} of {len(self.lines):,} lines.{where}"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`commands`: what each repeats, and the command line."""

    kind: ClassVar[str] = "figure"
    id: str
    svg: Markup
    title: str
    caption: str
    table: Table
    sources: tuple[Source, ...]
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Commands:
    """What each command line is for, and the line."""

    kind: ClassVar[str] = "commands"
    commands: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """With subsections, whose headings are a level deeper."""

    id: str
    title: str
    blocks: tuple["Block", ...] = ()
    parts: tuple["Section", ...] = ()


Block = Prose | Caveats | Statements | Table | Figure | Commands


@dataclass(frozen=True, kw_only=True)
class Page:
    title: str
    subtitle: str
    sections: tuple[Section, ...]
    inks: Markup = field(default_factory=Markup)  # CSS: the colours of the figures on light and on dark
