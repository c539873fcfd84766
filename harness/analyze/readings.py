"""The readings of memory beside one another, each method at its largest number of inner steps that fits."""

import re

import pandas as pd

from harness.analyze.summary import POINT

METRICS = [
    "peak_bytes",
    "tracked_peak_bytes",
    "scratch_bytes",
    "predicted_peak_bytes",
    "resident_peak_bytes",
    "requested_bytes",
    "predicted_allocated_bytes",
    "reserved_bytes",
    "workspace_bytes",
    "nvml_bytes",
]
PEAK_PLACE = re.compile(r"in (?P<phase>[^,;]+), after (?P<operator>[^;]+)")


def memory_readings(frame: pd.DataFrame) -> pd.DataFrame:
    """A line a method and workload: `METRICS` in bytes (NaN where skipped or absent; where a point was
    measured several times, the largest), and `peak_phase` and `peak_operator`, where the tracker saw the
    peak, empty where it did not say."""
    wanted = (frame.measure == "memory") & frame.metric.isin(METRICS) & (frame.status == "ok")
    rows = frame.loc[wanted, [*POINT, "metric", "value", "detail"]]
    peaks = rows[rows.metric == "peak_bytes"]
    most_steps = peaks.groupby(POINT[:3], as_index=False).inner_steps.max()
    points = rows.merge(most_steps, on=POINT)
    readings = points.groupby([*POINT, "metric"]).value.max().unstack("metric")
    seen = points[points.metric == "tracked_peak_bytes"].groupby(POINT).detail.agg(_peak_place)
    places = {
        "peak_phase": seen.map(lambda place: place[0]),
        "peak_operator": seen.map(lambda place: place[1]),
    }
    found = readings.reindex(columns=METRICS).assign(**places).reset_index()
    found[list(places)] = found[list(places)].fillna("").astype("str")
    return found.sort_values(POINT, ignore_index=True).rename_axis(columns=None)


def _peak_place(details: pd.Series) -> tuple[str, str]:
    for detail in details:
        if match := PEAK_PLACE.match(detail):
            return match["phase"].strip(), match["operator"].strip()
    return "", ""
