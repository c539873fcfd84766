"""What a linear solver owes the methods: T independent systems A x = b, told apart task by task."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from harness.core.record import record
from harness.core.trees import Params


@dataclass(frozen=True)
class Solution:
    """`x` [T, ...] with, for each task: relative residual ||b - Ax|| / ||b||, products with A, whether it met
    a direction of non-positive curvature, and whether its residual grew. Either of the two ended it."""

    x: Params
    residual: Tensor
    matvecs: Tensor
    negative_curvature: Tensor
    diverged: Tensor

    def record(self) -> None:
        """Leave what is known of the solve as diagnostics."""
        record("solver_residual", self.residual)
        record("solver_matvecs", self.matvecs)
        record("solver_negative_curvature", self.negative_curvature)
        record("solver_diverged", self.diverged)


class LinearSolver(Protocol):
    def solve(self, matvec: Callable[[Params], Params], b: Params) -> Solution:
        """x [T, ...] with A x ~ b, A symmetric and given as `matvec`."""
