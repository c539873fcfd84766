"""MAML by truncated back-propagation: Shaban, Cheng, Hatch and Boots 2019, arXiv 1810.10667."""

from typing import ClassVar

import torch

from harness.core import trees
from harness.core.checks import require_at_least
from harness.core.method import Kind, Order
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from methods.maml import MAML


class MAMLTruncated(MAML):
    """MAML differentiated through its last steps alone; the first ones run without a graph.

    The parameters before the differentiated steps, psi, count as theta itself: d psi / d theta = I. So it is
    MAML where there are no earlier steps, and first-order MAML at `backward_steps` 0. With `lam` the proximal
    terms of the differentiated steps add what theta gives to them: the sum over t of A_K ... A_t+1 B_t of the
    paper's eq. 5, its first term with I in the place of B.

    backward_steps: inner steps that are differentiated, from the last one.
    """

    kind: ClassVar[Kind] = "approximate"
    memory_order: ClassVar[Order] = "constant"

    backward_steps: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "backward_steps")

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = trees.leaves(meta)
        inner = self.inner_objective(tasks.support, theta)
        last = min(self.backward_steps, self.inner_steps)
        psi = trees.leaves(self.descend(inner, theta, self.inner_steps - last))
        phi = self.unroll(inner, psi, last)
        gradients = torch.autograd.grad(
            tasks.query.loss(phi).sum(), [*psi.values(), *theta.values()], materialize_grads=True
        )
        n = len(theta)
        return {name: a + b for name, a, b in zip(theta, gradients[:n], gradients[n:], strict=True)}
