"""The section of `show` on meta-training: where it ended, what was tested, and how fast it went."""

from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from harness.analyze.loaded import LoadedRun
from harness.analyze.training import training_summary
from harness.present.palette import label_order
from harness.present.tables.grid import bare_table, section

NOTE = (
    "Ended, selected: meta-steps, over seeds; at the end: in how many seeds the two are one, so that more "
    "might have helped. Validation: at the selected meta-step, the best of many, so it flatters."
)


def training_sections(run: LoadedRun) -> list[RenderableType]:
    """A table a workload; nothing where the rows do not say which meta-step was selected."""
    summary = training_summary(run.learning_curves, run.rows)
    summary = summary[summary.selected_low.notna()]
    shown: list[RenderableType] = []
    for workload, part in summary.groupby("workload"):
        speeds = part.steps_per_second.notna().any()
        table = bare_table()
        table.add_column("method", overflow="fold", min_width=8)
        for name in ("steps", "ended", "selected", "at the end", "validation"):
            table.add_column(name, justify="right")
        if speeds:
            table.add_column("meta-steps/s", justify="right")
        lines = [{str(name): value for name, value in line.items()} for line in part.to_dict("records")]
        for line in sorted(lines, key=lambda line: label_order(line["method"], line["method_label"])):
            table.add_row(Text(line["method_label"]), *cells_of(line), *([_speed(line)] if speeds else []))
        unit = "loss" if (part.score == "loss").any() else "%"
        notes = [NOTE] if workload == summary.workload.iloc[-1] else []
        shown.append(section(f"Meta-training, validation in {unit}: {workload}", table, notes))
    return shown


def cells_of(line: dict[str, Any]) -> tuple[str, ...]:
    """Inner steps, where training ended, what was selected, in how many seeds both are one, and its score."""
    score = line["selected_score"]
    return (
        str(line["inner_steps"]),
        between(line["ended_low"], line["ended_high"]),
        between(line["selected_low"], line["selected_high"]),
        f"{line['at_the_end']} of {line['seeds']}",
        f"{score:.3g}" if line["score"] == "loss" else f"{100 * score:.1f}",
    )


def between(low: float, high: float) -> str:
    """`400`, `300-400`"""
    return f"{low:,.0f}" if low == high else f"{low:,.0f}-{high:,.0f}"


def _speed(line: dict[str, Any]) -> str:
    speed = line["steps_per_second"]
    return f"{speed:.3g}" if pd.notna(speed) else ""
