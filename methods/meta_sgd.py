"""Meta-SGD: Li, Zhou, Chen and Li 2017, arXiv 1707.09835."""

from typing import ClassVar

import torch

from harness.core import trees
from harness.core.checks import require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params

ALPHA = "alpha."  # before a parameter's name: that of its step sizes among the meta-parameters


class MetaSGD(Method):
    """MAML with a learned step size for each single parameter: phi <- phi - alpha * g, entry by entry.

    Theta and alpha are meta-learned together; the meta-gradient is exact for both.

    inner_lr: what every entry of alpha is at the start.
    """

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "linear"

    search_space: ClassVar[SearchSpace] = {"inner_lr": Range(0.05, 1.0), "outer.lr": Range(1e-3, 3e-2)}

    inner_lr: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")

    def meta_parameters(self, initial: Params) -> Params:
        alpha = {ALPHA + name: torch.full_like(p, self.inner_lr) for name, p in initial.items()}
        if taken := initial.keys() & alpha.keys():
            raise ValueError(f"the model's parameter '{min(taken)}' has the name of step sizes; rename it")
        return initial | alpha

    def adapt(self, support: Objective, meta: Params) -> Params:
        return self.descend(support, trees.detach(meta), graph=False)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        sources = trees.leaves(meta)
        phi = self.descend(tasks.support, sources, graph=True)
        return trees.derivative(tasks.query.loss(phi).sum(), sources)

    def descend(self, support: Objective, meta: Params, *, graph: bool) -> Params:
        """`inner_steps` steps from theta with alpha as step sizes; both are in `meta`."""
        phi = {name: p for name, p in meta.items() if ALPHA + name in meta}
        for _ in range(self.inner_steps):
            g = support.gradient(phi, graph=graph)
            phi = {name: torch.addcmul(p, meta[ALPHA + name], g[name], value=-1) for name, p in phi.items()}
        return phi
