"""ANIL, almost no inner loop: Raghu, Raghu, Bengio and Vinyals 2020, arXiv 1909.09157, section 4."""

from typing import ClassVar

from harness.core import trees
from harness.core.checks import require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params


class ANIL(Method):
    """MAML whose inner loop adapts the model's head alone; the body is meta-learned and never adapted.

    An objective evaluates the whole network, so each inner step keeps the body's graph: a code that computes
    the features once gets the same numbers in less time and memory.

    inner_lr: step size of the inner gradient descent (alpha).
    """

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "linear"

    search_space: ClassVar[SearchSpace] = {"inner_lr": Range(0.05, 1.0), "outer.lr": Range(1e-3, 3e-2)}

    inner_lr: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")

    def adapt(self, support: Objective, meta: Params) -> Params:
        return self.descend(support, trees.detach(meta), graph=False)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = trees.leaves(meta)
        phi = self.descend(tasks.support, theta, graph=True)
        return trees.derivative(tasks.query.loss(phi).sum(), theta)

    def descend(self, support: Objective, phi: Params, *, graph: bool) -> Params:
        """`inner_steps` steps of gradient descent on the head."""
        head = support.head_names
        if not head:
            raise ValueError(
                "anil adapts the model's head, and this model names none: set head_names in its Model, or "
                "take maml"
            )
        for _ in range(self.inner_steps):
            g = support.gradient(phi, wrt=head, graph=graph)
            phi = phi | trees.axpy(-self.inner_lr, g, trees.subset(phi, head))
        return phi
