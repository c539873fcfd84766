import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import (
    central_differences,
    classification,
    copy_of,
    executed,
    flat,
    formula,
    gaussian,
    linear,
    make,
    parameters,
    random_like,
    relative_error,
    sine,
    smooth_conv4,
    smooth_mlp,
    unflat,
)

from harness.core import trees
from harness.core.episodes import Shots
from harness.core.objective import (
    Objective,
    Proximal,
    TaskObjectives,
    cross_entropy,
    half_squared_error,
    squared_error,
)
from harness.core.seeds import generator
from harness.core.trees import Params
from harness.measure.tracker import LiveStorages
from harness.workloads.models import MLP, Conv4
from methods.maml import MAML

TASKS = (1, 2, 5)
CONV4 = [(norm, down) for norm in ("batch-stats", "support-stats", "none") for down in ("stride", "max-pool")]


def assert_executions_agree(tasks: TaskObjectives) -> None:
    """Loss, gradient, Hessian product and meta-gradient of both executions, to 1e-10 relative."""
    one, all_at_once = executed(tasks, "loop"), executed(tasks, "vectorized")
    theta = parameters(tasks.model, len(tasks.batch))
    v = random_like(theta, 50)
    for a, b in ((one.support, all_at_once.support), (one.query, all_at_once.query)):
        torch.testing.assert_close(a.loss(theta), b.loss(theta), rtol=1e-10, atol=0)
        torch.testing.assert_close(a.predict(theta), b.predict(theta), rtol=1e-9, atol=1e-10)
        assert relative_error(a.gradient(theta), b.gradient(theta)) < 1e-10
        assert relative_error(a.hessian(theta)(v), b.hessian(theta)(v)) < 1e-10
    method = make(MAML, inner_steps=2, inner_lr=0.1, lam=0.5)
    assert relative_error(method.meta_gradient(one, theta), method.meta_gradient(all_at_once, theta)) < 1e-10


@pytest.mark.parametrize("tasks", TASKS)
@pytest.mark.parametrize(("norm", "down"), CONV4)
def test_loop_and_vectorized_conv4_agree(norm: Any, down: Any, tasks: int) -> None:
    assert_executions_agree(smooth_conv4(tasks, norm=norm, down=down))


@pytest.mark.parametrize("tasks", TASKS)
def test_loop_and_vectorized_mlp_agree(tasks: int) -> None:
    assert_executions_agree(smooth_mlp(tasks))
    assert_executions_agree(linear(tasks))


def test_a_tasks_loss_is_that_of_the_task_alone() -> None:
    tasks = smooth_conv4(3)
    theta = parameters(tasks.model, 3)
    together = tasks.query.loss(theta)
    for t, chunk in enumerate(tasks.batch.chunks(1)):
        alone = replace(tasks.query, shots=chunk.query, seeds=chunk.seeds, reference=chunk.support)
        torch.testing.assert_close(alone.loss(trees.take_task(theta, t))[0], together[t], rtol=1e-10, atol=0)


def test_losses_are_means_over_the_examples_of_each_task() -> None:
    logits, labels = (
        gaussian(0, 3, 4, 5),
        torch.randint(5, (3, 4), generator=torch.Generator().manual_seed(0)),
    )
    outputs, values = gaussian(1, 3, 4, 2), gaussian(2, 3, 4, 2)
    for t in range(3):
        expected = torch.nn.functional.cross_entropy(logits[t], labels[t])
        torch.testing.assert_close(cross_entropy(logits, labels)[t], expected)
        mean = torch.nn.functional.mse_loss(outputs[t], values[t])
        torch.testing.assert_close(squared_error(outputs, values)[t], mean)
        torch.testing.assert_close(half_squared_error(outputs, values)[t], mean / 2)


@pytest.mark.parametrize("problem", [smooth_mlp, sine, linear], ids=lambda p: p.__name__)
def test_gradient_equals_central_differences(problem: Any) -> None:
    tasks = problem()
    theta = parameters(tasks.model, 3)
    for objective in (tasks.support, tasks.query, tasks.joint):
        assert relative_error(objective.gradient(theta), central_differences(objective.loss, theta)) < 1e-7


