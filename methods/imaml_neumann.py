"""iMAML with the Neumann series as its linear solver: Lorraine, Vicol and Duvenaud 2020, arXiv 1911.02590."""

from collections.abc import Mapping
from typing import Any, ClassVar

from harness.core.checks import require_at_least, require_positive
from harness.core.search import Range, SearchSpace
from methods.imaml import ImplicitMAML
from methods.solvers.inner import GradientDescent, InnerOptimiser
from methods.solvers.linear import LinearSolver
from methods.solvers.neumann import Neumann


class ImamlNeumann(ImplicitMAML):
    """iMAML whose (I + H/lambda)^-1 v is a * sum over j < terms of (I - a (I + H/lambda))^j v.

    inner_lr: step size of the inner gradient descent; needs inner_lr * (L + lam) < 2.
    terms: terms of the series, a product with I + H/lambda for each. Along flat directions they sum up
        to 1 - (1 - a)^terms of the answer: a third is missing at the defaults.
    step_size: a, the step of the series; needs a * (1 + L/lam) < 2. 0 takes inner_lr * lam: the series then
        converges where the inner gradient descent does, for its terms are that descent's steps linearised at
        phi.
    tolerance: relative residual at which the series stops earlier.
    """

    converged: ClassVar[Mapping[str, Any]] = {"inner_steps": 400, "inner_lr": 0.6, "lam": 0.5, "terms": 60}

    search_space: ClassVar[SearchSpace] = {
        "inner_lr": Range(0.05, 0.5),  # gradient descent needs inner_lr * (L + lam) < 2
        "lam": Range(0.1, 5.0),
        "outer.lr": Range(1e-3, 2e-2),
    }

    inner_lr: float = 0.1
    terms: int = 5
    step_size: float = 0.0
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr", "tolerance")
        require_at_least(self, 1, "terms")
        require_at_least(self, 0, "step_size")

    def inner(self) -> InnerOptimiser:
        return GradientDescent(self.inner_lr)

    def solver(self) -> LinearSolver:
        return Neumann(self.terms, self.step_size or self.inner_lr * self.lam, self.tolerance)
