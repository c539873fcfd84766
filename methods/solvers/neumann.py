"""The Neumann series (Lorraine, Vicol and Duvenaud 2020, arXiv 1911.02590) for T systems at once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from harness.core import trees
from harness.core.trees import Params
from methods.solvers.linear import Solution
from methods.solvers.stopping import all_finished


@dataclass(frozen=True)
class Neumann:
    """Solve A x = b by x = a * sum over j < terms of (I - a A)^j b, a the `step_size`, A symmetric.

    Converges where every eigenvalue of A lies in (0, 2 / a), and then each term brings the residual down. A
    task whose residual does not fall has an eigenvalue outside: it stops there, is reported as diverged, and
    keeps the sum before (0 if it is the first term). So no sum ever blows up. The last product is for the
    residual alone.
    """

    terms: int
    step_size: float
    tolerance: float = 1e-10

    def solve(self, matvec: Callable[[Params], Params], b: Params) -> Solution:
        """Stops earlier where ||r|| <= tolerance * ||b||."""
        bb = trees.dot(b, b)
        x = trees.combine(torch.zeros_like, b)
        r, rr = trees.scale(1.0, b), bb  # a copy: the peak is the same whichever term is the last
        bound = bb * self.tolerance**2
        active = ~(rr <= bound)  # what is not finite is let through everywhere, to be seen in x
        matvecs = torch.zeros_like(bb)
        curved, diverged = torch.zeros_like(active), torch.zeros_like(active)
        for _ in range(self.terms):
            if all_finished(active):
                break
            left = trees.axpy(-self.step_size, matvec(r), r)
            matvecs = matvecs + active
            curved = curved | (active & (trees.dot(r, left) >= rr))  # r'Ar <= 0
            after = trees.dot(left, left)
            grew = active & (after >= rr)
            diverged = diverged | grew
            active = active & ~grew
            x = trees.select(active, trees.axpy(self.step_size, r, x), x)
            r = trees.select(active, left, r)
            del left  # so as not to stand beside the next product
            rr = torch.where(active, after, rr)
            active = active & ~(rr <= bound)
        residual = (rr / bb.clamp_min(torch.finfo(bb.dtype).tiny)).sqrt()
        return Solution(x, residual, matvecs, curved, diverged)
