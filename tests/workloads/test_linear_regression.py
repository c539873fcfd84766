from typing import Any

import pytest
import torch
from problems import central_differences, gaussian

from harness import registry
from harness.core.episodes import TaskBatch
from harness.errors import UsageError
from harness.protocol import WorkloadSpec
from harness.workloads.linear_regression import (
    LinearRegression,
    implicit_meta_gradient,
    inner_solution,
    normal_equations,
    unrolled_iterate,
    unrolled_meta_gradient,
)

LR, LAM = 0.4, 0.3


def batch_of(tasks: int = 3, **settings: Any) -> TaskBatch:
    workload = LinearRegression(**{"dimension": 5, "shots": 9, "queries": 7} | settings)
    return workload.open(None).sample("train", 0, 0, tasks).to("cpu", torch.float64)


def theta_of(batch: TaskBatch) -> torch.Tensor:
    return gaussian(4, len(batch), batch.support.inputs.shape[-1], 1)


def support_gradient(batch: TaskBatch, w: torch.Tensor) -> torch.Tensor:
    """Of ||Xw - y||^2 / (2n), written out."""
    x, y = batch.support.inputs, batch.support.targets
    return torch.einsum("tni,tno->tio", x, torch.einsum("tni,tio->tno", x, w) - y) / x.shape[1]


def query_loss(batch: TaskBatch, w: torch.Tensor) -> torch.Tensor:
    return (batch.query.inputs @ w - batch.query.targets).square().mean((1, 2)) / 2


def test_an_episode_does_not_depend_on_how_many_are_drawn_at_once() -> None:
    tasks = LinearRegression().open(None)
    eight, one = tasks.sample("train", 2, 0, 8), tasks.sample("train", 2, 5, 1)
    assert eight.seeds[5:6] == one.seeds
    assert all(map(torch.equal, [t[5:6] for t in eight.tensors()], one.tensors()))


@pytest.mark.parametrize("condition", [1.0, 10.0, 1000.0])
@pytest.mark.parametrize("shots", [20, 40])
def test_the_condition_number_of_the_support_hessian_is_the_setting(condition: float, shots: int) -> None:
    a, _ = normal_equations(batch_of(dimension=20, shots=shots, condition=condition).support)
    eigenvalues = torch.linalg.eigvalsh(a)
    assert eigenvalues[:, -1].tolist() == pytest.approx([1.0] * 3, rel=1e-5)
    assert (eigenvalues[:, -1] / eigenvalues[:, 0]).tolist() == pytest.approx([condition] * 3, rel=1e-3)


def test_targets_are_linear_but_for_the_noise() -> None:
    exact = batch_of(noise=0.0)
    w = torch.linalg.lstsq(exact.support.inputs, exact.support.targets).solution
    torch.testing.assert_close(exact.query.inputs @ w, exact.query.targets, rtol=1e-4, atol=1e-5)
    noisy = batch_of(tasks=200, noise=0.5, shots=40)
    w = torch.linalg.lstsq(noisy.support.inputs, noisy.support.targets).solution
    # Residuals of a fit of 5 weights to 40 shots have 35 degrees of freedom.
    left = (noisy.support.inputs @ w - noisy.support.targets).square().sum((1, 2)) / 35
    assert float(left.mean().sqrt()) == pytest.approx(0.5, rel=0.05)


def test_the_inner_solution_is_stationary() -> None:
    batch = batch_of()
    theta = theta_of(batch)
    phi = inner_solution(batch.support, theta, LAM)
    assert float((support_gradient(batch, phi) + LAM * (phi - theta)).abs().max()) < 1e-12


@pytest.mark.parametrize("lam", [0.0, LAM])
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_the_unrolled_iterate_is_that_of_the_recursion(steps: int, lam: float) -> None:
    batch = batch_of()
    theta = phi = theta_of(batch)
    for _ in range(steps):
        phi = phi - LR * (support_gradient(batch, phi) + lam * (phi - theta))
    torch.testing.assert_close(
        unrolled_iterate(batch.support, theta, LR, steps, lam), phi, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("lam", [0.0, LAM])
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_the_unrolled_meta_gradient_is_the_derivative_after_adaptation(steps: int, lam: float) -> None:
    batch = batch_of()
    theta = theta_of(batch)
    differences = central_differences(
        lambda p: query_loss(batch, unrolled_iterate(batch.support, p["w"], LR, steps, lam)), {"w": theta}
    )["w"]
    exact = unrolled_meta_gradient(batch, theta, LR, steps, lam)
    torch.testing.assert_close(exact, differences, rtol=1e-6, atol=1e-8)


def test_the_implicit_meta_gradient_is_the_derivative_at_the_inner_solution() -> None:
    batch = batch_of()
    theta = theta_of(batch)
    differences = central_differences(
        lambda p: query_loss(batch, inner_solution(batch.support, p["w"], LAM)), {"w": theta}
    )["w"]
    exact = implicit_meta_gradient(batch, theta, LAM)
    torch.testing.assert_close(exact, differences, rtol=1e-6, atol=1e-8)


def test_many_steps_bring_the_unrolled_meta_gradient_to_the_implicit_one() -> None:
    batch = batch_of()
    theta = theta_of(batch)
    implicit = implicit_meta_gradient(batch, theta, LAM)
    away = [float((unrolled_meta_gradient(batch, theta, LR, k, LAM) - implicit).norm()) for k in (5, 20, 400)]
    assert away[0] > 2 * away[1] > 2 * away[2]
    assert away[2] < 1e-10


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"dimension": 8, "shots": 7}, r"shots must be at least dimension \(8\), not 7"),
        ({"condition": 0.5}, "condition must be at least 1, not 0.5"),
        ({"noise": -1.0}, "noise must not be negative"),
        ({"queries": 0}, "queries must be at least 1"),
    ],
)
def test_settings_without_a_meaning_are_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"workload 'linear-regression': .*{named}"):
        registry.make_workload(WorkloadSpec("linear-regression", settings))
