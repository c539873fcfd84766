"""Paired differences of accuracy, from rows whose right answers are known."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows import GLYPHS, SETTINGS, accuracy_cell, row, whole_run, write_run
from scipy import stats

from harness.analyze.accuracy.difference import FIRST, SECOND, UNCOMPARED, WEAK, Difference
from harness.analyze.accuracy.differences import accuracy_differences, differences_of
from harness.analyze.loaded import LoadedRun, load_run
from harness.frame import frame_of
from harness.rows import Row
from harness.store import RunFolder

NOWHERE = Path("no-cells")


def cell(
    method: str,
    seed: int,
    value: float | None,
    *,
    steps: int = 4,
    validation: float | None = 0.5,
    metric: str = "accuracy",
    status: str = "ok",
    is_whole: bool = False,
    **changes: Any,
) -> list[Row]:
    """One accuracy cell; half-widths of 0.02 over 300 tasks, all that there are where `is_whole`."""
    point = {
        "cell_id": f"{method}-{steps}-{seed}",
        "method": method,
        "settings": SETTINGS.get(method, {}),
        "inner_steps": steps,
        "seed": seed,
        "measure": "accuracy",
        "unit": "fraction",
    } | changes
    if value is None:
        return [row(**point, metric="accuracy", value=None, status=status)]
    tasks = "300 test tasks" + (", all that there are" if is_whole else "")
    tested = {"metric": metric, "value": value, "detail": f"{tasks}, {steps} inner steps"}
    rows = [row(**point | tested), row(**point, metric=f"{metric}_ci95", value=0.02)]
    if validation is not None:
        rows.append(row(**point, metric=f"validation_{metric}", value=validation, repeat=20))
    return rows


def differences(*cells: list[Row]) -> list[Difference]:
    return differences_of(frame_of([row for cell in cells for row in cell]), NOWHERE)


def only(found: list[Difference]) -> Difference:
    assert len(found) == 1
    return found[0]


def two(first: list[float], second: list[float], **changes: Any) -> Difference:
    """FOMAML and MAML at four inner steps, one value a seed."""
    cells = [cell("fomaml", seed, value, **changes) for seed, value in enumerate(first)]
    cells += [cell("maml", seed, value, **changes) for seed, value in enumerate(second)]
    return only(differences(*cells))


def write_tasks(run: Path, cell_id: str, values: np.ndarray, metric: str = "accuracy") -> None:
    table = pd.DataFrame({"task": range(len(values)), metric: values})
    table.to_csv(RunFolder(run).cell_folder(cell_id) / "per_task.csv", index=False)


def of_models(
    path: Path, seeds: int, tasks: int = 300, *, is_whole: bool = False
) -> tuple[LoadedRun, np.ndarray]:
    """A run of two methods that kept the values of their tasks, [methods, seeds, tasks]."""
    rng = np.random.default_rng(4)
    hardness = rng.uniform(-0.2, 0.2, (1 if is_whole else seeds, tasks))
    favour = np.stack([rng.uniform(0, 0.3, hardness.shape), rng.uniform(0, 0.3, hardness.shape)])
    probability = np.array([0.52, 0.5])[:, None, None] + hardness + (favour if is_whole else 0.15)
    probability = np.broadcast_to(probability, (2, seeds, tasks))
    values = rng.binomial(25, probability) / 25
    cells = [
        cell(method, seed, float(values[i, seed].mean()), is_whole=is_whole)
        for i, method in enumerate(("fomaml", "maml"))
        for seed in range(seeds)
    ]
    write_run(path, cells)
    for i, method in enumerate(("fomaml", "maml")):
        for seed in range(seeds):
            write_tasks(path, f"{method}-4-{seed}", values[i, seed])
    return load_run(path), values


def test_from_three_seeds_on_it_is_the_paired_t_test_of_the_seeds() -> None:
    first, second = [0.80, 0.84, 0.82, 0.83], [0.75, 0.80, 0.76, 0.80]
    found = two(first, second)
    oracle = stats.ttest_rel(first, second)
    assert (found.first, found.second, found.inner_steps, found.seeds) == ("fomaml", "maml", 4, 4)
    assert found.difference == pytest.approx(np.mean(first) - np.mean(second))
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert found.p == found.p_holm == pytest.approx(oracle.pvalue)
    assert (found.interval, found.verdict, found.better, found.seeds_needed) == (
        "seeds",
        FIRST,
        "fomaml",
        None,
    )
    low, high = 100 * oracle.confidence_interval(0.95).low, 100 * oracle.confidence_interval(0.95).high
    assert found.sentence == (
        f"fomaml is better than maml at 4 inner steps: +4.5 points (95% {low:+.1f} to {high:+.1f}, 4 seeds), "
        f"p = {oracle.pvalue:.2g} by Holm among 1"
    )


def test_what_both_share_in_a_seed_takes_nothing_away_from_a_difference() -> None:
    """Seeds with hard episodes are hard for both: unpaired, nothing could be told here."""
    hard = np.array([0.0, -0.2, -0.1])
    found = two(list(0.8 + hard + [0.001, 0, 0.002]), list(0.77 + hard))
    assert found.verdict == FIRST
    assert stats.ttest_ind(0.8 + hard, 0.77 + hard).pvalue > 0.5


def needed(differences: list[float], alpha: float) -> int:
    """The least number of seeds at which a paired t test has a power of 0.8, by scipy's noncentral t."""
    effect = abs(np.mean(differences)) / np.std(differences, ddof=1)
    for n in range(3, 1001):
        if stats.nct.sf(stats.t.ppf(1 - alpha / 2, n - 1), n - 1, effect * np.sqrt(n)) >= 0.8:
            return n
    raise AssertionError("more than 1,000")