def test_gradient_with_respect_to_some_parameters_is_that_part_of_the_whole() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    whole = tasks.support.gradient(theta)
    for graph in (False, True):
        part = tasks.support.gradient(theta, wrt=tasks.support.head_names, graph=graph)
        assert list(part) == ["layer1.weight", "layer1.bias"]
        assert all(torch.equal(part[n].detach(), whole[n]) for n in part)


def test_a_gradient_without_graph_has_none_and_works_where_gradients_are_off() -> None:
    tasks = smooth_mlp()
    theta = trees.leaves(parameters(tasks.model, 3))
    with torch.no_grad():
        g = tasks.support.gradient(theta)
    assert not any(p.requires_grad for p in g.values())
    assert relative_error(g, trees.detach(tasks.support.gradient(theta, graph=True))) < 1e-14


def test_a_gradient_with_graph_stays_connected_to_the_parameters() -> None:
    tasks = smooth_mlp()
    theta = trees.leaves(parameters(tasks.model, 3))
    moved = trees.scale(2.0, theta)
    g = tasks.support.gradient(moved, graph=True)
    (through,) = torch.autograd.grad(trees.dot(g, g).sum(), [theta["layer0.weight"]])
    assert float(through.abs().max()) > 1e-6


def dense_hessian(objective: Objective, theta: Params, task: int) -> torch.Tensor:
    """[P, P] of one task, by torch's own double differentiation."""
    others = trees.detach(theta)

    def loss(vector: torch.Tensor) -> torch.Tensor:
        own = unflat(vector, trees.take_task(others, task))
        return objective.loss({n: torch.cat([p[:task], own[n], p[task + 1 :]]) for n, p in others.items()})[
            task
        ]

    return torch.autograd.functional.hessian(loss, flat(trees.take_task(others, task)))


@pytest.mark.parametrize("problem", [smooth_mlp, linear], ids=lambda p: p.__name__)
def test_hessian_product_equals_the_dense_hessian_and_is_symmetric(problem: Any) -> None:
    tasks = problem()
    theta = parameters(tasks.model, 3)
    product = tasks.support.hessian(theta)
    u, v = random_like(theta, 20), random_like(theta, 40)
    hv = product(v)
    torch.testing.assert_close(trees.dot(u, hv), trees.dot(v, product(u)), rtol=1e-10, atol=1e-12)
    for t in range(3):
        dense = dense_hessian(tasks.support, theta, t)
        expected = dense @ flat(trees.take_task(v, t))
        torch.testing.assert_close(flat(trees.take_task(hv, t)), expected, rtol=1e-9, atol=1e-11)
    assert relative_error(product.gradient, tasks.support.gradient(theta)) < 1e-14


@pytest.mark.parametrize(("norm", "down"), CONV4)
def test_hessian_product_of_conv4_is_the_derivative_of_its_gradient(norm: Any, down: Any) -> None:
    tasks = smooth_conv4(2, norm=norm, down=down)
    theta = parameters(tasks.model, 2)
    v = random_like(theta, 50)
    for objective in (tasks.support, tasks.query):
        ends = [objective.gradient(trees.axpy(step, v, theta)) for step in (1e-6, -1e-6)]
        differences = trees.scale(0.5e6, trees.subtract(*ends))
        assert relative_error(objective.hessian(theta)(v), differences) < 1e-6


