"""The table of memory readings: what each instrument saw of one step, and where the peak lies."""

from collections.abc import Callable

import pandas as pd
from rich.console import Group
from rich.table import Table
from rich.text import Text

from harness.analyze.scaling.growth import MIB
from harness.present.palette import label_order
from harness.present.tables.grid import bare_table, section

NONE = "-"
# The two tables: what every device has, and what only a GPU has. Both fit into 80 columns.
STEP = {
    "peak_bytes": "peak",
    "tracked_peak_bytes": "tracked",
    "scratch_bytes": "scratch",
    "predicted_peak_bytes": "predicted",
    "resident_peak_bytes": "resident",
}
DEVICE = {
    "requested_bytes": "requested",
    "predicted_allocated_bytes": "predicted",
    "reserved_bytes": "reserved",
    "workspace_bytes": "workspace",
    "nvml_bytes": "nvml",
}
MEANING = {
    "tracked_peak_bytes": "tracked: live tensors at their peak",
    "scratch_bytes": "scratch: peak - tracked, of the peak",
    "predicted_peak_bytes": "predicted: without running it, against tracked",
    "resident_peak_bytes": "resident: the whole process, torch included",
    "requested_bytes": "requested: peak before the allocator rounds",
    "predicted_allocated_bytes": "predicted: of the allocator, against the peak",
    "reserved_bytes": "reserved: peak that the allocator held",
    "workspace_bytes": "workspace: of libraries, part of the peak",
    "nvml_bytes": "nvml: the whole process on the GPU",
}


def readings_sections(readings: pd.DataFrame) -> list[Group]:
    """Of one workload, from `memory_readings`. The peak alone is no table: it stands in the grid above."""
    shown = []
    for columns, title in ((STEP, "Readings of memory"), (DEVICE, "Readings of the GPU's memory")):
        present = [metric for metric in columns if readings[metric].notna().any()]
        if set(present) > {"peak_bytes"} or (columns is DEVICE and present):
            notes = [f"{'; '.join(MEANING[metric] for metric in present if metric in MEANING)}."]
            title = f"{title} at the most inner steps that fit, MiB"
            shown.append(section(title, _table(readings, {m: columns[m] for m in present}), notes))
    return shown


def _table(readings: pd.DataFrame, columns: dict[str, str]) -> Table:
    places = "tracked_peak_bytes" in columns and bool((readings.peak_operator != "").any())
    table = bare_table()
    table.add_column("method", overflow="fold", min_width=8)
    table.add_column("steps", justify="right", min_width=5)
    lines = sorted(readings.to_dict("records"), key=lambda r: label_order(r["method"], r["method_label"]))
    cells = {
        metric: [SHOW.get(metric, _mib)({str(k): v for k, v in line.items()}, metric) for line in lines]
        for metric in columns
    }
    for metric, name in columns.items():
        width = max(map(len, [name, *cells[metric]]))
        table.add_column(name, justify="right", min_width=width)
    if places:
        table.add_column("the peak lies in", overflow="fold")
    for i, line in enumerate(lines):
        place = [Text(_place(line["peak_phase"], line["peak_operator"]))] if places else []
        values = [Text(cells[metric][i]) for metric in columns]
        table.add_row(Text(line["method_label"]), str(line["inner_steps"]), *values, *place)
    return table


def _mib(line: dict, metric: str) -> str:
    value = line[metric]
    return NONE if pd.isna(value) else f"{value / MIB:.{_digits(value / MIB)}f}"


def _digits(mib: float) -> int:
    return 1 if mib >= 1 else 2


def _share_of_peak(line: dict, metric: str) -> str:
    share = line[metric] / line["peak_bytes"]
    return NONE if pd.isna(share) else f"{100 * share:.1f} %"


def _against_peak(line: dict, metric: str) -> str:
    share = line[metric] / line["peak_bytes"] - 1
    return NONE if pd.isna(share) else f"{100 * share:+.1f} %"


def _against_tracked(line: dict, metric: str) -> str:
    """`exact`, or the difference; the value itself where there is nothing to hold it against."""
    difference = line[metric] - line["tracked_peak_bytes"]
    if pd.isna(difference):
        return _mib(line, metric)
    if difference == 0:
        return "exact"
    if abs(difference) < MIB / 20:  # would be shown as none
        return f"{difference:+,.0f} B"
    return f"{difference / MIB:+.1f}"


def _place(phase: str, operator: str) -> str:
    """`backward: convolution_backward`: the namespace and overload of torch's own operators say nothing."""
    return f"{phase}: {operator.removeprefix('aten.').removesuffix('.default')}" if operator else NONE


SHOW: dict[str, Callable[[dict, str], str]] = {
    "scratch_bytes": _share_of_peak,
    "predicted_peak_bytes": _against_tracked,
    "predicted_allocated_bytes": _against_peak,
}
