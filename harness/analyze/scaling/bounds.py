"""What is known of a point that failed: what it would have exceeded, by the words of its row.

- `oom` under a virtual budget: more than the budget, which the tracker saw exceeded. A prediction of the
  whole need was not run, so it is no value; it is told beside.
- `oom` of a device: more than what a single allocation asked for, or than the device holds, where the
  message says so.
- `timeout`: the point's warm-up did not end in time. That may be `WARM_UP` plain steps long, so the bound is
  that part of the time limit.
- Anything else, above all a step that was not timed because it does not fit: nothing.
"""

import re

import numpy as np
import pandas as pd

WARM_UP = (
    4  # an allowance: the tracked step that checks a budget, and the first step, for two plain ones each
)
BUDGET = re.compile(r"the virtual budget of ([\d,]+)")
ASKED = re.compile(r"was asked for ([\d,]+) bytes")
CAPACITY = re.compile(r"has a total capacity of ([\d.]+) (MiB|GiB|TiB)")
TIME_LIMIT = re.compile(r"no end within ([\d.e+]+) s")
UNITS = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def exceeded(measure: str, status: str, detail: str) -> float:
    """Bytes or seconds that the point is known to need more than; NaN where nothing is known."""
    if measure == "memory" and status == "oom":
        if found := BUDGET.search(detail) or ASKED.search(detail):
            return float(found[1].replace(",", ""))
        if found := CAPACITY.search(detail):
            return float(found[1]) * UNITS[found[2]]
    if measure == "time" and status == "timeout" and (found := TIME_LIMIT.search(detail)):
        return float(found[1]) / WARM_UP
    return float("nan")


def exceeded_by(points: pd.DataFrame, measure: str) -> np.ndarray:
    """The same for each line, by its columns `status` and `detail`."""
    told = zip(points.status, points.detail, strict=True)
    return np.array([exceeded(measure, str(status), str(detail)) for status, detail in told], float)
