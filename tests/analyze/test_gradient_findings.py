"""Errors of meta-gradients, their floors and their work, on rows whose right answers are known."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows import (
    LAM,
    RATES,
    SOLVER_FLOORS,
    gradient_cell,
    imaml_point,
    inner_kappa,
    maml_point,
    meta_gradient_run,
    optimisers_run,
    regression,
    row,
)

from harness.analyze.gradient import Floor, error_floors, error_in_words, geometric_mean, gradient_summary
from harness.analyze.summary import failures
from harness.analyze.work import TARGETS, Order, orders_in, work_to_reach
from harness.frame import frame_of
from harness.rows import Row


def orders(rows: pd.DataFrame, errors: Sequence[float] = TARGETS) -> list[Order]:
    return orders_in(work_to_reach(rows, errors), rows)


def frame(*cells: list[Row]) -> pd.DataFrame:
    return frame_of([row for cell in cells for row in cell])


def only(summary: pd.DataFrame) -> pd.Series:
    assert len(summary) == 1
    return summary.iloc[0]


def point(value: float | None, seed: int = 0, *, steps: int = 4, **metrics: float) -> list[Row]:
    values = {"rel_error_implicit": value} | metrics
    return gradient_cell("maml", steps, seed, values=values, settings={"lam": 1.0})


def test_over_seeds_errors_are_averaged_as_orders_of_magnitude_and_counts_by_their_median() -> None:
    errors, counts = (1e-2, 1e-4, 1e-6), (5.0, 6.0, 40.0)
    cells = [
        point(error, seed, inner_residual=10 * error, gradient_evaluations=count, hessian_products=2 * count)
        for seed, (error, count) in enumerate(zip(errors, counts, strict=True))
    ]
    found = only(gradient_summary(frame(*cells)))
    assert found.rel_error_implicit == pytest.approx(1e-4)
    assert (found.rel_error_implicit_low, found.rel_error_implicit_high) == (1e-6, 1e-2)
    assert found.inner_residual == pytest.approx(1e-3)
    assert (found.gradient_evaluations, found.hessian_products, found.work) == (6, 12, 18)
    assert found.seeds == 3


def test_an_error_of_exactly_nothing_survives() -> None:
    assert only(gradient_summary(frame(point(0.0)))).rel_error_implicit == 0.0
    assert only(gradient_summary(frame(point(0.0), point(0.0, 1)))).rel_error_implicit == 0.0
    assert np.isnan(geometric_mean(np.array([])))


def test_one_seed_without_error_does_not_hide_the_others() -> None:
    found = only(gradient_summary(frame(point(0.0), point(0.5, 1), point(0.5, 2))))
    assert found.rel_error_implicit == pytest.approx((2.0**-52 * 0.25) ** (1 / 3))
    assert (found.rel_error_implicit_low, found.rel_error_implicit_high) == (0.0, 0.5)
    tiny = only(gradient_summary(frame(point(0.0), point(1e-20, 1))))
    assert tiny.rel_error_implicit == pytest.approx(1e-20)  # never above the largest


def test_what_a_method_does_not_have_is_no_failure() -> None:
    values = {"rel_error_unrolled": 1e-15, "rel_error_implicit": None}
    found = only(gradient_summary(frame(gradient_cell("maml", 4, values=values))))
    assert (found.status, found.failed, found.failure) == ("ok", 0, "")
    assert np.isnan(found.rel_error_implicit)
    assert np.isnan(found.work)


def test_a_method_without_any_meta_gradient_is_skipped_and_a_failed_point_keeps_its_reason() -> None:
    lost = row(measure="gradient", metric="rel_error_implicit", unit="ratio", value=None, status="timeout",
               detail="took longer than 10 s", inner_steps=8, settings={"lam": 1.0})  # fmt: skip
    pseudo = gradient_cell("reptile", 4, values={"rel_error_unrolled": None}, settings={})
    summary = gradient_summary(frame(point(1e-3), [lost], pseudo)).set_index(["method", "inner_steps"])
    assert summary.status.to_dict() == {("maml", 4): "ok", ("maml", 8): "timeout", ("reptile", 4): "skipped"}
    assert summary.detail["maml", 8] == "took longer than 10 s"


def test_a_seed_that_failed_is_counted() -> None:
    lost = Row(**vars(point(1.0, 1)[0]) | {"value": None, "status": "diverged"})
    found = only(gradient_summary(frame(point(1e-3), [lost])))
    assert (found.status, found.failed, found.failure, found.seeds) == ("ok", 1, "diverged", 1)


def test_nothing_measured_is_an_empty_summary() -> None:
    nothing = frame(point(1.0)).iloc[:0]
    assert gradient_summary(nothing).empty
    assert work_to_reach(nothing).empty
    assert orders(nothing) == []
    assert failures(nothing).empty


def floors(cells: list[list[Row]], target: str = "rel_error_implicit") -> dict[str, Floor]:
    found = error_floors(gradient_summary(frame(*cells)), target)
    return {f"{floor.workload.split(',')[0]}] {floor.method_label}": floor for floor in found}


def test_a_floor_is_told_from_an_error_that_still_falls() -> None:
    found = floors(meta_gradient_run())
    for cg, left in SOLVER_FLOORS.items():
        at_10 = found[f"linear-regression[condition=10.0] imaml-gd[cg_steps={cg}]"]
        assert at_10.error == pytest.approx(left, rel=0.05)
        assert at_10.falls is False
    # At the condition number 100 and 512 steps, only two CG steps are the limit: 0.03 against 2e-4.
    at_100 = {
        cg: found[f"linear-regression[condition=100.0] imaml-gd[cg_steps={cg}]"] for cg in SOLVER_FLOORS
    }
    assert {cg: floor.falls for cg, floor in at_100.items()} == {2: False, 5: True, 10: True, 20: True}


def test_a_floor_in_words_names_both_residuals() -> None:
    run = [cell for cell in meta_gradient_run() if "=10.0" in cell[0].workload]
    sentences = {name.split()[1]: floor.sentence for name, floor in floors(run).items()}
    assert sentences["imaml-gd[cg_steps=5]"] == (
        "imaml-gd[cg_steps=5]: 4.0e-4 at 512 inner steps (not falling; inner residual 1.0e-17; "
        "solver residual 8.0e-4)"
    )
    assert sentences["maml"].startswith("maml: 1.0e-16 at 512 inner steps (rounding; inner residual")
    assert floors([point(0.5)])["glyphs[shots=1] maml"].sentence == "maml: 0.5 at 4 inner steps"


def test_only_methods_that_have_an_error_have_a_floor() -> None:
    assert {floor.method for floor in floors(meta_gradient_run(), "rel_error_unrolled").values()} == {"maml"}


def curve(errors: dict[int, float], **values: Any) -> list[list[Row]]:
    return [
        point(error, steps=steps, gradient_evaluations=steps + 1.0, hessian_products=3.0, **values)
        for steps, error in errors.items()
    ]


def reached(cells: list[list[Row]], *errors: float) -> pd.DataFrame:
    return work_to_reach(frame(*cells), errors).set_index("error")


def test_work_is_that_of_the_first_point_from_which_on_the_error_stays_small() -> None:
    work = reached(curve({1: 0.5, 2: 1e-3, 4: 0.2, 8: 1e-2, 16: 1e-5}), 1e-1, 1e-4, 1e-8)
    assert list(work.inner_steps[:2]) == [8, 16]  # at 2 steps it only passed through
    assert (work.gradient_evaluations[1e-1], work.hessian_products[1e-1], work.work[1e-1]) == (9, 3, 12)
    assert work.loc[1e-8, ["inner_steps", "work", "crossing"]].isna().all()


def test_an_error_counts_as_reached_where_it_is_met_exactly() -> None:
    assert reached(curve({1: 0.5, 2: 1e-4}), 1e-4).inner_steps[1e-4] == 2
    assert reached(curve({1: 0.5, 2: 0.0}), 1e-8).inner_steps[1e-8] == 2


def test_an_optimiser_that_diverges_later_has_not_arrived() -> None:
    lost = row(measure="gradient", metric="rel_error_implicit", value=None, status="diverged",
               inner_steps=16, settings={"lam": 1.0})  # fmt: skip
    assert np.isnan(reached([*curve({1: 0.5, 8: 1e-5}), [lost]], 1e-4).work[1e-4])
    late = Row(**vars(lost) | {"status": "timeout"})
    assert reached([*curve({1: 0.5, 8: 1e-5}), [late]], 1e-4).work[1e-4] == 12


def test_a_point_of_which_a_seed_diverged_has_not_arrived() -> None:
    def lost(seed: int, status: str) -> list[Row]:
        return [Row(**vars(point(1.0, seed, steps=8)[0]) | {"value": None, "status": status})]

    cells = curve({1: 0.5, 8: 1e-5})
    assert reached([*cells, lost(1, "timeout")], 1e-4).inner_steps[1e-4] == 8
    # Also where more seeds failed in another way.
    others = [lost(1, "diverged"), lost(2, "timeout"), lost(3, "timeout")]
    assert reached([*cells, *others], 1e-4).loc[1e-4, ["inner_steps", "work", "crossing"]].isna().all()
    assert only(gradient_summary(frame(cells[1], *others))).diverged == 1


def test_the_crossing_lies_on_the_line_in_the_logarithm() -> None:
    work = reached(curve({8: 1e-2, 16: 1e-6}), 1e-4, 1e-2, 1e-5)
    assert work.crossing[1e-4] == pytest.approx(16)  # half way between 12 and 20
    assert work.crossing[1e-5] == pytest.approx(18)
    assert np.isnan(work.crossing[1e-2])  # reached at the first point: only a bound
    inner = reached(curve({8: 1e-2, 16: 1e-6}, solver_matvecs=3.0), 1e-4)
    assert inner.inner_crossing[1e-4] == pytest.approx(13)
    # A solver that says more products than were counted takes no gradients off.
    more = reached(curve({8: 1e-2, 16: 1e-6}, solver_matvecs=5.0), 1e-4)
    assert more.inner_crossing[1e-4] == pytest.approx(13)


def test_the_error_is_the_unrolled_one_where_there_is_no_implicit_one() -> None:
    values = {"rel_error_unrolled": 1e-15, "gradient_evaluations": 5.0, "hessian_products": 4.0}
    cells = [gradient_cell("maml", 4, values=values, settings={}), *curve({1: 0.5, 2: 1e-4})]
    targets = work_to_reach(frame(*cells), [1e-2]).set_index("method_label").target
    assert set(targets) == {"rel_error_unrolled", "rel_error_implicit"}


def test_what_was_not_counted_has_no_work() -> None:
    assert work_to_reach(frame(point(1e-9))).empty


def found_orders(cells: list[list[Row]]) -> dict[tuple[str, float], Order]:
    labels = {name: f"imaml-gd[optimiser={name}]" for name in RATES}
    names = {label: name for name, label in labels.items()}
    return {(names[order.method_label], order.error): order for order in orders(frame(*cells))}


def test_the_exponent_of_the_condition_number_is_recovered() -> None:
    """From a grid of powers of two, whose points alone would be off by up to a factor of two."""
    found = found_orders(optimisers_run([2**i for i in range(17)]))
    for optimiser, (exponent, _) in RATES.items():
        order = found[optimiser, 1e-4]
        assert order.inner_exponent == pytest.approx(exponent, abs=0.02)
        assert order.exponent < order.inner_exponent  # every solve costs the same 20 products
        assert order.points == 3
        assert (order.lowest, order.highest) == (inner_kappa(10), inner_kappa(1000))


def test_the_condition_number_is_that_of_the_proximal_problem() -> None:
    """Eigenvalues 1/condition + lam to 1 + lam: at lam = 0.001 and condition 1000 it is some 500."""
    assert inner_kappa(1000.0) == pytest.approx(1.001 / 0.002)
    order = found_orders(optimisers_run([2**i for i in range(15)]))["accelerated", 1e-6]
    assert (
        "kappa^0.50 (from 3 condition numbers of the inner problem, 9.91 to 500, no interval)"
        in order.sentence
    )
    assert order.sentence.startswith(
        "imaml-gd[optimiser=accelerated]: work to an error of 1e-6 grows as kappa^"
    )


def test_an_error_that_is_reached_at_one_condition_only_has_no_order() -> None:
    found = found_orders(optimisers_run([1, 4, 16, 64, 256]))
    assert ("accelerated", 1e-2) in found
    assert ("gradient-descent", 1e-6) not in found


def test_workloads_that_differ_otherwise_make_no_order() -> None:
    cells = [
        imaml_point(0.5 / condition, 20, 2**i, workload=regression(condition, dimension))
        for condition, dimension in ((10.0, 20), (1000.0, 8))
        for i in range(15)
    ]
    assert orders(frame(*cells)) == []


def test_a_strong_proximal_term_leaves_no_span_to_fit() -> None:
    settings = {"cg_steps": 20, "lam": 10.0}
    cells = [
        imaml_point(0.5, 20, 2**i, workload=regression(condition), settings=settings)
        for condition in (10.0, 1000.0)
        for i in range(8)
    ]
    assert inner_kappa(1000.0, 10.0) < 1.2 < inner_kappa(1000.0, LAM)
    assert orders(frame(*cells)) == []


def test_without_lambda_the_condition_number_is_the_workloads_own() -> None:
    cells = [
        maml_point(1 / condition, 2**i, workload=regression(condition), settings={"inner_lr": 0.5})
        for condition in (10.0, 100.0)
        for i in range(14)
    ]
    (order,) = orders(frame(*cells), [1e-6])
    assert (order.lowest, order.highest) == (10, 100)
    assert (
        order.exponent == order.inner_exponent == pytest.approx(1.0, abs=0.15)
    )  # it falls as k (1 - 1/kappa)^k


@pytest.mark.parametrize(
    ("error", "words"), [(0.0, "0"), (0.0312, "3.1e-2"), (0.31, "0.31"), (2.0, "2"), (1e-17, "1.0e-17")]
)
def test_an_error_is_written_in_few_letters(error: float, words: str) -> None:
    assert error_in_words(error) == words


def test_two_points_do_not_say_that_an_error_still_falls() -> None:
    def falls(*errors: float) -> bool | None:
        cells = curve({2**i: error for i, error in enumerate(errors)}, inner_residual=1e-17)
        return floors(cells)["glyphs[shots=1] maml"].falls

    assert falls(0.5, 0.1) is None
    assert falls(0.5, 0.2, 0.1) is True
    assert falls(0.5, 0.1, 0.1) is False
    assert falls(0.1, 0.1, 0.05) is None  # one step down after none: either may be chance
