"""The losses of T tasks as a function of their parameters: all that a method may ask of a task."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.core import graph as graphs
from harness.core import trees
from harness.core.episodes import Shots, TaskBatch
from harness.core.model import Model
from harness.core.phases import Phase, phase
from harness.core.seeds import generator
from harness.core.trees import Params
from harness.core.work import count

Execution = Literal["vectorized", "loop"]
LossFunction = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of every task, nats. `outputs` [T, n, ways], `targets` [T, n]; returns [T]."""
    losses = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view(targets.shape).mean(1)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of every task. Both [T, n, out]; returns [T]."""
    return (outputs - targets).square().flatten(1).mean(1)


def half_squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared error, whose Hessian is X'X/n: with it lambda is the paper's. Returns [T]."""
    return 0.5 * squared_error(outputs, targets)


class HessianProduct:
    """v -> H v at fixed parameters, from one gradient graph that serves every product.

    `gradient` is the gradient itself, detached: Newton's method needs both.
    """

    def __init__(self, gradient: Params, leaves: Params, part: Phase = "inner loop") -> None:
        self._graph = gradient
        self._leaves = leaves
        self._phase = part
        self.gradient = trees.detach(gradient)

    def __call__(self, v: Params) -> Params:
        """H v of every task; H is symmetric, so this is one backward pass through the gradient's graph."""
        count(hessian_products=1)
        names = list(self._leaves)
        # A gradient entry that depends on no parameter has no graph, and its rows of H are zero.
        curved = [n for n in names if self._graph[n].requires_grad]
        if not curved:
            return trees.combine(torch.zeros_like, trees.detach(self._leaves))
        with phase(self._phase):
            products = torch.autograd.grad(
                [self._graph[n] for n in curved],
                [self._leaves[n] for n in names],
                [v[n] for n in curved],
                retain_graph=True,
                create_graph=graphs.is_kept(),
                materialize_grads=True,
            )
        return dict(zip(names, products, strict=True))


