"""The oracles themselves, against closed forms and derivatives by brute force."""

import math
from typing import Any, ClassVar

import pytest
import torch
from problems import (
    central_differences,
    executed,
    linear,
    make,
    parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)

from harness.core import trees
from harness.core.graph import differentiable
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.trees import Params
from harness.measure import oracles
from harness.measure.oracles import NoOracle, directional_derivative, implicit, unrolled
from harness.workloads.linear_regression import (
    implicit_meta_gradient,
    inner_solution,
    unrolled_iterate,
    unrolled_meta_gradient,
)
from methods.fomaml import FOMAML
from methods.imaml import ImamlGD, ImamlHF
from methods.maml import MAML
from methods.reptile import Reptile

LAM = 0.5


def weights(theta: Params) -> torch.Tensor:
    return theta["layer0.weight"].mT


def named(w: torch.Tensor) -> Params:
    return {"layer0.weight": w.mT}


INNER: list[dict[str, Any]] = [
    {"optimiser": "gradient-descent"},
    {"optimiser": "momentum", "momentum": 0.6},
    {"optimiser": "nesterov", "momentum": 0.6},
]


@pytest.mark.parametrize("settings", INNER, ids=[s["optimiser"] for s in INNER])
@pytest.mark.parametrize("steps", [0, 1, 7])
def test_the_unrolled_oracle_is_the_closed_form_on_linear_regression(
    settings: dict[str, Any], steps: int
) -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    method = make(ImamlGD, inner_steps=steps, inner_lr=0.4, lam=LAM, **settings)
    how = {"momentum": settings.get("momentum", 0.0), "nesterov": settings["optimiser"] == "nesterov"}
    phi = named(unrolled_iterate(tasks.batch.support, weights(theta), 0.4, steps, LAM, **how))
    assert relative_error(method.adapt(tasks.support, theta), phi) < 1e-12
    exact = named(unrolled_meta_gradient(tasks.batch, weights(theta), 0.4, steps, LAM, **how))
    assert relative_error(unrolled(method, tasks, theta).gradient, exact) < 1e-12


EVERY: list[tuple[type[Method], dict[str, Any]]] = [
    (MAML, {"lam": LAM}),
    (FOMAML, {}),
    (Reptile, {"optimiser": "adam", "inner_lr": 0.01}),
    (ImamlGD, {"optimiser": "nesterov"}),
    (ImamlGD, {"optimiser": "accelerated"}),
    (ImamlGD, {"optimiser": "adam", "inner_lr": 0.01}),
    (ImamlHF, {"lam": LAM}),
]


@pytest.mark.parametrize(
    ("cls", "settings"), EVERY, ids=[f"{c.__name__}-{list(s.values())}" for c, s in EVERY]
)
def test_every_inner_loop_is_differentiated_as_central_differences_do(
    cls: type[Method], settings: dict[str, Any]
) -> None:
    """Without a word of the method, and with no derivative of the test's own kind."""
    tasks = sine()
    theta = parameters(tasks.model, 3)
    method = make(cls, inner_steps=3, **settings)
    truth = unrolled(method, tasks, theta)
    assert "autograd" in truth.how
    brute = central_differences(lambda meta: tasks.query.loss(method.adapt(tasks.support, meta)), theta)
    assert relative_error(truth.gradient, brute) < 1e-6


