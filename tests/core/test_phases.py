import importlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from problems import make

from harness.core import phases
from harness.core.method import Method
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from harness.measure.bench import Bench
from harness.measure.tracker import LiveStorages
from harness.measure_settings import MemorySettings
from harness.workloads.sinusoid import Sinusoid
from methods import BUILT_IN
from methods.fomaml import FOMAML


@pytest.fixture(autouse=True)
def from_the_start() -> Iterator[None]:
    phases.begin()
    yield
    phases.begin()


def phases_of(method: Method) -> list[str]:
    """The phases of one meta-step in the order in which they come, each once for a stretch."""
    workload = Sinusoid()
    bench = Bench(
        method, workload, workload.open(None), workload.model(), MemorySettings(meta_batch_size=2), 0,
        torch.device("cpu"), None,
    )  # fmt: skip
    learner, batch = bench.learner(2), bench.meta_batch()
    with LiveStorages([]) as tracker:
        learner.step(batch)
    found = [phase for _, phase in tracker.trace]
    return [phase for i, phase in enumerate(found) if i == 0 or phase != found[i - 1]]


def built_in(name: str) -> Method:
    module, _, attribute = BUILT_IN[name].partition(":")
    return make(getattr(importlib.import_module(module), attribute), inner_steps=3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maml", ["inner loop", "query", "backward", "outer update"]),
        ("fomaml", ["inner loop", "query", "outer update"]),
        ("reptile", ["inner loop", "outer update"]),
        ("imaml-gd", ["inner loop", "query", "solve", "outer update"]),
        ("imaml-hf", ["inner loop", "query", "solve", "outer update"]),
    ],
)
def test_a_meta_step_passes_through_its_phases_in_order(name: str, expected: list[str]) -> None:
    assert phases_of(built_in(name)) == expected


def test_an_adapter_that_marks_nothing_has_its_phases_told_apart() -> None:
    class Plain(FOMAML):
        """Differentiates the query loss itself."""

        def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
            phi = {n: p.requires_grad_() for n, p in self.adapt(tasks.support, meta).items()}
            total = tasks.query.loss(phi).sum()
            return dict(zip(phi, torch.autograd.grad(total, list(phi.values())), strict=True))

    assert phases_of(Plain(inner_steps=1)) == ["inner loop", "query", "backward", "outer update"]


def test_the_outermost_mark_holds_and_what_follows_belongs_to_it() -> None:
    assert phases.current() == "inner loop"
    with phases.phase("solve"):
        with phases.phase("query"):
            assert phases.current() == "solve"
        assert phases.current() == "solve"
    assert phases.current() == "solve"
    phases.begin()
    assert phases.current() == "inner loop"


def test_a_mark_ends_with_an_exception() -> None:
    with pytest.raises(ValueError, match="halt"), phases.phase("solve"):
        raise ValueError("halt")
    with phases.phase("query"):
        assert phases.current() == "query"


def test_each_chunk_of_tasks_begins_anew() -> None:
    workload = Sinusoid()
    bench = Bench(
        built_in("imaml-gd"), workload, workload.open(None), workload.model(),
        MemorySettings(meta_batch_size=2, task_chunk=1), 0, torch.device("cpu"), None,
    )  # fmt: skip
    learner, batch = replace(bench).learner(2), bench.meta_batch()
    with LiveStorages([]) as tracker:
        learner.step(batch)
    found = [phase for _, phase in tracker.trace]
    starts = [p for i, p in enumerate(found) if i == 0 or p != found[i - 1]]
    assert starts.count("inner loop") == 2
