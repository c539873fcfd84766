from dataclasses import dataclass
from typing import Any

import pytest
import torch
from problems import (
    central_differences,
    flat,
    linear,
    make,
    parameters,
    relative_error,
    smooth_conv4,
    smooth_mlp,
    unflat,
)

from harness.core import trees
from harness.core.method import Method
from harness.core.objective import Proximal, TaskObjectives
from harness.core.record import recording
from harness.core.trees import Params
from harness.workloads.linear_regression import implicit_meta_gradient, inner_solution
from methods.fomaml import FOMAML
from methods.imaml import ImamlCG, ImamlGD, ImamlHF
from methods.maml import MAML
from methods.reptile import Reptile
from methods.solvers.inner import InnerOptimiser, StepObjective

LAM = 0.5
DIMENSION = 6

SETTINGS: dict[str, dict[str, Any]] = {
    "gradient-descent": {"inner_steps": 400},
    "momentum": {"inner_steps": 200, "momentum": 0.3},
    "nesterov": {"inner_steps": 200, "momentum": 0.3},
}
CONVERGED = {
    kind: make(ImamlGD, inner_lr=0.6, optimiser=kind, lam=LAM, cg_steps=DIMENSION, **settings)
    for kind, settings in SETTINGS.items()
} | {"hessian-free": make(ImamlHF, inner_steps=10, newton_cg_steps=DIMENSION, lam=LAM, cg_steps=DIMENSION)}


@pytest.mark.parametrize("method", CONVERGED.values(), ids=list(CONVERGED))
def test_converged_imaml_equals_the_closed_form_implicit_gradient(method: Method) -> None:
    tasks = linear(dimension=DIMENSION)
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    phi = {"layer0.weight": inner_solution(tasks.batch.support, w, LAM).mT}
    assert relative_error(method.adapt(tasks.support, theta), phi) < 1e-8
    exact = {"layer0.weight": implicit_meta_gradient(tasks.batch, w, LAM).mT}
    assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-8


def test_imaml_around_adam_equals_the_closed_form_more_loosely() -> None:
    tasks = linear(dimension=DIMENSION)
    theta = parameters(tasks.model, 3)
    method = make(ImamlGD, inner_steps=3000, inner_lr=1e-3, optimiser="adam", lam=LAM, cg_steps=DIMENSION)
    exact = {"layer0.weight": implicit_meta_gradient(tasks.batch, theta["layer0.weight"].mT, LAM).mT}
    assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-2


def test_the_optimiser_is_an_exchangeable_part() -> None:
    kinds = ("gradient-descent", "momentum", "nesterov", "adam")
    inner = [make(ImamlGD, inner_steps=1, optimiser=kind, momentum=0.7).inner() for kind in kinds]
    assert len({repr(each) for each in inner}) == len(kinds)


def test_the_closed_form_is_the_derivative_of_the_query_loss_at_the_inner_solution() -> None:
    """So the oracle itself is right: no autograd, no linear solve of the method."""
    tasks = linear(dimension=DIMENSION)
    theta = parameters(tasks.model, 3)

    def at_solution(meta: Params) -> torch.Tensor:
        w = inner_solution(tasks.batch.support, meta["layer0.weight"].mT, LAM)
        return tasks.query.loss({"layer0.weight": w.mT})

    exact = {"layer0.weight": implicit_meta_gradient(tasks.batch, theta["layer0.weight"].mT, LAM).mT}
    assert relative_error(exact, central_differences(at_solution, theta)) < 1e-8


def test_on_a_network_converged_imaml_is_the_derivative_through_the_inner_solution() -> None:
    tasks = smooth_mlp(2)
    theta = parameters(tasks.model, 2)
    method = make(ImamlHF, inner_steps=40, newton_cg_steps=27, lam=1.0, cg_steps=60)
    phi = method.adapt(tasks.support, theta)
    assert float(trees.norm(Proximal(tasks.support, theta, 1.0).gradient(phi)).max()) < 1e-8
    differences = central_differences(
        lambda meta: tasks.query.loss(method.adapt(tasks.support, meta)), theta, step=1e-4
    )
    assert relative_error(method.meta_gradient(tasks, theta), differences) < 1e-5


