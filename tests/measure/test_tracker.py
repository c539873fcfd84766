import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from problems import make
from torch._subclasses.fake_tensor import FakeTensorMode

from harness.core.method import Method
from harness.measure.bench import Bench
from harness.measure.tracker import LiveStorages, VirtualOutOfMemory, storage_bytes
from harness.measure_settings import MemorySettings
from harness.workloads.sinusoid import Sinusoid
from methods import BUILT_IN

KIB = 1024


def kib(n: int) -> torch.Tensor:
    """A tensor of n KiB."""
    return torch.empty(n * KIB, dtype=torch.uint8)


def tiny(name: str, inner_steps: int = 2, memory_budget: int | None = None) -> Bench:
    """A method on two sinusoids."""
    module, _, attribute = BUILT_IN[name].partition(":")
    cls: type[Method] = getattr(importlib.import_module(module), attribute)
    workload = Sinusoid()
    return Bench(
        method=make(cls, inner_steps=inner_steps),
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=MemorySettings(meta_batch_size=2),
        seed=0,
        device=torch.device("cpu"),
        memory_budget=memory_budget,
    )


def test_the_peak_is_the_most_that_was_alive_at_once() -> None:
    with LiveStorages([]) as tracker:
        a = kib(10)
        b = kib(20)
        del a
        c = kib(5)
        del b, c
        d = kib(26)
    assert tracker.peak == 30 * KIB
    assert tracker.live == d.nbytes


def test_freed_storages_no_longer_count() -> None:
    with LiveStorages([]) as tracker:
        for _ in range(50):
            a = kib(10)
            del a
    assert tracker.peak == 10 * KIB
    assert tracker.live == 0


def test_views_are_not_counted_twice_and_keep_their_storage_alive() -> None:
    with LiveStorages([]) as tracker:
        a = kib(8)
        views = [a[:10], a.view(2, -1).t(), a.expand(3, -1), a.detach()]
        assert tracker.peak == 8 * KIB
        del a
        assert tracker.live == 8 * KIB
        views.clear()
        assert tracker.live == 0


def test_in_place_operations_allocate_nothing() -> None:
    with LiveStorages([]) as tracker:
        a = torch.zeros(KIB)
        a.add_(1).mul_(2)
        a[3:5].zero_()
        a.copy_(a)
        assert tracker.peak == 4 * KIB


def test_residents_count_from_the_start_once_for_each_storage() -> None:
    a, b = kib(4), kib(6)
    with LiveStorages([a, a[:5], b]) as tracker:
        assert tracker.live == 10 * KIB
        c = kib(1)
        del b
        assert tracker.live == 5 * KIB
    assert tracker.peak == 11 * KIB
    assert storage_bytes([a, a[:5], c]) == 5 * KIB


def test_a_view_of_a_larger_storage_counts_as_the_whole() -> None:
    base = kib(64)
    with LiveStorages([base[:1]]) as tracker:
        pass
    assert tracker.peak == storage_bytes([base[:1]]) == 64 * KIB


def test_what_autograd_saves_counts_until_it_is_released() -> None:
    x = torch.ones(KIB, requires_grad=True)
    with LiveStorages([x]) as tracker:
        y = x.exp()  # keeps its result
        loss = (y * y).sum()
        del y
        assert tracker.live == 4 * KIB + 4 * KIB + 4
        (g,) = torch.autograd.grad(loss, x)
        del loss
        assert tracker.live == 2 * 4 * KIB
        del g
    assert tracker.live == 4 * KIB


def test_tensors_of_several_results_count_each() -> None:
    with LiveStorages([]) as tracker:
        values, indices = torch.ones(KIB).max(0)
        top = torch.ones(8, KIB).topk(4, dim=0)
    assert tracker.live == values.nbytes + indices.nbytes + 4 * KIB * (4 + 8)
    del top


def test_fake_tensors_are_counted_as_real_ones() -> None:
    def work() -> None:
        a = torch.ones(100, 100)
        b = a @ a
        (a + b).relu_()

    with LiveStorages([]) as real:
        work()
    with FakeTensorMode(), LiveStorages([]) as fake:
        work()
    assert fake.peak == real.peak == 3 * 40_000


def test_the_budget_holds_at_the_peak_and_breaks_one_byte_below() -> None:
    def work() -> None:
        a = kib(10)
        b = kib(20)
        del a, b

    with LiveStorages([], limit=30 * KIB):
        work()
    small = LiveStorages([], limit=30 * KIB - 1)
    with pytest.raises(VirtualOutOfMemory, match=r"30,720 bytes .* budget of 30,719"), small:
        work()


def test_storages_of_another_kind_of_device_do_not_count() -> None:
    with LiveStorages([kib(3)], device="meta") as tracker:
        a, b = kib(5), torch.empty(7 * KIB, dtype=torch.uint8, device="meta")
        assert tracker.live == 7 * KIB
    del a, b


def test_residents_alone_may_break_the_budget() -> None:
    with pytest.raises(VirtualOutOfMemory, match="meta-parameters, outer state and meta-batch alone"):
        LiveStorages([kib(2)], limit=KIB)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_meta_step_fits_at_its_tracked_peak_and_fails_one_byte_below(name: str) -> None:
    bench = tiny(name)
    learner, batch = bench.learner(4), bench.meta_batch()
    learner.step(batch)
    with LiveStorages([*learner.state_tensors(), *batch.tensors()]) as tracker:
        learner.step(batch)
    replace(bench, memory_budget=tracker.peak).check_budget()
    with pytest.raises(VirtualOutOfMemory, match=f"budget of {tracker.peak - 1:,}"):
        replace(bench, memory_budget=tracker.peak - 1).check_budget()


@pytest.mark.parametrize("name", BUILT_IN)
def test_after_a_meta_step_only_the_state_and_the_meta_batch_live(name: str) -> None:
    bench = tiny(name)
    learner, batch = bench.learner(4), bench.meta_batch()
    learner.step(batch)
    resident: list[Any] = [*learner.state_tensors(), *batch.tensors()]
    with LiveStorages(resident) as tracker:
        for _ in range(3):
            learner.step(batch)
            assert tracker.live == storage_bytes(resident)
