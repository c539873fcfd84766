"""What the contract asks of every built-in method, whatever it computes."""

import gc
import importlib
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import (
    Watched,
    copy_of,
    executed,
    linear,
    make,
    meta_parameters,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
)

from harness.core import trees
from harness.core.method import Method
from harness.core.objective import Execution, TaskObjectives
from harness.measure.tracker import LiveStorages, storage_bytes
from methods import BUILT_IN


def load(name: str) -> type[Method]:
    module, _, attribute = BUILT_IN[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


EXECUTIONS: tuple[Execution, ...] = ("loop", "vectorized")
SETTINGS: dict[str, dict[str, Any]] = {
    "maml": {"lam": 0.5},
    "reptile": {"batch_size": 4},
    "maml-checkpointed": {"lam": 0.5, "segment": 1},
    "maml-truncated": {"lam": 0.5, "backward_steps": 2},
    "imaml-neumann": {"step_size": 0.5},
    "imaml@authors": {"cg_steps": 1},
}
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in BUILT_IN]
VARIANTS += [(name, SETTINGS[name]) for name in SETTINGS]
VARIANTS += [("imaml-gd", {"optimiser": kind}) for kind in ("momentum", "nesterov", "accelerated", "adam")]
VARIANTS += [("reptile", {"optimiser": "adam"})]
VARIANTS += [
    ("maml-replay", {"product": product, "lam": lam})
    for product, lam in (("reverse-over-reverse", 0.5), ("forward-over-reverse", 0.0))
]

every_method = pytest.mark.parametrize(
    ("name", "settings"), VARIANTS, ids=[f"{n}{'-'.join(['', *map(str, s.values())])}" for n, s in VARIANTS]
)


def trained_on(tasks: TaskObjectives, name: str) -> Any:
    """What the method's inner loop minimises in `meta_gradient`."""
    return tasks.joint if name == "reptile" else tasks.support


@every_method
def test_equal_calls_give_equal_bits(name: str, settings: dict[str, Any]) -> None:
    tasks = smooth_conv4(2)
    method, again = (make(load(name), inner_steps=3, **settings) for _ in range(2))
    theta = meta_parameters(method, tasks.model, 2)
    assert method == again
    for call in (lambda m: m.adapt(tasks.support, theta), lambda m: m.meta_gradient(tasks, theta)):
        first, second = call(method), call(again)
        assert all(torch.equal(first[n], second[n]) for n in first)


@every_method
@pytest.mark.parametrize("inner_steps", [0, 2])
def test_results_have_their_names_and_shapes_and_hold_no_graph(
    name: str, settings: dict[str, Any], inner_steps: int
) -> None:
    tasks = smooth_mlp()
    method = make(load(name), inner_steps=inner_steps, **settings)
    # Even where the caller's parameters require grad.
    theta = trees.leaves(meta_parameters(method, tasks.model, 3))
    model_names = list(tasks.model.initial(0))
    for result, names in (
        (method.adapt(tasks.support, theta), model_names),
        (method.meta_gradient(tasks, theta), list(theta)),
    ):
        assert list(result) == names
        assert all(result[n].shape == theta[n].shape for n in names)
        assert all(result[n].dtype == torch.float64 for n in names)
        assert not any(p.requires_grad for p in result.values())


@every_method
def test_inputs_are_left_as_they_were(name: str, settings: dict[str, Any]) -> None:
    tasks = smooth_conv4(2, norm="support-stats")
    method = make(load(name), inner_steps=2, **settings)
    theta = meta_parameters(method, tasks.model, 2)
    theta_before, batch_before = copy_of(theta), [t.clone() for t in tasks.batch.tensors()]
    method.adapt(tasks.support, theta)
    method.meta_gradient(tasks, theta)
    assert all(torch.equal(theta[n], theta_before[n]) for n in theta)
    assert not any(p.requires_grad or p.grad is not None for p in theta.values())
    assert all(torch.equal(a, b) for a, b in zip(tasks.batch.tensors(), batch_before, strict=True))


@every_method
def test_nothing_but_the_result_outlives_a_call(name: str, settings: dict[str, Any]) -> None:
    tasks = smooth_conv4(2)
    method = make(load(name), inner_steps=2, **settings)
    theta = meta_parameters(method, tasks.model, 2)
    size = sum(p.nbytes for p in theta.values())
    with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
        before = alive.live
        result = method.meta_gradient(tasks, theta)
        gc.collect()
        assert alive.live == before + size
        del result
        phi = method.adapt(tasks.support, theta)
        gc.collect()
        untouched = storage_bytes(theta.values())  # ANIL's phi shares theta's body
        assert alive.live == before + storage_bytes([*theta.values(), *phi.values()]) - untouched
        assert alive.live <= before + size
        del phi


