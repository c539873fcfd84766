import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from problems import copy_of, linear, parameters, relative_error, smooth_mlp
from torch.optim import Optimizer

from harness.core.objective import Proximal
from harness.core.trees import Params
from harness.workloads.linear_regression import normal_equations, unrolled_iterate
from methods.solvers.inner import AcceleratedGradient, GradientDescent, InnerAdam, InnerOptimiser

LR = 0.05

PAIRS: dict[str, tuple[InnerOptimiser, Callable[[Any], Optimizer]]] = {
    "gradient-descent": (GradientDescent(LR), lambda p: torch.optim.SGD(p, LR)),
    "momentum": (GradientDescent(LR, 0.9), lambda p: torch.optim.SGD(p, LR, 0.9)),
    "nesterov": (
        GradientDescent(LR, 0.7, nesterov=True),
        lambda p: torch.optim.SGD(p, LR, 0.7, nesterov=True),
    ),
    "adam": (InnerAdam(LR, beta1=0.9), lambda p: torch.optim.Adam(p, LR)),
    "reptiles adam": (InnerAdam(LR), lambda p: torch.optim.Adam(p, LR, betas=(0.0, 0.999))),
}


def by_torch(make_optimiser: Callable[[Any], Optimizer], objective: Any, theta: Params, steps: int) -> Params:
    phi = {name: p.requires_grad_() for name, p in copy_of(theta).items()}
    optimiser = make_optimiser(list(phi.values()))
    for k in range(steps):
        optimiser.zero_grad()
        objective(k).loss(phi).sum().backward()
        optimiser.step()
    return {name: p.detach() for name, p in phi.items()}


@pytest.mark.parametrize("steps", [1, 2, 12])
@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_the_recursion_is_that_of_torch_optim(pair: Any, steps: int) -> None:
    ours, theirs = pair
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    for objective in (lambda k: tasks.support, lambda k: tasks.support.minibatch(k, 4)):
        result = ours.minimise(objective, theta, steps)
        assert relative_error(result, by_torch(theirs, objective, theta, steps)) < 1e-12


@pytest.mark.parametrize("lam", [0.0, 0.5])
@pytest.mark.parametrize("steps", [0, 1, 2, 25])
def test_gradient_descent_on_ridge_tasks_has_the_closed_forms_iterates(steps: int, lam: float) -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    phi = GradientDescent(0.3).minimise(lambda k: Proximal(tasks.support, theta, lam), theta, steps)
    exact = unrolled_iterate(tasks.batch.support, w, 0.3, steps, lam)
    torch.testing.assert_close(phi["layer0.weight"].mT, exact, rtol=1e-10, atol=1e-12)


def by_nesterov(task: int, tasks: Any, theta: Params, lr: float, steps: int) -> tuple[torch.Tensor, int]:
    """One ridge task with plain numbers: the accelerated iterate, and how often it began again."""
    a, b = normal_equations(tasks.batch.support)
    matrix, right = a[task], b[task, :, 0]
    x = y = theta["layer0.weight"][task, 0]
    t, restarts = 1.0, 0
    for _ in range(steps):
        gradient = matrix @ y - right
        x, before = y - lr * gradient, x
        after = (1 + math.sqrt(1 + 4 * t * t)) / 2
        if float(gradient @ (x - before)) > 0:
            y, t, restarts = x, 1.0, restarts + 1
        else:
            y, t = x + (t - 1) / after * (x - before), after
    return x, restarts


@pytest.mark.parametrize("steps", [1, 2, 3, 40])
def test_accelerated_gradient_is_nesterovs_sequence_and_each_task_restarts_by_itself(steps: int) -> None:
    tasks = linear(condition=100.0)
    theta = parameters(tasks.model, 3)
    phi = AcceleratedGradient(1.0).minimise(lambda k: tasks.support, theta, steps)["layer0.weight"]
    expected, restarts = zip(*(by_nesterov(t, tasks, theta, 1.0, steps) for t in range(3)), strict=True)
    torch.testing.assert_close(phi[:, 0], torch.stack(expected), rtol=1e-10, atol=1e-12)
    assert steps < 40 or len(set(restarts)) == 3  # 0, 1 and 2 of them


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_a_start_is_left_as_it_was(pair: Any) -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    before = copy_of(theta)
    pair[0].minimise(lambda k: tasks.support, theta, 3)
    assert all(torch.equal(theta[n], before[n]) for n in theta)


def test_nesterov_needs_fewer_steps_than_gradient_descent_where_the_condition_is_bad() -> None:
    tasks = linear(condition=100.0)
    theta = parameters(tasks.model, 3)
    losses = [
        tasks.support.loss(
            GradientDescent(1.0, m, nesterov=True).minimise(lambda k: tasks.support, theta, 60)
        )
        for m in (0.0, 0.8)
    ]
    assert bool((losses[1] < losses[0]).all())
