"""First-order inner optimisers: what they minimise has `loss`, `gradient` and `hessian` of T tasks.

Each is a fixed number of steps from a start; no graph outlives the call.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness.core import trees
from harness.core.trees import Params


class Curvature(Protocol):
    """v -> H v, with the gradient at the same point."""

    gradient: Params

    def __call__(self, v: Params) -> Params: ...


class Smooth(Protocol):
    """The losses of T tasks: an `Objective`, or a `Proximal` around one."""

    def loss(self, params: Params) -> Tensor: ...

    def gradient(self, params: Params) -> Params: ...

    def hessian(self, params: Params) -> Curvature: ...


SMALLEST = 1e-37  # a normal float32: the root of a zero second moment has a derivative, which is not finite

StepObjective = Callable[[int], Smooth]
"""What step number k minimises; the same objective at every k, unless mini-batches are drawn."""


class InnerOptimiser(Protocol):
    def minimise(self, objective: StepObjective, start: Params, steps: int) -> Params:
        """Parameters [T, ...] after `steps` steps from `start`."""


@dataclass(frozen=True)
class GradientDescent:
    """phi <- phi - lr * g; with `momentum` heavy-ball, with `nesterov` Nesterov's lookahead.

    The recursion is that of `torch.optim.SGD`.
    """

    lr: float
    momentum: float = 0.0
    nesterov: bool = False

    def minimise(self, objective: StepObjective, start: Params, steps: int) -> Params:
        phi = trees.detach(start)
        velocity: Params | None = None
        for k in range(steps):
            g = objective(k).gradient(phi)
            if self.momentum:
                velocity = g if velocity is None else trees.axpy(self.momentum, velocity, g)
                g = trees.axpy(self.momentum, velocity, g) if self.nesterov else velocity
            phi = trees.axpy(-self.lr, g, phi)
        return phi


@dataclass(frozen=True)
class AcceleratedGradient:
    """Nesterov's accelerated gradient (1983) with the adaptive restart of O'Donoghue and Candes (2015).

    x+ = y - lr * g(y), t+ = (1 + sqrt(1 + 4 t^2)) / 2, y+ = x+ + (t - 1) / t+ * (x+ - x); a task whose step
    goes uphill, g(y)'(x+ - x) > 0, begins again with t = 1. With lr = 1 / L it needs no condition number, and
    takes some sqrt(kappa) log(1 / error) steps.
    """

    lr: float

    def minimise(self, objective: StepObjective, start: Params, steps: int) -> Params:
        x = y = trees.detach(start)
        t: Tensor | None = None
        for k in range(steps):
            g = objective(k).gradient(y)
            previous, x = x, trees.axpy(-self.lr, g, y)
            moved = trees.subtract(x, previous)
            ascent = trees.dot(g, moved)
            uphill = ascent > 0
            t = torch.ones_like(ascent) if t is None else t
            following = (1 + (1 + 4 * t * t).sqrt()) / 2
            weight = torch.where(uphill, torch.zeros_like(t), (t - 1) / following)
            y = trees.axpy(weight, moved, x)
            t = torch.where(uphill, torch.ones_like(t), following)
        return x


@dataclass(frozen=True)
class InnerAdam:
    """Adam as an inner optimiser. Reptile's published Omniglot runs use `beta1` 0 and lr 1e-3."""

    lr: float
    beta1: float = 0.0
    beta2: float = 0.999
    eps: float = 1e-8

    def minimise(self, objective: StepObjective, start: Params, steps: int) -> Params:
        phi = trees.detach(start)
        first = trees.scale(0.0, phi)
        second = trees.scale(0.0, phi)
        for k in range(steps):
            g = objective(k).gradient(phi)
            first = trees.combine(lambda m, d: self.beta1 * m + (1 - self.beta1) * d, first, g)
            second = trees.combine(lambda s, d: self.beta2 * s + (1 - self.beta2) * d * d, second, g)
            rate = self.lr / (1 - self.beta1 ** (k + 1))
            correction = 1 - self.beta2 ** (k + 1)
            phi = trees.combine(
                lambda p, m, s, rate=rate, correction=correction: (
                    p - rate * m / ((s / correction).clamp_min(SMALLEST).sqrt() + self.eps)
                ),
                phi,
                first,
                second,
            )
        return phi