@every_method
def test_zero_inner_steps_adapt_nothing(name: str, settings: dict[str, Any]) -> None:
    tasks = smooth_mlp()
    method = make(load(name), inner_steps=0, **settings)
    theta = meta_parameters(method, tasks.model, 3)
    phi = method.adapt(tasks.support, theta)
    assert all(torch.equal(phi[n], theta[n]) for n in phi)


@every_method
@pytest.mark.parametrize("inner_steps", [0, 4])
def test_meta_gradient_is_taken_at_the_phi_of_adapt(
    name: str, settings: dict[str, Any], inner_steps: int
) -> None:
    tasks = sine()
    method = make(load(name), inner_steps=inner_steps, **settings)
    theta = meta_parameters(method, tasks.model, 3)
    phi = method.adapt(trained_on(tasks, name), theta)
    if name == "reptile":
        moved = trees.subtract(theta, method.meta_gradient(tasks, theta))
        assert all(torch.allclose(moved[n], phi[n], rtol=1e-13, atol=1e-13) for n in theta)
        return
    watched = Watched(tasks.model)
    method.meta_gradient(replace(tasks, query=replace(tasks.query, model=watched)), theta)
    (seen,) = watched.seen
    assert relative_error(trees.subset(seen, phi), phi) < 1e-13


@every_method
def test_a_tasks_result_does_not_depend_on_its_neighbours(name: str, settings: dict[str, Any]) -> None:
    tasks = sine()
    method = make(load(name), inner_steps=4, **settings)
    theta = meta_parameters(method, tasks.model, 3)
    together = method.meta_gradient(tasks, theta)
    for t, chunk in enumerate(tasks.batch.chunks(1)):
        alone = TaskObjectives(
            replace(tasks.support, shots=chunk.support, seeds=chunk.seeds),
            replace(tasks.query, shots=chunk.query, seeds=chunk.seeds, reference=chunk.support),
            tasks.model,
            chunk,
        )
        result = method.meta_gradient(alone, trees.take_task(theta, t))
        assert relative_error(result, trees.take_task(together, t)) < 1e-10


@every_method
def test_tasks_may_share_the_storage_of_their_theta(name: str, settings: dict[str, Any]) -> None:
    """As the outer loop hands it over: views of one set of meta-parameters."""
    tasks = smooth_conv4(2)
    method = make(load(name), inner_steps=2, **settings)
    one = trees.take_task(meta_parameters(method, tasks.model, 1), 0)
    shared = trees.repeat_for_tasks({n: p[0] for n, p in one.items()}, 2)
    apart = copy_of(shared)
    for call in (lambda at: method.adapt(tasks.support, at), lambda at: method.meta_gradient(tasks, at)):
        assert relative_error(call(shared), call(apart)) < 1e-10


@every_method
def test_executions_agree_on_the_meta_gradient(name: str, settings: dict[str, Any]) -> None:
    tasks = smooth_conv4(2)
    method = make(load(name), inner_steps=3, **settings)
    theta = meta_parameters(method, tasks.model, 2)
    one, all_at_once = (method.meta_gradient(executed(tasks, execution), theta) for execution in EXECUTIONS)
    # Adam divides by the gradient's own size: where that is rounding alone (a bias under batch norm has no
    # gradient), it makes 1e-17 / eps = 1e-9 of it.
    bound = 1e-7 if settings.get("optimiser") == "adam" else 1e-10
    assert relative_error(one, all_at_once) < bound


@every_method
def test_adaptation_lowers_the_loss_of_what_it_is_trained_on(name: str, settings: dict[str, Any]) -> None:
    tasks = linear()
    method = make(load(name), inner_steps=30, **settings)
    theta = meta_parameters(method, tasks.model, 3)
    phi = method.adapt(tasks.support, theta)
    assert bool((tasks.support.loss(phi) < tasks.support.loss(theta)).all())


@every_method
def test_a_method_with_its_settings_can_be_pickled(name: str, settings: dict[str, Any]) -> None:
    method = make(load(name), inner_steps=3, **settings)
    assert pickle.loads(pickle.dumps(method)) == method


@pytest.mark.parametrize("name", BUILT_IN)
def test_settings_are_frozen_and_inner_steps_must_be_said(name: str) -> None:
    with pytest.raises(TypeError, match="inner_steps"):
        make(load(name))
    with pytest.raises(AttributeError, match="cannot assign"):
        make(load(name), inner_steps=1).inner_steps = 2
