"""MAML: Finn, Abbeel and Levine 2017, arXiv 1703.03400. The textbook form, differentiated by unrolling."""

from typing import ClassVar

from harness.core import trees
from harness.core.checks import require_at_least, require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, Proximal, TaskObjectives
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params
from methods.solvers.inner import GradientDescent


class MAML(Method):
    """MAML: derivative of the query loss through every inner gradient step.

    inner_lr: step size of the inner gradient descent (alpha).
    lam: proximal strength (lambda of iMAML, eq. 3); 0, the default, is plain MAML.
    """

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "linear"

    search_space: ClassVar[SearchSpace] = {"inner_lr": Range(0.05, 1.0), "outer.lr": Range(1e-3, 3e-2)}

    inner_lr: float = 0.1
    lam: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")
        require_at_least(self, 0, "lam")

    def inner_objective(self, support: Objective, theta: Params) -> Objective | Proximal:
        """What the inner loop minimises."""
        return Proximal(support, theta, self.lam) if self.lam else support

    def descend(self, inner: Objective | Proximal, phi: Params, steps: int) -> Params:
        """Parameters after `steps` inner steps from `phi`, without a graph."""
        return GradientDescent(self.inner_lr).minimise(lambda k: inner, phi, steps)

    def unroll(self, inner: Objective | Proximal, phi: Params, steps: int) -> Params:
        """The same steps with the graph of each: the result can be differentiated by `phi` and by theta."""
        for _ in range(steps):
            phi = trees.axpy(-self.inner_lr, inner.gradient(phi, graph=True), phi)
        return phi

    def adapt(self, support: Objective, meta: Params) -> Params:
        return self.descend(self.inner_objective(support, meta), meta, self.inner_steps)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = trees.leaves(meta)
        phi = self.unroll(self.inner_objective(tasks.support, theta), theta, self.inner_steps)
        return trees.derivative(tasks.query.loss(phi).sum(), theta)
