"""The loop over tasks of a library that adapts one `nn.Module` at a time."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from harness.core import trees
from harness.core.model import TaskModule
from harness.core.objective import Objective
from harness.core.phases import phase
from harness.core.trees import Params

Network = Callable[..., Tensor]
"""`net(x, reference)` -> outputs [n, out]: a `TaskModule`, or what a library made of one."""

TaskLoss = Callable[[Network], Tensor]
"""One task's loss, a scalar, as a function of its network."""


def task_by_task(one: Callable[..., Iterable[Tensor]], meta: Params, *objectives: Objective) -> Params:
    """`one(net, *losses)` for each task, its tensors stacked [T, ...] under the names of `meta`; no graph.

    `net` holds the task's own parameters; `losses` are the objectives' of this task. `one` returns a tensor
    for each parameter, in the order of `net.parameters()`.
    """
    model = objectives[-1].model  # the query's, where there is one: who watches it sees where it is evaluated
    results = []
    for t in range(len(objectives[0].shots)):
        net = TaskModule(model, trees.take_task(meta, t))
        names = [name for name, _ in net.named_parameters()]
        tensors = one(net, *(loss_of(objective, t) for objective in objectives))
        results.append({name: p.detach() for name, p in zip(names, tensors, strict=True)})
    return {name: torch.stack([result[name] for result in results]) for name in meta}


def loss_of(objective: Objective, t: int) -> TaskLoss:
    """The loss of task `t` of an objective."""
    x, y = objective.shots.inputs[t], objective.shots.targets[t : t + 1]
    reference = None if objective.reference is None else objective.reference.inputs[t]

    def loss(net: Network) -> Tensor:
        with phase(objective.phase):
            return objective.loss_function(net(x, reference).unsqueeze(0), y).sum()

    return loss


def derivative(loss: Tensor, parameters: Iterable[Tensor]) -> Sequence[Tensor]:
    """Of `loss` with respect to each of the parameters; zeros where it does not depend on one."""
    return torch.autograd.grad(loss, list(parameters), materialize_grads=True)
