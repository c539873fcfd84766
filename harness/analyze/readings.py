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
    rows = frame[(frame.measure == "memory") & frame.metric.isin(METRICS) & (frame.status == "ok")]
    records = []
    for key, curve in rows.groupby(POINT[:3]):
        measured = curve[curve.metric == "peak_bytes"]
        if measured.empty:
            continue
        steps = int(measured.inner_steps.max())
        point = curve[curve.inner_steps == steps]
        readings = {metric: point[point.metric == metric].value.max() for metric in METRICS}
        phase, operator = _peak_place(point[point.metric == "tracked_peak_bytes"].detail)
        place = dict(zip(POINT, (*key, steps), strict=True))
        records.append(place | readings | {"peak_phase": phase, "peak_operator": operator})
    columns = [*POINT, *METRICS, "peak_phase", "peak_operator"]
    return pd.DataFrame(records, columns=columns).sort_values(POINT, ignore_index=True)


def _peak_place(details: pd.Series) -> tuple[str, str]:
    for detail in details:
        if match := PEAK_PLACE.match(detail):
            return match["phase"].strip(), match["operator"].strip()
    return "", ""
