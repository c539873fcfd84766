"""The derived bytes of an inner step against what is read, over shapes that tell the terms apart."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from harness.core import trees
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from harness.selfcheck.checks import Peaks, read_peaks
from harness.selfcheck.known import kept_by_conv4_step, kept_by_mlp_step
from harness.selfcheck.probes import Images, Regression, bench
from harness.workloads.base import Workload
from methods.maml import MAML

CPU = torch.device("cpu")


def peaks(workload: Workload, tasks: int, inner_steps: int, method: Any = MAML) -> Peaks:
    return read_peaks(bench(method(inner_steps=inner_steps), workload, CPU, tasks))


def slopes(workload: Workload, tasks: int, method: Any = MAML) -> tuple[float, float]:
    """Bytes of an inner step by the tracker and by the allocator."""
    low, high = (peaks(workload, tasks, steps, method) for steps in (2, 4))
    return (high.tracked - low.tracked) / 2, (high.allocated - low.allocated) / 2


def assert_derived(workload: Workload, tasks: int, kept: list[int]) -> None:
    tracked, allocated = slopes(workload, tasks)
    assert tracked == pytest.approx(sum(kept), rel=1e-4)
    assert allocated == pytest.approx(sum(kept), rel=1e-3)


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
@pytest.mark.parametrize(
    ("widths", "examples", "bias"),
    [
        ((5, 7, 3), 17, False),
        ((5, 7, 11, 3), 17, True),
        ((64, 7, 11, 3), 2, False),
        ((3, 9, 4, 13, 6, 2), 31, False),
        ((6, 4), 19, True),
    ],
)
def test_an_inner_step_on_an_mlp_keeps_what_is_derived(
    widths: tuple[int, ...], examples: int, bias: bool, activation: Any, tasks: int
) -> None:
    workload = Regression(widths=widths, examples=examples, activation=activation, bias=bias)
    assert_derived(workload, tasks, kept_by_mlp_step(widths, activation, examples, tasks))


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize(
    ("activation", "shape"),
    [
        ("tanh", {"ways": 3, "filters": 5, "channels": 2, "size": 20, "examples": 6}),
        ("tanh", {"ways": 4, "filters": 7, "channels": 1, "size": 28, "examples": 4}),
        ("tanh", {"ways": 2, "filters": 3, "channels": 3, "size": 17, "examples": 1}),
        ("relu", {"ways": 5, "filters": 4, "channels": 3, "size": 14, "examples": 10}),
        ("softplus", {"ways": 3, "filters": 6, "channels": 2, "size": 18, "examples": 9}),
    ],
)
def test_an_inner_step_on_conv4_keeps_what_is_derived(
    activation: Any, shape: dict[str, int], tasks: int
) -> None:
    workload = Images(**shape, activation=activation, queries=2)
    assert_derived(workload, tasks, kept_by_conv4_step(**shape, activation=activation, tasks=tasks))


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_the_tracker_is_never_above_the_allocator(activation: Any) -> None:
    """With relu it can be, by one gradient: where autograd adds gradients up at the peak, it does so out of
    place under the tracker."""
    read = peaks(Regression(widths=(5, 7, 11, 3), examples=17, activation=activation, bias=True), 3, 4)
    assert read.tracked <= read.allocated


def test_every_further_step_costs_the_same_from_the_second_on() -> None:
    workload = Regression(widths=(4, 32, 24, 3), examples=20)
    read = [peaks(workload, 2, steps).tracked for steps in range(2, 8)]
    kept = sum(kept_by_mlp_step(workload.widths, workload.activation, workload.examples, 2))
    assert [b - a for a, b in pairwise(read)] == [kept] * 5


class Hoarder(MAML):
    """MAML that keeps 64 bytes more of every inner step."""

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        theta = trees.leaves(meta)
        phi, hoard = theta, []
        for _ in range(self.inner_steps):
            phi = trees.axpy(-self.inner_lr, tasks.support.gradient(phi, graph=True), phi)
            hoard.append(torch.empty(16))
        gradients = torch.autograd.grad(tasks.query.loss(phi).sum(), list(theta.values()))
        return dict(zip(theta, gradients, strict=True))


def test_sixteen_numbers_too_many_are_seen_by_both_instruments() -> None:
    workload = Regression(widths=(5, 7, 3), examples=17)
    kept = sum(kept_by_mlp_step((5, 7, 3), "tanh", 17, 1))
    assert slopes(workload, 1, Hoarder) == (kept + 64, kept + 64)
