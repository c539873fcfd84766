from itertools import pairwise
from typing import Any

import pytest
import torch
from problems import classification, executed, make, parameters, random_like, relative_error
from torch import nn

from harness.core import trees
from harness.core.model import ModuleModel, TaskModule
from harness.core.objective import TaskObjectives
from harness.workloads.models import MLP, Conv4, Norm
from methods.maml import MAML


class Conv4Twin(nn.Module):
    """conv4 as anyone would write it in torch.nn."""

    def __init__(self, filters: int, norm: bool, stride: bool, features: int) -> None:
        super().__init__()
        self.norm, self.stride = norm, stride
        for i in range(4):
            convolution = nn.Conv2d(filters if i else 1, filters, 3, stride=2 if stride else 1, padding=1)
            setattr(self, f"conv{i}", convolution)
            if norm:
                setattr(self, f"norm{i}", nn.BatchNorm2d(filters, track_running_stats=False))
        self.head = nn.Linear(features, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(4):
            x = getattr(self, f"conv{i}")(x)
            if self.norm:
                x = getattr(self, f"norm{i}")(x)
            x = nn.functional.softplus(x)
            if not self.stride:
                x = nn.functional.max_pool2d(x, 2)
        return self.head(x.flatten(1))


class MLPTwin(nn.Module):
    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = len(widths) - 1
        for i, (a, b) in enumerate(pairwise(widths)):
            setattr(self, f"layer{i}", nn.Linear(a, b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(self.layers):
            x = getattr(self, f"layer{i}")(x)
            if i < self.layers - 1:
                x = torch.tanh(x)
        return x


def assert_twins_agree(native: TaskObjectives, module: TaskObjectives) -> None:
    theta = parameters(native.model, len(native.batch))
    theirs = {n: theta[n] for n in parameters(module.model, 1)}
    assert set(theirs) == set(theta)
    predicted = native.query.predict(theta)
    torch.testing.assert_close(module.query.predict(theirs), predicted, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(module.query.loss(theirs), native.query.loss(theta), rtol=1e-10, atol=0)
    v = random_like(theta, 50)
    method = make(MAML, inner_steps=2, inner_lr=0.1)
    for execution in ("vectorized", "loop"):
        own = executed(module, execution)
        for ours, others in (
            (native.support.gradient(theta), own.support.gradient(theirs)),
            (native.support.hessian(theta)(v), own.support.hessian(theirs)(v)),
            (method.meta_gradient(native, theta), method.meta_gradient(own, theirs)),
        ):
            assert relative_error(trees.subset(others, ours), ours) < 1e-10


@pytest.mark.parametrize("stride", [True, False], ids=["stride", "max-pool"])
@pytest.mark.parametrize("norm", [True, False], ids=["batch-stats", "none"])
def test_a_torch_module_of_conv4_gives_the_numbers_of_the_native_one(norm: bool, stride: bool) -> None:
    native = Conv4(
        ways=3,
        filters=3,
        size=16,
        norm="batch-stats" if norm else "none",
        down="stride" if stride else "max-pool",
        activation="softplus",
    )
    module = ModuleModel(Conv4Twin(3, norm, stride, native.features), ("head.weight", "head.bias"))
    assert_twins_agree(classification(native, (1, 16, 16), 3), classification(module, (1, 16, 16), 3))


def test_a_torch_module_of_an_mlp_gives_the_numbers_of_the_native_one() -> None:
    widths = (2, 4, 5, 3)
    module = ModuleModel(MLPTwin(widths))
    native = MLP(widths=widths, activation="tanh")
    assert_twins_agree(classification(native, (2,), 3), classification(module, (2,), 3))


def test_rows_can_tell_how_tasks_are_batched() -> None:
    assert MLP(widths=(1, 1)).batching == "native"
    assert ModuleModel(nn.Linear(1, 1)).batching == "vmap"


def test_initial_parameters_of_a_module_are_a_pure_function_of_the_seed() -> None:
    model, other = ModuleModel(MLPTwin((2, 4, 3))), ModuleModel(MLPTwin((2, 4, 3)))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = model.initial(5)
    assert torch.equal(torch.get_rng_state(), state)
    kept = {n: p.clone() for n, p in first.items()}
    different = model.initial(6)
    assert any(not torch.equal(different[n], kept[n]) for n in kept)
    assert all(torch.equal(first[n], kept[n]) for n in kept), "a later call writes into earlier parameters"
    assert all(torch.equal(other.initial(5)[n], kept[n]) for n in kept)
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in kept.values())


@pytest.mark.parametrize("module", [nn.BatchNorm2d(3), nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))])
def test_a_module_that_keeps_state_between_calls_is_refused(module: Any) -> None:
    with pytest.raises(ValueError, match="track_running_stats=False"):
        ModuleModel(module)


# --- one task as an nn.Module -----------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch-stats", "support-stats", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tasks_module_computes_what_the_model_computes_for_that_task(
    norm: Norm, dtype: torch.dtype
) -> None:
    tasks = classification(Conv4(ways=3, filters=3, size=16, norm=norm), (1, 16, 16), 2)
    params = {n: p.to(dtype) for n, p in parameters(tasks.model, 2).items()}
    support, query = (shots.inputs.to(dtype) for shots in (tasks.batch.support, tasks.batch.query))
    together = tasks.model.forward(params, query, support)
    for t in range(2):
        module = TaskModule(tasks.model, trees.take_task(params, t))
        output = module(query[t], support[t])
        assert output.dtype == dtype
        torch.testing.assert_close(output, together[t], rtol=1e-5, atol=1e-5)
        alone = tasks.model.forward(trees.take_task(params, t), query[t : t + 1])[0]
        torch.testing.assert_close(module(query[t]), alone, rtol=0, atol=0)


