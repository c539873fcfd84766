"""Conjugate gradient (Hestenes and Stiefel 1952) for T independent systems at once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.core import trees
from harness.core.trees import Params
from methods.solvers.linear import Solution
from methods.solvers.stopping import all_finished


@dataclass(frozen=True)
class CG:
    """Solve A x = b from x = 0 in at most `steps` products with A, or until ||r|| <= tolerance * ||b||.

    A must be positive definite for the answer to be exact. Where p'Ap <= 0 shows that it is not, the task
    stops and keeps its last iterate (0 if it is the first direction): never a step along that direction.
    """

    steps: int
    tolerance: float = 1e-10

    def solve(
        self,
        matvec: Callable[[Params], Params],
        b: Params,
        tolerance: Tensor | None = None,
    ) -> Solution:
        """`tolerance` [T], if given, replaces the setting by one bound a task."""
        bb = trees.dot(b, b)
        bound = bb * (self.tolerance**2 if tolerance is None else tolerance.square())
        x = trees.combine(torch.zeros_like, b)
        r, p, rr = b, b, bb
        active = ~(rr <= bound)  # a right-hand side that is not finite is let through, to be seen in x
        matvecs = torch.zeros_like(bb)
        curved = torch.zeros_like(active)
        for _ in range(self.steps):
            if all_finished(active):
                break
            ap = matvec(p)
            pap = trees.dot(p, ap)
            matvecs = matvecs + active
            curved = curved | (active & (pap <= 0))
            active = active & ~(pap <= 0)  # a product that is not finite is let through, to be seen in x
            # Zero over one where a task is finished: a quotient that nobody takes must not be NaN, for its
            # derivative would be.
            alpha = torch.where(active, rr, torch.zeros_like(rr)) / torch.where(
                active, pap, torch.ones_like(pap)
            )
            x = trees.axpy(alpha, p, x)
            r = trees.axpy(-alpha, ap, r)
            previous, rr = rr, trees.dot(r, r)
            active = active & (rr > bound)
            beta = torch.where(active, rr, torch.zeros_like(rr)) / torch.where(
                active, previous, torch.ones_like(previous)
            )
            p = trees.axpy(beta, p, r)
        residual = (rr / bb.clamp_min(torch.finfo(bb.dtype).tiny)).sqrt()
        return Solution(x, residual, matvecs, curved, diverged=torch.zeros_like(curved))
