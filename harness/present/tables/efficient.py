"""The section of `show` on which points are worth choosing: the Pareto set, a line a method."""

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.analyze.pareto import weighed_axes
from harness.present.palette import label_order
from harness.present.tables.grid import bare_table, section


def efficient_sections(points: pd.DataFrame) -> list[RenderableType]:
    """Of each workload with anything to weigh, from `pareto_points`."""
    shown: list[RenderableType] = []
    for workload, part in points.dropna(subset="is_efficient").groupby("workload"):
        notes = [f"Of {len(part)} points: no other is as good on every axis that is known and better on one."]
        notes += [f"{note[0].upper()}{note[1:]}." for note in _common_notes(part)]
        title = f"Efficient in {weighed_axes(part)}: {workload}"
        shown.append(section(title, _table(part), notes))
    return shown


def _table(part: pd.DataFrame) -> Table:
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    table.add_column("inner steps", overflow="fold")
    table.add_column("perhaps, within the intervals", overflow="fold")
    methods = part[["method", "method_label"]].drop_duplicates().itertuples(index=False, name=None)
    for _, label in sorted(methods, key=lambda pair: label_order(*pair)):
        own = part[part.method_label == label]
        sure = own.inner_steps[own.is_efficient]
        perhaps = own.inner_steps[own.may_be_efficient & ~own.is_efficient]
        if len(sure) or len(perhaps):
            table.add_row(Text(label), ", ".join(map(str, sure)), ", ".join(map(str, perhaps)))
    return table


def _common_notes(part: pd.DataFrame) -> list[str]:
    """What sets the measures of all these points apart."""
    notes = [note.split("; ") for note in part.note]
    return [each for each in notes[0] if each and all(each in others for others in notes)]