def test_seeds_needed_allow_for_the_family() -> None:
    """At 5% over three: then it is called whatever the two others turn out to be."""
    scores = {"fomaml": [0.80, 0.83, 0.79], "maml": [0.79, 0.80, 0.80], "reptile": [0.82, 0.80, 0.81]}
    found = differences(*(cell(m, seed, x) for m, xs in scores.items() for seed, x in enumerate(xs)))
    assert [d.seeds_needed for d in found] == [
        needed(list(np.subtract(scores[d.first], scores[d.second])), 0.05 / 3) for d in found
    ]


def test_a_difference_too_weak_to_call_says_how_many_seeds_would_do() -> None:
    found = two([0.80, 0.83, 0.79], [0.79, 0.80, 0.80])
    assert found.verdict == WEAK
    assert found.better is None
    assert found.seeds_needed == needed([0.01, 0.03, -0.01], 0.05)
    assert (
        f"too weak to call (p = {found.p:.2g} by Holm among 1): some {found.seeds_needed} seeds would do"
        in (found.sentence)
    )


def test_methods_with_the_same_scores_are_said_to_have_them() -> None:
    found = two([0.8, 0.7, 0.75], [0.8, 0.7, 0.75])
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert found.seeds_needed is None
    assert found.sentence.endswith("too weak to call (p = 1 by Holm among 1): the same in every seed")


@pytest.mark.parametrize(("seeds", "words"), [(1, "from one"), (2, "from two")])
def test_below_three_seeds_an_interval_is_over_the_same_tasks_and_holds_for_the_models(
    tmp_path: Path, seeds: int, words: str
) -> None:
    run, values = of_models(tmp_path / "run", seeds)
    found = only(accuracy_differences(run))
    paired = values[0] - values[1]  # [seeds, tasks]
    half = 1.96 * np.sqrt((stats.sem(paired, axis=1) ** 2).sum()) / seeds
    assert (found.interval, found.seeds, found.tasks) == ("tasks", seeds, 300)
    assert found.difference == pytest.approx(paired.mean())
    assert (found.low, found.high) == pytest.approx(
        (paired.mean() - half, paired.mean() + half), abs=0.08 * half
    )
    assert (found.verdict, found.seeds_needed) == (WEAK, None)
    assert found.models_differ
    assert "of these trained models only; between the methods" in found.sentence
    assert "p <" not in found.sentence
    assert found.sentence.endswith(f"how many seeds would do cannot be known {words}")
    again = only(accuracy_differences(run))
    assert (again.low, again.high, again.p) == (found.low, found.high, found.p)


def test_seeds_that_share_their_test_tasks_are_not_taken_for_more_tasks(tmp_path: Path) -> None:
    """Of two seeds on the same tasks, on which each method has its own strengths."""
    run, values = of_models(tmp_path / "run", 2, is_whole=True)
    found = only(accuracy_differences(run))
    of_task = (values[0] - values[1]).mean(axis=0)
    half = stats.t.ppf(0.975, 299) * stats.sem(of_task)
    assert found.interval == "tasks"
    assert (found.low, found.high) == pytest.approx(
        (of_task.mean() - half, of_task.mean() + half), abs=0.08 * half
    )
    assert found.p == pytest.approx(stats.ttest_1samp(of_task, 0).pvalue, rel=0.2)
    as_if_fresh = 1.96 * np.sqrt((stats.sem(values[0] - values[1], axis=1) ** 2).sum()) / 2
    assert found.high - found.low > 2 * 1.15 * as_if_fresh


