"""What each library's adapter computes, against plain autograd and closed forms."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from library_adapters import UNROLLED, every_adapter, load
from problems import (
    classification,
    linear,
    make,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)
from torch import Tensor

from harness.core.model import Model
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from harness.workloads.linear_regression import implicit_meta_gradient, inner_solution, unrolled_iterate
from harness.workloads.models import Conv4
from methods.imaml import ImamlGD


def smooth_conv4_by_support() -> TaskObjectives:
    return smooth_conv4(2, norm="support-stats")


every_problem = pytest.mark.parametrize(
    "problem", [smooth_mlp, sine, smooth_conv4, smooth_conv4_by_support], ids=lambda p: p.__name__
)


def unrolled(
    tasks: TaskObjectives, theta: Params, inner_lr: float, inner_steps: int
) -> tuple[Params, Params, Params]:
    """phi, the derivative of the query loss there by theta through every step, and its gradient at phi."""
    found: list[list[list[Tensor]]] = []
    for t in range(len(tasks.batch)):
        x, y = tasks.batch.support.inputs[t : t + 1], tasks.batch.support.targets[t : t + 1]
        xq, yq = tasks.batch.query.inputs[t : t + 1], tasks.batch.query.targets[t : t + 1]
        start = [p[t : t + 1].clone().requires_grad_() for p in theta.values()]
        phi = start
        for _ in range(inner_steps):
            output = tasks.model.forward(dict(zip(theta, phi, strict=True)), x)
            loss = tasks.support.loss_function(output, y).sum()
            gradient = torch.autograd.grad(loss, phi, create_graph=True)
            phi = [p - inner_lr * g for p, g in zip(phi, gradient, strict=True)]
        output = tasks.model.forward(dict(zip(theta, phi, strict=True)), xq, x)
        loss = tasks.query.loss_function(output, yq).sum()
        through = torch.autograd.grad(loss, start, retain_graph=True)
        here = torch.autograd.grad(loss, phi)
        found.append([[p.detach() for p in phi], list(through), list(here)])
    phis, throughs, heres = (
        dict(zip(theta, [torch.cat(parts) for parts in zip(*each, strict=True)], strict=True))
        for each in zip(*found, strict=True)
    )
    return phis, throughs, heres


@pytest.mark.parametrize("name", UNROLLED)
@every_problem
@pytest.mark.parametrize("inner_steps", [0, 1, 2, 5, 10, 20])
def test_maml_is_the_derivative_through_every_step(name: str, problem: Any, inner_steps: int) -> None:
    method = make(load(name), inner_steps=inner_steps, inner_lr=0.1)
    tasks = problem()
    theta = parameters(tasks.model, len(tasks.batch))
    _, through, _ = unrolled(tasks, theta, 0.1, inner_steps)
    assert relative_error(method.meta_gradient(tasks, theta), through) < 1e-9


@pytest.mark.parametrize("name", UNROLLED)
def test_maml_of_conv4_in_float32_is_the_derivative_through_every_step(name: str) -> None:
    method = make(load(name), inner_steps=5, inner_lr=0.1)
    model = Conv4(ways=5, filters=64)
    wide = classification(model, (1, 28, 28), 2, ways=5, shots=1)
    batch = wide.batch.to("cpu", torch.float32)
    tasks = replace(
        wide,
        support=replace(wide.support, shots=batch.support),
        query=replace(wide.query, shots=batch.query, reference=batch.support),
        batch=batch,
    )
    theta = {n: p.expand(2, *p.shape) for n, p in model.initial(0).items()}
    _, through, _ = unrolled(tasks, theta, 0.1, 5)
    found = method.meta_gradient(tasks, theta)
    assert all(p.dtype == torch.float32 for p in found.values())
    assert relative_error(found, through) < 1e-4


@every_problem
@pytest.mark.parametrize("inner_steps", [0, 1, 5, 20])
def test_first_order_maml_is_the_query_gradient_at_phi(problem: Any, inner_steps: int) -> None:
    method = make(load("fomaml@learn2learn"), inner_steps=inner_steps, inner_lr=0.1)
    tasks = problem()
    theta = parameters(tasks.model, len(tasks.batch))
    _, through, here = unrolled(tasks, theta, 0.1, inner_steps)
    found = method.meta_gradient(tasks, theta)
    assert relative_error(found, here) < 1e-10
    assert inner_steps == 0 or relative_error(found, through) > 1e-3  # the other would not pass for it


@pytest.mark.parametrize("name", [*UNROLLED, "fomaml@learn2learn"])
@every_problem
@pytest.mark.parametrize("inner_steps", [0, 1, 20])
def test_phi_is_that_of_plain_gradient_descent(name: str, problem: Any, inner_steps: int) -> None:
    method = make(load(name), inner_steps=inner_steps, inner_lr=0.1)
    tasks = problem()
    theta = parameters(tasks.model, len(tasks.batch))
    phi, _, _ = unrolled(tasks, theta, 0.1, inner_steps)
    assert relative_error(method.adapt(tasks.support, theta), phi) < 1e-12


# --- implicit MAML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner_steps", [0, 1, 7])
def test_imamls_phi_descends_on_the_proximal_objective(inner_steps: int) -> None:
    method = make(load("imaml@torchopt"), inner_steps=inner_steps, inner_lr=0.4, lam=0.8)
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    exact = unrolled_iterate(tasks.batch.support, w, 0.4, inner_steps, 0.8)
    assert relative_error(method.adapt(tasks.support, theta), {"layer0.weight": exact.mT}) < 1e-10


@pytest.mark.parametrize("dimension", [2, 6, 8])
def test_converged_imaml_is_the_closed_form_of_the_implicit_meta_gradient(dimension: int) -> None:
    cls = load("imaml@torchopt")
    settings = cls.converged  # type: ignore[attr-defined]
    method = make(cls, **settings)
    tasks = linear(dimension=dimension, condition=10.0)
    theta = parameters(tasks.model, 3)
    w, lam = theta["layer0.weight"].mT, settings["lam"]
    phi = {"layer0.weight": inner_solution(tasks.batch.support, w, lam).mT}
    assert relative_error(method.adapt(tasks.support, theta), phi) < 1e-10
    exact = {"layer0.weight": implicit_meta_gradient(tasks.batch, w, lam).mT}
    assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-8


@pytest.mark.parametrize("problem", [linear, sine], ids=lambda p: p.__name__)
@pytest.mark.parametrize("cg_steps", [1, 2, 3, 4])
@pytest.mark.parametrize("inner_steps", [0, 3, 20])
def test_cg_steps_buy_as_many_products_as_in_the_harness(
    problem: Any, cg_steps: int, inner_steps: int
) -> None:
    tasks = problem()
    theta = parameters(tasks.model, 3)
    settings = {"inner_steps": inner_steps, "inner_lr": 0.1, "lam": 5.0, "cg_steps": cg_steps}
    method, own = (make(cls, **settings) for cls in (load("imaml@torchopt"), ImamlGD))
    expected = own.meta_gradient(tasks, theta)
    assert relative_error(method.meta_gradient(tasks, theta), expected) < 1e-9
    other = make(ImamlGD, **settings | {"cg_steps": cg_steps + 1}).meta_gradient(tasks, theta)
    assert relative_error(other, expected) > 1e-7  # one product more or less would be seen


# --- what a library is handed -----------------------------------------------------------------------------


class Interleaved(Model):
    """A linear layer whose parameters an `nn.Module` lists in another order than they have here."""

    def initial(self, seed: int) -> Params:
        return {"a.weight": torch.ones(1, 2), "b.scale": torch.ones(1), "a.bias": torch.ones(1)}

    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        x = torch.tanh(inputs @ params["a.weight"].mT + params["a.bias"].unsqueeze(1))
        return x * params["b.scale"].unsqueeze(1)


@every_adapter
def test_parameters_keep_their_names_whatever_their_order(name: str) -> None:
    method = make(load(name), inner_steps=2, inner_lr=0.1)
    tasks = linear(dimension=2)
    tasks = replace(
        tasks,
        model=Interleaved(),
        support=replace(tasks.support, model=Interleaved()),
        query=replace(tasks.query, model=Interleaved()),
    )
    theta = parameters(tasks.model, 3)
    phi, through, here = unrolled(tasks, theta, 0.1, 2)
    found = method.meta_gradient(tasks, theta)
    assert list(found) == list(theta)
    if name == "imaml@torchopt":
        own = make(ImamlGD, inner_steps=2, inner_lr=0.1)
        assert relative_error(found, own.meta_gradient(tasks, theta)) < 1e-8
        return
    assert relative_error(found, here if name.startswith("fomaml") else through) < 1e-10
    assert relative_error(method.adapt(tasks.support, theta), phi) < 1e-12


class NoMemory(torch.autograd.Function):
    """Identity whose derivative cannot be had: the allocator has nothing left."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


class Greedy(Interleaved):
    def forward(self, params: Params, inputs: Tensor, reference: Tensor | None = None) -> Tensor:
        return NoMemory.apply(super().forward(params, inputs, reference))


@every_adapter
@pytest.mark.parametrize("call", ["adapt", "meta_gradient"])
def test_running_out_of_memory_in_a_library_is_told_as_such(name: str, call: str) -> None:
    method = make(load(name), inner_steps=1, inner_lr=0.1)
    tasks = linear(dimension=2)
    greedy = Greedy()
    tasks = replace(
        tasks,
        model=greedy,
        support=replace(tasks.support, model=greedy),
        query=replace(tasks.query, model=greedy),
    )
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        getattr(method, call)(tasks.support if call == "adapt" else tasks, parameters(tasks.model, 3))