@pytest.mark.parametrize("execution", ["loop", "vectorized"])
def test_the_unrolled_oracle_passes_through_batch_norm_of_the_support_set(execution: Any) -> None:
    tasks = executed(smooth_conv4(1, norm="support-stats"), execution)
    theta = parameters(tasks.model, 1)
    method = make(ImamlGD, inner_steps=2, lam=LAM)
    truth = unrolled(method, tasks, theta)
    assert "autograd" in truth.how
    along = trees.scale(0.1, parameters(tasks.model, 1, seed=9))
    ends = [tasks.query.loss(method.adapt(tasks.support, trees.axpy(h, along, theta))) for h in (1e-5, -1e-5)]
    slope = float((ends[0] - ends[1]) / 2e-5)
    assert float(trees.dot(truth.gradient, along)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(("inner_steps", "lr"), [(1, 0.01), (5, 0.05)])
def test_a_hidden_graph_is_found_out_where_the_network_has_kinks_too(inner_steps: int, lr: float) -> None:
    """Differences that cross kinks doubt themselves; that must not let a wrong gradient pass."""
    tasks = sine(4, activation="relu")
    theta = parameters(tasks.model, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(oracles, "DIFFERENCES_UP_TO", 0)
        with pytest.raises(NoOracle, match=r"hides a part of its graph|too rough"):
            unrolled(make(Hiding, inner_steps=inner_steps, cut=0, inner_lr=lr), tasks, theta)
        honest = make(MAML, inner_steps=inner_steps, inner_lr=lr)
        assert (
            relative_error(unrolled(honest, tasks, theta).gradient, honest.meta_gradient(tasks, theta))
            < 1e-12
        )


def test_differences_doubt_themselves_where_they_cross_a_kink() -> None:
    def function(x: Params) -> torch.Tensor:
        return torch.relu(x["x"]).sum(1)

    at = {"x": torch.tensor([[2e-7], [1.0]], dtype=torch.float64)}
    along = {"x": torch.ones(2, 1, dtype=torch.float64)}
    found, doubt = directional_derivative(function, at, along)
    assert float(doubt[0]) > 1e-2 > 1e-8 > float(doubt[1])
    assert float(found[1]) == pytest.approx(1.0, abs=1e-8)


class Hiding(Method):
    """MAML's inner loop with its graph cut by means of its own, on the way at `cut`."""

    kind: ClassVar[Kind] = "unrolled"
    memory_order: ClassVar[Order] = "linear"

    cut: int = 1
    inner_lr: float = 0.5

    def adapt(self, support: Objective, meta: Params) -> Params:
        phi = meta
        for k in range(self.inner_steps):
            g = support.gradient(phi)
            cut = {name: p.detach() for name, p in g.items()} if k == self.cut else g
            phi = trees.axpy(-self.inner_lr, cut, phi)
        return phi

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        raise NotImplementedError


def test_a_graph_that_is_cut_on_the_way_is_found_out_and_differences_take_over() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    truth = unrolled(make(Hiding, inner_steps=3), tasks, theta)
    assert truth.how == "central differences of adapt"
    assert (
        relative_error(truth.gradient, unrolled(make(Hiding, inner_steps=3, cut=9), tasks, theta).gradient)
        < 1e-9
    )


def test_too_many_parameters_for_differences_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracles, "DIFFERENCES_UP_TO", 26)
    tasks = smooth_mlp()
    with pytest.raises(
        NoOracle, match=r"along a random direction.* 27 parameters are too many \(at most 26\)"
    ):
        unrolled(make(Hiding, inner_steps=3), tasks, parameters(tasks.model, 3))


def test_differences_are_of_fourth_order_and_know_their_error() -> None:
    def function(x: Params) -> torch.Tensor:
        return torch.sin(3 * x["x"]).sum(1)

    at = {"x": torch.tensor([[0.3, -1.0], [2.0, 0.5]], dtype=torch.float64)}
    along = {"x": torch.tensor([[0.6, 0.8], [1.0, 0.0]], dtype=torch.float64)}
    exact = (3 * torch.cos(3 * at["x"]) * along["x"]).sum(1)
    found, doubt = directional_derivative(function, at, along)
    assert float((found - exact).abs().max()) < 1e-9
    assert bool(((found - exact).abs() <= doubt).all())
    rough = [
        float((directional_derivative(function, at, along, [h])[0] - exact).abs().max()) for h in (0.2, 0.1)
    ]
    assert math.log2(rough[0] / rough[1]) == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("lam", [1e-3, LAM, 20.0])
@pytest.mark.parametrize("condition", [10.0, 1000.0])
def test_the_implicit_oracle_is_the_closed_form_on_linear_regression(lam: float, condition: float) -> None:
    tasks = linear(condition=condition)
    theta = parameters(tasks.model, 3)
    exact = named(implicit_meta_gradient(tasks.batch, weights(theta), lam))
    for start in (theta, named(inner_solution(tasks.batch.support, weights(theta), lam))):
        assert relative_error(implicit(tasks, theta, start, lam).gradient, exact) < 1e-9


@pytest.mark.parametrize("dense_up_to", [1000, 0])
def test_the_implicit_oracle_is_the_derivative_of_a_converged_inner_loop(
    dense_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two thousand steps of gradient descent reach phi*, and autograd through them all its derivative; with a
    dense Hessian and, as in large models, without."""
    monkeypatch.setattr(oracles, "DENSE_UP_TO", dense_up_to)
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    method = make(MAML, inner_steps=2000, inner_lr=0.2, lam=LAM)
    truth = implicit(tasks, theta, method.adapt(tasks.support, theta), LAM)
    assert relative_error(truth.gradient, method.meta_gradient(tasks, theta)) < 1e-8


def test_where_phi_is_no_minimum_the_oracle_says_what_lam_would_do() -> None:
    tasks = smooth_mlp()
    theta = trees.scale(0.0, parameters(tasks.model, 3))  # a saddle of the network: all units are alike
    with pytest.raises(NoOracle, match=r"phi\* is no minimum.*raise lam above"):
        implicit(tasks, theta, theta, 1e-6)


def test_meta_parameters_beside_the_models_have_no_implicit_gradient() -> None:
    tasks = linear()
    theta = parameters(tasks.model, 3)
    with pytest.raises(NoOracle, match="not those of the model alone"):
        implicit(tasks, theta | {"rates": torch.ones(3, 1, dtype=torch.float64)}, theta, LAM)


def test_outside_of_the_context_adapt_leaves_no_graph() -> None:
    tasks = sine()
    theta = trees.leaves(parameters(tasks.model, 3))
    method = make(ImamlHF, inner_steps=2, lam=LAM)
    with differentiable():
        assert all(p.requires_grad for p in method.adapt(tasks.support, theta).values())
    assert not any(p.requires_grad for p in method.adapt(tasks.support, theta).values())
