"""MAML as facebookresearch/higher has it (Grefenstette et al. 2019, arXiv 1910.01727): patched modules."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor
from torch.optim import SGD

from harness.core.checks import require_positive
from harness.core.libraries import load_library
from harness.core.method import Kind, Method, Order
from harness.core.model import TaskModule
from harness.core.objective import Objective, TaskObjectives
from harness.core.trees import Params
from methods.peers.task_by_task import TaskLoss, derivative, task_by_task

higher = load_library("higher", at_least="0.2.1")


class HigherMAML(Method):
    """MAML through higher.innerloop_ctx.

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
            inner = SGD(net.parameters(), lr=self.inner_lr)
            with higher.innerloop_ctx(net, inner, track_higher_grads=False) as (fnet, diffopt):
                for _ in range(self.inner_steps):
                    diffopt.step(support(fnet))
                return fnet.parameters()

        return task_by_task(one, meta, support)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss, query: TaskLoss) -> Iterable[Tensor]:
            inner = SGD(net.parameters(), lr=self.inner_lr)
            with higher.innerloop_ctx(net, inner, copy_initial_weights=False) as (fnet, diffopt):
                for _ in range(self.inner_steps):
                    diffopt.step(support(fnet))
                return derivative(query(fnet), net.parameters())

        return task_by_task(one, meta, tasks.support, tasks.query)
