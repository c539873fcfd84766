"""What every adapter over a library owes the contract."""

import gc
import pickle

import pytest
import torch
from library_adapters import every_adapter, load
from problems import copy_of, make, parameters, relative_error, sine, smooth_conv4, smooth_mlp

from harness.core import trees
from harness.core.objective import TaskObjectives, task_objectives
from harness.measure.tracker import LiveStorages


@every_adapter
@pytest.mark.parametrize("inner_steps", [0, 3])
def test_equal_calls_give_equal_bits_of_the_right_names_and_shapes(name: str, inner_steps: int) -> None:
    tasks = smooth_conv4(2)
    theta = trees.leaves(parameters(tasks.model, 2))  # even where the caller's parameters require grad
    method, again = (make(load(name), inner_steps=inner_steps) for _ in range(2))
    for call in (lambda m: m.adapt(tasks.support, theta), lambda m: m.meta_gradient(tasks, theta)):
        first, second = call(method), call(again)
        assert list(first) == list(theta)
        for n, p in theta.items():
            assert torch.equal(first[n], second[n])
            assert (first[n].shape, first[n].dtype) == (p.shape, torch.float64)
            assert not first[n].requires_grad


@every_adapter
def test_zero_inner_steps_are_the_identity(name: str) -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    phi = make(load(name), inner_steps=0).adapt(tasks.support, theta)
    assert all(torch.equal(phi[n], theta[n]) for n in theta)


@every_adapter
def test_inputs_are_left_as_they_were(name: str) -> None:
    tasks = smooth_conv4(2, norm="support-stats")
    start = {n: p[0] for n, p in parameters(tasks.model, 1).items()}
    theta = trees.repeat_for_tasks(start, 2)  # as a meta-step hands them over: one memory for all tasks
    theta_before, batch_before = copy_of(theta), [t.clone() for t in tasks.batch.tensors()]
    method = make(load(name), inner_steps=2)
    method.adapt(tasks.support, theta)
    method.meta_gradient(tasks, theta)
    assert all(torch.equal(theta[n], theta_before[n]) for n in theta)
    assert not any(p.requires_grad or p.grad is not None for p in theta.values())
    assert all(torch.equal(a, b) for a, b in zip(tasks.batch.tensors(), batch_before, strict=True))


@every_adapter
def test_nothing_but_the_result_outlives_a_call(name: str) -> None:
    tasks = smooth_conv4(2)
    theta = parameters(tasks.model, 2)
    size = sum(p.nbytes for p in theta.values())
    method = make(load(name), inner_steps=2)
    with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
        before = alive.live
        for call in (lambda: method.meta_gradient(tasks, theta), lambda: method.adapt(tasks.support, theta)):
            result = call()
            gc.collect()
            assert alive.live == before + size
            del result


@every_adapter
def test_one_tasks_graph_is_gone_before_the_next_begins(name: str) -> None:
    """Without the garbage collector's help: the peak of four tasks is one's and three results."""
    peaks = []
    gc.disable()
    try:
        for count in (1, 4):
            tasks = smooth_conv4(count)
            theta = parameters(tasks.model, count)
            size = sum(p[0].nbytes for p in theta.values())
            method = make(load(name), inner_steps=8)
            method.meta_gradient(tasks, theta)
            with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
                before = alive.live
                method.meta_gradient(tasks, theta)
                peaks.append(alive.peak - before)
    finally:
        gc.enable()
    assert peaks[1] - peaks[0] <= 4 * size


@every_adapter
def test_a_tasks_result_does_not_depend_on_its_neighbours(name: str) -> None:
    tasks = sine()
    theta = parameters(tasks.model, 3)
    method = make(load(name), inner_steps=4)
    together = method.meta_gradient(tasks, theta)
    for t, chunk in enumerate(tasks.batch.chunks(1)):
        alone: TaskObjectives = task_objectives(chunk, tasks.model, tasks.query.loss_function)
        result = method.meta_gradient(alone, trees.take_task(theta, t))
        assert relative_error(result, trees.take_task(together, t)) < 1e-12


@every_adapter
def test_a_method_with_its_settings_can_be_pickled(name: str) -> None:
    method = make(load(name), inner_steps=3, inner_lr=0.2)
    assert pickle.loads(pickle.dumps(method)) == method
