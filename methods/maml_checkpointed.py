"""MAML with checkpoints: Chen et al. 2016, arXiv 1604.06174, section 4, applied to the inner loop."""

import math
from typing import ClassVar

import torch

from harness.core import trees
from harness.core.checks import require_at_least
from harness.core.method import Order
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from methods.maml import MAML


class MAMLCheckpointed(MAML):
    """MAML's exact meta-gradient, the inner loop unrolled one segment at a time, from the last to the first.

    Keeps the parameters at the start of each segment and the graph of one: some sqrt(inner_steps) steps.
    Every segment but the last is run twice.

    segment: inner steps of a segment; 0 takes ceil(sqrt(inner_steps)).
    """

    memory_order: ClassVar[Order] = "sqrt"

    segment: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 0, "segment")

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = trees.leaves(meta)  # as the centre of the proximal term, which every segment sees
        inner = self.inner_objective(tasks.support, theta)
        length = self.segment or max(1, math.ceil(math.sqrt(self.inner_steps)))
        starts = [trees.detach(meta)]
        for _ in range(length, self.inner_steps, length):
            starts.append(self.descend(inner, starts[-1], length))
        steps = self.inner_steps - length * (len(starts) - 1)  # of the last segment

        u: Params | None = None
        direct = trees.combine(torch.zeros_like, meta)
        while starts:
            start = trees.leaves(starts.pop())
            end = self.unroll(inner, start, steps)
            outputs = [tasks.query.loss(end).sum()] if u is None else list(end.values())
            weights = None if u is None else list(u.values())
            sources = [*start.values(), *theta.values()]
            gradients = torch.autograd.grad(outputs, sources, weights, materialize_grads=True)
            u = dict(zip(theta, gradients[: len(theta)], strict=True))
            direct = trees.combine(torch.add, direct, dict(zip(theta, gradients[len(theta) :], strict=True)))
            steps = length
        assert u is not None, "there is a segment, if only of no steps"
        return trees.combine(torch.add, u, direct)