def test_a_tasks_module_has_its_parameters_under_their_names() -> None:
    model = Conv4(ways=3, filters=3, size=16)
    params = trees.take_task(parameters(model, 2), 1)
    module = TaskModule(model, params)
    named = dict(module.named_parameters())
    assert list(named) == list(params)
    assert all(isinstance(p, nn.Parameter) and torch.equal(p, params[n][0]) for n, p in named.items())
    assert module.get_parameter("conv2.weight") is named["conv2.weight"]
    assert {n for n, _ in module.named_children()} == {name.partition(".")[0] for name in params}


def test_what_takes_a_parameters_place_in_a_tasks_module_is_what_it_computes_with() -> None:
    """Libraries do that: they put a tensor with a history where a parameter was."""
    model = MLP(widths=(2, 4, 3), activation="softplus")
    params = trees.take_task(parameters(model, 1), 0)
    module, x = TaskModule(model, params), torch.ones(5, 2, dtype=torch.float64)
    doubled = {n: (2 * p).squeeze(0).requires_grad_() for n, p in params.items()}
    expected = model.forward(trees.scale(2.0, params), x.unsqueeze(0))[0]
    torch.testing.assert_close(torch.func.functional_call(module, doubled, (x,)), expected)
    for name, p in doubled.items():
        layer, _, own = name.rpartition(".")
        module.get_submodule(layer)._parameters[own] = p  # type: ignore[assignment]
    output = module(x)
    torch.testing.assert_close(output, expected)
    gradients = torch.autograd.grad(output.sum(), list(doubled.values()))
    assert all(bool(g.any()) for g in gradients)


def test_a_tasks_module_shares_the_memory_of_its_parameters_and_no_graph() -> None:
    model = MLP(widths=(2, 3))
    params = trees.leaves(parameters(model, 1))
    module = TaskModule(model, params)
    for name, p in module.named_parameters():
        assert p.untyped_storage().data_ptr() == params[name].untyped_storage().data_ptr()
        assert p.is_leaf
        assert p.requires_grad
    module(torch.ones(1, 2, dtype=torch.float64)).sum().backward()
    assert all(p.grad is None for p in params.values())
