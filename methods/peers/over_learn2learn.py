"""MAML and first-order MAML as learn2learn has them (Arnold et al. 2020, arXiv 2008.12284): module clones."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor

from harness.core.checks import require_positive
from harness.core.libraries import load_library
from harness.core.method import Kind, Method, Order
from harness.core.model import TaskModule
from harness.core.objective import Objective, TaskObjectives
from harness.core.trees import Params
from methods.peers.task_by_task import TaskLoss, derivative, task_by_task

l2l = load_library("learn2learn", at_least="0.2.0", hint=", as README says")


class Learn2learnMAML(Method):
    """MAML through learn2learn.algorithms.MAML.

    inner_lr: step size of the inner gradient descent (alpha).
    """

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "linear"
    first_order: ClassVar[bool] = False

    inner_lr: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")

    def adapted(self, net: TaskModule, support: TaskLoss, first_order: bool) -> TaskModule:
        # With allow_nograd its `adapt` raises what autograd raises (memory ran out), without it prints that.
        maml = l2l.algorithms.MAML(net, lr=self.inner_lr, first_order=first_order, allow_nograd=True)
        learner = maml.clone()
        for _ in range(self.inner_steps):
            learner.adapt(support(learner))
        return learner

    def adapt(self, support: Objective, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss) -> Iterable[Tensor]:
            return self.adapted(net, support, first_order=True).parameters()

        return task_by_task(one, meta, support)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss, query: TaskLoss) -> Iterable[Tensor]:
            return derivative(query(self.adapted(net, support, self.first_order)), net.parameters())

        return task_by_task(one, meta, tasks.support, tasks.query)


class Learn2learnFOMAML(Learn2learnMAML):
    """First-order MAML through learn2learn.algorithms.MAML with first_order.

    inner_lr: step size of the inner gradient descent (alpha).
    """

    kind: ClassVar[Kind] = "first-order"
    memory_order: ClassVar[Order] = "constant"
    first_order: ClassVar[bool] = True
