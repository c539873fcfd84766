"""What a meta-gradient should be, found without the method's own `meta_gradient`, in float64.

There are two: the derivative of the map theta -> phi_K that the method's `adapt` computes, and the implicit
one, at the solution phi* of the inner problem. They share no code with the adapters: the first differentiates
`adapt` as a black box, the second takes scipy's and LAPACK's solvers.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import linalg, optimize
from scipy.sparse.linalg import LinearOperator, eigsh, minres
from torch import Tensor

from harness.core import trees
from harness.core.graph import differentiable
from harness.core.method import Method
from harness.core.objective import Proximal, TaskObjectives, task_objectives
from harness.core.seeds import generator
from harness.core.trees import Params

STEP = 1e-3  # of a difference: Richardson's truncation error is then about 1e-12, rounding 1e-13
CONFIRMED = 1e-6  # of a typical slope along a random direction; a hidden graph is off by far more
DIFFERENCES_UP_TO = 400  # parameters: each costs four adaptations
DENSE_UP_TO = 1000  # parameters: a Hessian of 8 MB a task; beyond, Krylov methods
STATIONARY = 1e-9  # ||grad G(phi*)|| against its size at theta; below it phi* is taken for the solution
POLISH = 8  # Newton steps, at most, after the trust region: each squares what is left of the residual
EPS = float(np.finfo(np.float64).eps)


class NoOracle(Exception):
    """This oracle has no answer here: the reason, in a sentence."""


@dataclass(frozen=True)
class Truth:
    """A meta-gradient [T, ...] that others are held against, and how it was found."""

    gradient: Params
    how: str


def unrolled(method: Method, tasks: TaskObjectives, theta: Params) -> Truth:
    """Derivative of `query.loss(adapt(support, theta))` with respect to theta [T, ...].

    Autograd through `adapt`, held against a central difference along a random direction of every task. Where
    the method hides its graph, central differences along all coordinates. Raises NoOracle where there are too
    many of them.
    """

    def outcome(meta: Params) -> Tensor:
        phi = method.adapt(tasks.support, meta)
        with torch.no_grad():
            return tasks.query.loss(phi)

    count = sum(p[0].numel() for p in theta.values())
    gradient = _through_adapt(method, tasks, theta)
    if gradient is None:
        why = "adapt leaves no graph to differentiate"
    else:
        direction = _random_direction(theta)
        slope, doubt = directional_derivative(outcome, theta, direction)
        found = trees.dot(gradient, direction)
        bound = CONFIRMED * trees.norm(gradient) / math.sqrt(count) + 10 * doubt
        if bool(((found - slope).abs() <= bound).all()):
            how = "autograd through adapt, confirmed by a difference along a random direction"
            return Truth(gradient, how)
        worst = int((found - slope).abs().argmax())
        why = (
            f"autograd through adapt says {found[worst]:.6g} along a random direction, a difference says "
            f"{slope[worst]:.6g}: adapt hides a part of its graph, or is too steep here"
        )
    if count <= DIFFERENCES_UP_TO:
        return Truth(central_differences(outcome, theta), "central differences of adapt")
    raise NoOracle(
        f"{why}; for differences along all coordinates {count:,} parameters are too many (at most "
        f"{DIFFERENCES_UP_TO}): cut graphs with harness.trees.detach alone, or measure a smaller model"
    )


def _through_adapt(method: Method, tasks: TaskObjectives, theta: Params) -> Params | None:
    """The derivative by autograd; None where `adapt` leaves no graph or one with infinite derivatives."""
    leaves = trees.leaves(theta)
    with differentiable(), torch.enable_grad():
        loss = tasks.query.loss(method.adapt(tasks.support, leaves)).sum()
    if not loss.requires_grad:
        return None
    found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    gradient = dict(zip(leaves, found, strict=True))
    return gradient if all(bool(torch.isfinite(g).all()) for g in found) else None


def directional_derivative(
    function: Callable[[Params], Tensor], at: Params, direction: Params, step: float = STEP
) -> tuple[Tensor, Tensor]:
    """Derivative [T] of `function` (values [T] of independent tasks) along `direction`, and its error [T].

    Central differences at `step` and half of it, extrapolated (Richardson 1911): of fourth order. The error
    is estimated by what the extrapolation changed, and by rounding.
    """

    def central(h: float) -> tuple[Tensor, Tensor]:
        above, below = function(trees.axpy(h, direction, at)), function(trees.axpy(-h, direction, at))
        return (above - below) / (2 * h), above.abs()

    coarse, _ = central(step)
    fine, size = central(step / 2)
    best = (4 * fine - coarse) / 3
    return best, (best - fine).abs() + 8 * EPS * size / step


def central_differences(function: Callable[[Params], Tensor], at: Params, step: float = STEP) -> Params:
    """Derivative [T, ...] of `function` (values [T] of independent tasks) at `at`, coordinate by coordinate.

    Knows nothing of how the function is computed; four evaluations a parameter.
    """
    point = trees.flatten(trees.detach(at))
    found = torch.zeros_like(point)
    for i in range(point.shape[1]):
        unit = torch.zeros_like(point)
        unit[:, i] = 1
        found[:, i], _ = directional_derivative(function, at, trees.unflatten(unit, at), step)
    return trees.unflatten(found, at)


def implicit(tasks: TaskObjectives, theta: Params, phi: Params, lam: float) -> Truth:
    """(I + H / lam)^-1 v at phi*, the minimum of G next to `phi`, of every task [T, ...].

    phi* is found by a trust region (scipy) and polished by Newton's method; the linear system is solved by
    Cholesky's factors, or by MINRES where the Hessian would be too large. Raises NoOracle where phi* is not
    reached, or is no minimum.
    """
    if theta.keys() != phi.keys():
        raise NoOracle("the meta-parameters are not those of the model alone, so G is not defined by lam")
    found = []
    for t, chunk in enumerate(tasks.batch.chunks(1)):
        support = tasks.support
        own = task_objectives(chunk, tasks.model, support.loss_function, execution=support.execution)
        found.append(
            _InnerProblem(own, trees.take_task(theta, t), lam).meta_gradient(trees.take_task(phi, t))
        )
    gradient = {name: torch.cat([each[name] for each in found]) for name in theta}
    return Truth(gradient, "at phi*, by a trust region and Newton steps from phi_K")


class _InnerProblem:
    """G of one task as a function of a flat float64 vector [P], for scipy."""

    def __init__(self, tasks: TaskObjectives, theta: Params, lam: float) -> None:
        self.tasks, self.theta, self.lam = tasks, theta, lam
        self.g = Proximal(tasks.support, theta, lam)
        self.size = sum(p[0].numel() for p in theta.values())

    def meta_gradient(self, phi: Params) -> Params:
        x = self._solution(self._flat(phi))
        hessian = self._hessian(x)
        self._require_minimum(hessian)
        v = self._flat(self.tasks.query.gradient(self._params(x)))
        # (I + H / lam) g = v is lam (H + lam I)^-1 v, and H + lam I is the Hessian of G.
        return self._params(self.lam * self._solve(hessian, v))

    def _solution(self, start: np.ndarray) -> np.ndarray:
        scale = float(np.linalg.norm(self._gradient(self._flat(self.theta))))
        x, residual = start, float(np.linalg.norm(self._gradient(start)))
        if residual > 1e-4 * scale:
            found = optimize.minimize(
                self._value, start, jac=self._gradient, hessp=self._product, method="trust-krylov",
                options={"gtol": 1e-6 * scale, "maxiter": 200},
            )  # fmt: skip
            x, residual = found.x, float(np.linalg.norm(self._gradient(found.x)))
        for _ in range(POLISH):
            if residual <= 1e-15 * scale:
                break
            trial = x - self._solve(self._hessian(x), self._gradient(x))
            after = float(np.linalg.norm(self._gradient(trial)))
            if not after < residual:
                break
            x, residual = trial, after
        if not residual <= STATIONARY * scale:
            raise NoOracle(
                f"phi* was not reached: ||grad G|| is still {residual:.1e}, of {scale:.1e} at theta; take a "
                "smooth activation, or a step size at which the inner loop converges"
            )
        return x

    def _hessian(self, x: np.ndarray) -> np.ndarray | LinearOperator:
        product = self.g.hessian(self._params(x))

        def column(v: np.ndarray) -> np.ndarray:
            return self._flat(product(self._params(v)))

        if self.size > DENSE_UP_TO:
            return LinearOperator((self.size, self.size), matvec=column, dtype=np.float64)
        dense = np.stack([column(unit) for unit in np.eye(self.size)])
        return (dense + dense.T) / 2

    def _require_minimum(self, hessian: np.ndarray | LinearOperator) -> None:
        if isinstance(hessian, np.ndarray):
            least = float(linalg.eigvalsh(hessian, subset_by_index=(0, 0))[0])
        else:
            least = float(eigsh(hessian, k=1, which="SA", tol=1e-2, return_eigenvectors=False)[0])
        if least <= 0:
            raise NoOracle(
                f"phi* is no minimum: the Hessian of G has the eigenvalue {least:.1e}; raise lam above "
                f"{self.lam - least:.1e}"
            )

    @staticmethod
    def _solve(hessian: np.ndarray | LinearOperator, v: np.ndarray) -> np.ndarray:
        if isinstance(hessian, np.ndarray):
            return linalg.solve(hessian, v, assume_a="sym")
        return minres(hessian, v, rtol=1e-13, maxiter=2000)[0]

    def _value(self, x: np.ndarray) -> float:
        with torch.no_grad():
            return float(self.g.loss(self._params(x)))

    def _gradient(self, x: np.ndarray) -> np.ndarray:
        return self._flat(self.g.gradient(self._params(x)))

    def _product(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return self._flat(self.g.hessian(self._params(x))(self._params(v)))

    def _flat(self, params: Params) -> np.ndarray:
        return trees.flatten(params)[0].detach().cpu().numpy()

    def _params(self, x: np.ndarray) -> Params:
        first = next(iter(self.theta.values()))
        vector = torch.from_numpy(np.asarray(x, dtype=np.float64)).to(first.device)
        return trees.unflatten(vector.unsqueeze(0), self.theta)


def _random_direction(theta: Params) -> Params:
    """A seeded unit vector of every task."""
    flat = trees.flatten(theta)
    drawn = torch.from_numpy(generator("direction").normal(size=flat.shape)).to(flat)
    return trees.unflatten(drawn / drawn.norm(dim=1, keepdim=True), theta)
