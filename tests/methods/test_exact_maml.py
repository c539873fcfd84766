"""The three ways to MAML's exact meta-gradient, against a plain loop of autograd and closed forms."""

import functools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from problems import (
    executed,
    linear,
    make,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)
from torch import Tensor

from harness.core import trees
from harness.core.episodes import Shots
from harness.core.model import Model
from harness.core.objective import TaskObjectives, cross_entropy, task_objectives
from harness.core.trees import Params
from harness.core.work import counting
from harness.measure.tracker import LiveStorages
from harness.workloads.glyphs import Glyphs
from harness.workloads.linear_regression import unrolled_iterate, unrolled_meta_gradient
from methods.maml import MAML
from methods.maml_checkpointed import MAMLCheckpointed
from methods.maml_replay import MAMLReplay

EXACT: dict[str, tuple[type[MAML], dict[str, Any]]] = {
    "maml": (MAML, {}),
    "replay": (MAMLReplay, {}),
    "replay-forward": (MAMLReplay, {"product": "forward-over-reverse"}),
    "checkpointed": (MAMLCheckpointed, {}),
    "checkpointed-1": (MAMLCheckpointed, {"segment": 1}),
    "checkpointed-3": (MAMLCheckpointed, {"segment": 3}),
    "checkpointed-in-one": (MAMLCheckpointed, {"segment": 100}),
}
every_way = pytest.mark.parametrize("way", EXACT)


def method_of(way: str, **settings: Any) -> MAML:
    cls, own = EXACT[way]
    return make(cls, **own, **settings)


def mean_loss(model: Model, params: dict[str, Tensor], shots: Shots, t: int) -> Tensor:
    outputs, targets = model.forward(params, shots.inputs[t : t + 1])[0], shots.targets[t]
    return F.mse_loss(outputs, targets) if targets.is_floating_point() else F.cross_entropy(outputs, targets)


def differentiated_loop(
    tasks: TaskObjectives, theta: Params, *, inner_steps: int, inner_lr: float, lam: float = 0.0
) -> Params:
    """The query loss after the inner loop, written out and differentiated task by task."""
    found: dict[str, list[Tensor]] = {name: [] for name in theta}
    for t in range(len(tasks.batch)):
        start = {name: p[t : t + 1].clone().requires_grad_() for name, p in theta.items()}
        phi = dict(start)
        for _ in range(inner_steps):
            loss = mean_loss(tasks.model, phi, tasks.batch.support, t)
            loss = loss + lam / 2 * sum((phi[n] - start[n]).pow(2).sum() for n in phi)
            slopes = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
            phi = {n: p - inner_lr * g for (n, p), g in zip(phi.items(), slopes, strict=True)}
        after = mean_loss(tasks.model, phi, tasks.batch.query, t)
        ends = torch.autograd.grad(after, list(start.values()), materialize_grads=True)
        for name, slope in zip(start, ends, strict=True):
            found[name].append(slope)
    return {name: torch.cat(parts) for name, parts in found.items()}


@functools.cache
def written_out(problem: Any, inner_steps: int, lam: float) -> tuple[TaskObjectives, Params, Params]:
    tasks = problem(2)
    theta = parameters(tasks.model, 2)
    return tasks, theta, differentiated_loop(tasks, theta, inner_steps=inner_steps, inner_lr=0.1, lam=lam)


@every_way
@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("inner_steps", [1, 2, 5, 20])
@pytest.mark.parametrize("problem", [smooth_mlp, sine, smooth_conv4], ids=lambda p: p.__name__)
def test_it_is_the_derivative_through_the_written_out_loop(
    problem: Any, inner_steps: int, lam: float, way: str
) -> None:
    tasks, theta, exact = written_out(problem, inner_steps, lam)
    method = method_of(way, inner_steps=inner_steps, inner_lr=0.1, lam=lam)
    assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-9


@every_way
def test_in_single_precision_on_drawn_letters_it_agrees_to_1e_4(way: str) -> None:
    """20-way, the published network with fewer filters, ReLU and all."""
    workload = Glyphs(ways=20, shots=1, queries=1, filters=16)
    tasks = task_objectives(workload.open(None).sample("train", 0, 0, 1), workload.model(), cross_entropy)
    theta = trees.repeat_for_tasks(tasks.model.initial(0), 1)
    exact = differentiated_loop(tasks, theta, inner_steps=8, inner_lr=0.1)
    result = method_of(way, inner_steps=8, inner_lr=0.1).meta_gradient(tasks, theta)
    assert result["conv0.weight"].dtype == torch.float32
    assert relative_error(result, exact) < 1e-4


