"""Published accuracies, and a run's beside them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from claims import line, lines, loaded
from published import FIVE_WAY, MINIMAL, OFFICIAL, TWENTY_WAY, trained_cell, trained_cells
from rows import write_run
from scipy import stats

from harness.analyze.loaded import LoadedRun, load_run
from harness.analyze.published.baseline import against_baseline
from harness.analyze.published.beside import Beside, unknown_in_words, unlike_in_words
from harness.analyze.published.figures import FIGURES
from harness.rows import Row

ACCURACY = {"meta_batch_size": 32, "validate_every": 500, "validation_tasks": 200, "test_tasks": 600}
PRINTED = """
MAML 98.7 +- 0.4 | 99.9 +- 0.1 | 95.8 +- 0.3 | 98.9 +- 0.2
first-order MAML 98.3 +- 0.5 | 99.2 +- 0.2 | 89.4 +- 0.5 | 97.9 +- 0.1
Reptile 97.68 +- 0.04 | 99.48 +- 0.06 | 89.43 +- 0.14 | 97.12 +- 0.32
iMAML, GD 99.16 +- 0.35 | 99.67 +- 0.12 | 94.46 +- 0.42 | 98.69 +- 0.1
iMAML, Hessian-free 99.50 +- 0.26 | 99.74 +- 0.11 | 96.18 +- 0.36 | 99.14 +- 0.1
"""
CLAIM = "accuracies on Omniglot"


def run_of(cells: list[list[Row]], *, deviations: list[str] | None = None, **accuracy: Any) -> LoadedRun:
    content: dict[str, Any] = {"accuracy": ACCURACY | accuracy}
    content |= {"deviations": deviations} if deviations else {}
    return replace(loaded(cells), manifest={"content": content})


def beside(run: LoadedRun) -> Beside:
    (only,) = run.published()
    return only


def test_the_figures_are_those_of_the_tables() -> None:
    shown = {}
    for each in (f for f in FIGURES if f.table == "Table 2"):
        shown.setdefault(each.row, []).append(each.printed.replace("±", "+-"))
    assert "\n".join(f"{row} {' | '.join(cells)}" for row, cells in shown.items()) == PRINTED.strip()
    third = {f.method: (f.accuracy, f.half) for f in FIGURES if f.table == "Table 3"}
    assert third == {
        "maml": (48.70, 1.84),
        "fomaml": (48.07, 1.75),
        "reptile": (49.97, 0.32),
        "imaml-gd": (48.96, 1.84),
        "imaml-hf": (49.30, 1.88),
    }
    origins = {f.row: f.origin for f in FIGURES if f.table == "Table 2"}
    assert origins["MAML"] == "Finn et al. 2017"
    assert origins["first-order MAML"] == origins["Reptile"] == "Nichol et al. 2018"
    assert {f.remark for f in FIGURES if f.method == "reptile"} == {"transductive"}
    assert [f.remark for f in FIGURES if f.table == "Table 3" and f.method == "imaml-hf"] == ["second-hand"]


def test_a_difference_has_the_interval_of_independent_means() -> None:
    values = np.array([0.985, 0.990, 0.983, 0.994])
    found = beside(run_of(trained_cells(values)))
    mean, half = 100 * values.mean(), 100 * stats.t.ppf(0.975, 3) * stats.sem(values)
    assert found.figure.printed == "99.16 ± 0.35"
    assert found.difference == pytest.approx(mean - 99.16)
    both = np.sqrt(half**2 + 0.35**2)
    assert found.difference_low == pytest.approx(mean - 99.16 - both)
    assert found.difference_high == pytest.approx(mean - 99.16 + both)
    assert (found.interval, found.seeds, found.verdict) == ("seeds", 4, "not told apart")


def test_below_three_seeds_the_interval_is_over_tasks_and_says_so_and_calls_nothing() -> None:
    found = beside(run_of(trained_cells([0.80, 0.82])))
    assert found.interval == "tasks"
    assert found.verdict == ""
    assert found.basis == "600 test tasks of 2 seeds only"


def test_each_method_stands_at_the_inner_steps_that_its_validation_tasks_choose() -> None:
    better_tested = trained_cells([0.99] * 3, inner_steps=8, curve={0: 0.3, 20_000: 0.90})
    chosen = trained_cells([0.95] * 3, inner_steps=16, curve={0: 0.3, 20_000: 0.96})
    found = beside(run_of([*better_tested, *chosen]))
    assert (found.inner_steps, found.is_chosen) == (16, True)
    assert found.mean == pytest.approx(95)


def test_other_workloads_and_shapes_have_no_figures() -> None:
    for workload in ("glyphs[shots=1,ways=5]", FIVE_WAY.replace("shots=1", "shots=3")):
        assert run_of(trained_cells([0.9] * 3, workload=workload)).published() == []


def test_every_column_is_held_against_its_own_figure() -> None:
    cells = [*trained_cells([0.9] * 3), *trained_cells([0.8] * 3, workload=TWENTY_WAY, inner_steps=25)]
    run = run_of(cells)
    assert {(each.workload, each.figure.printed) for each in run.published()} == {
        (FIVE_WAY, "99.16 ± 0.35"),
        (TWENTY_WAY, "94.46 ± 0.42"),
    }
    assert "inner steps" not in unlike_in_words(run.published())


def test_what_is_unlike_is_taken_from_rows_and_manifest() -> None:
    narrow = FIVE_WAY.replace("filters=64", "filters=32")
    run = run_of(
        trained_cells([0.9] * 3, workload=narrow, inner_steps=8, curve={0: 0.3, 400: 0.9}), meta_batch_size=8
    )
    words = unlike_in_words(run.published())
    assert "filters 32 (the network of Finn et al. 2017: 64)" in words
    assert "inner steps 8 (the paper: 16)" in words
    assert "meta-batch 8 (the readme of the authors' code: 32)" in words
    assert "meta-steps 400 (the readme of the authors' code: at least 20,000)" in words
    assert "lam" not in words
    unknown = unknown_in_words(run.published())
    assert "queries 15" in unknown
    assert "seeds 3" in unknown
    assert "the best on 200 validation tasks every 500 meta-steps" in unknown


def test_a_protocol_as_published_is_unlike_in_nothing() -> None:
    assert unlike_in_words(run_of(trained_cells([0.9] * 3)).published()) == ""


def test_of_other_papers_rows_nothing_is_known_but_the_network() -> None:
    run = run_of(trained_cells([0.9] * 3, method="maml", inner_steps=5, curve={0: 0.3, 400: 0.9}))
    assert unlike_in_words(run.published()) == ""
    assert "meta-steps 400" in unknown_in_words(run.published())


def test_a_setting_by_method_and_workload_is_that_of_its_point() -> None:
    run = run_of(trained_cells([0.9] * 3))
    settings = {FIVE_WAY: {"accuracy": ACCURACY | {"test_inner_steps": {"imaml-gd": 30, "*": 3}}}}
    run = replace(run, manifest=run.manifest | {"settings": settings})
    assert "inner steps in test 30" in unknown_in_words(run.published())


def test_held_out_alphabets_stand_beside_the_figures_and_are_named_another_protocol() -> None:
    run = run_of(trained_cells([0.9] * 3, workload=MINIMAL))
    found = beside(run)
    assert found.figure.printed == "99.16 ± 0.35"
    assert found.another.startswith("another protocol")
    told = line(CLAIM, run)
    assert told.verdict == "not measured"
    assert "another protocol" in told.sentence
    assert "against 99.16 ± 0.35" in told.sentence


# The claim


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ([0.991, 0.9915, 0.9912], "reproduced"),
        ([0.995, 0.9955, 0.9952], "reproduced"),
        ([0.960, 0.961, 0.9605], "not reproduced"),
        ([0.999, 0.970, 0.985], "not measured"),
        ([0.991, 0.9915], "not measured"),
    ],
)
def test_a_figure_is_reached_missed_or_too_weak_to_call(accuracies: list[float], verdict: str) -> None:
    assert line(CLAIM, run_of(trained_cells(accuracies))).verdict == verdict


def test_one_variant_that_misses_its_figure_decides() -> None:
    cells = [
        *trained_cells([0.995, 0.9955, 0.9952], method="imaml-hf", inner_steps=2),
        *trained_cells([0.960, 0.961, 0.9605]),
    ]
    assert line(CLAIM, run_of(cells)).verdict == "not reproduced"


def test_rows_of_other_papers_are_told_and_not_judged() -> None:
    cells = [*trained_cells([0.9, 0.9, 0.901], method="maml"), *trained_cells([0.991, 0.9915, 0.9912])]
    found = line(CLAIM, run_of(cells))
    assert found.verdict == "reproduced"
    assert "against 98.7 ± 0.4 (MAML, Table 2, from Finn et al. 2017)" in found.sentence
    alone = line(CLAIM, run_of(trained_cells([0.9, 0.9, 0.901], method="maml")))
    assert alone.verdict == "not measured"
    assert "None of the paper's own rows is among them" in alone.sentence


def test_short_training_and_another_network_may_reach_a_figure_and_cannot_miss_it() -> None:
    brief = {"curve": {0: 0.3, 400: 0.9}}
    narrow = {"workload": FIVE_WAY.replace("filters=64", "filters=32")}
    for changes in (brief, narrow):
        low = line(CLAIM, run_of(trained_cells([0.960, 0.961, 0.9605], **changes)))
        assert low.verdict == "not measured"
        high = line(CLAIM, run_of(trained_cells([0.995, 0.9955, 0.9952], **changes)))
        assert high.verdict == "reproduced"
    assert "judged from 2,000 on" in line(CLAIM, run_of(trained_cells([0.96] * 3, **brief))).sentence


def test_a_training_that_ended_since_nothing_improved_is_long_enough() -> None:
    curve = {0: 0.3, 100: 0.96} | {100 * i: 0.95 for i in range(2, 7)}
    cells = trained_cells([0.960, 0.961, 0.9605], curve=curve)
    assert line(CLAIM, run_of(cells, patience=5)).verdict == "not reproduced"
    assert line(CLAIM, run_of(cells, patience=6)).verdict == "not measured"  # it ended for another reason
    assert line(CLAIM, run_of(cells)).verdict == "not measured"
    assert line(CLAIM, run_of(cells, patience=2)).verdict == "not measured"  # validation may have scattered


def test_gains_count_from_trainings_that_ended_since_nothing_improved() -> None:
    curve = {0: 0.3, 100: 0.9} | {100 * i: 0.85 for i in range(2, 8)}
    gains = {"maml": 0.80, "imaml-gd": 0.85}
    rng = np.random.default_rng(0)
    cells = [
        trained_cell(mean + float(rng.normal(0, 0.001)), seed, method=method, curve=curve)
        for method, mean in gains.items()
        for seed in range(5)
    ]
    assert line("gains in accuracy", run_of(cells, patience=6)).verdict == "reproduced"
    assert line("gains in accuracy", run_of(cells)).verdict == "not measured"


def test_tables_without_rows_say_what_they_need() -> None:
    (second,) = lines("accuracies on Mini-ImageNet", run_of(trained_cells([0.9] * 3)))
    assert second.verdict == "not measured"
    assert second.run == ""


# The dataset's baseline


def official(accuracies: list[float], *, hausdorff: float = 0.62) -> list[list[Row]]:
    floors = {"hausdorff": hausdorff, "neighbour": 0.45}
    return trained_cells(accuracies, workload=OFFICIAL, tasks=10, floors=floors, half=0.05)


def test_a_methods_error_is_held_against_the_baseline_on_the_same_tasks() -> None:
    values = np.array([0.70, 0.72, 0.71])
    (found,) = against_baseline(run_of(official(list(values))))
    assert found.is_official
    assert (found.error, found.baseline) == (pytest.approx(29), pytest.approx(38))
    assert found.difference == pytest.approx(-9)
    half = 100 * stats.t.ppf(0.975, 2) * stats.sem(values)
    assert found.halves.seeds == pytest.approx(half)
    assert found.difference_halves.seeds == pytest.approx(half)  # the baseline is the same in every seed


def test_the_same_tasks_in_every_seed_make_no_interval_over_tasks_narrower() -> None:
    run = run_of(official([0.70, 0.72]))
    assert run.accuracy.tasks_ci95.iloc[0] == pytest.approx(0.05)
    assert run.accuracy.hausdorff_ci95.iloc[0] == pytest.approx(0.05)
    fresh = trained_cells([0.70, 0.72], half=0.05, floors={"neighbour": 0.45})  # alike by chance
    assert run_of(fresh).accuracy.tasks_ci95.iloc[0] == pytest.approx(0.05 / np.sqrt(2))


def test_over_tasks_the_difference_is_paired(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 0.1, 10)  # tasks that both find hard
    scores = {"accuracy": 0.70 + hard + rng.normal(0, 0.01, 10), "hausdorff_accuracy": 0.62 + hard}
    cells = official([float(scores["accuracy"].mean())], hausdorff=float(scores["hausdorff_accuracy"].mean()))
    path = write_run(tmp_path / "run", cells)
    (found,) = against_baseline(load_run(path))
    assert np.isnan(found.difference_halves.tasks)  # no values of single tasks
    folder = path / "cells" / cells[0][0].cell_id
    folder.mkdir(parents=True)
    pd.DataFrame({"task": range(10)} | scores).to_csv(folder / "per_task.csv", index=False)
    (found,) = against_baseline(load_run(path))
    differences = scores["hausdorff_accuracy"] - scores["accuracy"]
    assert found.difference == pytest.approx(100 * differences.mean())
    assert found.difference_halves.tasks == pytest.approx(
        100 * stats.t.ppf(0.975, 9) * stats.sem(differences)
    )
    assert found.difference_halves.tasks < found.halves.tasks


def test_without_the_baseline_nothing_is_held_against_it() -> None:
    assert against_baseline(run_of(trained_cells([0.9] * 3))) == []
