import pytest
import torch
from problems import gaussian

from harness.core import trees
from harness.core.trees import Params


def tree(seed: int, tasks: int = 3) -> Params:
    return {
        "w": gaussian(seed, tasks, 2, 4),
        "b": gaussian(seed + 1, tasks, 4),
        "s": gaussian(seed + 2, tasks),
    }


def by_task(x: Params, task: int) -> torch.Tensor:
    return torch.cat([p[task].reshape(-1) for p in x.values()])


def test_dot_and_norm_are_those_of_each_tasks_concatenated_vector() -> None:
    x, y = tree(0), tree(10)
    for t in range(3):
        torch.testing.assert_close(trees.dot(x, y)[t], by_task(x, t) @ by_task(y, t))
        torch.testing.assert_close(trees.norm(x)[t], by_task(x, t).norm())


def test_dot_pairs_entries_by_name_not_by_order() -> None:
    x, y = tree(0), tree(10)
    backwards = {name: y[name] for name in reversed(y)}
    torch.testing.assert_close(trees.dot(x, backwards), trees.dot(x, y))


def test_axpy_with_a_number_scales_all_tasks_alike() -> None:
    x, y = tree(0), tree(10)
    result = trees.axpy(-0.5, x, y)
    for t in range(3):
        torch.testing.assert_close(by_task(result, t), by_task(y, t) - 0.5 * by_task(x, t))


def test_axpy_with_a_tensor_has_one_factor_a_task() -> None:
    x, y, factors = tree(0), tree(10), torch.tensor([0.0, -1.0, 2.5], dtype=torch.float64)
    result = trees.axpy(factors, x, y)
    for t in range(3):
        torch.testing.assert_close(by_task(result, t), by_task(y, t) + factors[t] * by_task(x, t))


def test_subtract_and_scale_are_those_of_vectors() -> None:
    x, y = tree(0), tree(10)
    for t in range(3):
        torch.testing.assert_close(by_task(trees.subtract(x, y), t), by_task(x, t) - by_task(y, t))
        torch.testing.assert_close(by_task(trees.scale(3.0, x), t), 3 * by_task(x, t))


def test_select_takes_whole_tasks() -> None:
    x, y = tree(0), tree(10)
    result = trees.select(torch.tensor([True, False, True]), x, y)
    for t, source in enumerate([x, y, x]):
        assert torch.equal(by_task(result, t), by_task(source, t))


def test_select_keeps_the_chosen_side_where_the_other_is_not_finite() -> None:
    x, bad = tree(0), trees.scale(torch.nan, tree(0))
    result = trees.select(torch.tensor([True, True, True]), x, bad)
    assert all(torch.equal(result[n], x[n]) for n in x)


def test_subset_is_in_the_order_asked_and_names_what_is_missing() -> None:
    assert list(trees.subset(tree(0), ("s", "w"))) == ["s", "w"]
    with pytest.raises(KeyError, match="nothing"):
        trees.subset(tree(0), ("nothing",))


def test_repeated_parameters_are_views_of_the_meta_parameters() -> None:
    meta = {"w": gaussian(0, 2, 4)}
    repeated = trees.repeat_for_tasks(meta, 5)
    assert repeated["w"].shape == (5, 2, 4)
    assert repeated["w"].data_ptr() == meta["w"].data_ptr()
    assert all(torch.equal(repeated["w"][t], meta["w"]) for t in range(5))


def test_take_task_keeps_a_task_axis() -> None:
    x = tree(0)
    one = trees.take_task(x, 2)
    assert {n: p.shape[0] for n, p in one.items()} == {"w": 1, "b": 1, "s": 1}
    assert torch.equal(by_task(one, 0), by_task(x, 2))


def test_leaves_start_a_new_graph_and_detach_has_none() -> None:
    x = trees.leaves(tree(0))
    y = trees.scale(2.0, x)
    assert all(p.is_leaf and p.requires_grad for p in trees.leaves(y).values())
    assert not any(p.requires_grad for p in trees.detach(y).values())
    assert all(p.requires_grad for p in x.values())


def test_a_derivative_has_zeros_where_the_loss_does_not_look() -> None:
    params = trees.leaves({"x": torch.tensor([[1.0, 2.0]]), "unused": torch.ones(1, 3)})
    found = trees.derivative(params["x"].square().sum(), params)
    assert torch.equal(found["x"], torch.tensor([[2.0, 4.0]]))
    assert torch.equal(found["unused"], torch.zeros(1, 3))
