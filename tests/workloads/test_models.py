import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from problems import gaussian

from harness.core import trees
from harness.workloads.models import MLP, Conv4, xavier_uniform

PRINT_INITIAL = """
from harness.workloads.models import Conv4
print(Conv4(ways=3, filters=2).initial(7)["conv1.weight"].flatten()[:4].tolist())
"""


def test_conv4_of_the_papers_omniglot_has_117_076_parameters() -> None:
    """20 ways, 64 filters, strided: 4 convolutions with bias, 4 norms, a head on 2 x 2 x 64 features."""
    params = Conv4(ways=20, filters=64).initial(0)
    convolutions = (9 * 1 * 64 + 64) + 3 * (9 * 64 * 64 + 64)
    assert sum(p.numel() for p in params.values()) == convolutions + 4 * 2 * 64 + 20 * (256 + 1)
    assert convolutions + 4 * 2 * 64 + 20 * (256 + 1) == 117_076


@pytest.mark.parametrize(
    ("down", "size", "side"),
    [("stride", 28, 2), ("max-pool", 28, 1), ("max-pool", 84, 5), ("stride", 84, 6)],
)
def test_features_are_what_four_halvings_leave(down: Any, size: int, side: int) -> None:
    model = Conv4(ways=5, filters=3, channels=2, size=size, down=down)
    assert model.features == 3 * side * side
    params = trees.repeat_for_tasks(model.initial(0), 2)
    assert model.forward(params, torch.zeros(2, 4, 2, size, size)).shape == (2, 4, 5)


def test_conv4_without_norm_has_no_norm_parameters_and_its_head_is_named() -> None:
    with_norm, without = Conv4(ways=5), Conv4(ways=5, norm="none")
    assert set(with_norm.initial(0)) - set(without.initial(0)) == {
        f"norm{i}.{part}" for i in range(4) for part in ("weight", "bias")
    }
    assert set(with_norm.head_names) <= set(with_norm.initial(0))


def test_mlp_head_is_its_last_layer() -> None:
    deep, flat = MLP(widths=(1, 4, 4, 2)), MLP(widths=(3, 1), bias=False)
    assert deep.head_names == ("layer2.weight", "layer2.bias")
    assert flat.head_names == ("layer0.weight",)
    assert list(flat.initial(0)) == ["layer0.weight"]


@pytest.mark.parametrize("model", [Conv4(ways=3, filters=2), MLP(widths=(2, 5, 3))], ids=["conv4", "mlp"])
def test_initial_parameters_are_a_pure_function_of_the_seed(model: Any) -> None:
    first = model.initial(7)
    torch.manual_seed(3)
    again, other = model.initial(7), model.initial(8)
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)
    assert all(p.dtype == torch.float32 and p.device.type == "cpu" for p in first.values())
    again["layer0.weight" if "layer0.weight" in again else "head.weight"].zero_()
    assert all(torch.equal(first[n], model.initial(7)[n]) for n in first)


def test_initial_parameters_are_the_same_in_every_process() -> None:
    here = str(Conv4(ways=3, filters=2).initial(7)["conv1.weight"].flatten()[:4].tolist())
    there = subprocess.run(
        [sys.executable, "-c", PRINT_INITIAL],
        env=os.environ | {"PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_weights_are_uniform_within_glorots_bound_and_differ_between_layers() -> None:
    weight = xavier_uniform(0, "conv1.weight", (64, 64, 3, 3))
    bound = (6 / ((64 + 64) * 9)) ** 0.5
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not torch.equal(weight, xavier_uniform(0, "conv2.weight", (64, 64, 3, 3)))
    params = Conv4(ways=5).initial(0)
    assert all(float(params[n].abs().max()) == 0 for n in params if n.endswith("bias"))
    assert all(bool((params[f"norm{i}.weight"] == 1).all()) for i in range(4))


@pytest.mark.parametrize("norm", ["batch-stats", "none"])
def test_a_reference_changes_nothing_outside_support_stats(norm: Any) -> None:
    model = Conv4(ways=3, filters=2, size=16, norm=norm)
    params = {n: p.double().unsqueeze(0) for n, p in model.initial(0).items()}
    inputs = gaussian(0, 1, 4, 1, 16, 16)
    outputs = model.forward(params, inputs, gaussian(1, 1, 5, 1, 16, 16))
    assert torch.equal(outputs, model.forward(params, inputs))


def test_batch_norm_uses_the_biased_variance_and_the_customary_eps() -> None:
    """conv4 written out with means and variances."""
    model = Conv4(ways=3, filters=2, size=16)
    params = {n: p.double().unsqueeze(0) for n, p in model.initial(0).items()}
    inputs = gaussian(0, 1, 6, 1, 16, 16)
    x = torch.nn.functional.conv2d(inputs[0], params["conv0.weight"][0], stride=2, padding=1)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    x = torch.relu((x - mean) / (variance + 1e-5).sqrt())
    for i in (1, 2, 3):
        x = torch.nn.functional.conv2d(x, params[f"conv{i}.weight"][0], stride=2, padding=1)
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        x = torch.relu((x - mean) / (variance + 1e-5).sqrt())
    expected = x.flatten(1) @ params["head.weight"][0].T
    torch.testing.assert_close(model.forward(params, inputs)[0], expected, rtol=1e-9, atol=1e-10)
