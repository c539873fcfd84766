"""Problems that the tests of several packages share: small float64 tasks, and derivatives by brute force."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from harness.core import trees
from harness.core.episodes import Shots, TaskBatch
from harness.core.method import Method
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

torch.set_num_threads(1)  # the problems are too small to share, and the last bit depends on it


def gaussian(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers in float64, a pure function of `seed` and `shape`."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def parameters(model: Model, tasks: int, seed: int = 0, spread: float = 0.3) -> Params:
    """Parameters of `tasks` tasks in float64, different for each."""
    start = {name: p.double() for name, p in model.initial(seed).items()}
    return {
        name: p + spread * gaussian(seed + i, tasks, *p.shape) for i, (name, p) in enumerate(start.items())
    }


def random_like(params: Params, seed: int) -> Params:
    return {name: gaussian(seed + i, *p.shape) for i, (name, p) in enumerate(params.items())}


def meta_parameters(method: Method, model: Model, tasks: int) -> Params:
    """What `method` meta-learns of `model`: `parameters`, and its own beside them, equal for all tasks."""
    theta = parameters(model, tasks)
    own = method.meta_parameters({name: p.double() for name, p in model.initial(0).items()})
    return theta | {name: p.repeat(tasks, *(1,) * p.dim()) for name, p in own.items() if name not in theta}


def copy_of(params: Params) -> Params:
    return {name: p.clone() for name, p in params.items()}


def relative_error(x: Params, y: Params) -> float:
    """Largest ||x - y|| / ||y|| over the tasks."""
    assert list(x) == list(y)
    assert all(x[name].shape == y[name].shape for name in y)
    return float((trees.norm(trees.subtract(x, y)) / trees.norm(y).clamp_min(1e-300)).max())


def central_differences(function: Callable[[Params], Tensor], at: Params, step: float = 1e-6) -> Params:
    """Derivative of `function` (losses [T] of independent tasks) at `at` [T, ...], without autograd."""
    result = trees.scale(0.0, at)
    for name, p in at.items():
        for i in range(p[0].numel()):
            ends = []
            for sign in (1, -1):
                moved = copy_of(trees.detach(at))
                moved[name].view(len(p), -1)[:, i] += sign * step
                ends.append(function(moved).detach())
            result[name].view(len(p), -1)[:, i] = (ends[0] - ends[1]) / (2 * step)
    return result


def flat(params: Params) -> Tensor:
    """One task's parameters as a vector: [1, ...] -> [P]."""
    return torch.cat([p.reshape(-1) for p in params.values()])


def unflat(vector: Tensor, like: Params) -> Params:
    parts = vector.split([p.numel() for p in like.values()])
    return {name: part.view(p.shape) for part, (name, p) in zip(parts, like.items(), strict=True)}


def classification(
    model: Model, shape: tuple[int, ...], tasks: int, *, ways: int = 3, shots: int = 2, queries: int = 3
) -> TaskObjectives:
    """Gaussian inputs with every class in turn as their label."""

    def draw(seed: int, per_class: int) -> Shots:
        n = ways * per_class
        return Shots(gaussian(seed, tasks, n, *shape), torch.arange(n).remainder(ways).repeat(tasks, 1))

    batch = TaskBatch(draw(1, shots), draw(2, queries), tuple(range(100, 100 + tasks)))
    return task_objectives(batch, model, cross_entropy)


def make(cls: type[Method], **settings: Any) -> Any:
    """An instance of a class that is chosen at run time."""
    return cls(**settings)


def smooth_mlp(tasks: int = 3) -> TaskObjectives:
    """3-way classification of the plane by a softplus network of 27 parameters."""
    return classification(MLP(widths=(2, 4, 3), activation="softplus"), (2,), tasks)


def smooth_conv4(tasks: int = 2, *, norm: Norm = "batch-stats", down: Down = "stride") -> TaskObjectives:
    """3-way classification of 16x16 images by a softplus conv4 of 3 filters."""
    model = Conv4(ways=3, filters=3, size=16, norm=norm, down=down, activation="softplus")
    return classification(model, (1, 16, 16), tasks)


def linear(tasks: int = 3, **settings: Any) -> TaskObjectives:
    """Ridge tasks in float64, which have closed forms."""
    workload = LinearRegression(**{"dimension": 6, "shots": 12, "queries": 8} | settings)
    batch = workload.open(None).sample("train", 0, 0, tasks).to("cpu", torch.float64)
    return task_objectives(batch, workload.model(), workload.loss_function)


def sine(tasks: int = 3, activation: Any = "softplus") -> TaskObjectives:
    """Regression of sines by a small smooth network, with targets of different size for every task."""
    x, size = gaussian(3, tasks, 10, 1), 1.0 + torch.arange(tasks, dtype=torch.float64).view(-1, 1, 1)
    y = size * torch.sin(2 * x)
    batch = TaskBatch(Shots(x[:, :5], y[:, :5]), Shots(x[:, 5:], y[:, 5:]), tuple(range(tasks)))
    return task_objectives(batch, MLP(widths=(1, 5, 1), activation=activation), squared_error)


def executed(tasks: TaskObjectives, execution: Execution) -> TaskObjectives:
    return replace(
        tasks,
        support=replace(tasks.support, execution=execution),
        query=replace(tasks.query, execution=execution),
    )


class Formula(Model):
    """A "network" whose single output is `function` of its parameters x [T, d]: it makes an Objective of any
    function. The inputs [T, 1, k] of a task are handed to the function as its constants."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], dimension: int) -> None:
        self.function = function
        self.dimension = dimension

    def initial(self, seed: int) -> Params:
        return {"x": torch.zeros(self.dimension)}

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        return self.function(params["x"], inputs[:, 0]).view(-1, 1, 1)


def output_as_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.flatten(1).sum(1)


def formula(function: Callable[[Tensor, Tensor], Tensor], constants: Tensor, dimension: int) -> Objective:
    """The objective `function(x [T, d], constants [T, k]) -> [T]`."""
    tasks = len(constants)
    shots = Shots(constants.unsqueeze(1), torch.zeros(tasks, 1, 1, dtype=constants.dtype))
    return Objective(Formula(function, dimension), shots, output_as_loss, tuple(range(tasks)))


@dataclass
class Watched(Model):
    """A model that keeps the parameters of every forward call, and otherwise is the one inside."""

    inside: Model

    def __post_init__(self) -> None:
        self.seen: list[Params] = []

    def initial(self, seed: int) -> Params:
        return self.inside.initial(seed)

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        self.seen.append(trees.detach(params))
        return self.inside.forward(params, inputs, reference)
