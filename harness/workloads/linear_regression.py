"""`linear-regression`: tasks whose inner solution and meta-gradients have a closed form.

With L(w) = ||Xw - y||^2 / (2n), A = X'X/n and b = X'y/n: gradient A w - b, Hessian A. The functions below
are oracles for the adapters; they share no code with them.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from harness.core.episodes import Shots, TaskBatch
from harness.core.model import Model
from harness.core.objective import half_squared_error
from harness.core.seeds import generator
from harness.workloads.base import Score, Split, Tasks, Workload
from harness.workloads.models import MLP


class LinearRegression(Workload):
    """Ridge tasks y = X w + noise with a chosen condition number of the support Hessian.

    dimension: d, the number of weights.
    shots, queries: rows of the support and the query set; shots must be at least d.
    condition: kappa; the eigenvalues of X'X/n lie log-evenly in [1/kappa, 1].
    noise: standard deviation of the targets' noise.
    """

    name: ClassVar[str] = "linear-regression"
    score: ClassVar[Score] = "loss"
    loss_function = staticmethod(half_squared_error)

    dimension: int = 20
    shots: int = 40
    queries: int = 40
    condition: float = 10.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        if self.dimension < 1 or self.queries < 1:
            raise ValueError("dimension and queries must be at least 1")
        if self.shots < self.dimension:
            raise ValueError(f"shots must be at least dimension ({self.dimension}), not {self.shots}")
        if self.condition < 1:
            raise ValueError(f"condition must be at least 1, not {self.condition}")
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, not {self.noise}")

    def model(self) -> Model:
        return MLP(widths=(self.dimension, 1), bias=False)

    def open(self, data_root: Path | None) -> Tasks:
        return LinearTasks(self)


class LinearTasks(Tasks):
    fingerprint = "linear-regression-1"

    def __init__(self, workload: LinearRegression) -> None:
        self.workload = workload

    def sample(self, split: Split, seed: int, start: int, count: int) -> TaskBatch:
        w = self.workload
        d, k = w.dimension, w.shots
        x = np.empty((count, k + w.queries, d))
        y = np.empty((count, k + w.queries, 1))
        seeds = []
        for row in range(count):
            draw = generator("episode", "linear-regression", split, seed, start + row)
            rotation = np.linalg.qr(draw.normal(size=(d, d)))[0]
            roots = np.sqrt(np.geomspace(1 / w.condition, 1, d))
            # X = sqrt(n) Q S R' has X'X/n = R S^2 R' exactly; the query shares the task's covariance.
            frame = np.linalg.qr(draw.normal(size=(k, d)))[0]
            x[row, :k] = np.sqrt(k) * (frame * roots) @ rotation.T
            x[row, k:] = (draw.normal(size=(w.queries, d)) * roots) @ rotation.T
            weights = draw.normal(size=(d, 1))
            y[row] = x[row] @ weights + w.noise * draw.normal(size=(k + w.queries, 1))
            seeds.append(int(draw.integers(2**62)))
        inputs, targets = torch.from_numpy(x).float(), torch.from_numpy(y).float()
        return TaskBatch(
            Shots(inputs[:, :k], targets[:, :k]), Shots(inputs[:, k:], targets[:, k:]), tuple(seeds)
        )


def normal_equations(shots: Shots) -> tuple[Tensor, Tensor]:
    """A = X'X/n [T, d, d] and b = X'y/n [T, d, 1]."""
    x, n = shots.inputs, shots.per_task
    return x.mT @ x / n, x.mT @ shots.targets / n


def inner_solution(support: Shots, theta: Tensor, lam: float) -> Tensor:
    """phi* = (A + lam I)^-1 (b + lam theta), of every task; `theta` [T, d, 1]."""
    a, b = normal_equations(support)
    return torch.linalg.solve(a + lam * torch.eye(a.shape[-1], dtype=a.dtype), b + lam * theta)


def implicit_meta_gradient(tasks: TaskBatch, theta: Tensor, lam: float) -> Tensor:
    """(I + A/lam)^-1 (A_q phi* - b_q): the exact meta-gradient at phi* [T, d, 1]."""
    a, _ = normal_equations(tasks.support)
    aq, bq = normal_equations(tasks.query)
    v = aq @ inner_solution(tasks.support, theta, lam) - bq
    return torch.linalg.solve(torch.eye(a.shape[-1], dtype=a.dtype) + a / lam, v)


def unrolled_iterate(
    support: Shots,
    theta: Tensor,
    lr: float,
    steps: int,
    lam: float = 0.0,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> Tensor:
    """phi_K = phi* + C_K (theta - phi*), descending L + (lam/2) ||w - theta||^2."""
    contraction, fixed = _contraction(support, theta, lr, steps, lam, momentum, nesterov)
    return fixed + contraction @ (theta - fixed)


def unrolled_meta_gradient(
    tasks: TaskBatch,
    theta: Tensor,
    lr: float,
    steps: int,
    lam: float = 0.0,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> Tensor:
    """Derivative of the query loss at phi_K with respect to theta, through every step [T, d, 1]."""
    contraction, _ = _contraction(tasks.support, theta, lr, steps, lam, momentum, nesterov)
    a, _ = normal_equations(tasks.support)
    eye = torch.eye(a.shape[-1], dtype=a.dtype)
    aq, bq = normal_equations(tasks.query)
    v = aq @ unrolled_iterate(tasks.support, theta, lr, steps, lam, momentum, nesterov) - bq
    # d phi* / d theta = lam (A + lam I)^-1, zero for lam = 0.
    fixed_jacobian = lam * torch.linalg.inv(a + lam * eye)
    jacobian = fixed_jacobian + contraction @ (eye - fixed_jacobian)
    return jacobian.mT @ v


def _contraction(
    support: Shots, theta: Tensor, lr: float, steps: int, lam: float, momentum: float, nesterov: bool
) -> tuple[Tensor, Tensor]:
    """C_K [T, d, d] and phi* [T, d, 1].

    With B = A + lam I, e = phi - phi* and the velocity v (0 at first), a step is v+ = m v + B e, then
    e+ = e - lr v+ (heavy-ball) or e+ = e - lr (B e + m v+) (Nesterov): linear in (e, v). C_K is the block of
    its K-th power that takes e to e; without momentum it is (I - lr B)^K.
    """
    a, _ = normal_equations(support)
    d = a.shape[-1]
    eye = torch.eye(d, dtype=a.dtype).expand_as(a)
    b = a + lam * eye
    ahead = 1 + momentum if nesterov else 1.0
    carried = momentum**2 if nesterov else momentum
    position = torch.cat([eye - lr * ahead * b, -lr * carried * eye], -1)
    velocity = torch.cat([b, momentum * eye], -1)
    power = torch.linalg.matrix_power(torch.cat([position, velocity], -2), steps)
    return power[..., :d, :d], inner_solution(support, theta, lam)
