"""The tables of `show`: a bare one, and a grid with methods down and inner steps across."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.present.palette import label_order

STATUS_STYLE = {"skipped": "dim", "unpaired": "dim", "interrupted": "yellow"}
PARTLY = "†"
CORNER = "inner steps"
WIDEST_NAMES = 22  # letters: a longer name wraps before a column is moved into the next band


def bare_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def section(title: str, table: RenderableType, notes: list[str]) -> Group:
    return Group(Text(title, "bold"), table, *(Text(note, "dim") for note in notes), Text(""))


def grid(points: pd.DataFrame, value: str, show: Callable[[Any], str]) -> "Grid":
    """Methods down, inner steps across; a point without a value shows its status."""
    cells: dict[tuple[str, str], dict[int, Text]] = {}
    for point in points.to_dict("records"):
        known = pd.notna(point[value])
        text = (
            show(SimpleNamespace(**{str(name): x for name, x in point.items()})) if known else point["status"]
        )
        style = "" if known else STATUS_STYLE.get(point["status"], "red")
        mark = PARTLY if known and point.get("failed") else ""
        line = cells.setdefault((point["method"], point["method_label"]), {})
        line[point["inner_steps"]] = Text(text + mark, style)
    return Grid(cells, sorted(int(step) for step in points.inner_steps.unique()))


class Grid:
    """As one table where its columns fit beside names of a readable width, else in bands of columns."""

    def __init__(self, cells: dict[tuple[str, str], dict[int, Text]], steps: list[int]) -> None:
        self.cells, self.steps = cells, steps
        self.names = min(WIDEST_NAMES, max(len(name) for name in (CORNER, *(label for _, label in cells))))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        start = 0
        while start < len(self.steps):
            end, width = start, self.names
            while end < len(self.steps) and (
                end == start or width + 2 + self._width(end) <= options.max_width
            ):
                width += 2 + self._width(end)
                end += 1
            yield self._table(self.steps[start:end], options.max_width)
            start = end

    def _width(self, index: int, *, wrapped: bool = True) -> int:
        """What a column takes: of its longest word, or of its longest cell."""
        step = self.steps[index]
        column = [line[step].plain for line in self.cells.values() if step in line]
        parts = [part for text in column for part in (text.split() if wrapped else [text])]
        return max([len(str(step)), *map(len, parts)])

    def _table(self, steps: list[int], width: int) -> Table:
        """Names wrap last: where whole cells do not fit beside them, all are as narrow as their words."""
        places = [self.steps.index(step) for step in steps]
        wrapped = self.names + sum(2 + self._width(i, wrapped=False) for i in places) > width
        table = bare_table()
        table.add_column(CORNER, overflow="fold", width=self.names)
        for step, i in zip(steps, places, strict=True):
            table.add_column(str(step), justify="right", width=self._width(i, wrapped=wrapped))
        for key in sorted(self.cells, key=lambda key: label_order(*key)):
            table.add_row(escape(key[1]), *(self.cells[key].get(step, "") for step in steps))
        return table