@every_way
@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("inner_steps", [0, 1, 7, 40])
def test_linear_regression_has_the_closed_forms_iterates_and_meta_gradient(
    inner_steps: int, lam: float, way: str
) -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    w = theta["layer0.weight"].mT
    method = method_of(way, inner_steps=inner_steps, inner_lr=0.4, lam=lam)
    phi = {"layer0.weight": unrolled_iterate(tasks.batch.support, w, 0.4, inner_steps, lam).mT}
    assert relative_error(method.adapt(tasks.support, theta), phi) < 1e-9
    exact = {"layer0.weight": unrolled_meta_gradient(tasks.batch, w, 0.4, inner_steps, lam).mT}
    assert relative_error(method.meta_gradient(tasks, theta), exact) < 1e-9


@every_way
@pytest.mark.parametrize("norm", ["support-stats", "none"])
@pytest.mark.parametrize("down", ["stride", "max-pool"])
def test_every_form_of_conv4_is_differentiated(norm: Any, down: Any, way: str) -> None:
    tasks = smooth_conv4(2, norm=norm, down=down)
    theta = parameters(tasks.model, 2)
    settings = {"inner_steps": 4, "inner_lr": 0.1}
    exact = make(MAML, **settings).meta_gradient(executed(tasks, "loop"), theta)
    assert relative_error(method_of(way, **settings).meta_gradient(tasks, theta), exact) < 1e-9


# --- what each of them keeps, and what it does for that ----------------------------------------------------


def peak(method: MAML, tasks: TaskObjectives, theta: Params) -> int:
    with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
        method.meta_gradient(tasks, theta)
    return alive.peak


@pytest.mark.parametrize("lam", [0.0, 0.8])
@pytest.mark.parametrize("product", ["reverse-over-reverse", "forward-over-reverse"])
def test_replay_keeps_one_copy_of_the_parameters_a_step(product: str, lam: float) -> None:
    tasks = smooth_conv4(2)
    theta = parameters(tasks.model, 2)
    size = sum(p.nbytes for p in theta.values())
    few, many = (
        peak(make(MAMLReplay, inner_steps=k, product=product, lam=lam), tasks, theta) for k in (8, 24)
    )
    assert 0.95 * size <= (many - few) / 16 <= 1.05 * size
    unrolled = [peak(make(MAML, inner_steps=k, lam=lam), tasks, theta) for k in (8, 24)]
    assert unrolled[1] - unrolled[0] > 20 * (many - few), "so little that the test says nothing"


def test_checkpoints_grow_with_the_root_of_the_steps() -> None:
    tasks = smooth_conv4(2)
    theta = parameters(tasks.model, 2)
    at = {k: peak(make(MAMLCheckpointed, inner_steps=k), tasks, theta) for k in (4, 16, 64)}
    # Four times the steps, twice the segment: 2, 4 and 8 steps of graph and as many kept starts.
    assert at[64] - at[16] == pytest.approx(2 * (at[16] - at[4]), rel=0.02)
    assert at[64] < peak(make(MAML, inner_steps=9), tasks, theta)


def test_a_segment_bounds_the_graph_that_is_alive() -> None:
    tasks = smooth_conv4(2)
    theta = parameters(tasks.model, 2)
    size = sum(p.nbytes for p in theta.values())
    short, long = (peak(make(MAMLCheckpointed, inner_steps=k, segment=2), tasks, theta) for k in (8, 24))
    assert 0 < long - short <= 1.05 * size * (24 - 8) / 2


def test_replay_takes_each_inner_gradient_twice_and_a_product_for_each_step() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    for product in ("reverse-over-reverse", "forward-over-reverse"):
        with counting() as work:
            make(MAMLReplay, inner_steps=5, product=product).meta_gradient(tasks, theta)
        assert (work.gradients, work.hessian_products, work.losses) == (2 * 5 + 1, 5, 0)


def test_every_segment_but_the_last_is_run_twice() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    with counting() as work:
        make(MAMLCheckpointed, inner_steps=8).meta_gradient(tasks, theta)
    assert (work.gradients, work.hessian_products) == (6 + 8 + 1, 8)  # segments of 3, 3 and 2
