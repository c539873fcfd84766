"""iMAML: Rajeswaran, Finn, Kakade and Levine 2019, arXiv 1909.04630."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from harness.core import trees
from harness.core.checks import require_at_least, require_fraction, require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, Proximal, TaskObjectives
from harness.core.phases import phase
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params
from methods.solvers.cg import CG
from methods.solvers.hessian_free import HessianFree
from methods.solvers.inner import AcceleratedGradient, GradientDescent, InnerAdam, InnerOptimiser
from methods.solvers.linear import LinearSolver


class ImplicitMAML(Method):
    """Implicit MAML around any inner optimiser and any linear solver.

    lam: proximal strength (lambda, eq. 3); Omniglot in the paper: 2.0.
    """

    kind: ClassVar[Kind] = "implicit"
    memory_order: ClassVar[Order] = "constant"

    lam: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "lam")

    @abstractmethod
    def inner(self) -> InnerOptimiser:
        """The optimiser of the inner problem."""

    @abstractmethod
    def solver(self) -> LinearSolver:
        """What solves the linear system of the meta-gradient."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        """phi ~ argmin L(phi, support) + (lam / 2) ||phi - theta||^2."""
        proximal = Proximal(support, meta, self.lam)
        return self.inner().minimise(lambda k: proximal, meta, self.inner_steps)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        """Solve (I + H/lam) g = v, with v the query gradient and H the support loss's Hessian at phi."""
        phi = self.adapt(tasks.support, meta)
        v = tasks.query.gradient(phi)
        with phase("solve"):
            hessian = tasks.support.hessian(phi)
            solution = self.solver().solve(lambda u: trees.axpy(1 / self.lam, hessian(u), u), v)
        solution.record()
        return solution.x


class ImamlCG(ImplicitMAML):
    """Implicit MAML as published: the linear solver is conjugate gradient.

    cg_steps: products with (I + H/lambda) that the linear solver may use (5 in the paper).
    cg_tolerance: relative residual at which it stops earlier.
    """

    converged: ClassVar[Mapping[str, Any]] = {"lam": 1.0, "cg_steps": 20, "cg_tolerance": 1e-12}

    cg_steps: int = 5
    cg_tolerance: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "cg_tolerance")
        require_at_least(self, 1, "cg_steps")

    def solver(self) -> LinearSolver:
        return CG(self.cg_steps, self.cg_tolerance)


class ImamlGD(ImamlCG):
    """iMAML with a first-order inner optimiser; gradient descent unless `optimiser` says otherwise.

    inner_lr: step size of the inner optimiser. Gradient descent needs inner_lr * (L + lam) < 2.
    optimiser: "gradient-descent", "momentum" (heavy-ball), "nesterov" (with a constant momentum),
        "accelerated" (Nesterov's own sequence of momenta, restarted where it overshoots) or "adam".
    momentum: its factor, for the two that have a constant one.
    """

    converged: ClassVar[Mapping[str, Any]] = {
        **ImamlCG.converged,
        "inner_steps": 60,
        "inner_lr": 0.6,  # the eigenvalues of H + lam I lie in [1.1, 2]: a step contracts by 0.34
        "optimiser": "gradient-descent",
    }

    search_space: ClassVar[SearchSpace] = {
        "inner_lr": Range(0.05, 0.5),  # gradient descent needs inner_lr * (L + lam) < 2
        "lam": Range(0.02, 2.0),
        "cg_steps": Range(1, 5),  # few where H + lam I is indefinite: CG diverges there
        "outer.lr": Range(1e-3, 2e-2),
    }

    inner_lr: float = 0.1
    optimiser: Literal["gradient-descent", "momentum", "nesterov", "accelerated", "adam"] = "gradient-descent"
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")
        require_fraction(self, "momentum")

    def inner(self) -> InnerOptimiser:
        match self.optimiser:
            case "gradient-descent":
                return GradientDescent(self.inner_lr)
            case "adam":
                return InnerAdam(self.inner_lr, beta1=0.9)
            case "accelerated":
                return AcceleratedGradient(self.inner_lr)
            case kind:
                return GradientDescent(self.inner_lr, self.momentum, nesterov=kind == "nesterov")


class ImamlHF(ImamlCG):
    """iMAML with the Hessian-free inner optimiser: inner steps are Newton steps.

    newton_cg_steps: Hessian products for each search direction, at most (5 in the paper).
    newton_cg_tolerance: relative residual at which a direction is good enough; early ones may be rougher than
        late ones, min(newton_cg_tolerance, sqrt||g||). A small value takes every product.
    """

    converged: ClassVar[Mapping[str, Any]] = {
        **ImamlCG.converged,
        "inner_steps": 20,
        "newton_cg_steps": 20,
    }

    search_space: ClassVar[SearchSpace] = {
        "lam": Range(0.1, 5.0),
        "cg_steps": Range(1, 5),
        "outer.lr": Range(1e-3, 2e-2),
    }

    newton_cg_steps: int = 5
    newton_cg_tolerance: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, 1, "newton_cg_steps")
        require_positive(self, "newton_cg_tolerance")

    def inner(self) -> InnerOptimiser:
        return HessianFree(self.newton_cg_steps, self.newton_cg_tolerance)