def test_without_the_values_of_shared_tasks_no_variance_is_averaged_away() -> None:
    found = two([0.80, 0.82], [0.75, 0.76], is_whole=True)
    half = np.sqrt(2) * 0.02  # of both sides; a side's two seeds may err alike
    assert (found.low, found.high) == pytest.approx((0.055 - half, 0.055 + half))


def test_over_seeds_that_share_their_test_tasks_an_interval_holds_for_these_alone() -> None:
    first, second = [0.80, 0.84, 0.82], [0.75, 0.80, 0.76]
    assert "3 seeds, for these 300 test tasks alone" in two(first, second, is_whole=True).sentence
    assert "alone" not in two(first, second).sentence


def test_without_the_values_of_the_tasks_both_sides_are_taken_as_independent() -> None:
    found = two([0.80, 0.82], [0.75, 0.76])
    half = np.sqrt(4 * 0.02**2) / 2
    assert found.interval == "unpaired"
    assert (found.low, found.high) == pytest.approx((0.055 - half, 0.055 + half))
    assert found.p == pytest.approx(2 * stats.norm.sf(0.055 / (half / 1.96)), rel=1e-3)
    assert (found.verdict, found.models_differ) == (WEAK, True)
    assert "300 test tasks of 2 seeds, not paired by episode" in found.sentence


def test_values_of_tasks_that_are_not_those_of_the_row_are_not_used(tmp_path: Path) -> None:
    run, values = of_models(tmp_path / "run", 1)
    write_tasks(tmp_path / "run", "maml-4-0", values[1, 0] + 0.01)
    assert only(accuracy_differences(run)).interval == "unpaired"
    (tmp_path / "run" / "cells" / "maml-4-0" / "per_task.csv").write_bytes(b"\xff\xfenot a table")
    assert only(accuracy_differences(run)).interval == "unpaired"


def test_a_seed_without_any_interval_still_has_a_difference() -> None:
    bare = [cell(method, 0, value)[:1] for method, value in (("fomaml", 0.8), ("maml", 0.7))]
    found = only(differences(*bare))
    assert found.difference == pytest.approx(0.1)
    assert np.isnan([found.low, found.p, found.p_holm]).all()
    assert (found.verdict, found.family, found.models_differ) == (WEAK, 0, False)
    assert "no interval is known" in found.sentence


def test_of_losses_the_lower_is_better() -> None:
    found = two([0.20, 0.21, 0.22], [0.40, 0.42, 0.41], metric="loss")
    assert found.metric == "loss"
    assert found.difference == pytest.approx(-0.2)
    assert (found.verdict, found.better) == (FIRST, "fomaml")
    assert "fomaml is better than maml at 4 inner steps: -0.2 in loss" in found.sentence


def test_seeds_that_one_side_lost_are_left_out_counted_and_named() -> None:
    cells = [cell("fomaml", seed, 0.8 + 0.01 * seed) for seed in range(5)]
    cells += [cell("maml", seed, 0.75 + 0.012 * seed) for seed in range(3)]
    cells += [cell("maml", 3, None, status="diverged")]  # seed 4 has not been run
    found = only(differences(*cells))
    assert found.seeds == 3
    assert found.difference == pytest.approx(np.mean([0.05, 0.048, 0.046]))
    assert found.lost == ("maml diverged", "maml was not run")
    assert found.sentence.endswith(
        "2 seeds left out (maml diverged: 1, maml was not run: 1), which may flatter what failed there"
    )


def test_a_failed_point_of_a_regression_counts_though_its_row_is_called_accuracy() -> None:
    cells = [cell("fomaml", seed, 0.8, metric="loss") for seed in range(4)]
    cells += [cell("maml", seed, 0.7, metric="loss") for seed in range(3)]
    cells += [cell("maml", 3, None, status="oom")]
    assert only(differences(*cells)).lost == ("maml ran out of memory",)


