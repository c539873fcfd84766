from typing import Any

import pytest
import torch
from problems import (
    central_differences,
    formula,
    gaussian,
    linear,
    make,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)

from harness.core import trees
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from harness.workloads.models import MLP
from methods.anil import ANIL
from methods.maml import MAML


@pytest.mark.parametrize("inner_steps", [0, 1, 5])
@pytest.mark.parametrize("problem", [smooth_mlp, sine], ids=lambda p: p.__name__)
def test_meta_gradient_is_the_derivative_by_body_and_head(problem: Any, inner_steps: int) -> None:
    tasks = problem()
    method = make(ANIL, inner_steps=inner_steps, inner_lr=0.2)
    theta = parameters(tasks.model, 3)

    def loss_after_adaptation(meta: Params) -> torch.Tensor:
        return tasks.query.loss(method.adapt(tasks.support, meta))

    differences = central_differences(loss_after_adaptation, theta)
    assert relative_error(method.meta_gradient(tasks, theta), differences) < 1e-7


def test_meta_gradient_passes_through_the_body_of_conv4() -> None:
    tasks = smooth_conv4(2)
    method = make(ANIL, inner_steps=3, inner_lr=0.1)
    theta = parameters(tasks.model, 2)
    some = trees.subset(theta, ("conv0.weight", "norm1.bias", "head.bias"))
    differences = central_differences(
        lambda part: tasks.query.loss(method.adapt(tasks.support, theta | part)), some
    )
    assert relative_error(trees.subset(method.meta_gradient(tasks, theta), some), differences) < 1e-6


def test_the_head_alone_is_adapted_by_gradient_descent_on_fixed_features() -> None:
    """The head's inner problem, written out for squared error: features F, g = 2 (F w - y)' F / n."""
    tasks = sine()
    theta = parameters(tasks.model, 3)
    phi = make(ANIL, inner_steps=4, inner_lr=0.1).adapt(tasks.support, theta)
    body = ("layer0.weight", "layer0.bias")
    assert all(torch.equal(phi[n], theta[n]) for n in body)
    for t in range(3):
        x, y = tasks.batch.support.inputs[t], tasks.batch.support.targets[t]
        features = torch.nn.functional.softplus(x @ theta["layer0.weight"][t].mT + theta["layer0.bias"][t])
        w, b = theta["layer1.weight"][t], theta["layer1.bias"][t]
        for _ in range(4):
            left = features @ w.mT + b - y
            w, b = w - 0.1 * 2 * left.mT @ features / len(x), b - 0.1 * 2 * left.mean(0)
        torch.testing.assert_close(phi["layer1.weight"][t], w, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(phi["layer1.bias"][t], b, rtol=1e-12, atol=1e-12)


def test_it_is_maml_where_the_model_is_all_head() -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    anil, maml = (make(cls, inner_steps=5, inner_lr=0.3).meta_gradient(tasks, theta) for cls in (ANIL, MAML))
    assert relative_error(anil, maml) < 1e-13


def test_it_differs_from_maml_where_there_is_a_body() -> None:
    tasks = smooth_mlp()
    assert isinstance(tasks.model, MLP)
    theta = parameters(tasks.model, 3)
    anil, maml = (make(cls, inner_steps=5, inner_lr=0.3).meta_gradient(tasks, theta) for cls in (ANIL, MAML))
    assert relative_error(anil, maml) > 1e-2


def test_a_model_without_a_head_is_refused_with_the_remedy() -> None:
    objective = formula(lambda x, c: (x * c).sum(1), gaussian(0, 3, 4), 4)
    tasks = TaskObjectives(objective, objective, objective.model, linear().batch)
    for call in (
        lambda: make(ANIL, inner_steps=1).adapt(objective, {"x": gaussian(1, 3, 4)}),
        lambda: make(ANIL, inner_steps=1).meta_gradient(tasks, {"x": gaussian(1, 3, 4)}),
    ):
        with pytest.raises(ValueError, match="names none: set head_names in its Model"):
            call()