@dataclass(frozen=True)
class Stay:
    """An inner optimiser that returns parameters chosen beforehand."""

    phi: Any

    def minimise(self, objective: StepObjective, start: Params, steps: int) -> Params:
        return dict(self.phi)


class ImamlAt(ImamlCG):
    """iMAML at a given phi: the linear solver alone."""

    phi: Any = None

    def inner(self) -> InnerOptimiser:
        return Stay(self.phi)


def dense_solution(tasks: TaskObjectives, phi: Params, lam: float) -> Params:
    """(I + H / lam)^-1 v of every task by a dense solve with the dense Hessian."""
    v, product = tasks.query.gradient(phi), tasks.support.hessian(phi)
    rows = []
    for t in range(len(tasks.batch)):
        v_t = flat(trees.take_task(v, t))
        columns = []
        for unit in torch.eye(len(v_t), dtype=v_t.dtype):
            one = unflat(unit, trees.take_task(v, t))
            columns.append(flat(trees.take_task(product({n: p.expand_as(v[n]) for n, p in one.items()}), t)))
        h = torch.stack(columns, 1)
        rows.append(unflat(torch.linalg.solve(torch.eye(len(v_t)) + h / lam, v_t), trees.take_task(v, t)))
    return {n: torch.cat([row[n] for row in rows]) for n in v}


def test_at_any_phi_it_solves_the_papers_linear_system() -> None:
    tasks = smooth_mlp()
    theta, phi = parameters(tasks.model, 3), parameters(tasks.model, 3, seed=5)
    method = make(ImamlAt, inner_steps=1, lam=3.0, cg_steps=60, phi=phi)
    with recording() as records:
        result = method.meta_gradient(tasks, theta)
    assert records.maximum["solver_negative_curvature"] == 0
    assert relative_error(result, dense_solution(tasks, phi, 3.0)) < 1e-8


def test_at_fixed_phi_imaml_tends_to_fomaml_as_lam_grows() -> None:
    tasks = smooth_mlp()
    theta, phi = parameters(tasks.model, 3), parameters(tasks.model, 3, seed=5)
    fomaml = tasks.query.gradient(phi)
    away = [
        relative_error(make(ImamlAt, inner_steps=1, lam=lam, phi=phi).meta_gradient(tasks, theta), fomaml)
        for lam in (10.0, 100.0, 1000.0)
    ]
    # First order in 1/lam: each factor of ten brings it ten times nearer.
    assert away[0] > 5 * away[1] > 25 * away[2] > 0


def test_at_zero_inner_steps_imaml_still_solves_with_the_hessian_at_theta() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    result = make(ImamlGD, inner_steps=0, lam=3.0, cg_steps=60).meta_gradient(tasks, theta)
    assert relative_error(result, dense_solution(tasks, theta, 3.0)) < 1e-8


def test_the_solvers_diagnostics_are_recorded() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    with recording() as records:
        make(ImamlGD, inner_steps=2, cg_steps=4).meta_gradient(tasks, theta)
    assert records.count["solver_matvecs"] == 3
    assert records.mean("solver_matvecs") == 4
    assert 0 < records.mean("solver_residual") < 1


def test_two_cg_steps_leave_an_error_that_more_remove() -> None:
    tasks = linear(dimension=DIMENSION, condition=100.0)
    theta = parameters(tasks.model, 3)
    exact = {"layer0.weight": implicit_meta_gradient(tasks.batch, theta["layer0.weight"].mT, 0.05).mT}
    settings = {"inner_steps": 15, "newton_cg_steps": DIMENSION, "lam": 0.05}
    methods = [make(ImamlHF, cg_steps=n, **settings) for n in (2, 4, DIMENSION)]
    errors = [relative_error(method.meta_gradient(tasks, theta), exact) for method in methods]
    assert errors[0] > 3 * errors[1] > 0.1
    assert errors[2] < 1e-8


@pytest.mark.parametrize("cls", [MAML, FOMAML, Reptile], ids=lambda c: c.__name__)
def test_all_methods_but_imaml_leave_the_hessian_alone(cls: type[Method]) -> None:
    tasks = smooth_conv4(2)
    theta = parameters(tasks.model, 2)
    with recording() as records:
        make(cls, inner_steps=1).meta_gradient(tasks, theta)
    assert records.count == {}
