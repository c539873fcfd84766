"""Reptile: Nichol, Achiam and Schulman 2018, arXiv 1803.02999."""

from typing import ClassVar, Literal

from harness.core import trees
from harness.core.checks import require_at_least, require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.outer import Interpolate, Outer
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params
from methods.solvers.inner import GradientDescent, InnerAdam, InnerOptimiser


class Reptile(Method):
    """Reptile: move theta towards the parameters adapted to all of a task's shots.

    inner_lr: step size of the inner optimiser.
    optimiser: inner optimiser; "adam" (with beta1 = 0) is the published one.
    batch_size: shots of one inner step; 0 takes them all. The published form draws mini-batches (10 for
        Omniglot).
    outer: theta <- theta + rate * mean(phi - theta), the rate annealed to 0 as published.
    """

    kind: ClassVar[Kind] = "pseudo"
    memory_order: ClassVar[Order] = "constant"

    search_space: ClassVar[SearchSpace] = {
        "inner_lr": Range(1e-3, 0.3),  # Adam's are at the lower end
        "outer.rate": Range(0.3, 2.0),
    }

    inner_lr: float = 0.1
    optimiser: Literal["gradient-descent", "adam"] = "gradient-descent"
    batch_size: int = 0
    outer: Outer = Interpolate(rate=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")
        require_at_least(self, 0, "batch_size")

    def adapt(self, support: Objective, meta: Params) -> Params:
        inner: InnerOptimiser = (
            InnerAdam(self.inner_lr) if self.optimiser == "adam" else GradientDescent(self.inner_lr)
        )

        def batch(k: int) -> Objective:
            return support.minibatch(k, self.batch_size) if self.batch_size else support

        return inner.minimise(batch, meta, self.inner_steps)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.subtract(trees.detach(meta), self.adapt(tasks.joint, meta))