def test_where_no_seed_finished_on_both_sides_nothing_is_compared_and_it_is_said() -> None:
    cells = [cell("fomaml", 0, 0.8), cell("fomaml", 1, None, status="timeout")]
    cells += [cell("maml", 0, None, status="diverged"), cell("maml", 1, 0.8)]
    found = only(differences(*cells))
    assert (found.verdict, found.seeds) == (UNCOMPARED, 0)
    assert found.sentence == (
        "fomaml against maml at 4 inner steps: not compared, no seed finished on both sides; "
        "2 seeds left out (maml diverged: 1, fomaml timed out: 1)"
    )


def curve(
    method: str, tested: dict[int, float], validated: dict[int, float], seeds: int = 3
) -> list[list[Row]]:
    return [
        cell(method, seed, value + 0.001 * seed * steps, steps=steps, validation=validated[steps])
        for steps, value in tested.items()
        for seed in range(seeds)
    ]


def test_methods_are_compared_at_equal_steps_and_where_validation_not_test_is_best() -> None:
    cells = curve("maml", {1: 0.5, 4: 0.9, 8: 0.7}, {1: 0.2, 4: 0.6, 8: 0.8})
    cells += curve("fomaml", {1: 0.6, 2: 0.8}, {1: 0.7, 2: 0.6})
    found = differences(*cells)
    assert [(d.first_steps, d.second_steps, d.chosen) for d in found] == [(1, 1, False), (1, 8, True)]
    chosen = found[1]
    assert (chosen.inner_steps, chosen.leader) == (None, "maml")
    assert chosen.difference == pytest.approx(0.6 + 0.001 - 0.7 - 0.008)
    assert "(at 1 and 8 inner steps, as validation chose)" in chosen.sentence


def test_of_losses_validation_chooses_the_least() -> None:
    cells = []
    for method, validated in (("maml", {4: 0.6, 8: 0.2}), ("fomaml", {4: 0.5, 8: 0.9})):
        for steps, validation in validated.items():
            for seed in range(3):
                told = {"steps": steps, "validation": validation, "metric": "loss"}
                cells.append(cell(method, seed, 0.3 + 0.01 * seed, **told))
    (chosen,) = [d for d in differences(*cells) if d.chosen]
    assert (chosen.first_steps, chosen.second_steps, chosen.leader) == (4, 8, "maml")


@pytest.mark.parametrize(("metric", "best", "worst"), [("accuracy", 0.6, 0.1), ("loss", 0.4, 0.9)])
def test_what_counts_of_a_training_is_its_best_validation_score(
    metric: str, best: float, worst: float
) -> None:
    """It may get worse after; what is tested is the best."""
    cells = []
    for method, steps, validated in (
        ("maml", 4, (best, worst)),
        ("maml", 8, (0.5, 0.5)),
        ("fomaml", 4, (0.5,)),
    ):
        for seed in range(3):
            own = cell(method, seed, 0.3 + 0.01 * seed, steps=steps, validation=validated[0], metric=metric)
            own += [row(**vars(own[-1]) | {"value": later, "repeat": 40}) for later in validated[1:]]
            cells.append(own)
    (chosen,) = [d for d in differences(*cells) if d.chosen]
    assert (chosen.second_steps, chosen.leader) == (4, "maml")


def test_validation_does_not_choose_a_point_that_lost_seeds() -> None:
    cells = curve("maml", {4: 0.7, 8: 0.8}, {4: 0.5, 8: 0.9})
    cells[-1] = cell("maml", 2, None, steps=8, status="diverged")
    cells += curve("fomaml", {4: 0.6}, {4: 0.5})
    assert [(d.second_steps, d.chosen) for d in differences(*cells)] == [(4, True)]


def test_without_common_steps_or_validation_two_methods_are_said_to_be_unmatched() -> None:
    cells = [cell("maml", seed, 0.8, steps=8, validation=None) for seed in range(3)]
    cells += [cell("imaml-hf", seed, 0.8, steps=2, validation=None) for seed in range(3)]
    found = only(differences(*cells))
    assert (found.verdict, found.matched, found.family) == (UNCOMPARED, False, 0)
    assert found.sentence == (
        "imaml-hf against maml: not compared, no number of inner steps in common, and no validation scores "
        "to choose any by"
    )


