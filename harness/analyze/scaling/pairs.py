"""Time relative to a reference method, paired within rounds.

All points of a block take turns within a round, so a machine that is slow for a while is slow for both sides
of a pair, and the ratio does not see it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from harness.analyze.intervals import t_interval
from harness.analyze.summary import POINT

ROUND = ["inner_steps", "seed", "cell_id", "repeat"]  # what both sides of a pair share
COLUMNS = [*POINT, "reference", "ratio", "low", "high", "blocks", "pairs", "status"]


def paired_ratios(frame: pd.DataFrame, rank: Callable[[str], Any] = str) -> pd.DataFrame:
    """Seconds of each method over those of `reference`, a line a point; the reference itself has none.

    The reference of a workload is the first method in the order of the key `rank` that was timed at all.
    `ratio` is the geometric mean over blocks of each block's median ratio, `low` and `high` its 95% t
    interval (NaN below two blocks). `pairs` counts the rounds in which both sides were timed; a point that
    has none keeps its status, or `unpaired` where only the reference is missing.
    """
    wanted = (frame.measure == "time") & (frame.metric == "step_seconds")
    asked = frame.loc[wanted, [*POINT, "seed", "cell_id", "repeat", "value", "status"]]
    timed = asked[asked.status == "ok"]
    reference = {}
    for workload, methods in timed[POINT[:3]].drop_duplicates().groupby("workload"):
        pairs = zip(methods.method, methods.method_label, strict=True)
        reference[workload] = min(pairs, key=lambda pair: (rank(pair[0]), pair[1]))[1]
    asked = asked.assign(reference=asked.workload.map(reference)).dropna(subset="reference")
    timed = asked[asked.status == "ok"]
    asked = asked[asked.method_label != asked.reference]
    if asked.empty:
        return pd.DataFrame([], columns=COLUMNS)
    base = timed.loc[timed.method_label == timed.reference, ["workload", *ROUND, "value"]]
    paired = timed.merge(base, on=["workload", *ROUND], suffixes=("", "_of_reference"))
    paired["ratio"] = paired.value / paired.value_of_reference
    found = _fates(asked).join(_estimates(paired))
    found[["blocks", "pairs"]] = found[["blocks", "pairs"]].fillna(0).astype(int)
    found["status"] = found.status.mask(found.pairs > 0, "ok")
    return found.reset_index().sort_values(POINT, ignore_index=True)[COLUMNS]


def _fates(asked: pd.DataFrame) -> pd.DataFrame:
    """Why a point has no pair: `unpaired` where it was timed, else the status that most of its rows have."""
    counts = asked.groupby([*POINT, "reference", "status"]).size().rename("rows").reset_index()
    counts["unpaired"] = counts.status == "ok"
    most = counts.sort_values(["unpaired", "rows", "status"], ascending=[False, False, True])
    fates = most.drop_duplicates(POINT).set_index(POINT)
    return fates[["reference"]].assign(status=fates.status.mask(fates.unpaired, "unpaired"))


def _estimates(paired: pd.DataFrame) -> pd.DataFrame:
    """Of each point that has pairs: a block counts by the median of its rounds."""
    logs = np.log(paired.groupby([*POINT, "cell_id"]).ratio.median()).groupby(POINT)
    mean, blocks = logs.mean(), logs.size()
    interval = t_interval(*(each.to_numpy(float) for each in (mean, logs.std(ddof=1), blocks)))
    ends = {"ratio": np.exp(mean), "low": np.exp(interval.low), "high": np.exp(interval.high)}
    return pd.DataFrame(ends | {"blocks": blocks, "pairs": paired.groupby(POINT).size()})
