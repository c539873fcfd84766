"""First-order MAML: Finn, Abbeel and Levine 2017, section 5.2."""

from typing import ClassVar

from harness.core.checks import require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params
from methods.solvers.inner import GradientDescent


class FOMAML(Method):
    """First-order MAML: the query gradient at the last inner parameters.

    inner_lr: step size of the inner gradient descent (alpha).
    """

    kind: ClassVar[Kind] = "first-order"
    memory_order: ClassVar[Order] = "constant"

    search_space: ClassVar[SearchSpace] = {"inner_lr": Range(0.05, 1.0), "outer.lr": Range(1e-3, 3e-2)}

    inner_lr: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")

    def adapt(self, support: Objective, meta: Params) -> Params:
        return GradientDescent(self.inner_lr).minimise(lambda k: support, meta, self.inner_steps)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return tasks.query.gradient(self.adapt(tasks.support, meta))
