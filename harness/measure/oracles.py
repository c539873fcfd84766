"""What a meta-gradient should be, found without the method's own `meta_gradient`, in float64.

There are two: the derivative of the map theta -> phi_K that the method's `adapt` computes, and the implicit
one, at the solution phi* of the inner problem. Neither calls an adapter's own solvers: the first takes the
derivative of `adapt` as a black box, the second takes scipy's and LAPACK's. Losses, gradients and Hessian
products are the objectives' own, which tests hold against closed forms.
"""

import math
from collections.abc import Callable, Sequence
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

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
"""Of differences: the larger ones for what is smooth, where about 1e-10 is left of truncation and rounding;
the smaller ones for what has kinks, for they seldom cross one."""

CONFIRMED = 1e-6  # of a typical slope along a random direction; a hidden graph is off by far more
ROUGH = 1e-3  # relative: a difference that doubts itself by more confirms nothing, and is no truth
DIFFERENCES_UP_TO = 400  # parameters: each costs sixteen adaptations
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
    that says otherwise, central differences along all coordinates. Raises NoOracle where there are too many
    of them, or they meet kinks.
    """

    def outcome(meta: Params) -> Tensor:
        phi = method.adapt(tasks.support, meta)
        with torch.no_grad():
            return tasks.query.loss(phi)

    count = sum(p[0].numel() for p in theta.values())
    try:
        gradient = _through_adapt(method, tasks, theta)
        _confirm(gradient, outcome, theta)
        return Truth(gradient, "autograd through adapt, confirmed by a difference along a random direction")
    except NoOracle as failure:
        why = str(failure)
    if count > DIFFERENCES_UP_TO:
        raise NoOracle(
            f"{why}; for differences along all coordinates {count:,} parameters are too many (at most "
            f"{DIFFERENCES_UP_TO}): cut graphs with harness.trees.detach alone, or measure a smaller model"
        )
    found, doubt = central_differences(outcome, theta)
    if bool((trees.norm(doubt) > ROUGH * trees.norm(found)).any()):
        raise NoOracle(f"{why}; differences along all coordinates meet kinks, take a smooth activation")
    return Truth(found, "central differences of adapt")


def _through_adapt(method: Method, tasks: TaskObjectives, theta: Params) -> Params:
    """The derivative by autograd. Raises NoOracle where there is no graph, or an infinite derivative."""
    leaves = trees.leaves(theta)
    with differentiable(), torch.enable_grad():
        loss = tasks.query.loss(method.adapt(tasks.support, leaves)).sum()
    if not loss.requires_grad:
        raise NoOracle("adapt leaves no graph to differentiate")
    found = trees.derivative(loss, leaves)
    if not all(bool(torch.isfinite(g).all()) for g in found.values()):
        raise NoOracle("autograd through adapt meets a derivative that is not finite")
    return found


def _confirm(gradient: Params, outcome: Callable[[Params], Tensor], theta: Params) -> None:
    """Raise NoOracle unless a difference along a random direction of every task says the same."""
    direction = _random_direction(theta)
    slope, doubt = directional_derivative(outcome, theta, direction)
    typical = trees.norm(gradient) / math.sqrt(sum(p[0].numel() for p in theta.values()))
    # Where a gradient has vanished, no more can be asked than rounding leaves.
    rounding = 8 * EPS * outcome(theta).abs() / STEPS[-1]
    if bool((doubt > torch.maximum(ROUGH * typical, rounding)).any()):
        raise NoOracle("adapt is too rough here for a difference to confirm its derivative")
    said = trees.dot(gradient, direction)
    off = (said - slope).abs()
    if bool((off > CONFIRMED * typical + 10 * doubt).any()):
        worst = int(off.argmax())
        raise NoOracle(
            f"autograd through adapt says {said[worst]:.6g} along a random direction, a difference says "
            f"{slope[worst]:.6g}: adapt hides a part of its graph, or jumps here, as a line search may"
        )


def directional_derivative(
    function: Callable[[Params], Tensor],
    at: Params,
    direction: Params,
    steps: Sequence[float] = STEPS,
) -> tuple[Tensor, Tensor]:
    """Derivative [T] of `function` (values [T] of independent tasks) along `direction`, and its error [T].

    Central differences at a step and half of it, extrapolated (Richardson 1911): of fourth order. The error
    is estimated by what the extrapolation changed, and by rounding; of all `steps` each task takes the one
    with the least, and doubts it by what smaller ones say against it.
    """

    def central(h: float) -> tuple[Tensor, Tensor]:
        above, below = function(trees.axpy(h, direction, at)), function(trees.axpy(-h, direction, at))
        return (above - below) / (2 * h), above.abs()

    values, doubts = [], []
    for step in steps:
        (coarse, _), (fine, size) = central(step), central(step / 2)
        values.append((4 * fine - coarse) / 3)
        doubts.append((values[-1] - fine).abs() + 8 * EPS * size / step)
    every, own = torch.stack(values), torch.stack(doubts)
    least, index = own.min(0)
    best = every.gather(0, index.unsqueeze(0))[0]
    # A smaller step that is as sure of another value has not crossed the kink that this one has.
    smaller = torch.arange(len(steps)).unsqueeze(1) > index.cpu()
    unexplained = ((every - best).abs() - own - least).clamp_min(0) * smaller.to(every)
    return best, least + unexplained.max(0).values


def central_differences(function: Callable[[Params], Tensor], at: Params) -> tuple[Params, Params]:
    """Derivative [T, ...] of `function` (values [T] of independent tasks) at `at`, coordinate by coordinate,
    and its error.

    Knows nothing of how the function is computed; sixteen evaluations a parameter.
    """
    point = trees.flatten(trees.detach(at))
    found, doubt = torch.zeros_like(point), torch.zeros_like(point)
    for i in range(point.shape[1]):
        unit = torch.zeros_like(point)
        unit[:, i] = 1
        found[:, i], doubt[:, i] = directional_derivative(function, at, trees.unflatten(unit, at))
    return trees.unflatten(found, at), trees.unflatten(doubt, at)


def implicit(tasks: TaskObjectives, theta: Params, phi: Params, lam: float) -> Truth:
    """(I + H / lam)^-1 v at phi*, the minimum of G next to `phi`, of every task [T, ...].

    phi* is found by a trust region (scipy) and polished by Newton's method; the linear system is solved
    directly, or by MINRES where the Hessian would be too large. Raises NoOracle where phi* is not
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
        solved = self._solve(hessian, v)
        left = float(np.linalg.norm(hessian @ solved - v) / np.linalg.norm(v))
        if not left <= STATIONARY:
            raise NoOracle(f"the linear system at phi* was solved to {left:.1e} only: raise lam")
        return self._params(self.lam * solved)

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
        x = minres(hessian, v, rtol=1e-13, maxiter=2000)[0]
        return x + minres(hessian, v - hessian @ x, rtol=1e-13, maxiter=2000)[0]  # one step of refinement

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
