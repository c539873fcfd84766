"""How much more accurate one method is than another, how sure that is, and how many seeds would tell.

Which points are compared: at every number of inner steps that both methods were tested at, and each at the
number of inner steps that its *validation* tasks choose (`chosen`), which may be two. Never at the best of
the test scores: that would be choosing on the test. A Newton step is no gradient step, so equal numbers of
these two are no pair.

Which interval:

- `seeds`, from three seeds on: Student's, on the paired differences of the per-seed means. A seed has the
  same episodes for every method, so these differences are paired by episodes too, whether or not the
  values of the single tasks were kept. It holds for the methods: for what other training runs would give.
  Where all seeds have the same test tasks, it holds for these tasks alone.
- `tasks`, below: a bootstrap over the test tasks within each seed, paired by episode. It holds for these
  trained models only.
- `unpaired`, below three seeds where the cells have not left the values of each task: from the half-widths
  of both sides as if their tasks were independent. Too wide where both find the same tasks hard.

Only an interval of the first kind can call a winner of the methods; all comparisons on one workload are one
family of Holm's correction, and their intervals are 95% each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special

from harness.analyze.accuracy.difference import FIRST, SECOND, UNCOMPARED, WEAK, Difference, fate_in_words
from harness.analyze.accuracy.scores import NOT_RUN, Scores, task_scores, test_scores
from harness.analyze.intervals import (
    ALPHA,
    LEVEL,
    SEEDS_FOR_T,
    Interval,
    bootstrap_interval,
    holm,
    mean_over_seeds,
    resampled_means,
    seeds_needed,
    t_interval,
    two_sided_p,
)
from harness.analyze.loaded import LoadedRun
from harness.analyze.steps import share_an_axis


def accuracy_differences(run: LoadedRun) -> list[Difference]:
    """Every pair of methods on every workload, by workload, labels and inner steps; see the module."""
    return differences_of(run.rows, run.path / "cells")


def differences_of(rows: pd.DataFrame, cells: Path) -> list[Difference]:
    """The same for rows that are at hand; `cells` is where their cells left the values of single tasks."""
    return [found for scores in test_scores(rows) for found in differences_in(scores, cells)]


@dataclass(frozen=True)
class _Pair:
    """Indices of two points; whether validation chose both; whether they may be held against each other."""

    first: int
    second: int
    chosen: bool
    matched: bool


def differences_in(scores: Scores, cells: Path) -> list[Difference]:
    """Those of one workload."""
    chosen = chosen_points(scores)
    pairs = list(_pairs(scores, chosen))
    if not pairs:
        return []
    first = np.array([pair.first for pair in pairs])
    second = np.array([pair.second for pair in pairs])
    paired = scores.mean[first] - scores.mean[second]
    paired[[not pair.matched for pair in pairs]] = np.nan
    mean, spread, count = mean_over_seeds(paired)
    interval, kinds = _intervals(scores, cells, pairs, mean, spread, count)
    adjusted = holm(interval.p)
    family = int(np.isfinite(interval.p).sum())
    needed = seeds_needed(mean, np.where(count >= SEEDS_FOR_T, spread, np.nan), ALPHA / max(family, 1))
    leader = max(chosen, key=lambda label: chosen[label][1], default=None)
    found = []
    for i, pair in enumerate(pairs):
        a, b = scores.points[pair.first], scores.points[pair.second]
        verdict = _verdict(scores, mean[i], adjusted[i], kinds[i])
        found.append(
            Difference(
                workload=scores.workload,
                metric=scores.metric,
                first=a.label,
                second=b.label,
                first_method=a.method,
                second_method=b.method,
                first_steps=a.inner_steps,
                second_steps=b.inner_steps,
                chosen=pair.chosen,
                leader=leader,
                difference=float(mean[i]),
                low=float(interval.low[i]),
                high=float(interval.high[i]),
                interval=kinds[i],
                p=float(interval.p[i]),
                p_holm=float(adjusted[i]),
                family=family,
                seeds=int(count[i]),
                tasks=scores.tasks,
                same_tasks=scores.same_tasks,
                spread=float(spread[i]),
                verdict=verdict,
                seeds_needed=int(needed[i]) if verdict == WEAK and np.isfinite(needed[i]) else None,
                lost=_lost(scores, pair),
            )
        )
    return found


def chosen_points(scores: Scores) -> dict[str, tuple[int, float]]:
    """Of each label the point with the best mean score on validation tasks, and that score, higher better.

    Of equals that of fewer steps; and only of those that the most seeds finished: where one diverged, the
    others' mean would flatter it. A method without validation scores is not here.
    """
    known = np.isfinite(scores.validation) & np.isfinite(scores.mean)
    mean, _, count = mean_over_seeds(np.where(known, scores.validation, np.nan))
    height = mean if scores.metric == "accuracy" else -mean
    best: dict[str, tuple[int, float, int]] = {}
    for i, point in enumerate(scores.points):  # by label, then inner steps
        rank = (int(count[i]), float(height[i]))
        if count[i] > 0 and (point.label not in best or rank > (best[point.label][2], best[point.label][1])):
            best[point.label] = (i, float(height[i]), int(count[i]))
    return {label: (point, score) for label, (point, score, _) in best.items()}


def _pairs(scores: Scores, chosen: dict[str, tuple[int, float]]) -> Iterator[_Pair]:
    """By labels, then steps: the equal ones of both, and those that validation chose."""
    of_label: dict[str, dict[int, int]] = {}
    for i, point in enumerate(scores.points):
        of_label.setdefault(point.label, {})[point.inner_steps] = i
    for a, b in combinations(of_label, 2):
        first, second = of_label[a], of_label[b]
        both = (chosen[a][0], chosen[b][0]) if {a, b} <= chosen.keys() else None
        methods = (scores.points[next(iter(of.values()))].method for of in (first, second))
        equal = sorted(first.keys() & second.keys()) if share_an_axis(*methods) else []
        pairs: list[tuple[int, int]] = [(first[k], second[k]) for k in equal]
        if both is not None and both not in pairs:
            pairs.append(both)
        yield from (_Pair(*pair, chosen=pair == both, matched=True) for pair in pairs)
        if not pairs:
            yield _Pair(first[max(first)], second[max(second)], chosen=False, matched=False)


def _intervals(
    scores: Scores, cells: Path, pairs: list[_Pair], mean: np.ndarray, spread: np.ndarray, count: np.ndarray
) -> tuple[Interval, list[str]]:
    """Of every pair the best that its seeds allow, and which that is."""
    interval = t_interval(mean, spread, np.where(count >= SEEDS_FOR_T, count, 0))
    kinds = ["seeds" if n >= SEEDS_FOR_T else "" for n in count]
    few = [i for i, n in enumerate(count) if 0 < n < SEEDS_FOR_T]
    tasks = _TaskMeans(scores, cells)
    for i in few:
        found, kinds[i] = tasks.interval(pairs[i], float(mean[i]))
        interval.low[i], interval.high[i], interval.p[i] = found.low, found.high, found.p
    return interval, kinds


class _TaskMeans:
    """Means over resampled test tasks of every point and seed, drawn once and for all pairs alike."""

    def __init__(self, scores: Scores, cells: Path) -> None:
        self.scores, self.cells = scores, cells
        self.drawn: dict[int, tuple[dict[int, int], np.ndarray, int]] = {}

    def interval(self, pair: _Pair, mean: float) -> tuple[Interval, str]:
        finished = np.isfinite(self.scores.mean[[pair.first, pair.second]]).all(0)
        seeds = [int(seed) for seed in np.flatnonzero(finished)]
        for seed in seeds:
            if seed not in self.drawn:
                self.drawn[seed] = self._draw(seed)
        if any(not {pair.first, pair.second} <= self.drawn[seed][0].keys() for seed in seeds):
            return self._unpaired(pair, seeds, mean)
        differences = []
        for seed in seeds:
            column, means, tasks = self.drawn[seed]
            differences.append(means[:, column[pair.first]] - means[:, column[pair.second]])
        sets = 1 if self.scores.same_tasks else len(seeds)  # of independent tasks
        return bootstrap_interval(mean, np.mean(differences, axis=0), tasks, sets), "tasks"

    def _draw(self, seed: int) -> tuple[dict[int, int], np.ndarray, int]:
        """The column of each point whose tasks are kept, their resampled means, and how many tasks."""
        values = {
            int(point): kept
            for point in np.flatnonzero(np.isfinite(self.scores.mean[:, seed]))
            if (kept := task_scores(self.cells, self.scores, int(point), seed)) is not None
        }
        if not values:
            return {}, np.zeros((0, 0)), 0
        index = next(iter(values.values())).index
        same = {point: kept for point, kept in values.items() if kept.index.equals(index)}
        table = np.column_stack([kept.to_numpy() for kept in same.values()])
        column = {point: i for i, point in enumerate(same)}
        # Where seeds share their tasks, a task is drawn for all of them at once.
        stream = 0 if self.scores.same_tasks else int(self.scores.seeds[seed])
        return column, resampled_means(table, stream), len(index)

    def _unpaired(self, pair: _Pair, seeds: list[int], mean: float) -> tuple[Interval, str]:
        halves = self.scores.half[[pair.first, pair.second]][:, seeds]
        # Of independent tasks the variances of a mean add; the same ones may all err to one side.
        of_sides = halves.mean(1) if self.scores.same_tasks else np.sqrt((halves**2).sum(1)) / len(seeds)
        half = np.hypot(*of_sides)
        error = half / special.ndtri((1 + LEVEL) / 2)
        many = np.array(np.inf)  # degrees of freedom: hundreds of tasks
        p = two_sided_p(np.array(mean), error, many)
        return Interval(low=mean - half, high=mean + half, p=p), "unpaired" if np.isfinite(half) else ""


def _verdict(scores: Scores, mean: float, p_holm: float, kind: str) -> str:
    if not np.isfinite(mean):
        return UNCOMPARED
    if kind != "seeds" or not p_holm < ALPHA:
        return WEAK
    return FIRST if (mean > 0) == (scores.metric == "accuracy") else SECOND


def _lost(scores: Scores, pair: _Pair) -> tuple[str, ...]:
    """Of each seed that one side did not finish, what became of it; not of what was run on neither side."""
    lost: list[str] = []
    if (scores.fate[[pair.first, pair.second]] == "ok").all():
        return ()
    for seed in range(len(scores.seeds)):
        fates = {i: scores.fate[i, seed] for i in (pair.first, pair.second)}
        if set(fates.values()) in ({"ok"}, {NOT_RUN}) or not pair.matched:
            continue
        told = [f"{scores.points[i].label} {fate_in_words(f)}" for i, f in fates.items() if f != "ok"]
        lost.append(" and ".join(told))
    return tuple(lost)
