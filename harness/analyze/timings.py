"""Differences of time: within a run paired by rounds, between runs unpaired over blocks.

The rounds of one process share its luck, so blocks are the units, and times are compared as logarithms: noise
is in proportion to a step. What lasts through all blocks of a run, such as a neighbour on its machine, is in
no interval that blocks can give.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from harness.analyze.alignment import Alignment
from harness.analyze.change import Change, Overall, Verdict, lines_of, place_of
from harness.analyze.intervals import ALPHA, LEVEL, Interval, holm, mean_over_seeds, t_interval
from harness.analyze.pairs import paired_ratios
from harness.analyze.welch import difference_of_means

AT = ["key", "inner_steps"]
ROUND = [*AT, "seed", "cell_id", "repeat"]
METRIC = "step_seconds"


def time_changes(aligned: Alignment, *, is_same_run: bool) -> list[Change]:
    """A line a point that both timed. The values are geometric means over blocks of each block's median.

    In one run the two sides of a point are paired in every round; between runs they are never paired, though
    the ids of repeated cells are the same. p is corrected for all points of the comparison.
    """
    sides = [_rounds(rows) for rows in (aligned.base, aligned.other)]
    sides = _common(sides, [*AT, "seed"])
    logs = [_block_logs(side) for side in sides]
    means = [_over_blocks(log) for log in logs]
    both = means[0].join(means[1], lsuffix="_a", rsuffix="_b", how="inner").reset_index()
    if both.empty:
        return []
    interval = difference_of_means(*_sides(both))
    both = both.assign(low=interval.low, high=interval.high, p=interval.p, shift=both.mean_b - both.mean_a,
                       pairs=0)  # fmt: skip
    both["basis"] = [f"{a} and {b} blocks, unpaired" for a, b in zip(both.count_a, both.count_b, strict=True)]
    if is_same_run:
        both = _paired(sides, both)
    both = both.merge(_identical(sides), on=AT, how="left").fillna({"identical": False})
    tested = both.p.where(~both.identical.astype(bool)).to_numpy(float)
    both["p_holm"] = holm(tested)
    places = aligned.points.merge(both, on=AT)
    return [
        Change(
            **place_of(point, METRIC),
            first=float(np.exp(point.mean_a)),
            second=float(np.exp(point.mean_b)),
            paired_ratio=float(np.exp(point.shift)) if "paired by" in point.basis else float("nan"),
            low=1.0 if point.identical else float(np.exp(point.low)),
            high=1.0 if point.identical else float(np.exp(point.high)),
            p=float(point.p),
            p_holm=float(point.p_holm),
            basis=str(point.basis),
            verdict=_verdict(point.shift, point.p_holm, bool(point.identical)),
            why="" if np.isfinite(point.low) or point.identical else "a single block on a side",
        )
        for point in lines_of(places)
    ]


def overall_times(aligned: Alignment) -> Iterator[Overall]:
    """Of each workload: the mean over its common points of the change of log seconds, by blocks.

    Only blocks that timed every common point count: a mean over other points would be of other work.
    """
    sides = _common([_rounds(rows) for rows in (aligned.base, aligned.other)], [*AT, "seed"])
    for workload, points in aligned.points[aligned.points.measure == "time"].groupby("workload"):
        logs = [_block_logs(side.merge(points[AT], on=AT)) for side in sides]
        count = len(logs[0].reset_index()[AT].drop_duplicates())
        if count < 2:
            continue
        blocks = []
        for log in logs:
            of_block = log.groupby("cell_id").agg(["mean", "size"])
            blocks.append(of_block["mean"][of_block["size"] == of_block["size"].max()].to_numpy(float))
        estimates = [_mean_and_error(np.array(block)) for block in blocks]
        interval = difference_of_means(*estimates)
        shift = float(estimates[1][0] - estimates[0][0])
        yield Overall(
            workload=str(workload),
            ratio=float(np.exp(shift)),
            low=float(np.exp(interval.low)),
            high=float(np.exp(interval.high)),
            points=count,
            blocks=(len(blocks[0]), len(blocks[1])),
        )


def relative_changes(aligned: Alignment, rank: Callable[[str], Any]) -> list[Change]:
    """Of each method's time over that of its run's own reference method, which is the first by `rank` that
    both runs timed: a ratio within a run, paired by rounds, so that it may be held against another machine's.
    """
    timed = aligned.points[aligned.points.measure == "time"]
    of_base = timed.drop_duplicates("key").set_index("key")  # the two runs may call a method by two names
    ratios = []
    for rows in (aligned.base, aligned.other):
        rounds = rows[rows.metric == METRIC]
        named = rounds.assign(method=rounds.key.map(of_base.method_a), method_label=rounds.key.astype(str))
        ratios.append(paired_ratios(named, rank))
    keyed = [r[r.status == "ok"].astype({"method_label": "int64"}) for r in ratios]
    on = ["workload", "method_label", "inner_steps"]
    both = keyed[0].merge(keyed[1], on=on, suffixes=("_a", "_b"))
    both = both[both.reference_a == both.reference_b]
    if both.empty:
        return []
    sides = []
    for letter in "ab":
        count = both[f"blocks_{letter}"].to_numpy(float)
        ratio, high = (both[f"{name}_{letter}"].to_numpy(float) for name in ("ratio", "high"))
        freedom = np.where(count > 1, count - 1, np.nan)
        sides.append((np.log(ratio), np.log(high / ratio) / stdtrit(freedom, (1 + LEVEL) / 2), count))
    interval = difference_of_means(*sides)
    both = both.assign(low=interval.low, high=interval.high, p=interval.p)
    both["shift"] = sides[1][0] - sides[0][0]
    both["p_holm"] = holm(interval.p)
    names = of_base.method_label_a
    both = both.rename(columns={"method_label": "key"})[
        [
            *AT,
            "ratio_a",
            "ratio_b",
            "low",
            "high",
            "p",
            "p_holm",
            "shift",
            "blocks_a",
            "blocks_b",
            "reference_a",
        ]
    ]
    return [
        Change(
            **place_of(point, "relative_seconds"),
            first=float(point.ratio_a),
            second=float(point.ratio_b),
            low=float(np.exp(point.low)),
            high=float(np.exp(point.high)),
            p=float(point.p),
            p_holm=float(point.p_holm),
            basis=f"{point.blocks_a} and {point.blocks_b} blocks of ratios to "
            f"{names[int(point.reference_a)]}, paired by rounds",
            verdict=_verdict(point.shift, point.p_holm, point.ratio_a == point.ratio_b),
            why="" if np.isfinite(point.low) else "a single block on a side",
        )
        for point in lines_of(timed.merge(both, on=AT))
    ]


def _rounds(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows.metric == METRIC) & (rows.status == "ok") & (rows.value > 0)]


def _common(sides: list[pd.DataFrame], place: list[str]) -> list[pd.DataFrame]:
    shared = sides[0][place].drop_duplicates().merge(sides[1][place].drop_duplicates())
    return [side.merge(shared, on=place) for side in sides]


def _block_logs(rounds: pd.DataFrame) -> pd.Series:
    return np.log(rounds.groupby([*AT, "cell_id"]).value.median())


def _over_blocks(logs: pd.Series) -> pd.DataFrame:
    found = logs.groupby(AT).agg(["mean", "std", "size"])
    return pd.DataFrame(
        {"mean": found["mean"], "error": found["std"] / np.sqrt(found["size"]), "count": found["size"]}
    )


def _sides(both: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    def of(letter: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean, error, count = (both[f"{name}_{letter}"].to_numpy(float) for name in ("mean", "error", "count"))
        return mean, error, count

    return [of("a"), of("b")]


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean, spread, count = mean_over_seeds(values)
    return mean, spread / np.sqrt(count), count


def _paired(sides: list[pd.DataFrame], both: pd.DataFrame) -> pd.DataFrame:
    """`both` with the estimate of the points that were timed in the same rounds."""
    pairs = sides[0].merge(sides[1], on=ROUND, suffixes=("_a", "_b"))
    if pairs.empty:
        return both
    pairs["ratio"] = pairs.value_b / pairs.value_a
    logs = np.log(pairs.groupby([*AT, "cell_id"]).ratio.median())
    found = logs.groupby(AT).agg(["mean", "std", "size"])
    interval: Interval = t_interval(
        found["mean"].to_numpy(float), found["std"].to_numpy(float), found["size"].to_numpy(float)
    )
    found = found.assign(low=interval.low, high=interval.high, p=interval.p, shift=found["mean"])
    found["basis"] = [f"{size} blocks, paired by rounds" for size in found["size"]]
    both = both.set_index(AT)
    columns = ["low", "high", "p", "shift", "basis"]
    both.loc[found.index, columns] = found[columns]
    return both.reset_index()


def _identical(sides: list[pd.DataFrame]) -> pd.DataFrame:
    """Whether every round of a point has the same value on both sides, as in a run and its copy."""
    pairs = sides[0].merge(sides[1], on=ROUND, suffixes=("_a", "_b"), how="outer")
    pairs["identical"] = pairs.value_a == pairs.value_b
    return pairs.groupby(AT)[["identical"]].all().reset_index()


def _verdict(shift: float, p_holm: float, identical: bool) -> Verdict:
    if identical:
        return "same"
    if not p_holm < ALPHA:  # also where it is unknown
        return "too weak"
    return "more" if shift > 0 else "less"
