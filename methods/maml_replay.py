"""MAML by replay: the exact meta-gradient with one Hessian product's graph alive at a time.

The walk back is reverse-mode differentiation of gradient descent with nothing kept but its iterates; with
forward-over-reverse products it is MixFlow-MG (Kemaev et al. 2025, arXiv 2505.00793).
"""

from typing import ClassVar

import torch

from harness.core import trees
from harness.core.method import Order
from harness.core.objective import TaskObjectives
from harness.core.phases import phase
from harness.core.trees import Params
from methods.maml import MAML
from methods.solvers.products import PRODUCTS, Product


class MAMLReplay(MAML):
    """MAML from its inner iterates alone: u <- u - inner_lr * H(phi_k) u, from the last to the first.

    Keeps one copy of the parameters an inner step, where the unrolled form keeps the step's graph, and takes
    every inner gradient but the query's twice.

    product: how H u is computed, "reverse-over-reverse" or "forward-over-reverse". The second needs forward
        derivatives of all the model's operators from torch.
    """

    memory_order: ClassVar[Order] = "linear"

    product: Product = "reverse-over-reverse"

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        inner, product = self.inner_objective(tasks.support, meta), PRODUCTS[self.product]
        visited = [trees.detach(meta)]
        for _ in range(self.inner_steps):
            visited.append(self.descend(inner, visited[-1], 1))
        u = tasks.query.gradient(visited.pop())
        direct = trees.combine(torch.zeros_like, u)
        with phase("backward"):
            while visited:
                hu = product(tasks.support, visited.pop(), u)
                if self.lam:  # phi_k+1 = phi_k - inner_lr * (grad L(phi_k) + lam * (phi_k - theta))
                    direct = trees.axpy(self.inner_lr * self.lam, u, direct)
                    hu = trees.axpy(self.lam, u, hu)
                u = trees.axpy(-self.inner_lr, hu, u)
        return trees.combine(torch.add, u, direct)