def test_hessian_product_is_zero_for_a_linear_loss_and_for_unused_parameters() -> None:
    slope = gaussian(0, 2, 4)
    linear_loss = formula(lambda x, c: (x * c).sum(1), slope, 4)
    x = {"x": gaussian(1, 2, 4)}
    product = linear_loss.hessian(x)
    assert torch.equal(product.gradient["x"], slope)
    assert torch.equal(product({"x": gaussian(2, 2, 4)})["x"], torch.zeros_like(slope))

    bowl = formula(lambda x, c: (x * x * c).sum(1), slope, 4)
    v = {"x": gaussian(2, 2, 4), "unused": gaussian(3, 2, 3)}
    products = bowl.hessian(x | {"unused": gaussian(4, 2, 3)})(v)
    torch.testing.assert_close(products["x"], 2 * slope * v["x"])
    assert torch.equal(products["unused"], torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("problem", [smooth_mlp, linear], ids=lambda p: p.__name__)
def test_proximal_adds_half_lam_times_the_squared_distance(problem: Any) -> None:
    tasks = problem()
    theta, phi = parameters(tasks.model, 3), parameters(tasks.model, 3, seed=7)
    g = Proximal(tasks.support, theta, 0.7)
    away = [flat(trees.take_task(phi, t)) - flat(trees.take_task(theta, t)) for t in range(3)]
    squares = torch.stack([a @ a for a in away])
    torch.testing.assert_close(g.loss(phi), tasks.support.loss(phi) + 0.35 * squares)
    assert relative_error(g.gradient(phi), central_differences(g.loss, phi)) < 1e-7
    assert relative_error(g.hessian(phi).gradient, g.gradient(phi)) < 1e-14


def test_proximal_hessian_is_the_derivative_of_its_gradient() -> None:
    tasks = smooth_mlp()
    theta, phi = parameters(tasks.model, 3), parameters(tasks.model, 3, seed=7)
    g, v = Proximal(tasks.support, theta, 0.7), random_like(phi, 30)
    ends = [g.gradient(trees.axpy(step, v, phi)) for step in (1e-6, -1e-6)]
    assert relative_error(g.hessian(phi)(v), trees.scale(0.5e6, trees.subtract(*ends))) < 1e-7


def test_proximal_gradient_with_graph_is_differentiable_in_phi_and_theta() -> None:
    tasks = smooth_mlp()
    theta, phi = trees.leaves(parameters(tasks.model, 3)), trees.leaves(parameters(tasks.model, 3, seed=7))
    g = Proximal(tasks.support, theta, 0.7).gradient(phi, graph=True)
    v = random_like(phi, 30)
    names = list(theta)
    through = torch.autograd.grad(trees.dot(g, v).sum(), [theta[n] for n in names], materialize_grads=True)
    assert relative_error(dict(zip(names, through, strict=True)), trees.scale(-0.7, v)) < 1e-12


def test_a_proximal_minibatch_is_that_of_its_objective() -> None:
    tasks = smooth_mlp()
    theta, phi = parameters(tasks.model, 3), parameters(tasks.model, 3, seed=7)
    drawn = Proximal(tasks.support, theta, 0.7).minibatch(2, 3)
    assert torch.equal(drawn.loss(phi), Proximal(tasks.support.minibatch(2, 3), theta, 0.7).loss(phi))


def test_support_stats_query_depends_on_the_support_only_through_its_statistics() -> None:
    """Features of the first block are normalised by (x - mean) / sqrt(var + eps) of the support's features:
    permuting support examples, or showing all of them twice, leaves every prediction as it was."""
    tasks = smooth_conv4(2, norm="support-stats")
    theta = parameters(tasks.model, 2)
    predicted = tasks.query.predict(theta)
    support = tasks.batch.support
    mixed = support.inputs.flip(1)
    for reference in (mixed, torch.cat([support.inputs, mixed], 1)):
        again = replace(tasks.query, reference=Shots(reference, support.targets))
        torch.testing.assert_close(again.predict(theta), predicted, rtol=1e-9, atol=1e-10)
    other = replace(tasks.query, reference=Shots(support.inputs * 2 + 1, support.targets))
    assert float((other.predict(theta) - predicted).abs().max()) > 1e-3


def first_prediction_moves(norm: Any) -> float:
    """How far the prediction of the first query example moves when the others change."""
    tasks = smooth_conv4(2, norm=norm)
    theta = parameters(tasks.model, 2)
    query = tasks.batch.query
    others = torch.cat([query.inputs[:, :1], gaussian(99, *query.inputs[:, 1:].shape)], 1)
    changed = replace(tasks.query, shots=Shots(others, query.targets))
    return float((changed.predict(theta) - tasks.query.predict(theta))[:, 0].abs().max())


def test_batch_stats_are_transductive_and_support_stats_are_not() -> None:
    assert first_prediction_moves("batch-stats") > 1e-2
    assert first_prediction_moves("support-stats") < 1e-12
    assert first_prediction_moves("none") < 1e-12


def test_support_stats_of_the_support_itself_are_batch_stats() -> None:
    ours, published = smooth_conv4(2, norm="support-stats"), smooth_conv4(2, norm="batch-stats")
    theta = parameters(ours.model, 2)
    predicted = ours.support.predict(theta)
    torch.testing.assert_close(predicted, published.support.predict(theta), rtol=1e-9, atol=1e-10)
    same = replace(ours.query, shots=ours.batch.support)
    torch.testing.assert_close(same.predict(theta), predicted, rtol=1e-9, atol=1e-10)


def test_gradients_pass_through_the_support_sets_statistics() -> None:
    tasks = smooth_conv4(2, norm="support-stats")
    theta = parameters(tasks.model, 2)
    some = trees.subset(theta, ("conv0.weight", "norm1.weight", "head.bias"))
    whole = tasks.query.gradient(theta, wrt=tuple(some))
    differences = central_differences(lambda p: tasks.query.loss(theta | p), some)
    assert relative_error(whole, differences) < 1e-7

    # Shifting a bias before a norm shifts the statistics alike: were they constants, this would not be 0.
    bias = tasks.query.gradient(theta, wrt=("conv2.bias",))["conv2.bias"]
    assert float(bias.abs().max()) < 1e-12


def labelled_by_position(tasks: int, n: int) -> Objective:
    """Shots whose inputs are 0, 1, ..., n - 1 in every task."""
    inputs = torch.arange(n, dtype=torch.float64).view(1, n, 1).repeat(tasks, 1, 1)
    shots = Shots(inputs, inputs.clone())
    return Objective(MLP(widths=(1, 1)), shots, squared_error, tuple(range(7, 7 + tasks)))


def drawn(objective: Objective, size: int, *steps: int) -> list[list[int]]:
    """The examples of every task in these steps, one step after another."""
    shots = [objective.minibatch(step, size).shots for step in steps]
    assert all(torch.equal(each.inputs, each.targets) for each in shots)
    return torch.cat([each.inputs[..., 0] for each in shots], 1).int().tolist()


@pytest.mark.parametrize("size", [1, 3, 4, 12])
def test_minibatches_cover_every_epoch_once_in_a_new_order(size: int) -> None:
    objective, per_epoch = labelled_by_position(2, 12), 12 // size
    epochs = [drawn(objective, size, *range(e * per_epoch, (e + 1) * per_epoch)) for e in range(3)]
    for t in range(2):
        assert all(sorted(epoch[t]) == list(range(12)) for epoch in epochs)
        assert epochs[0][t] != epochs[1][t] != epochs[2][t]
    assert epochs[0][0] != epochs[0][1]


def test_minibatches_straddle_epochs_where_the_size_does_not_divide_the_shots() -> None:
    (seen,) = drawn(labelled_by_position(1, 10), 4, *range(5))
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))


