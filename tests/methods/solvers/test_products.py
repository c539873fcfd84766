from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import (
    executed,
    formula,
    gaussian,
    linear,
    parameters,
    random_like,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)

from harness.core import trees
from harness.core.model import ModuleModel
from harness.core.trees import Params
from harness.workloads.linear_regression import normal_equations
from methods.solvers.products import PRODUCTS, forward_over_reverse, reverse_over_reverse

every_product = pytest.mark.parametrize("product", PRODUCTS.values(), ids=list(PRODUCTS))


@every_product
@pytest.mark.parametrize("execution", ["vectorized", "loop"])
@pytest.mark.parametrize("problem", [smooth_mlp, sine], ids=lambda p: p.__name__)
def test_it_is_the_derivative_of_the_gradient_along_v(problem: Any, execution: Any, product: Any) -> None:
    tasks = executed(problem(), execution)
    theta = parameters(tasks.model, 3)
    v = random_like(theta, 9)
    ends = [tasks.support.gradient(trees.axpy(step, v, theta)) for step in (1e-5, -1e-5)]
    differences = trees.scale(1 / 2e-5, trees.subtract(*ends))
    assert relative_error(product(tasks.support, theta, v), differences) < 1e-7


@every_product
def test_on_linear_regression_it_is_the_product_with_the_matrix(product: Any) -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    v = random_like(theta, 9)
    a, _ = normal_equations(tasks.batch.support)
    expected = {"layer0.weight": (a @ v["layer0.weight"].mT).mT}
    assert relative_error(product(tasks.support, theta, v), expected) < 1e-13


@pytest.mark.parametrize("norm", ["batch-stats", "support-stats", "none"])
@pytest.mark.parametrize("down", ["stride", "max-pool"])
@pytest.mark.parametrize("tasks", [1, 3])  # several make grouped convolutions
def test_torch_can_push_all_of_conv4_forward(tasks: int, down: Any, norm: Any) -> None:
    """Also batch norm's backward pass, without a warning: warnings are errors here."""
    problem = smooth_conv4(tasks, norm=norm, down=down)
    theta = parameters(problem.model, tasks)
    v = random_like(theta, 9)
    for objective in (problem.support, problem.query):
        pushed = forward_over_reverse(objective, theta, v)
        assert relative_error(pushed, reverse_over_reverse(objective, theta, v)) < 1e-12


@every_product
def test_a_module_under_vmap_has_products_too(product: Any) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    tasks = smooth_mlp()
    native = parameters(tasks.model, 3)
    model = ModuleModel(module)
    theta = parameters(model, 3)
    v = random_like(theta, 9)
    objective = replace(tasks.support, model=model)
    assert native.keys() != theta.keys()
    ends = [objective.gradient(trees.axpy(step, v, theta)) for step in (1e-5, -1e-5)]
    differences = trees.scale(1 / 2e-5, trees.subtract(*ends))
    assert relative_error(product(objective, theta, v), differences) < 1e-7


@every_product
def test_parameters_that_the_loss_is_linear_in_or_ignores_give_zeros(product: Any) -> None:
    objective = formula(lambda x, c: (x * c)[:, :2].sum(1), gaussian(0, 3, 4), 4)
    x: Params = {"x": gaussian(1, 3, 4)}
    assert torch.equal(product(objective, x, random_like(x, 9))["x"], torch.zeros_like(x["x"]))


@every_product
def test_no_graph_and_no_dual_number_outlives_it(product: Any) -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    result = product(tasks.support, theta, random_like(theta, 9))
    assert not any(p.requires_grad for p in result.values())
    assert not any(torch.autograd.forward_ad.unpack_dual(p).tangent is not None for p in result.values())


class Backwards(torch.autograd.Function):
    """x^3 with derivatives in reverse only, as most operators that users write have them."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, up: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x**2 * up


@pytest.mark.parametrize(
    "curved",
    [
        lambda x, c: Backwards.apply(x).sum(1),
        lambda x, c: torch.cdist(x.unsqueeze(1), c.unsqueeze(1)).flatten(1).sum(1),
    ],
    ids=["custom", "cdist"],
)
def test_an_operator_without_a_forward_derivative_says_what_to_do(curved: Any) -> None:
    objective = formula(curved, gaussian(0, 3, 4), 4)
    x: Params = {"x": gaussian(1, 3, 4)}
    with pytest.raises(NotImplementedError, match="set product = 'reverse-over-reverse'"):
        forward_over_reverse(objective, x, random_like(x, 9))
