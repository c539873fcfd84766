import torch
from problems import (
    formula,
    gaussian,
    linear,
    make,
    output_as_loss,
    parameters,
    relative_error,
    smooth_mlp,
)

from harness.core import trees
from harness.core.episodes import Shots, TaskBatch
from harness.core.objective import TaskObjectives
from harness.workloads.linear_regression import normal_equations
from methods.fomaml import FOMAML
from methods.maml import MAML


def linear_support_curved_query() -> TaskObjectives:
    """Support loss c.x, whose Hessian is zero, and query loss sum(sin(x + c)), which is curved."""
    slopes, shifts = gaussian(0, 3, 4), gaussian(1, 3, 4)
    support = formula(lambda x, c: (x * c).sum(1), slopes, 4)
    query = formula(lambda x, c: torch.sin(x + c).sum(1), shifts, 4)
    no_targets = torch.zeros(3, 1, 1, dtype=torch.float64)
    assert support.loss_function is output_as_loss
    batch = TaskBatch(
        Shots(slopes.unsqueeze(1), no_targets), Shots(shifts.unsqueeze(1), no_targets), (0, 1, 2)
    )
    return TaskObjectives(support, query, support.model, batch)


def test_meta_gradient_is_the_query_gradient_at_the_adapted_parameters() -> None:
    tasks = smooth_mlp()
    method = make(FOMAML, inner_steps=5, inner_lr=0.2)
    theta = parameters(tasks.model, 3)
    phi = make(MAML, inner_steps=5, inner_lr=0.2).adapt(tasks.support, theta)
    assert relative_error(method.meta_gradient(tasks, theta), tasks.query.gradient(phi)) < 1e-13


def test_on_linear_regression_it_is_the_query_residual_at_phi() -> None:
    tasks = linear()
    method = make(FOMAML, inner_steps=7, inner_lr=0.4)
    theta = parameters(tasks.model, 3)
    a, b = normal_equations(tasks.batch.query)
    phi = method.adapt(tasks.support, theta)["layer0.weight"].mT
    exact = {"layer0.weight": (a @ phi - b).mT}
    assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-12


def test_fomaml_equals_maml_where_the_hessian_is_zero() -> None:
    tasks = linear_support_curved_query()
    x = {"x": gaussian(2, 3, 4)}
    first_order, exact = (
        make(cls, inner_steps=4, inner_lr=0.3).meta_gradient(tasks, x) for cls in (FOMAML, MAML)
    )
    assert relative_error(first_order, exact) < 1e-13
    phi = x["x"] - 4 * 0.3 * gaussian(0, 3, 4)
    torch.testing.assert_close(exact["x"], torch.cos(phi + gaussian(1, 3, 4)))


def test_fomaml_differs_from_maml_where_the_loss_is_curved() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    first_order, exact = (
        make(cls, inner_steps=5, inner_lr=0.2).meta_gradient(tasks, theta) for cls in (FOMAML, MAML)
    )
    assert relative_error(first_order, exact) > 1e-2
    assert bool((trees.dot(first_order, exact) > 0).all())
