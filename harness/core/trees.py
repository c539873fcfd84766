"""Parameter dictionaries: `dict[str, Tensor]` whose tensors carry a leading task axis `[T, ...]`."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from harness.core import graph

Params = dict[str, Tensor]


def leaves(params: Params) -> Params:
    """The same values as leaves of a new graph: nothing before them is differentiated or kept alive."""
    if graph.is_kept():
        return {name: p if p.requires_grad else p.detach().requires_grad_() for name, p in params.items()}
    return {name: p.detach().requires_grad_() for name, p in params.items()}


def detach(params: Params) -> Params:
    """The same values without a graph."""
    return dict(params) if graph.is_kept() else {name: p.detach() for name, p in params.items()}


def subset(params: Params, names: Iterable[str]) -> Params:
    """The named entries, in the order of `names`; KeyError if one is missing."""
    return {name: params[name] for name in names}


def combine(function: Callable[..., Tensor], *trees: Params) -> Params:
    """`function` applied entry by entry; the trees share their names."""
    first = trees[0]
    return {name: function(*(tree[name] for tree in trees)) for name in first}


def axpy(scale: float | Tensor, x: Params, y: Params) -> Params:
    """`scale * x + y`; a tensor `scale` has shape [T], one factor a task."""
    if isinstance(scale, Tensor):
        return {name: y[name] + per_task(scale, x[name]) * x[name] for name in y}
    return {name: torch.add(y[name], x[name], alpha=scale) for name in y}


def scale(factor: float, x: Params) -> Params:
    return {name: factor * v for name, v in x.items()}


def subtract(x: Params, y: Params) -> Params:
    return {name: x[name] - y[name] for name in x}


def dot(x: Params, y: Params) -> Tensor:
    """Inner product of every task's parameters. Returns [T]."""
    return torch.stack([(x[name] * y[name]).reshape(len(x[name]), -1).sum(1) for name in x]).sum(0)


def norm(x: Params) -> Tensor:
    """Euclidean norm of every task's parameters. Returns [T]."""
    return dot(x, x).sqrt()


def select(mask: Tensor, x: Params, y: Params) -> Params:
    """For every task `x` where `mask` [T] holds, else `y`."""
    return {name: torch.where(per_task(mask, x[name]), x[name], y[name]) for name in x}


def derivative(loss: Tensor, params: Params) -> Params:
    """Derivative of a scalar `loss` by the `params` that it was computed from; its graph is freed."""
    found = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
    return dict(zip(params, found, strict=True))


def flatten(params: Params) -> Tensor:
    """Every task's parameters as one vector [T, P], in the order of the names."""
    return torch.cat([p.reshape(len(p), -1) for p in params.values()], 1)


def unflatten(vectors: Tensor, like: Params) -> Params:
    """The inverse of `flatten`: `vectors` [T, P] with the names and shapes of `like`."""
    parts = vectors.split([p[0].numel() for p in like.values()], 1)
    return {name: part.reshape(p.shape) for part, (name, p) in zip(parts, like.items(), strict=True)}


def per_task(values: Tensor, like: Tensor) -> Tensor:
    """`values` [T] shaped to broadcast against `like` [T, ...]."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def repeat_for_tasks(params: Params, tasks: int) -> Params:
    """Meta-parameters `[...]` as every task's own `[T, ...]`: views, no memory of their own."""
    return {name: p.unsqueeze(0).expand(tasks, *p.shape) for name, p in params.items()}


def take_task(params: Params, task: int) -> Params:
    """One task's parameters with a task axis of length 1."""
    return {name: p[task : task + 1] for name, p in params.items()}
