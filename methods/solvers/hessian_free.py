"""Hessian-free inner optimisation: Newton-CG with a backtracking Armijo line search, task by task.

The paper's best rows use it; the authors' public code lacks it. Nocedal and Wright 2006, algorithm 7.1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from harness.core import trees
from harness.core.record import record
from harness.core.trees import Params
from methods.solvers.cg import CG
from methods.solvers.inner import Curvature, Smooth, StepObjective
from methods.solvers.stopping import all_finished

SUFFICIENT_DECREASE = 1e-4  # Armijo's c1, the customary value (Nocedal and Wright, section 3.1).
BACKTRACKS = 12  # Halvings: the smallest step tried is 2^-12; a direction worse than that has no use.
GRADIENT_TOLERANCE = 1e-14  # ||g|| under which a task is solved, relative to 1 + ||g at the start||.
ROUNDING = 16  # units in the last place of a loss, a sum of many terms, below which no decrease is seen


@dataclass(frozen=True)
class HessianFree:
    """`steps` Newton steps, each with at most `cg_steps` products with the Hessian.

    The direction solves H d = -g by CG to the forcing tolerance min(`forcing`, sqrt||g||); where the first CG
    direction has non-positive curvature it is steepest descent. Each task has its own step size, and stops
    on its own: at a vanishing gradient, or where no tried step decreases its loss.
    """

    cg_steps: int = 5
    forcing: float = 0.5

    def minimise(self, objective: StepObjective, start: Params, steps: int) -> Params:
        phi = trees.detach(start)
        active: Tensor | None = None
        floor: Tensor | None = None
        for k in range(steps):
            smooth = objective(k)
            hessian = smooth.hessian(phi)
            g = hessian.gradient
            size = trees.norm(g)
            if active is None or floor is None:
                floor = GRADIENT_TOLERANCE * (1 + size)
                active = torch.ones_like(size, dtype=torch.bool)
            active = active & (size > floor)
            if all_finished(active):
                break
            d = self.direction(hessian, g, size)
            del hessian  # its graph must not stand beside the line search's
            phi, active = armijo(smooth, phi, d, trees.dot(g, d), active)
        return phi

    def direction(self, hessian: Curvature, g: Params, size: Tensor) -> Params:
        """A descent direction of every task."""
        down = trees.scale(-1.0, g)
        forcing = size.sqrt().clamp_max(self.forcing)
        newton = CG(self.cg_steps).solve(hessian, down, tolerance=forcing)
        record("newton_negative_curvature", newton.negative_curvature)
        stuck = newton.negative_curvature & (newton.matvecs <= 1)
        return trees.select(stuck, down, newton.x)


def armijo(smooth: Smooth, phi: Params, d: Params, slope: Tensor, active: Tensor) -> tuple[Params, Tensor]:
    """Each active task's first step in 1, 1/2, 1/4, ... along `d` that decreases its loss enough.

    `slope` [T] is g'd. Returns the parameters and which tasks moved [T].
    """
    with torch.no_grad():  # of the losses alone: the step taken is a function of phi and d
        before = smooth.loss(phi)
    # Near the solution a decrease is less than a loss can show, where a gradient still can: it is taken.
    resolution = ROUNDING * torch.finfo(before.dtype).eps * before.abs()
    unseen = torch.where(slope.detach().abs() <= resolution, resolution, torch.zeros_like(resolution))
    step = torch.ones_like(slope)
    waiting = active
    trials = torch.zeros_like(slope)
    best = phi
    for _ in range(1 + BACKTRACKS):
        trial = trees.axpy(step, d, phi)
        with torch.no_grad():
            after = smooth.loss(trial)
        enough = torch.isfinite(after) & (
            after <= before + SUFFICIENT_DECREASE * step * slope.detach() + unseen
        )
        trials = trials + waiting
        best = trees.select(waiting & enough, trial, best)
        waiting = waiting & ~enough
        if all_finished(waiting):
            break
        step = torch.where(waiting, 0.5 * step, step)
    record("line_search_trials", trials)
    return best, active & ~waiting
