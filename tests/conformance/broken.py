"""Adapters that are wrong in one way each, beside the one that is right."""

import enum
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from harness import Method, Objective, Params, TaskObjectives, trees
from harness.core.method import Kind, Order
from methods.imaml import ImamlGD
from methods.maml import MAML
from methods.maml_replay import MAMLReplay


class Right(Method):
    """First-order MAML."""

    kind: ClassVar[Kind] = "first-order"
    memory_order: ClassVar[Order] = "constant"

    inner_lr: float = 0.1

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = trees.detach(meta)
        for _ in range(self.inner_steps):
            phi = trees.axpy(-self.inner_lr, support.gradient(phi), phi)
        return phi

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return tasks.query.gradient(self.adapt(tasks.support, meta))


class WrongSign(Right):
    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.scale(-1.0, super().meta_gradient(tasks, meta))


class PassedOffAsUnrolled(Right):
    """The mistake of a much-copied repository: no graph, and called MAML."""

    kind: ClassVar[Kind] = "unrolled"


class ForgetsItsStepSizes(MAML):
    """Meta-learns a step size, and returns zeros as its derivative."""

    def meta_parameters(self, initial: Params) -> Params:
        return initial | {"alpha": torch.tensor(0.1)}

    def adapt(self, support: Objective, meta: Params) -> Params:
        theta = {n: p for n, p in meta.items() if n != "alpha"}
        for _ in range(self.inner_steps):
            theta = trees.axpy(-meta["alpha"].detach(), support.gradient(theta), trees.detach(theta))
        return trees.detach(theta)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = trees.leaves({n: p for n, p in meta.items() if n != "alpha"})
        phi = theta
        for _ in range(self.inner_steps):
            phi = trees.axpy(-meta["alpha"].detach(), tasks.support.gradient(phi, graph=True), phi)
        gradients = torch.autograd.grad(tasks.query.loss(phi).sum(), list(theta.values()))
        return dict(zip(theta, gradients, strict=True)) | {"alpha": torch.zeros_like(meta["alpha"])}


class ReturnsItsGraph(MAML):
    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = trees.leaves(meta)
        for _ in range(self.inner_steps):
            phi = trees.axpy(-self.inner_lr, support.gradient(phi, graph=True), phi)
        return phi


LEAKED: list[Params] = []


class Leaks(Right):
    """Keeps what it has seen, as a list of losses for a log does."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        LEAKED.append(self.adapt(tasks.support, meta))
        return tasks.query.gradient(LEAKED[-1])


class HiddenRandomness(Right):
    """Starts from noise of torch's global generator, the same for all tasks."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        if self.inner_steps:
            meta = trees.combine(lambda p: p + 1e-6 * torch.randn(p.shape[1:], dtype=p.dtype), meta)
        return super().adapt(support, meta)


MEMORY: dict[str, float] = {}


class KeepsState(Right):
    """A step size that shrinks from call to call."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        MEMORY["calls"] = MEMORY.get("calls", 0.0) + 1
        rate = self.inner_lr * (1 + 1e-3 / MEMORY["calls"])
        phi = trees.detach(meta)
        for _ in range(self.inner_steps):
            phi = trees.axpy(-rate, support.gradient(phi), phi)
        return phi


class Alternates(Right):
    """Another answer at every other call of `meta_gradient`."""

    kind: ClassVar[Kind] = "approximate"

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        MEMORY["turn"] = 1 - MEMORY.get("turn", 0.0)
        return trees.scale(1.0 + 0.1 * MEMORY["turn"], super().meta_gradient(tasks, meta))


class EmptiesItsInput(Right):
    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        gradient = super().meta_gradient(tasks, meta)
        meta.clear()
        return gradient


class ChangesTargets(Right):
    """Shifts the inputs of the task in place: from then on everyone sees them shifted."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        support.shots.inputs.mul_(1.01)
        return super().adapt(support, meta)


class MakesLeavesOfItsInputs(Right):
    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        for p in meta.values():
            p.requires_grad_()
        return super().meta_gradient(tasks, meta)


class WrongNames(Right):
    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return {f"model.{n}": p for n, p in super().meta_gradient(tasks, meta).items()}


class WrongShapes(Right):
    """The mean over the tasks, which is the harness's to take."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.combine(lambda g: g.mean(0), super().meta_gradient(tasks, meta))


class WrongDtype(Right):
    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.combine(lambda p: p.float(), super().meta_gradient(tasks, meta))


class Float64Always(Right):
    """Right in float64; in float32 its meta-gradient is float64 too."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.combine(lambda g: g.double(), super().meta_gradient(tasks, meta))


