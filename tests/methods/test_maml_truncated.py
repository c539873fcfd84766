import itertools
from typing import Any

import pytest
import torch
from problems import linear, make, parameters, relative_error, sine, smooth_conv4, smooth_mlp

from harness.core.trees import Params
from harness.measure.tracker import LiveStorages
from harness.workloads.linear_regression import normal_equations, unrolled_iterate, unrolled_meta_gradient
from methods.fomaml import FOMAML
from methods.maml import MAML
from methods.maml_truncated import MAMLTruncated


@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("backward_steps", [5, 6, 100])
@pytest.mark.parametrize("problem", [smooth_mlp, sine, smooth_conv4], ids=lambda p: p.__name__)
def test_it_is_maml_where_no_step_is_cut_off(problem: Any, backward_steps: int, lam: float) -> None:
    tasks = problem(2)
    theta = parameters(tasks.model, 2)
    truncated = make(MAMLTruncated, inner_steps=5, backward_steps=backward_steps, lam=lam)
    exact = make(MAML, inner_steps=5, lam=lam).meta_gradient(tasks, theta)
    assert relative_error(truncated.meta_gradient(tasks, theta), exact) < 1e-12


def test_it_is_first_order_maml_where_every_step_is_cut_off() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    none = make(MAMLTruncated, inner_steps=5, backward_steps=0).meta_gradient(tasks, theta)
    assert relative_error(none, make(FOMAML, inner_steps=5).meta_gradient(tasks, theta)) < 1e-13


@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("backward_steps", [0, 1, 4, 12])
def test_on_linear_regression_it_is_the_sum_over_the_last_steps(backward_steps: int, lam: float) -> None:
    """A^B v + sum over b < B of A^b (lr lam) v, with A = I - lr (H + lam I) the derivative of a step."""
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w, lr = theta["layer0.weight"].mT, 0.4
    h, _ = normal_equations(tasks.batch.support)
    step = torch.eye(h.shape[-1], dtype=h.dtype) * (1 - lr * lam) - lr * h
    aq, bq = normal_equations(tasks.batch.query)
    v = aq @ unrolled_iterate(tasks.batch.support, w, lr, 12, lam) - bq
    expected = torch.linalg.matrix_power(step, backward_steps) @ v
    for b in range(backward_steps):
        expected = expected + lr * lam * torch.linalg.matrix_power(step, b) @ v
    method = make(MAMLTruncated, inner_steps=12, inner_lr=lr, backward_steps=backward_steps, lam=lam)
    assert relative_error(method.meta_gradient(tasks, theta), {"layer0.weight": expected.mT}) < 1e-10


@pytest.mark.parametrize("lam", [0.0, 0.8])
def test_its_error_falls_with_every_step_that_is_differentiated(lam: float) -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    exact: Params = {"layer0.weight": unrolled_meta_gradient(tasks.batch, w, 0.4, 20, lam).mT}
    errors = [
        relative_error(
            make(MAMLTruncated, inner_steps=20, inner_lr=0.4, lam=lam, backward_steps=backward).meta_gradient(
                tasks, theta
            ),
            exact,
        )
        for backward in range(0, 21, 4)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(errors))
    assert errors[0] > 0.1
    assert errors[-1] < 1e-12


def test_its_memory_does_not_grow_with_the_inner_steps() -> None:
    tasks = smooth_conv4(2)
    theta = parameters(tasks.model, 2)
    peaks = []
    for inner_steps in (4, 40):
        with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
            make(MAMLTruncated, inner_steps=inner_steps, backward_steps=2).meta_gradient(tasks, theta)
        peaks.append(alive.peak)
    assert peaks[0] == peaks[1]
