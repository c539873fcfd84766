"""Problems that the tests of several packages share: small float64 tasks, and derivatives by brute force."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from harness.conformance.problems import (
    Watched,
    classification,
    copy_of,
    executed,
    gaussian,
    linear,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)
from harness.core import trees
from harness.core.episodes import Shots
from harness.core.method import Method
from harness.core.model import Model
from harness.core.objective import Objective
from harness.core.trees import Params

__all__ = [
    "Formula",
    "Watched",
    "central_differences",
    "classification",
    "copy_of",
    "executed",
    "flat",
    "formula",
    "gaussian",
    "linear",
    "make",
    "meta_parameters",
    "output_as_loss",
    "parameters",
    "random_like",
    "relative_error",
    "sine",
    "smooth_conv4",
    "smooth_mlp",
    "unflat",
]

torch.set_num_threads(1)  # the problems are too small to share, and the last bit depends on it


def random_like(params: Params, seed: int) -> Params:
    return {name: gaussian(seed + i, *p.shape) for i, (name, p) in enumerate(params.items())}


def meta_parameters(method: Method, model: Model, tasks: int) -> Params:
    """What `method` meta-learns of `model`: `parameters`, and its own beside them, equal for all tasks."""
    theta = parameters(model, tasks)
    own = method.meta_parameters({name: p.double() for name, p in model.initial(0).items()})
    return theta | {name: p.repeat(tasks, *(1,) * p.dim()) for name, p in own.items() if name not in theta}


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


def make(cls: type[Method], **settings: Any) -> Any:
    """An instance of a class that is chosen at run time."""
    return cls(**settings)


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