class NotANumber(Right):
    """0 / 0 where no step was taken."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        phi = self.adapt(tasks.support, meta)
        away = trees.norm(trees.subtract(phi, meta))
        return trees.axpy(0.0 * away / away, phi, tasks.query.gradient(phi))


class LiesAboutMemory(MAML):
    memory_order: ClassVar[Order] = "constant"


class ReplayIsNotSqrt(MAMLReplay):
    memory_order: ClassVar[Order] = "sqrt"


class FlatIsNotLinear(Right):
    memory_order: ClassVar[Order] = "linear"


class Unconverged(ImamlGD):
    converged: ClassVar[Mapping[str, Any]] = {**ImamlGD.converged, "cg_steps": 2}


class DividesZeroByZero(ImamlGD):
    """A conjugate gradient that goes on once it has converged: not a number under `converged` alone."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        phi = self.adapt(tasks.support, meta)
        hessian = tasks.support.hessian(phi)
        residual = direction = tasks.query.gradient(phi)
        x, size = trees.scale(0.0, residual), trees.dot(residual, residual)
        for _ in range(200 if self.lam == self.converged["lam"] else 3):
            image = trees.axpy(1 / self.lam, hessian(direction), direction)
            step = size / trees.dot(direction, image)
            x, residual = trees.axpy(step, direction, x), trees.axpy(-step, image, residual)
            before, size = size, trees.dot(residual, residual)
            direction = trees.axpy(size / before, direction, residual)
        return x


class NamesNothingConverged(ImamlGD):
    converged: ClassVar[Mapping[str, Any]] = {}


class MindsItsNeighbours(Right):
    """Divides by the norm over all tasks."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = trees.detach(meta)
        for _ in range(self.inner_steps):
            g = support.gradient(phi)
            size = sum(float(p.square().sum()) for p in g.values()) ** 0.5
            phi = trees.axpy(-self.inner_lr / max(size, 1.0), g, phi)
        return phi


class AnotherInnerMap(Right):
    """Takes the meta-gradient one step earlier than `adapt` ends."""

    kind: ClassVar[Kind] = "approximate"

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        phi = trees.detach(meta)
        for _ in range(self.inner_steps - 1):
            phi = trees.axpy(-self.inner_lr, tasks.support.gradient(phi), phi)
        return tasks.query.gradient(phi)


class AnotherInnerMapOnTheQuerysModel(Right):
    """One step more than `adapt`, with the network of the query, as adapters over libraries have it."""

    kind: ClassVar[Kind] = "approximate"

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        support = replace(tasks.support, model=tasks.query.model)
        phi = trees.detach(meta)
        for _ in range(self.inner_steps + 1):
            phi = trees.axpy(-self.inner_lr, support.gradient(phi), phi)
        return tasks.query.gradient(phi)


class LearnsMoreThanTheModel(Right):
    """First-order, with a learnt step size whose derivative it makes up."""

    def meta_parameters(self, initial: Params) -> Params:
        return initial | {"alpha": torch.tensor(self.inner_lr)}

    def adapt(self, support: Objective, meta: Params) -> Params:
        return super().adapt(support, trees.subset(meta, set(meta) - {"alpha"}))

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return super().meta_gradient(tasks, meta) | {"alpha": torch.full_like(meta["alpha"], -123.0)}


class HessianAtTheta(ImamlGD):
    """Right where the Hessian is the same everywhere, as in linear regression."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        v = tasks.query.gradient(self.adapt(tasks.support, meta))
        hessian = tasks.support.hessian(trees.detach(meta))
        return self.solver().solve(lambda u: trees.axpy(1 / self.lam, hessian(u), u), v).x


class AlwaysSteps(Right):
    """One step too many."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = trees.detach(meta)
        for _ in range(self.inner_steps + 1):
            phi = trees.axpy(-self.inner_lr, support.gradient(phi), phi)
        return phi


class MindsExecution(Right):
    """Looks at how it is executed."""

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = super().adapt(support, meta)
        same = support.execution == "loop" or not self.inner_steps
        return phi if same else trees.scale(1.0 + 1e-6, phi)


class ForgetsASetting(Right):
    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "inner_lr", self.inner_lr / 2)


class Weighting(enum.StrEnum):
    EQUAL = "equal"


class SettingIsNotPlain(Right):
    weighting: Weighting = Weighting.EQUAL


class Raises(Right):
    def adapt(self, support: Objective, meta: Params) -> Params:
        raise RuntimeError("no luck today")
