"""MAML and iMAML as TorchOpt has them (Ren et al. 2023, arXiv 2211.06934).

MAML is its differentiable optimiser `MetaSGD`; iMAML its `custom_root`, which differentiates the solution of
an optimality condition, with its own conjugate gradient.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from harness.core.checks import require_at_least, require_positive
from harness.core.libraries import load_library
from harness.core.method import Kind, Method, Order
from harness.core.model import TaskModule
from harness.core.objective import Objective, TaskObjectives
from harness.core.phases import phase
from harness.core.trees import Params
from methods.peers.task_by_task import TaskLoss, derivative, task_by_task

torchopt = load_library("torchopt", at_least="0.7.3")

Tensors = tuple[Tensor, ...]


class TorchoptMAML(Method):
    """MAML through torchopt.MetaSGD.

    inner_lr: step size of the inner gradient descent (alpha).
    """

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "linear"

    inner_lr: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")

    def adapt(self, support: Objective, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss) -> Iterable[Tensor]:
            inner = torchopt.MetaSGD(net, lr=self.inner_lr)
            for _ in range(self.inner_steps):
                inner.step(support(net))
                torchopt.stop_gradient(net)
            return net.parameters()

        return task_by_task(one, meta, support)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss, query: TaskLoss) -> Iterable[Tensor]:
            theta = tuple(net.parameters())  # a step of MetaSGD puts other tensors in their place
            inner = torchopt.MetaSGD(net, lr=self.inner_lr)
            for _ in range(self.inner_steps):
                inner.step(support(net))
            return derivative(query(net), theta)

        return task_by_task(one, meta, tasks.support, tasks.query)


class TorchoptIMAML(Method):
    """iMAML through torchopt.diff.implicit.custom_root and torchopt.linear_solve.solve_cg.

    Its solver goes on where it meets negative curvature, at which the harness's own stops.

    lam: proximal strength (lambda, eq. 3); Omniglot in the paper: 2.0.
    inner_lr: step size of the inner gradient descent on the proximal objective.
    cg_steps: products with (H + lambda I) that its linear solver may use to move; it takes one more, of zero.
    cg_tolerance: relative residual at which it stops earlier (TorchOpt's own default is 1e-5).
    """

    kind: ClassVar[Kind] = "implicit"
    memory_order: ClassVar[Order] = "constant"
    converged: ClassVar[Mapping[str, Any]] = {"inner_steps": 60, "inner_lr": 0.6, "lam": 1.0, "cg_steps": 10}

    lam: float = 2.0
    inner_lr: float = 0.1
    cg_steps: int = 5
    cg_tolerance: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "lam", "inner_lr", "cg_tolerance")
        require_at_least(self, 1, "cg_steps")

    def problem(
        self, net: TaskModule, support: TaskLoss
    ) -> tuple[Callable[..., Tensor], Callable[..., Tensors]]:
        """G(phi, theta) of one task, and the gradient descent on it from a start."""

        def proximal(phi: Tensors, theta: Tensors) -> Tensor:
            away = sum((p - t).square().sum() for p, t in zip(phi, theta, strict=True))
            return support(at(net, phi)) + 0.5 * self.lam * away

        def descend(start: Tensors, theta: Tensors) -> Tensors:
            phi = tuple(p.detach().clone().requires_grad_() for p in start)
            inner = torchopt.sgd(lr=self.inner_lr)
            state = inner.init(phi)
            with torch.enable_grad():
                for _ in range(self.inner_steps):
                    gradients = torch.autograd.grad(proximal(phi, theta), phi)
                    updates, state = inner.update(gradients, state, inplace=True)
                    phi = torchopt.apply_updates(phi, updates, inplace=True)
            return phi

        return proximal, descend

    def adapt(self, support: Objective, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss) -> Iterable[Tensor]:
            _, descend = self.problem(net, support)
            theta = tuple(net.parameters())
            return descend(theta, theta)

        return task_by_task(one, meta, support)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        solve = torchopt.linear_solve.solve_cg(maxiter=self.cg_steps, rtol=self.cg_tolerance)

        def one(net: TaskModule, support: TaskLoss, query: TaskLoss) -> Iterable[Tensor]:
            proximal, descend = self.problem(net, support)
            stationary = torch.func.grad(proximal, argnums=0)
            theta = tuple(net.parameters())
            solver = torchopt.diff.implicit.custom_root(stationary, argnums=1, solve=solve)(descend)
            loss = query(at(net, solver(theta, theta)))
            with phase("solve"):
                return derivative(loss, theta)

        return task_by_task(one, meta, tasks.support, tasks.query)


def at(net: TaskModule, phi: Tensors) -> Callable[..., Tensor]:
    """The network with other parameters, in the order of its own."""
    params = dict(zip((name for name, _ in net.named_parameters()), phi, strict=True))
    return lambda *inputs: torch.func.functional_call(net, params, inputs)
