"""What is asked of every built-in method beyond the conformance kit (tests/conformance)."""

import gc
from typing import Any

import pytest
from problems import (
    copy_of,
    executed,
    linear,
    make,
    meta_parameters,
    relative_error,
    smooth_conv4,
)
from variants import every_method, load

from harness.core import trees
from harness.core.objective import Execution
from harness.measure.tracker import LiveStorages, storage_bytes
from methods import BUILT_IN

EXECUTIONS: tuple[Execution, ...] = ("loop", "vectorized")


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


@pytest.mark.parametrize("name", BUILT_IN)
def test_settings_are_frozen_and_inner_steps_must_be_said(name: str) -> None:
    with pytest.raises(TypeError, match="inner_steps"):
        make(load(name))
    with pytest.raises(AttributeError, match="cannot assign"):
        make(load(name), inner_steps=1).inner_steps = 2
