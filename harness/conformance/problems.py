"""Small tasks in float64 on smooth networks, where derivatives exist everywhere and are cheap to check."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.core import trees
from harness.core.episodes import Shots, TaskBatch
from harness.core.model import Model
from harness.core.objective import (
    Execution,
    Objective,
    TaskObjectives,
    cross_entropy,
    squared_error,
    task_objectives,
)
from harness.core.trees import Params
from harness.workloads.linear_regression import LinearRegression
from harness.workloads.models import MLP, Conv4, Down, Norm


def gaussian(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers in float64, a pure function of `seed` and `shape`."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(model: Model, tasks: int, seed: int = 0, spread: float = 0.3) -> Params:
    """Parameters of `tasks` tasks in float64, different for each."""
    start = {name: p.double() for name, p in model.initial(seed).items()}
    return {
        name: p + spread * gaussian(seed + i, tasks, *p.shape) for i, (name, p) in enumerate(start.items())
    }


def copy_of(params: Params) -> Params:
    return {name: p.clone() for name, p in params.items()}


def relative_error(x: Params, y: Params) -> float:
    """Largest ||x - y|| / ||y|| over the tasks."""
    assert list(x) == list(y)
    assert all(x[name].shape == y[name].shape for name in y)
    return float((trees.norm(trees.subtract(x, y)) / trees.norm(y).clamp_min(1e-300)).max())


def dense_hessian(objective: Objective, phi: Params) -> Tensor:
    """Hessians [T, P, P] of the loss of each task at phi, a row of all tasks at a time."""
    at = trees.leaves(phi)
    first = torch.autograd.grad(objective.loss(at).sum(), list(at.values()), create_graph=True)
    gradient = trees.flatten(dict(zip(at, first, strict=True)))
    rows = []
    for i in range(gradient.shape[1]):
        row = torch.autograd.grad(gradient[:, i].sum(), list(at.values()), retain_graph=True)
        rows.append(trees.flatten(dict(zip(at, row, strict=True))))
    return torch.stack(rows, dim=1)


def classification(
    model: Model,
    shape: tuple[int, ...],
    tasks: int,
    *,
    ways: int = 3,
    shots: int = 2,
    queries: int = 3,
    seed: int = 1,
) -> TaskObjectives:
    """Gaussian inputs with every class in turn as their label."""

    def draw(seed: int, per_class: int) -> Shots:
        n = ways * per_class
        return Shots(gaussian(seed, tasks, n, *shape), torch.arange(n).remainder(ways).repeat(tasks, 1))

    batch = TaskBatch(draw(seed, shots), draw(seed + 1, queries), tuple(range(100, 100 + tasks)))
    return task_objectives(batch, model, cross_entropy)


def smooth_mlp(tasks: int = 3, seed: int = 1) -> TaskObjectives:
    """3-way classification of the plane by a softplus network of 27 parameters."""
    return classification(MLP(widths=(2, 4, 3), activation="softplus"), (2,), tasks, seed=seed)


def smooth_conv4(tasks: int = 2, *, norm: Norm = "batch-stats", down: Down = "stride") -> TaskObjectives:
    """3-way classification of 16x16 images by a softplus conv4 of 3 filters."""
    model = Conv4(ways=3, filters=3, size=16, norm=norm, down=down, activation="softplus")
    return classification(model, (1, 16, 16), tasks)


def sine(tasks: int = 3, activation: Any = "softplus") -> TaskObjectives:
    """Regression of sines by a small smooth network, with targets of different size for every task."""
    x, size = gaussian(3, tasks, 10, 1), 1.0 + torch.arange(tasks, dtype=torch.float64).view(-1, 1, 1)
    y = size * torch.sin(2 * x)
    batch = TaskBatch(Shots(x[:, :5], y[:, :5]), Shots(x[:, 5:], y[:, 5:]), tuple(range(tasks)))
    return task_objectives(batch, MLP(widths=(1, 5, 1), activation=activation), squared_error)


def linear(tasks: int = 3, **settings: Any) -> TaskObjectives:
    """Ridge tasks in float64, which have closed forms."""
    asked: Mapping[str, Any] = {"dimension": 6, "shots": 12, "queries": 8} | settings
    workload = LinearRegression(**asked)
    batch = workload.open(None).sample("train", 0, 0, tasks).to("cpu", torch.float64)
    return task_objectives(batch, workload.model(), workload.loss_function)


def executed(tasks: TaskObjectives, execution: Execution) -> TaskObjectives:
    """The same tasks, evaluated in one call of the model or one after another."""
    return replace(
        tasks,
        support=replace(tasks.support, execution=execution),
        query=replace(tasks.query, execution=execution),
    )


def only(tasks: TaskObjectives, t: int) -> TaskObjectives:
    """Task `t` alone."""
    chunk = list(tasks.batch.chunks(1))[t]
    support = replace(tasks.support, shots=chunk.support, seeds=chunk.seeds)
    query = replace(tasks.query, shots=chunk.query, seeds=chunk.seeds, reference=chunk.support)
    return TaskObjectives(support, query, tasks.model, chunk)


@dataclass
class Watched(Model):
    """A model that keeps the parameters at which it is evaluated on `inputs`, of one task, and otherwise is
    the one inside. Other inputs are not looked at: a library evaluates every loss on the network it has."""

    inside: Model
    inputs: Tensor

    def __post_init__(self) -> None:
        self.seen: list[Params] = []
        self.head_names = self.inside.head_names

    def initial(self, seed: int) -> Params:
        return self.inside.initial(seed)

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        if torch.equal(inputs.flatten(), self.inputs.flatten()):
            self.seen.append(trees.detach(params))
        return self.inside.forward(params, inputs, reference)
