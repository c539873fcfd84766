"""The tables of `show`: a bare one, and a grid with methods down and inner steps across."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.present.palette import method_order

STATUS_STYLE = {"skipped": "dim", "unpaired": "dim", "interrupted": "yellow"}
PARTLY = "†"


def bare_table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def section(title: str, table: Table, notes: list[str]) -> Group:
    return Group(Text(title, "bold"), table, *(Text(note, "dim") for note in notes), Text(""))


def grid(points: pd.DataFrame, value: str, show: Callable[[Any], str]) -> Table:
    """Methods down, inner steps across; a point without a value shows its status."""
    steps = sorted(int(step) for step in points.inner_steps.unique())
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
    table = bare_table()
    table.add_column("inner steps", overflow="fold")
    for step in steps:
        column = [line[step] for line in cells.values() if step in line]
        width = max(len(word) for text in column for word in text.plain.split())
        table.add_column(str(step), justify="right", min_width=max(width, len(str(step))))
    for key in sorted(cells, key=lambda key: (method_order(key[0]), key[1])):
        table.add_row(escape(key[1]), *(cells[key].get(step, "") for step in steps))
    return table