def test_all_comparisons_on_a_workload_are_one_family_and_workloads_are_apart() -> None:
    cells = [cell for cell in whole_run(seeds=4) if cell[0].measure == "accuracy"]
    cells += [accuracy_cell(m, 4, s, workload="sinusoid", cell_id=f"{m}{s}") for m in ("maml", "anil")[:1]
              for s in range(4)]  # fmt: skip
    cells += [accuracy_cell("fomaml", 4, s, workload="sinusoid", cell_id=f"x{s}") for s in range(4)]
    found = differences(*cells)
    glyphs = [d for d in found if d.workload == GLYPHS]
    assert {d.family for d in glyphs} == {len(glyphs)}
    worst = sorted(glyphs, key=lambda d: d.p)
    stepped = np.maximum.accumulate([(len(glyphs) - i) * d.p for i, d in enumerate(worst)])
    assert [d.p_holm for d in worst] == pytest.approx(list(np.minimum(1, stepped)))
    alone = only([d for d in found if d.workload == "sinusoid"])
    assert (alone.family, alone.p_holm) == (1, alone.p)


def test_a_difference_seen_from_the_other_side_is_its_mirror() -> None:
    found = two([0.80, 0.84, 0.82], [0.70, 0.73, 0.72])
    other = found.seen_from("maml")
    assert (other.first, other.verdict, other.better) == ("maml", SECOND, "fomaml")
    assert (other.difference, other.low, other.high) == (-found.difference, -found.high, -found.low)
    assert other.sentence.startswith("maml is worse than fomaml")
    assert other.seen_from("fomaml") == found


def test_the_evidence_of_a_difference_is_the_rows_that_it_was_computed_from() -> None:
    frame = frame_of([row for cell in whole_run() for row in cell])
    for found in differences_of(frame, NOWHERE):
        sides = []
        for evidence in found.evidence:
            rows = evidence.rows(frame)
            sides.append(rows[rows.metric == "accuracy"].set_index("seed").value)
        assert (sides[0] - sides[1]).mean() == pytest.approx(found.difference)


@pytest.mark.parametrize("seeds", [3, 10])
def test_whole_runs_cover_their_truth_and_call_no_winner_where_there_is_none(seeds: int) -> None:
    """1,000 runs as 1,000 workloads of one frame, from rows to verdicts."""
    rng = np.random.default_rng([9, seeds])
    truths = {"fomaml": 0.79, "maml": 0.80}
    episodes = rng.normal(0, 0.02, (1000, seeds))
    rows = []
    for i in range(1000):
        for method, truth in truths.items():
            values = truth + episodes[i] + rng.normal(0, 0.015, seeds)
            rows += [
                line
                for seed, value in enumerate(values)
                for line in cell(method, seed, float(value), workload=f"w{i}", cell_id=f"{i}{method}{seed}")[
                    :2
                ]
            ]
    found = differences_of(frame_of(rows), NOWHERE)
    assert len(found) == 1000
    covered = np.mean([d.low <= -0.01 <= d.high for d in found])
    assert 0.93 <= covered <= 0.97
    assert np.mean([d.verdict == FIRST for d in found]) < 0.025  # the wrong winner


def test_settings_that_vary_are_rivals_like_methods() -> None:
    cells = []
    for lam in (0.5, 2.0):
        settings = json.loads(json.dumps({"lam": lam}))
        cells += [
            cell(
                "imaml-gd",
                seed,
                0.6 + lam / 10 + 0.001 * seed * lam,
                settings=settings,
                cell_id=f"{lam}-{seed}",
            )
            for seed in range(3)
        ]
    found = only(differences(*cells))
    assert (found.first, found.second) == ("imaml-gd[lam=0.5]", "imaml-gd[lam=2.0]")
    assert found.verdict == SECOND


def test_one_method_alone_has_no_differences_and_no_rows_neither() -> None:
    assert differences(cell("maml", 0, 0.8)) == []
    assert differences([]) == []


def test_newton_steps_are_held_against_gradient_steps_where_validation_chose_both_and_only_there() -> None:
    methods = (("imaml-hf", 0.8), ("maml", 0.7))
    at_four = [cell(m, seed, x, validation=None) for m, x in methods for seed in range(3)]
    assert only(differences(*at_four)).verdict == UNCOMPARED
    found = only(differences(*(cell(m, seed, x) for m, x in methods for seed in range(3))))
    assert (found.chosen, found.first_steps, found.second_steps, found.inner_steps) == (True, 4, 4, None)
    variants = [{"lam": lam, "cg_steps": 5} for lam in (1.0, 2.0)]
    both = [
        cell("imaml-hf", seed, 0.8, validation=None, settings=own, cell_id=f"{own['lam']}-{seed}")
        for own in variants
        for seed in range(3)
    ]
    assert only(differences(*both)).inner_steps == 4
