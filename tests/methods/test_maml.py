from typing import Any

import pytest
import torch
from problems import (
    central_differences,
    executed,
    linear,
    make,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)

from harness.core import trees
from harness.core.trees import Params
from harness.workloads.linear_regression import unrolled_iterate, unrolled_meta_gradient
from methods.maml import MAML


@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("inner_steps", [0, 1, 5])
@pytest.mark.parametrize("problem", [smooth_mlp, sine], ids=lambda p: p.__name__)
def test_meta_gradient_is_the_derivative_of_the_query_loss_after_adaptation(
    problem: Any, inner_steps: int, lam: float
) -> None:
    tasks = problem()
    method = make(MAML, inner_steps=inner_steps, inner_lr=0.1, lam=lam)
    theta = parameters(tasks.model, 3)

    def loss_after_adaptation(meta: Params) -> torch.Tensor:
        return tasks.query.loss(method.adapt(tasks.support, meta))

    differences = central_differences(loss_after_adaptation, theta)
    assert relative_error(method.meta_gradient(tasks, theta), differences) < 1e-7


@pytest.mark.parametrize("norm", ["batch-stats", "support-stats"])
def test_meta_gradient_passes_through_batch_norm_in_every_inner_step(norm: Any) -> None:
    tasks = smooth_conv4(2, norm=norm)
    method = make(MAML, inner_steps=3, inner_lr=0.1)
    theta = parameters(tasks.model, 2)
    some = trees.subset(theta, ("conv0.weight", "norm1.bias", "head.bias"))
    differences = central_differences(
        lambda part: tasks.query.loss(method.adapt(tasks.support, theta | part)), some
    )
    result = trees.subset(method.meta_gradient(executed(tasks, "loop"), theta), some)
    assert relative_error(result, differences) < 1e-6


@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("inner_steps", [0, 1, 5, 40])
def test_linear_regression_has_the_closed_forms_iterates_and_meta_gradient(
    inner_steps: int, lam: float
) -> None:
    tasks = linear()
    method = make(MAML, inner_steps=inner_steps, inner_lr=0.4, lam=lam)
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    phi = method.adapt(tasks.support, theta)["layer0.weight"].mT
    torch.testing.assert_close(
        phi, unrolled_iterate(tasks.batch.support, w, 0.4, inner_steps, lam), rtol=1e-10, atol=1e-12
    )
    exact = unrolled_meta_gradient(tasks.batch, w, 0.4, inner_steps, lam)
    assert relative_error(method.meta_gradient(tasks, theta), {"layer0.weight": exact.mT}) < 1e-9


def test_a_proximal_term_pulls_the_adapted_parameters_towards_theta() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    away = [
        trees.norm(
            trees.subtract(
                make(MAML, inner_steps=20, inner_lr=0.1, lam=lam).adapt(tasks.support, theta), theta
            )
        )
        for lam in (0.0, 0.5, 5.0)
    ]
    assert bool((away[0] > away[1]).all())
    assert bool((away[1] > away[2]).all())
