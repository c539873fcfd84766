"""The `gradient` measure, on tasks whose exact meta-gradient is known."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from problems import make
from runs import rows_of, run_here, write_suite

from harness.core import trees
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.trees import Params
from harness.measure.bench import Bench
from harness.measure.gradient import measure_gradient
from harness.measure_settings import GradientSettings
from harness.protocol import Reading, Samples
from harness.training.meta_learner import Diverged
from harness.workloads.base import Workload
from harness.workloads.glyphs import Glyphs
from harness.workloads.linear_regression import LinearRegression
from harness.workloads.sinusoid import Sinusoid
from methods.fomaml import FOMAML
from methods.imaml import ImamlGD, ImamlHF
from methods.maml import MAML
from methods.reptile import Reptile

RIDGE = LinearRegression(dimension=8, shots=16)
LAM = 0.5
EXACT: dict[str, Any] = {"lam": LAM, "cg_steps": 20, "cg_tolerance": 1e-14}


def bench(method: Method, workload: Workload = RIDGE, **settings: Any) -> Bench:
    return Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=GradientSettings(**({"meta_batch_size": 3} | settings)),
        seed=0,
        device=torch.device("cpu"),
        memory_budget=None,
    )


def read(method: Method, workload: Workload = RIDGE, **settings: Any) -> dict[str, Reading]:
    said = measure_gradient(bench(method, workload, **settings))
    return {r.metric: r for r in said if isinstance(r, Reading)}


def value(readings: dict[str, Reading], metric: str) -> float:
    found = readings[metric].value
    assert found is not None
    return found


def test_both_errors_of_an_exact_method_vanish_where_its_inner_loop_has_converged() -> None:
    read_of_maml = read(make(MAML, inner_steps=200, inner_lr=0.5, lam=LAM))
    read_of_imaml = read(make(ImamlGD, inner_steps=200, inner_lr=0.5, **EXACT))
    for found in (read_of_maml, read_of_imaml):
        for metric in ("rel_error_implicit", "rel_error_unrolled", "inner_residual"):
            assert value(found, metric) < 1e-11
        assert value(found, "cosine_implicit") == pytest.approx(1, abs=1e-12)
    assert value(read_of_imaml, "solver_residual") < 1e-12


def test_truncation_and_solver_error_are_told_apart() -> None:
    truncated = read(make(ImamlGD, inner_steps=3, inner_lr=0.5, **EXACT))
    unsolved = read(make(ImamlGD, inner_steps=200, inner_lr=0.5, lam=LAM, cg_steps=2))
    assert value(truncated, "inner_residual") > 1e-3 > 1e-12 > value(truncated, "solver_residual")
    assert value(unsolved, "solver_residual") > 1e-3 > 1e-12 > value(unsolved, "inner_residual")
    assert min(value(r, "rel_error_implicit") for r in (truncated, unsolved)) > 1e-3


def test_two_cg_steps_leave_a_floor_that_five_and_ten_lower() -> None:
    floors = []
    for cg_steps in (2, 5, 10):
        method = make(ImamlGD, inner_steps=300, inner_lr=0.5, lam=LAM, cg_steps=cg_steps, cg_tolerance=1e-14)
        floors.append(value(read(method, LinearRegression(dimension=20)), "rel_error_implicit"))
    assert floors[0] > 100 * floors[1] > 10_000 * floors[2]


def test_three_newton_steps_do_what_takes_gradient_descent_tens() -> None:
    ridge = LinearRegression(dimension=20, condition=100.0)
    exact = EXACT | {"lam": 0.1, "cg_steps": 60}

    def error(cls: type[Method], steps: int, **settings: Any) -> float:
        return value(read(make(cls, inner_steps=steps, **settings, **exact), ridge), "rel_error_implicit")

    newton = error(ImamlHF, 3, newton_cg_steps=5, newton_cg_tolerance=1e-10)
    assert newton < error(ImamlGD, 30, inner_lr=1 / 1.1)
    assert newton > error(ImamlHF, 3, newton_cg_steps=10, newton_cg_tolerance=1e-10)


def test_the_first_order_gradient_is_far_from_the_unrolled_one_and_has_no_implicit_one() -> None:
    found = read(make(FOMAML, inner_steps=5, inner_lr=0.5))
    assert value(found, "rel_error_unrolled") > 0.1
    assert not {"rel_error_implicit", "cosine_implicit", "inner_residual"} & set(found)


def test_what_has_no_meta_gradient_is_skipped_in_words() -> None:
    found = read(make(Reptile, inner_steps=2))
    assert {r.status for r in found.values()} == {"skipped"}
    assert "gradient of no loss" in found["rel_error_unrolled"].detail


def test_the_implicit_error_of_a_method_without_lam_is_skipped_where_nothing_else_was_asked_for() -> None:
    found = read(make(MAML, inner_steps=2), oracles=["implicit"])
    assert found["rel_error_implicit"].status == "skipped"
    assert value(found, "meta_gradient_norm") > 0


@pytest.mark.parametrize(
    ("method", "gradients", "products"),
    [
        (make(MAML, inner_steps=7, lam=LAM), 7 + 1, 7),
        (make(FOMAML, inner_steps=7), 7 + 1, 0),
        # The inner loop, the query's, and that whose graph serves the products.
        (make(ImamlGD, inner_steps=7, lam=LAM, cg_steps=3), 7 + 2, 3),
        (make(ImamlGD, inner_steps=7, optimiser="accelerated", lam=LAM, cg_steps=3), 7 + 2, 3),
    ],
    ids=["maml", "fomaml", "imaml-gd", "accelerated"],
)
def test_work_is_counted_in_gradients_and_hessian_products(
    method: Method, gradients: int, products: int
) -> None:
    found = read(method)
    assert (value(found, "gradient_evaluations"), value(found, "hessian_products")) == (gradients, products)


def test_chunks_and_executions_change_no_figure() -> None:
    method = make(ImamlGD, inner_steps=4, inner_lr=0.5, lam=LAM)
    whole = read(method)
    for settings in ({"task_chunk": 2}, {"execution": "loop"}):
        other = read(method, **settings)
        assert other.keys() == whole.keys()
        for metric in whole:
            assert value(other, metric) == pytest.approx(value(whole, metric), rel=1e-9, abs=1e-13)


def test_figures_are_means_of_the_per_task_ones_that_are_kept() -> None:
    said = list(measure_gradient(bench(make(ImamlGD, inner_steps=4, inner_lr=0.5, lam=LAM))))
    (samples,) = [s for s in said if isinstance(s, Samples)]
    readings = {r.metric: r for r in said if isinstance(r, Reading)}
    assert len(samples.columns["task"]) == 3
    kept = samples.columns["rel_error_implicit"]
    assert value(readings, "rel_error_implicit") == pytest.approx(sum(kept) / 3, rel=1e-12)


def test_the_norm_of_plain_mamls_meta_gradient_vanishes_and_that_of_imaml_does_not() -> None:
    def norms(method: Method) -> list[float]:
        steps = (1, 400)
        return [value(read(replace(method, inner_steps=k)), "meta_gradient_norm") for k in steps]

    first, last = norms(make(MAML, inner_steps=1, inner_lr=0.5))
    assert last < 1e-6 * first
    first, last = norms(make(ImamlGD, inner_steps=1, inner_lr=0.5, **EXACT))
    assert last > 0.01 * first


def test_a_network_whose_inner_problem_is_smooth_has_both_errors() -> None:
    found = read(make(ImamlHF, inner_steps=2, lam=5.0), Sinusoid(activation="tanh"), meta_batch_size=1)
    assert value(found, "rel_error_unrolled") > 0
    assert found["rel_error_implicit"].status == "ok"


def test_a_convolutional_network_with_relu_has_the_unrolled_error() -> None:
    workload = Glyphs(ways=2, shots=1, queries=2, filters=4)
    found = read(make(MAML, inner_steps=2, inner_lr=0.05), workload, meta_batch_size=2)
    assert value(found, "rel_error_unrolled") < 1e-12
    assert "autograd" in found["rel_error_unrolled"].detail


def test_an_inner_loop_that_explodes_has_diverged() -> None:
    with pytest.raises(Diverged, match="not finite"):
        read(make(MAML, inner_steps=2000, inner_lr=50.0))


class Hidden(Method):
    """A meta-gradient that misses its sign, by a method with a network too large for differences."""

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "constant"

    def adapt(self, support: Objective, meta: Params) -> Params:
        return {n: p.detach() for n, p in trees.axpy(-0.1, support.gradient(meta), meta).items()}

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.scale(-1.0, tasks.query.gradient(self.adapt(tasks.support, meta)))


def test_without_an_oracle_the_reason_stands_in_the_errors_place() -> None:
    found = read(make(Hidden, inner_steps=1), Sinusoid(), meta_batch_size=1)
    assert found["rel_error_unrolled"].status == "skipped"
    assert "1,761 parameters are too many" in found["rel_error_unrolled"].detail
    assert value(found, "meta_gradient_norm") > 0


def test_a_run_has_the_rows_of_the_measure(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path,
        methods="maml = { lam = 0.5 }\nimaml-gd = { lam = 0.5 }\nreptile = {}",
        measures=(),
        more='workloads = ["linear-regression[dimension=4,shots=8]"]',
    )
    text = suite.read_text().replace('workloads = ["sinusoid"]\n', "") + "[gradient]\n"
    suite.write_text(text)
    result = run_here(suite, tmp_path / "run")
    assert result.statuses == {"ok", "skipped"}
    rows = rows_of(tmp_path / "run")
    assert {r.measure for r in rows} == {"gradient"}
    with_values = {(r.method, r.metric) for r in rows if r.value is not None}
    assert {("maml", "rel_error_unrolled"), ("imaml-gd", "rel_error_implicit")} <= with_values
    assert {r.status for r in rows if r.method == "reptile"} == {"skipped"}
    assert (tmp_path / "run" / "cells" / rows[0].cell_id / "per_task.csv").is_file()


class Nothing(Method):
    """A meta-gradient that is zero for the tasks whose seed is even."""

    kind: ClassVar[Kind] = "approximate"
    memory_order: ClassVar[Order] = "constant"

    def adapt(self, support: Objective, meta: Params) -> Params:
        return trees.detach(meta)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        weights = torch.tensor([float(seed % 2) for seed in tasks.batch.seeds], dtype=torch.float64)
        return trees.axpy(weights, tasks.query.gradient(meta), trees.scale(0.0, meta))


def test_a_task_without_a_meta_gradient_has_no_angle_and_the_others_keep_theirs() -> None:
    said = list(measure_gradient(bench(make(Nothing, inner_steps=1), meta_batch_size=8, task_chunk=1)))
    (samples,) = [s for s in said if isinstance(s, Samples)]
    cosines = samples.columns["cosine_unrolled"]
    assert len(cosines) == len(samples.columns["task"]) == 8
    assert sorted({round(cosine, 9) for cosine in cosines}) == [0, 1]


def test_what_an_oracle_cannot_do_costs_no_figure_of_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr("harness.measure.gradient.unrolled", out_of_memory)
    found = read(make(ImamlGD, inner_steps=4, inner_lr=0.5, lam=LAM))
    assert found["rel_error_unrolled"].status == "skipped"
    assert "the oracle itself failed: RuntimeError: DefaultCPUAllocator" in found["rel_error_unrolled"].detail
    assert value(found, "rel_error_implicit") > 0


def test_an_oracle_that_is_named_twice_is_asked_once() -> None:
    assert GradientSettings(oracles=["implicit", "implicit"]).oracles == ["implicit"]


def test_adam_inside_is_differentiable_where_a_gradient_is_zero() -> None:
    """As that of a bias before batch norm: the root of its second moment has no slope there."""
    workload = Glyphs(ways=2, shots=1, queries=2, filters=4)
    method = make(ImamlGD, inner_steps=2, inner_lr=0.01, optimiser="adam", lam=LAM)
    found = read(method, workload, meta_batch_size=1, oracles=["unrolled"])
    assert "not finite" not in found["rel_error_unrolled"].detail
