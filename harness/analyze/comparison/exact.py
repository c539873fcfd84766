"""Differences of readings that have no noise to speak of: bytes, errors of meta-gradients, counts of work."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from harness.analyze.comparison.alignment import Alignment
from harness.analyze.comparison.change import METRICS, Change, Verdict, lines_of, place_of, succeeded

AT = ["key", "inner_steps"]
COARSE = 0.06
"""Of a whole process's peak. The reference runs memory-scaling and memory-limits, 34 points measured twice on
one machine with the same versions, differ in it by up to 5.2%, while all other readings agree to the byte."""

NO_ERROR = 1e-12  # a relative error this small is rounding: its size says nothing
SAME_ERROR = 1e-6  # relative: processors add in another order, which an ill-conditioned solve multiplies


def exact_changes(aligned: Alignment, metric: str, letters: tuple[str, str]) -> Iterator[Change]:
    """Of bytes the largest reading of a point, of counts the median over the seeds that both have.

    A reading that one side alone has is not called, and `letters` say which.
    """
    _, kind = METRICS[metric]
    sides = [_valued(rows, metric) for rows in (aligned.base, aligned.other)]
    if kind == "count":
        sides = _common_seeds(*sides)
    values = [side.groupby(AT).value.agg("median" if kind == "count" else "max") for side in sides]
    both = pd.concat(values, axis=1, keys=["first", "second"], join="outer").reset_index()
    yield from _one_sided(aligned, both, metric, letters)
    both = both.dropna()
    places = aligned.points.merge(both, on=AT)
    for point in lines_of(places):
        first, second = float(point.first), float(point.second)
        verdict: Verdict = "same" if first == second else "more" if second > first else "less"
        why = ""
        if kind == "coarse" and first and abs(second / first - 1) <= COARSE and first != second:
            verdict, why = "too weak", f"repeats to {100 * COARSE:.0f} % only"
        yield Change(
            **place_of(point, metric), first=first, second=second, basis="exact", verdict=verdict, why=why
        )


def error_changes(aligned: Alignment, metric: str, letters: tuple[str, str]) -> Iterator[Change]:
    """Geometric means over the seeds that both have. One side is called only where every seed says so:
    the tasks are the same, and so a difference of one seed is no accident."""
    read = [_valued(rows, metric) for rows in (aligned.base, aligned.other)]
    means = [rows.groupby(AT).value.mean() for rows in read]
    whole = pd.concat(means, axis=1, keys=["first", "second"], join="outer").reset_index()
    yield from _one_sided(aligned, whole, metric, letters)
    sides = _common_seeds(*read)
    values = [side.groupby([*AT, "seed"]).value.mean() for side in sides]
    both = pd.concat(values, axis=1, keys=["first", "second"], join="inner").reset_index()
    both[["first", "second"]] = both[["first", "second"]].clip(lower=0)
    floored = both[["first", "second"]].clip(lower=NO_ERROR)  # below it, no ratio means anything
    both["log_ratio"] = np.log(floored.second / floored["first"])
    both["log_first"], both["log_second"] = np.log(floored["first"]), np.log(floored.second)
    both["rounding"] = (both[["first", "second"]] <= NO_ERROR).all(axis=1)
    both["identical"] = both["first"] == both.second
    grouped = both.groupby(AT).agg(
        first=("first", "max"), second=("second", "max"),
        log_first=("log_first", "mean"), log_second=("log_second", "mean"),
        low=("log_ratio", "min"), high=("log_ratio", "max"), seeds=("seed", "size"),
        rounding=("rounding", "all"), identical=("identical", "all"),
    )  # fmt: skip
    for point in lines_of(aligned.points.merge(grouped.reset_index(), on=AT)):
        low, high = float(point.low), float(point.high)
        verdict: Verdict = "more" if low > SAME_ERROR else "less" if high < -SAME_ERROR else "too weak"
        why = ""
        if point.identical or max(abs(low), abs(high)) <= SAME_ERROR:
            verdict = "same"
            why = "rounding on both sides" if point.rounding and not point.identical else ""
        elif verdict == "too weak":
            why = "the seeds do not agree"
        is_rounding = bool(point.rounding)
        yield Change(
            **place_of(point, metric),
            first=float(point.first if is_rounding else np.exp(point.log_first)),
            second=float(point.second if is_rounding else np.exp(point.log_second)),
            low=float(np.exp(low)),
            high=float(np.exp(high)),
            basis="1 seed" if point.seeds == 1 else f"least and largest of {point.seeds} seeds",
            verdict=verdict,
            why=why,
        )


def _one_sided(
    aligned: Alignment, both: pd.DataFrame, metric: str, letters: tuple[str, str]
) -> Iterator[Change]:
    """Points that succeeded in both runs, where one has no value of this metric: a reading was not asked for
    or was skipped."""
    alone = both[both["first"].isna() != both.second.isna()]
    for point in lines_of(aligned.points[succeeded(aligned.points)].merge(alone, on=AT)):
        missing = letters[0] if np.isnan(point.first) else letters[1]
        yield Change(
            **place_of(point, metric),
            first=point.first,
            second=point.second,
            verdict="not called",
            why=f"no value in {missing}",
        )


def _valued(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    return rows[(rows.metric == metric) & (rows.status == "ok") & rows.value.notna()]


def _common_seeds(first: pd.DataFrame, second: pd.DataFrame) -> list[pd.DataFrame]:
    place = [*AT, "seed"]
    shared = first[place].drop_duplicates().merge(second[place].drop_duplicates())
    return [first.merge(shared, on=place), second.merge(shared, on=place)]
