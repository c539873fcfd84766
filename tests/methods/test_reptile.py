from typing import Any

import pytest
import torch
from problems import linear, make, parameters, relative_error, sine, smooth_mlp

from harness.core import trees
from harness.core.outer import Interpolate
from harness.training.meta_learner import MetaLearner
from harness.workloads.linear_regression import LinearRegression, unrolled_iterate
from methods.reptile import Reptile
from methods.solvers.inner import GradientDescent


@pytest.mark.parametrize("problem", [smooth_mlp, sine, linear], ids=lambda p: p.__name__)
def test_update_is_theta_minus_phi_adapted_to_support_and_query_together(problem: Any) -> None:
    tasks = problem()
    theta = parameters(tasks.model, 3)
    method = make(Reptile, inner_steps=5, inner_lr=0.2)
    phi = GradientDescent(0.2).minimise(lambda k: tasks.joint, theta, 5)
    assert relative_error(method.meta_gradient(tasks, theta), trees.subtract(theta, phi)) < 1e-13
    only_support = trees.subtract(theta, method.adapt(tasks.support, theta))
    assert relative_error(only_support, trees.subtract(theta, phi)) > 1e-2


def test_on_linear_regression_phi_is_the_closed_form_iterate_of_all_shots() -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    joint = tasks.batch.support.and_then(tasks.batch.query)
    moved = w - unrolled_iterate(joint, w, 0.3, 9)
    result = make(Reptile, inner_steps=9, inner_lr=0.3).meta_gradient(tasks, theta)
    assert relative_error(result, {"layer0.weight": moved.mT}) < 1e-10


@pytest.mark.parametrize("optimiser", ["gradient-descent", "adam"])
def test_published_minibatches_are_deterministic_and_differ_between_steps(optimiser: str) -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    method = make(Reptile, inner_steps=6, inner_lr=0.05, optimiser=optimiser, batch_size=4)
    result = method.meta_gradient(tasks, theta)
    assert all(torch.equal(result[n], method.meta_gradient(tasks, theta)[n]) for n in result)

    phi = theta
    if optimiser == "gradient-descent":
        for k in range(6):
            phi = trees.axpy(-0.05, tasks.joint.minibatch(k, 4).gradient(phi), phi)
        assert relative_error(result, trees.subtract(theta, phi)) < 1e-12
    whole = make(Reptile, inner_steps=6, inner_lr=0.05, optimiser=optimiser)
    assert relative_error(result, whole.meta_gradient(tasks, theta)) > 1e-2


def test_a_batch_of_all_shots_is_the_whole_set_in_another_order() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    n = tasks.joint.shots.per_task
    batched = make(Reptile, inner_steps=3, batch_size=n).meta_gradient(tasks, theta)
    assert relative_error(batched, make(Reptile, inner_steps=3).meta_gradient(tasks, theta)) < 1e-10


def test_the_published_outer_rule_is_interpolation_with_annealing() -> None:
    assert make(Reptile, inner_steps=1).outer == Interpolate(rate=1.0, anneal=True)


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_one_meta_step_on_one_task_goes_the_rates_share_of_the_way_to_phi(rate: float) -> None:
    workload = LinearRegression(dimension=4, shots=8, queries=4)
    batch = workload.open(None).sample("train", 0, 0, 1).to("cpu", torch.float64)
    method = make(Reptile, inner_steps=5, inner_lr=0.3, outer=Interpolate(rate=rate, anneal=False))
    learner = MetaLearner(
        method,
        workload.model(),
        workload.loss_function,
        seed=0,
        device=torch.device("cpu"),
        total_steps=10,
    )
    for p in learner.meta.values():
        p.data = p.data.double()
    theta = learner.meta["layer0.weight"].clone()
    phi = unrolled_iterate(batch.support.and_then(batch.query), theta.unsqueeze(0).mT, 0.3, 5)[0].mT
    learner.step(batch)
    expected = theta + rate * (phi - theta)
    torch.testing.assert_close(learner.meta["layer0.weight"], expected, rtol=1e-12, atol=1e-14)