@dataclass(frozen=True)
class Objective:
    """Losses of T tasks on their shots.

    `execution` "vectorized" gives the model all tasks in one call, "loop" one after another; both give
    the same numbers. `reference` are the shots whose statistics normalise these, in models with such a mode.
    `phase` is the part of a meta-step that its evaluations belong to.
    """

    model: Model
    shots: Shots
    loss_function: LossFunction
    seeds: tuple[int, ...]
    reference: Shots | None = None
    execution: Execution = "vectorized"
    phase: Phase = "inner loop"

    @property
    def head_names(self) -> tuple[str, ...]:
        """Names of the last layer's parameters."""
        return self.model.head_names

    def predict(self, params: Params) -> Tensor:
        """Outputs [T, n, ...], without a graph."""
        with torch.no_grad(), phase(self.phase):
            return self._outputs(params)

    def loss(self, params: Params) -> Tensor:
        """Loss of every task [T], differentiable in `params` [T, ...]."""
        if torch.is_grad_enabled():
            # A loss with a graph is differentiated, by `gradient` or by its caller.
            count(gradients=1, examples=self.shots.per_task)
        else:
            count(losses=1)
        with phase(self.phase):
            return self.loss_function(self._outputs(params), self.shots.targets)

    def gradient(self, params: Params, *, wrt: tuple[str, ...] | None = None, graph: bool = False) -> Params:
        """Gradient of every task's loss, from one backward pass of `loss.sum()`: the tasks are independent.

        `wrt` names the parameters to differentiate (all, if None). With `graph` the result can be
        differentiated again and stays connected to `params`; without, `params` are taken as values.
        Raises ValueError for a `wrt` that is not a tuple of their names.
        """
        graph = graph or graphs.is_kept()
        if graph:
            count(hessian_products=1)  # what the backward pass through this gradient will be
        return self._gradient(params, wrt, graph)

    def hessian(self, params: Params) -> HessianProduct:
        """v -> H v at `params`; keeps one gradient graph alive while it is held."""
        leaves = trees.leaves(params)
        return HessianProduct(self._gradient(leaves, None, graph=True), leaves, self.phase)

    def minibatch(self, step: int, size: int) -> "Objective":
        """The losses on `size` shots of each task (all, if there are fewer): consecutive slices of reshuffled
        epochs, as in Reptile.

        A pure function of the episodes' seeds and `step`.
        """
        n = self.shots.per_task
        size = min(size, n)
        first, last = step * size, (step + 1) * size - 1
        epochs = range(first // n, last // n + 1)
        index = np.stack(
            [
                np.concatenate([generator("minibatch", seed, epoch).permutation(n) for epoch in epochs])
                for seed in self.seeds
            ]
        )[:, first % n : first % n + size]
        return replace(self, shots=self.shots.take(torch.from_numpy(index).to(self.shots.inputs.device)))

    def _gradient(self, params: Params, wrt: tuple[str, ...] | None, graph: bool) -> Params:
        names = tuple(params) if wrt is None else wrt
        if not isinstance(names, tuple | list) or any(name not in params for name in names):
            raise ValueError(
                f"wrt takes names of parameters, such as {tuple(params)[:2]}; to differentiate by other "
                "tensors take torch.autograd.grad(objective.loss(params).sum(), tensors)"
            )
        if graph:
            at = {n: p if p.requires_grad else p.detach().requires_grad_() for n, p in params.items()}
        else:
            at = {n: p.detach().requires_grad_(n in names) for n, p in params.items()}
        with torch.enable_grad(), phase(self.phase):
            total = self.loss(at).sum()
            gradients = torch.autograd.grad(
                total, [at[n] for n in names], create_graph=graph, materialize_grads=True
            )
        return dict(zip(names, gradients, strict=True))

    def _outputs(self, params: Params) -> Tensor:
        reference = None if self.reference is None else self.reference.inputs
        if self.execution == "vectorized":
            return self.model.forward(params, self.shots.inputs, reference)
        return torch.cat(
            [
                self.model.forward(
                    trees.take_task(params, t),
                    self.shots.inputs[t : t + 1],
                    None if reference is None else reference[t : t + 1],
                )
                for t in range(len(self.shots))
            ]
        )


@dataclass(frozen=True)
class Proximal:
    """G(phi) = L(phi) + (lam / 2) * ||phi - theta||^2 of every task (paper, eq. 3).

    Has `loss`, `gradient` and `hessian` like an `Objective`, so an inner optimiser takes either.
    """

    objective: Objective
    theta: Params
    lam: float

    def loss(self, params: Params) -> Tensor:
        away = trees.subtract(params, self.theta)
        return self.objective.loss(params) + 0.5 * self.lam * trees.dot(away, away)

    def gradient(self, params: Params, *, graph: bool = False) -> Params:
        own = self.objective.gradient(params, graph=graph)
        away = trees.subtract(params, self.theta)
        return trees.axpy(self.lam, away if graph else trees.detach(away), own)

    def hessian(self, params: Params) -> "ProximalHessian":
        away = trees.detach(trees.subtract(params, self.theta))
        return ProximalHessian(self.objective.hessian(params), self.lam, away)

    def minibatch(self, step: int, size: int) -> "Proximal":
        return replace(self, objective=self.objective.minibatch(step, size))


class ProximalHessian:
    """v -> (H + lam I) v, with G's gradient."""

    def __init__(self, inner: HessianProduct, lam: float, away: Params) -> None:
        self._inner = inner
        self._lam = lam
        self.gradient = trees.axpy(lam, away, inner.gradient)

    def __call__(self, v: Params) -> Params:
        return trees.axpy(self._lam, v, self._inner(v))


@dataclass(frozen=True)
class TaskObjectives:
    """What a method sees of T tasks."""

    support: Objective
    query: Objective
    model: Model
    batch: TaskBatch

    @property
    def joint(self) -> Objective:
        """Support and query together: what Reptile trains on."""
        return replace(self.support, shots=self.batch.support.and_then(self.batch.query))


def task_objectives(
    batch: TaskBatch,
    model: Model,
    loss_function: LossFunction,
    *,
    execution: Execution = "vectorized",
) -> TaskObjectives:
    """The objectives of `batch` under `model`. The query carries the support set as its reference."""
    support = Objective(model, batch.support, loss_function, batch.seeds, execution=execution)
    query = replace(support, shots=batch.query, reference=batch.support, phase="query")
    return TaskObjectives(support, query, model, batch)
