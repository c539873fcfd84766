import gc
import math
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from problems import make

from harness.core import trees
from harness.core.method import Kind, Method, Order
from harness.core.objective import Objective, TaskObjectives
from harness.core.trees import Params
from harness.measure import time as instrument
from harness.measure.bench import Bench
from harness.measure.time import Contestant, PointFailed, measure_time, warm_up
from harness.measure.tracker import VirtualOutOfMemory
from harness.measure_settings import TimeSettings
from harness.training.meta_learner import Diverged
from harness.workloads.sinusoid import Sinusoid
from methods.fomaml import FOMAML
from methods.maml import MAML

CPU = torch.device("cpu")
ROUNDS = 5  # each collects garbage, a fifth of a second


def bench(method: Method, memory_budget: int | None = None) -> Bench:
    workload = Sinusoid()
    return Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=TimeSettings(meta_batch_size=2),
        seed=0,
        device=CPU,
        memory_budget=memory_budget,
    )


@dataclass
class Step:
    """A learner that writes down when it steps, from which parameters, and whether garbage is collected."""

    name: int
    log: list[tuple[int, float, bool]]
    meta: dict[str, torch.Tensor] = field(default_factory=lambda: {"w": torch.zeros(1)})

    def step(self, batch: Any) -> None:
        self.log.append((self.name, float(self.meta["w"]), gc.isenabled()))
        self.meta["w"] += 1


def mock_contestants(log: list[tuple[int, float, bool]], count: int = 5) -> list[Contestant]:
    steps: list[Any] = [Step(i, log) for i in range(count)]
    nothing: Any = None
    return [Contestant(10 * s.name, "", s, nothing, {"w": torch.full((1,), 7.0)}) for s in steps]


def orders(block: int, seed: int = 0) -> list[list[int]]:
    log: list[tuple[int, float, bool]] = []
    contestants = mock_contestants(log)
    for number in range(ROUNDS):
        measure_time(contestants, number, ROUNDS, block, seed, CPU)
    return [[name for name, _, _ in log[5 * k : 5 * k + 5]] for k in range(ROUNDS)]


def test_every_contestant_steps_once_a_round_in_an_order_that_varies() -> None:
    rounds = orders(block=0)
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 2


def test_the_order_is_a_pure_function_of_seed_and_block() -> None:
    assert orders(block=0) == orders(block=0)
    assert orders(block=0) != orders(block=1)
    assert orders(block=0) != orders(block=0, seed=1)


def test_every_step_starts_from_the_same_parameters_with_garbage_collection_off() -> None:
    log: list[tuple[int, float, bool]] = []
    contestants = mock_contestants(log)
    for number in range(3):
        measure_time(contestants, number, ROUNDS, 0, 0, CPU)
    assert {(start, collected) for _, start, collected in log} == {(7.0, False)}
    assert gc.isenabled()


def test_a_step_that_raises_leaves_garbage_collection_on() -> None:
    contestants = mock_contestants([])
    contestants[0].learner.meta = {}
    with pytest.raises(PointFailed, match="point 0 failed") as raised:
        measure_time(contestants, 0, ROUNDS, 0, 0, CPU)
    assert isinstance(raised.value.failure, KeyError)
    assert gc.isenabled()


def test_readings_name_their_point_and_count_on_over_the_blocks() -> None:
    readings = measure_time(mock_contestants([]), 4, ROUNDS, 2, 0, CPU)
    assert sorted(r.point for r in readings) == [0, 10, 20, 30, 40]
    assert {r.repeat for r in readings} == {2 * ROUNDS + 4}
    assert {(r.metric, r.unit) for r in readings} == {("step_seconds", "s")}
    assert all(r.value is not None and r.value > 0 for r in readings)


def test_only_the_step_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that ticks at each reading, and rewinding and synchronising that move it."""
    now = [0.0]

    def tick() -> float:
        now[0] += 1.0
        return now[0]

    def synchronise(device: torch.device) -> None:
        now[0] += 100.0

    def rewind(self: Contestant) -> None:
        now[0] += 10_000.0

    monkeypatch.setattr(instrument.time, "perf_counter", tick)
    monkeypatch.setattr(instrument, "synchronise", synchronise)
    monkeypatch.setattr(Contestant, "rewind", rewind)
    readings = measure_time(mock_contestants([]), 0, ROUNDS, 0, 0, CPU)
    # The second synchronisation waits for the step's own work, so it belongs to the step.
    assert {r.value for r in readings} == {101.0}


def test_a_real_step_is_repeated_from_the_initial_parameters() -> None:
    contestant = warm_up(bench(make(MAML, inner_steps=2)), 3)
    model = Sinusoid().model()
    assert all(torch.equal(contestant.start[n], p) for n, p in model.initial(0).items())
    moved = {n: p.clone() for n, p in contestant.learner.meta.items()}
    assert any(not torch.equal(moved[n], contestant.start[n]) for n in moved)
    contestant.rewind()
    assert all(torch.equal(contestant.learner.meta[n], contestant.start[n]) for n in moved)
    (reading,) = measure_time([contestant], 0, ROUNDS, 0, 0, CPU)
    assert reading.point == 3
    assert reading.value is not None
    assert 0 < reading.value < 60


class Explodes(Method):
    kind: Kind = "pseudo"  # type: ignore[misc]
    memory_order: Order = "constant"  # type: ignore[misc]

    def adapt(self, support: Objective, meta: Params) -> Params:
        return meta

    def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
        return trees.scale(math.nan, meta)


def test_a_point_that_is_not_finite_in_warm_up_does_not_enter_the_rotation() -> None:
    with pytest.raises(Diverged, match="not finite after one meta-step"):
        warm_up(bench(make(Explodes, inner_steps=1)), 0)


def test_a_point_over_the_budget_does_not_enter_the_rotation() -> None:
    with pytest.raises(VirtualOutOfMemory):
        warm_up(bench(make(FOMAML, inner_steps=1), memory_budget=10_000), 0)
