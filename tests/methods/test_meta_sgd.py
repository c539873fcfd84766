from typing import Any

import pytest
import torch
from problems import (
    central_differences,
    gaussian,
    linear,
    make,
    meta_parameters,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)

from harness.core import trees
from harness.core.trees import Params
from harness.training.meta_learner import MetaLearner
from harness.workloads.linear_regression import LinearRegression, normal_equations
from methods.maml import MAML
from methods.meta_sgd import MetaSGD


def with_own_rates(method: MetaSGD, tasks: Any, count: int) -> Params:
    """Meta-parameters whose step sizes differ from entry to entry, and from task to task."""
    meta = meta_parameters(method, tasks.model, count)
    rates = {n: p + 0.03 * gaussian(i, *p.shape) for i, (n, p) in enumerate(meta.items()) if "alpha." in n}
    assert rates
    return meta | rates


@pytest.mark.parametrize("inner_steps", [0, 1, 5])
@pytest.mark.parametrize("problem", [smooth_mlp, sine], ids=lambda p: p.__name__)
def test_meta_gradient_is_the_derivative_by_theta_and_by_every_step_size(
    problem: Any, inner_steps: int
) -> None:
    tasks = problem()
    method = make(MetaSGD, inner_steps=inner_steps, inner_lr=0.2)
    meta = with_own_rates(method, tasks, 3)

    def loss_after_adaptation(at: Params) -> torch.Tensor:
        return tasks.query.loss(method.adapt(tasks.support, at))

    differences = central_differences(loss_after_adaptation, meta)
    assert relative_error(method.meta_gradient(tasks, meta), differences) < 1e-7


def test_meta_gradient_passes_through_conv4() -> None:
    tasks = smooth_conv4(2)
    method = make(MetaSGD, inner_steps=3, inner_lr=0.1)
    meta = with_own_rates(method, tasks, 2)
    some = trees.subset(meta, ("conv0.weight", "alpha.conv3.bias", "alpha.conv0.weight", "alpha.head.bias"))
    differences = central_differences(
        lambda part: tasks.query.loss(method.adapt(tasks.support, meta | part)), some
    )
    assert relative_error(trees.subset(method.meta_gradient(tasks, meta), some), differences) < 1e-6


def test_one_step_on_linear_regression_in_closed_form() -> None:
    """phi = w - a o (A w - b): the query loss has slope -v o (A w - b) in a, and v - A (a o v) in w."""
    tasks = linear()
    method = make(MetaSGD, inner_steps=1)
    meta = with_own_rates(method, tasks, 3)
    w, rate = meta["layer0.weight"].mT, meta["alpha.layer0.weight"].mT
    a, b = normal_equations(tasks.batch.support)
    aq, bq = normal_equations(tasks.batch.query)
    slope = a @ w - b
    v = aq @ (w - rate * slope) - bq
    exact = {"layer0.weight": (v - a @ (rate * v)).mT, "alpha.layer0.weight": (-v * slope).mT}
    assert relative_error(method.meta_gradient(tasks, meta), exact) < 1e-12


def test_at_its_first_step_sizes_it_is_maml() -> None:
    tasks = smooth_mlp()
    method = make(MetaSGD, inner_steps=5, inner_lr=0.2)
    meta = meta_parameters(method, tasks.model, 3)
    theta = parameters(tasks.model, 3)
    exact = make(MAML, inner_steps=5, inner_lr=0.2).meta_gradient(tasks, theta)
    result = method.meta_gradient(tasks, meta)
    assert relative_error(trees.subset(result, theta), exact) < 1e-13


def test_the_outer_rule_trains_the_step_sizes_too() -> None:
    workload = LinearRegression(dimension=4, shots=8, queries=4)
    method = make(MetaSGD, inner_steps=3, inner_lr=0.2)
    learner = MetaLearner(
        method, workload.model(), workload.loss_function, seed=0, device=torch.device("cpu"), total_steps=5
    )
    before = learner.meta["alpha.layer0.weight"].clone()
    assert bool((before == 0.2).all())
    learner.step(workload.open(None).sample("train", 0, 0, 4))
    assert bool((learner.meta["alpha.layer0.weight"] != before).all())


def test_step_sizes_never_hide_a_parameter_of_the_same_name() -> None:
    method = make(MetaSGD, inner_steps=1)
    with pytest.raises(ValueError, match=r"parameter 'alpha\.x' has the name of step sizes; rename it"):
        method.meta_parameters({"x": torch.zeros(2), "alpha.x": torch.zeros(2)})
    assert list(method.meta_parameters({"alpha.x": torch.zeros(2)})) == ["alpha.x", "alpha.alpha.x"]
