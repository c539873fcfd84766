"""Differences of time: within a run paired by rounds, between runs unpaired over blocks.

The rounds of one process share its luck, so blocks are the units, and times are compared as logarithms: noise
is in proportion to a step. What lasts through all blocks of a run, such as a neighbour on its machine, is in
no interval that blocks can give.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from harness.analyze.comparison.alignment import Alignment
from harness.analyze.comparison.change import Change, Overall, Verdict, lines_of, place_of, succeeded
from harness.analyze.comparison.welch import difference_of_means
from harness.analyze.intervals import ALPHA, Interval, holm, mean_over_seeds, t_interval

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
    both = means[0].merge(means[1], left_index=True, right_index=True, suffixes=("_a", "_b")).reset_index()
    if both.empty:
        return []
    interval = difference_of_means(*_sides(both))
    both = both.assign(low=interval.low, high=interval.high, p=interval.p, shift=both.mean_b - both.mean_a)
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
    """Of each workload: the mean over its common points of the change of log seconds, by blocks."""
    sides = _common([_rounds(rows) for rows in (aligned.base, aligned.other)], [*AT, "seed"])
    yield from _together(aligned, METRIC, [_block_logs(side) for side in sides])


def overall_ratios(aligned: Alignment) -> Iterator[Overall]:
    """The same of the logarithms of `relative_changes`."""
    reference = _references(_timed(aligned))
    logs = [_relative_logs(_rounds(rows), reference.key) for rows in (aligned.base, aligned.other)]
    yield from _together(aligned, "relative_seconds", logs)


def _together(aligned: Alignment, metric: str, logs: list[pd.Series]) -> Iterator[Overall]:
    """Only blocks that timed every common point count: a mean over other points would be of other work."""
    tables = [log.rename("log").reset_index() for log in logs]
    shared = tables[0][AT].drop_duplicates().merge(tables[1][AT].drop_duplicates())
    places = aligned.points.loc[aligned.points.measure == "time", [*AT, "workload"]]
    for workload, points in places.merge(shared, on=AT).groupby("workload"):
        if len(points) < 2:
            continue
        blocks = []
        for table in tables:
            of_block = table.merge(points[AT], on=AT).groupby("cell_id").log.agg(["mean", "size"])
            blocks.append(of_block["mean"][of_block["size"] == len(points)].to_numpy(float))
        if not all(map(len, blocks)):
            continue
        estimates = [_mean_and_error(np.array(block)) for block in blocks]
        interval = difference_of_means(*estimates)
        shift = float(estimates[1][0] - estimates[0][0])
        yield Overall(
            metric=metric,
            workload=str(workload),
            estimate=float(np.exp(shift)),
            low=float(np.exp(interval.low)),
            high=float(np.exp(interval.high)),
            points=len(points),
            units=(len(blocks[0]), len(blocks[1])),
        )


def relative_changes(aligned: Alignment) -> list[Change]:
    """Of each method's time over that of a reference method in the same rounds of its run: a ratio within a
    run, so that it may be held against another machine's.

    The reference of a workload is the first method that both runs timed, of `maml` and then by name.
    """
    timed = _timed(aligned)
    reference = _references(timed)
    means = [
        _over_blocks(_relative_logs(_rounds(rows), reference.key)) for rows in (aligned.base, aligned.other)
    ]
    both = means[0].merge(means[1], left_index=True, right_index=True, suffixes=("_a", "_b")).reset_index()
    interval = difference_of_means(*_sides(both))
    both = both.assign(low=interval.low, high=interval.high, p=interval.p)
    identical = both.mean_a == both.mean_b
    both["p_holm"] = holm(both.p.where(~identical).to_numpy(float))
    return [
        Change(
            **place_of(point, "relative_seconds"),
            first=float(np.exp(point.mean_a)),
            second=float(np.exp(point.mean_b)),
            low=float(np.exp(point.low)),
            high=float(np.exp(point.high)),
            p=float(point.p),
            p_holm=float(point.p_holm),
            basis=f"{point.count_a} and {point.count_b} blocks of ratios to "
            f"{reference.method_label_a[point.workload]}, paired by rounds",
            reference=str(reference.method_label_a[point.workload]),
            verdict=_verdict(point.mean_b - point.mean_a, point.p_holm, point.mean_a == point.mean_b),
            why="" if np.isfinite(point.low) else "a single block on a side",
        )
        for point in lines_of(timed.merge(both, on=AT))
    ]


def _timed(aligned: Alignment) -> pd.DataFrame:
    return aligned.points[(aligned.points.measure == "time") & succeeded(aligned.points)]


def _references(timed: pd.DataFrame) -> pd.DataFrame:
    """Of each workload the point whose method the others' times are held against."""
    order = timed.assign(rank=timed.method_a.map(_rank)).sort_values(["rank", "key"], kind="stable")
    return order.drop_duplicates("workload").set_index("workload")


def _rank(method: str) -> tuple[bool, bool, str]:
    return method != "maml", method.partition("@")[0] != "maml", method


def _relative_logs(rounds: pd.DataFrame, reference: pd.Series) -> pd.Series:
    """Of each block the log of the median ratio to the workload's reference, which has none itself.

    reference: workload -> key.
    """
    is_reference = rounds.key == rounds.workload.map(reference)
    of_round = ["workload", "inner_steps", "seed", "cell_id", "repeat"]
    pairs = rounds[~is_reference].merge(
        rounds.loc[is_reference, [*of_round, "value"]], on=of_round, suffixes=("", "_of_reference")
    )
    pairs["ratio"] = pairs.value / pairs.value_of_reference
    return np.log(pairs.groupby([*AT, "cell_id"]).ratio.median())


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