@pytest.mark.parametrize(("shots", "size"), [(10, 1), (10, 4), (10, 7), (10, 10), (3, 2), (1, 1)])
def test_a_minibatch_is_position_by_position_that_of_its_epochs_permutation(shots: int, size: int) -> None:
    """Position p of all that a task ever sees is element p % n of the permutation of epoch p // n."""
    objective = labelled_by_position(2, shots)
    for step in range(25):
        positions = range(step * size, (step + 1) * size)
        expected = [
            [int(generator("minibatch", seed, p // shots).permutation(shots)[p % shots]) for p in positions]
            for seed in objective.seeds
        ]
        assert drawn(objective, size, step) == expected


def test_a_minibatch_is_a_pure_function_of_the_episodes_seed_and_the_step() -> None:
    objective = labelled_by_position(3, 10)
    late, first = drawn(objective, 4, 9), drawn(objective, 4, 0)
    assert (drawn(objective, 4, 9), drawn(objective, 4, 0)) == (late, first)
    second = replace(objective, shots=objective.shots.tasks(1, 2), seeds=objective.seeds[1:2])
    assert drawn(second, 4, 9) == [late[1]]
    assert drawn(replace(objective, seeds=(1, 2, 3)), 4, 0) != first


def test_a_minibatch_is_never_larger_than_the_shots() -> None:
    objective = labelled_by_position(2, 5)
    assert [sorted(task) for task in drawn(objective, 50, 3)] == [list(range(5))] * 2


def test_the_joint_set_is_the_support_followed_by_the_query() -> None:
    tasks = smooth_mlp()
    theta = parameters(tasks.model, 3)
    n, m = tasks.batch.support.per_task, tasks.batch.query.per_task
    expected = (n * tasks.support.loss(theta) + m * tasks.query.loss(theta)) / (n + m)
    torch.testing.assert_close(tasks.joint.loss(theta), expected)
    assert smooth_conv4(2, norm="support-stats").joint.reference is None


@pytest.mark.parametrize("problem", [smooth_mlp, smooth_conv4], ids=lambda p: p.__name__)
def test_nothing_but_the_result_outlives_a_call(problem: Any) -> None:
    tasks = problem()
    theta = parameters(tasks.model, len(tasks.batch))
    size = sum(p.nbytes for p in theta.values())
    with LiveStorages([*theta.values(), *tasks.batch.tensors()]) as alive:
        before = alive.live
        g = tasks.support.gradient(theta)
        gc.collect()
        assert alive.live == before + size
        product = tasks.support.hessian(theta)
        assert alive.live > before + 2 * size
        hv = product(g)
        del product
        gc.collect()
        assert alive.live == before + 2 * size
        del g, hv
        outputs = tasks.query.predict(theta)
        assert alive.live == before + outputs.untyped_storage().nbytes()
        assert not outputs.requires_grad


def test_inputs_are_left_as_they_were() -> None:
    tasks = smooth_conv4(2, norm="support-stats")
    theta = parameters(tasks.model, 2)
    v = random_like(theta, 9)
    theta_before, v_before = copy_of(theta), copy_of(v)
    batch_before = [t.clone() for t in tasks.batch.tensors()]
    for objective in (tasks.support, tasks.query, tasks.support.minibatch(1, 2)):
        objective.loss(theta)
        objective.gradient(theta, graph=True)
        objective.hessian(theta)(v)
        g = Proximal(objective, theta, 1.0)
        g.hessian(theta)(v)
    assert all(torch.equal(theta[n], theta_before[n]) and torch.equal(v[n], v_before[n]) for n in theta)
    assert all(torch.equal(a, b) for a, b in zip(tasks.batch.tensors(), batch_before, strict=True))
    assert not any(p.requires_grad or p.grad is not None for p in theta.values())


def test_float32_conv4_agrees_across_executions_as_far_as_float32_goes() -> None:
    model = Conv4(ways=5, filters=8)
    tasks = classification(model, (1, 28, 28), 4, ways=5)
    single = replace(
        tasks,
        support=replace(tasks.support, shots=tasks.batch.support.to("cpu", torch.float32)),
        query=replace(tasks.query, shots=tasks.batch.query.to("cpu", torch.float32)),
    )
    theta = trees.repeat_for_tasks(model.initial(0), 4)
    one, all_at_once = executed(single, "loop").query, executed(single, "vectorized").query
    assert relative_error(one.gradient(theta), all_at_once.gradient(theta)) < 1e-5
