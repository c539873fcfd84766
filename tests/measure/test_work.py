"""What a method asked of its objectives, as the time measure leaves it beside its seconds."""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

import pytest
import torch
from problems import make
from torch import Tensor

from harness.core.method import Kind, Method, Order
from harness.core.model import TaskModule
from harness.core.objective import Objective, TaskObjectives
from harness.core.trees import Params
from harness.core.work import begin, count, counting
from harness.measure.bench import Bench
from harness.measure.time import warm_up
from harness.measure.work import work_readings
from harness.measure_settings import TimeSettings
from harness.protocol import Reading
from harness.workloads.sinusoid import Sinusoid
from methods import BUILT_IN
from methods.fomaml import FOMAML
from methods.imaml import ImamlGD
from methods.maml import MAML
from methods.peers.task_by_task import TaskLoss, derivative, task_by_task
from methods.reptile import Reptile


def counted(method: Method, **settings: Any) -> dict[str, Reading]:
    """The readings of work that a warm-up leaves."""
    workload = Sinusoid()
    bench = Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=TimeSettings(**{"meta_batch_size": 3, **settings}),
        seed=0,
        device=torch.device("cpu"),
        memory_budget=None,
    )
    contestant = warm_up(bench, 7)
    return {reading.metric: reading for reading in contestant.work_readings(block=2)}


@pytest.mark.parametrize("task_chunk", [None, 1, 2])
@pytest.mark.parametrize("execution", ["vectorized", "loop"])
@pytest.mark.parametrize("steps", [1, 5])
def test_counts_are_those_of_the_formulas_however_tasks_are_batched(
    steps: int, execution: str, task_chunk: int | None
) -> None:
    """A step of the loop and the query: K + 1 gradients; MAML's way back: a product a step; Reptile has no
    query; iMAML: one gradient for the Hessian's graph and a product for each CG step."""
    formulas = {
        FOMAML: (steps + 1, 0),
        MAML: (steps + 1, steps),
        Reptile: (steps, 0),
        ImamlGD: (steps + 2, 3),
    }
    for cls, (gradients, products) in formulas.items():
        settings = {"cg_steps": 3, "cg_tolerance": 1e-30} if cls is ImamlGD else {}
        found = counted(make(cls, inner_steps=steps, **settings), task_chunk=task_chunk, execution=execution)
        values = [found[metric].value for metric in ("gradient_evaluations", "hessian_products")]
        assert values == [gradients, products], cls
        # Sinusoid has as many queries as shots; Reptile's gradients are of both.
        assert found["support_gradients"].value == (2 * gradients if cls is Reptile else gradients), cls
        assert {(r.point, r.repeat, r.status) for r in found.values()} == {(7, 2, "ok")}


K = 5
ENOUGH = 1e-30  # of a residual: the solver takes every step that it may
FORMULAS: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "maml": ({}, (K + 1, K)),
    "maml[lam]": ({"lam": 0.5}, (K + 1, K)),
    "fomaml": ({}, (K + 1, 0)),
    "reptile": ({}, (K, 0)),
    "maml-replay": ({}, (2 * K + 1, K)),
    "maml-replay[forward]": ({"product": "forward-over-reverse"}, (2 * K + 1, K)),
    "maml-checkpointed": ({}, (K + 3 + 1, K)),  # segments of 3 and 2 steps, of which the first is run twice
    "maml-truncated": ({"backward_steps": 2}, (K + 1, 2)),
    "anil": ({}, (K + 1, K)),
    "meta-sgd": ({}, (K + 1, K)),
    "imaml-gd": ({"cg_steps": 3, "cg_tolerance": ENOUGH, "optimiser": "accelerated"}, (K + 2, 3)),
    "imaml-hf": (
        {"cg_steps": 3, "cg_tolerance": ENOUGH, "newton_cg_steps": 2, "newton_cg_tolerance": ENOUGH},
        (K + 2, 2 * K + 3),
    ),
    "imaml-neumann": ({"terms": 4, "tolerance": ENOUGH}, (K + 2, 4)),
    "imaml@authors": ({"cg_steps": 3}, (K + 2, 3)),
}
"""Of every built-in method its gradients and Hessian products at five inner steps."""


@pytest.mark.parametrize("name", FORMULAS)
def test_every_built_in_method_counts_what_its_formula_says(name: str) -> None:
    settings, formula = FORMULAS[name]
    module, _, cls = BUILT_IN[name.partition("[")[0]].partition(":")
    found = counted(make(getattr(import_module(module), cls), inner_steps=K, **settings))
    assert (found["gradient_evaluations"].value, found["hessian_products"].value) == formula


def test_no_built_in_method_is_without_a_formula() -> None:
    assert {name.partition("[")[0] for name in FORMULAS} == set(BUILT_IN)


def test_a_chunk_counts_by_its_tasks() -> None:
    """Two tasks that take one product and a third that takes four: the mean over tasks is two."""
    with counting() as work:
        begin(2)
        count(gradients=1, hessian_products=1)
        begin(1)
        count(gradients=1, hessian_products=4)
    found = {r.metric: r.value for r in work_readings(0, [work], "a step")}
    assert found == {"gradient_evaluations": 1, "hessian_products": 2, "loss_evaluations": 0}


class OverALibrary(Method):
    """First-order MAML on a network that it differentiates by itself; its query's loss is an objective's."""

    kind: Kind = "first-order"  # type: ignore[misc]
    memory_order: Order = "constant"  # type: ignore[misc]

    def adapt(self, support: Objective, meta: Params) -> Params:
        def one(net: TaskModule, support: TaskLoss) -> Iterable[Tensor]:
            gradients = derivative(support(net), net.parameters())
            return [p - 0.1 * g for p, g in zip(net.parameters(), gradients, strict=True)]

        return task_by_task(one, meta, support)

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return tasks.query.gradient(self.adapt(tasks.support, meta))


class ByItself(OverALibrary):
    """Differentiates the model without any objective."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = {name: p.detach().requires_grad_() for name, p in meta.items()}
        outputs = tasks.model.forward(theta, tasks.batch.query.inputs)
        gradients = torch.autograd.grad(outputs.square().mean(), list(theta.values()))
        return dict(zip(theta, gradients, strict=True))


@pytest.mark.parametrize(("cls", "why"), [(OverALibrary, "library calls the model"), (ByItself, "by itself")])
def test_what_cannot_be_counted_is_skipped_with_a_reason(cls: type[Method], why: str) -> None:
    """Of the first, one gradient of two would be seen: half of the work is no count."""
    found = counted(make(cls, inner_steps=1))
    assert {(r.value, r.status) for r in found.values()} == {(None, "skipped")}
    assert all(why in r.detail for r in found.values())


def test_nothing_is_counted_outside_and_one_count_does_not_weigh_the_next() -> None:
    begin(5)
    count(gradients=1)
    with counting() as work:
        count(gradients=1)
    assert (work.gradients, work.tasks) == (1, 0)
