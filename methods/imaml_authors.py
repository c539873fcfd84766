"""iMAML as its authors' public code has it, https://github.com/aravindr93/imaml_dev, written anew.

It differs from the paper (arXiv 1909.04630), and the differences change the meta-gradient.
"""

from typing import ClassVar

from harness.core import trees
from harness.core.checks import require_at_least, require_positive
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.outer import Adam, Outer
from harness.core.phases import phase
from harness.core.search import Range, SearchSpace
from harness.core.trees import Params
from methods.solvers.cg import CG
from methods.solvers.inner import GradientDescent

LAMBDA_DAMPING = 10.0  # The code adds it to lambda in the operator.
RESIDUAL_NORM = 1e-5  # At which the code's CG stops, absolute: r'r < 1e-10.


class ImamlAuthors(Method):
    """iMAML's public code: a pull-back after the inner loop, and another operator in the linear system.

    Reproduced: `inner_steps` of gradient descent on the support loss alone, then one step on the proximal
    term alone; CG from zero for ((1 + damping) I + H / (lambda + 10)) g = v, and g = v at one CG step; the
    outer Adam's eps of 1e-3. Not reproduced, as it costs time and changes no number: a first product with the
    zero vector, a new graph for every product. CG here stops where a direction has negative curvature, the
    code's goes on. Elsewhere: batch norm by the batch's own statistics is the workload's `norm`; that the
    code's training and test share characters is its data's, lambda 0 at test time its evaluation's.

    inner_lr: step size of the inner gradient descent, and of the step on the proximal term.
    lam: proximal strength (lambda).
    cg_steps: products with the operator, at most.
    cg_damping: added to the operator's identity.
    """

    kind: ClassVar[Kind] = "approximate"
    memory_order: ClassVar[Order] = "constant"

    search_space: ClassVar[SearchSpace] = {
        "inner_lr": Range(0.05, 0.5),  # gradient descent needs inner_lr * (L + lam) < 2
        "lam": Range(0.1, 5.0),
        "outer.lr": Range(1e-3, 2e-2),
    }

    inner_lr: float = 0.1
    lam: float = 2.0
    cg_steps: int = 5
    cg_damping: float = 1.0
    outer: Outer = Adam(lr=1e-3, eps=1e-3)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "inner_lr")
        require_at_least(self, 0, "lam", "cg_damping")
        require_at_least(self, 1, "cg_steps")

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = GradientDescent(self.inner_lr).minimise(lambda k: support, meta, self.inner_steps)
        return trees.axpy(-self.inner_lr * self.lam, trees.subtract(phi, trees.detach(meta)), phi)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        phi = self.adapt(tasks.support, meta)
        v = tasks.query.gradient(phi)
        if self.cg_steps == 1:
            return v
        with phase("solve"):
            hessian = tasks.support.hessian(phi)

            def operator(u: Params) -> Params:
                damped = trees.scale(1 + self.cg_damping, u)
                return trees.axpy(1 / (self.lam + LAMBDA_DAMPING), hessian(u), damped)

            solution = CG(self.cg_steps).solve(
                operator, v, tolerance=RESIDUAL_NORM / trees.norm(v).clamp_min(RESIDUAL_NORM)
            )
        solution.record()
        return solution.x
