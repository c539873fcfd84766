"""Time relative to a reference method, paired within rounds.

All points of a block take turns within a round, so a machine that is slow for a while is slow for both sides
of a pair, and the ratio does not see it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from harness.analyze.summary import LEVEL, POINT

ROUND = ["inner_steps", "seed", "cell_id", "repeat"]  # what both sides of a pair share
COLUMNS = [*POINT, "reference", "ratio", "low", "high", "blocks", "pairs", "status"]
BLOCKS_FOR_T = 2


def paired_ratios(frame: pd.DataFrame, rank: Callable[[str], Any] = str) -> pd.DataFrame:
    """Seconds of each method over those of `reference`, a line a point; the reference itself has none.

    The reference of a workload is the first method in the order of the key `rank` that was timed at all.
    `ratio` is the geometric mean over blocks of each block's median ratio, `low` and `high` its 95% t
    interval (NaN below two blocks). `pairs` counts the rounds in which both sides were timed; a point that
    has none keeps its status, or `unpaired` where only the reference is missing.
    """
    asked = frame[(frame.measure == "time") & (frame.metric == "step_seconds")]
    records = []
    for workload, rounds in asked.groupby("workload"):
        timed = rounds[rounds.status == "ok"]
        if timed.empty:
            continue
        methods = set(zip(timed.method, timed.method_label, strict=True))
        reference = min(methods, key=lambda pair: (rank(pair[0]), pair[1]))[1]
        base = timed.loc[timed.method_label == reference, [*ROUND, "value"]]
        for (method, label, steps), rows in rounds.groupby(POINT[1:]):
            if label == reference:
                continue
            ok = rows[rows.status == "ok"]
            pairs = ok.merge(base, on=ROUND, suffixes=("", "_of_reference"))
            missing = "unpaired" if len(ok) else str(rows.status.mode().iloc[0])
            point = dict(zip(POINT, (workload, method, label, steps), strict=True))
            estimate = _estimate(pairs.value / pairs.value_of_reference, pairs.cell_id)
            status = "ok" if len(pairs) else missing
            records.append(point | {"reference": reference, "status": status} | estimate)
    return pd.DataFrame(records, columns=COLUMNS).sort_values(POINT, ignore_index=True)


def _estimate(ratios: pd.Series, blocks: pd.Series) -> dict[str, Any]:
    logs = np.log(ratios.groupby(blocks).median().to_numpy(float))
    mean = float(logs.mean()) if len(logs) else float("nan")
    half = float("nan")
    if len(logs) >= BLOCKS_FOR_T:
        error = logs.std(ddof=1) / np.sqrt(len(logs))
        half = float(stdtrit(len(logs) - 1, (1 + LEVEL) / 2) * error)
    ratio, low, high = (float(np.exp(mean + shift)) for shift in (0.0, -half, half))
    return {"ratio": ratio, "low": low, "high": high, "blocks": len(logs), "pairs": len(ratios)}
