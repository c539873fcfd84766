import importlib
from typing import Any

import pytest
import torch
from problems import make

from harness.core import trees
from harness.core.method import Method
from harness.core.objective import TaskObjectives
from harness.core.trees import Params
from harness.measure.bench import Bench
from harness.measure.memory import EXACT
from harness.measure.prediction import PROFILES, DeviceProfile, Unpredictable, predicted_peak
from harness.measure.tracker import LiveStorages, VirtualOutOfMemory
from harness.measure_settings import MemorySettings
from harness.workloads.base import Workload
from harness.workloads.glyphs import Glyphs
from harness.workloads.sinusoid import Sinusoid
from methods import BUILT_IN
from methods.fomaml import FOMAML
from methods.reptile import Reptile


def bench_of(method: Method, workload: Workload | None = None, **settings: Any) -> Bench:
    workload = workload or Sinusoid()
    return Bench(
        method=method,
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=MemorySettings(**{"meta_batch_size": 2} | settings),
        seed=0,
        device=torch.device("cpu"),
        memory_budget=None,
    )


def built_in(name: str, inner_steps: int) -> Method:
    module, _, attribute = BUILT_IN[name].partition(":")
    return make(getattr(importlib.import_module(module), attribute), inner_steps=inner_steps)


def tracked_peak(bench: Bench) -> int:
    learner, batch = bench.learner(4), bench.meta_batch()
    learner.step(batch)
    with LiveStorages([*learner.state_tensors(), *batch.tensors()]) as tracker:
        learner.step(batch)
    return tracker.peak


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("settings", [{}, {"task_chunk": 1}, {"execution": "loop"}], ids=str)
def test_a_prediction_equals_the_tracker_on_an_mlp(name: str, settings: dict[str, Any]) -> None:
    bench = bench_of(built_in(name, 3), **settings)
    # An early exit is not taken on fake tensors: a solver's counters may then be of another type for a while.
    assert predicted_peak(bench).peak == pytest.approx(tracked_peak(bench), rel=EXACT)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize(
    "steps", [1, pytest.param(4, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow)]
)
def test_a_prediction_equals_the_tracker_on_the_published_network(name: str, steps: int) -> None:
    """20-way 5-shot with one query image a class: the setting of `memory-scaling`."""
    bench = bench_of(built_in(name, steps), Glyphs(ways=20, shots=5, queries=1), meta_batch_size=1)
    assert predicted_peak(bench).peak == pytest.approx(tracked_peak(bench), rel=EXACT)


@pytest.mark.parametrize(
    "settings", [{"norm": "support-stats"}, {"down": "max-pool"}, {"norm": "none"}], ids=str
)
def test_a_prediction_equals_the_tracker_in_every_form_of_conv4(settings: dict[str, Any]) -> None:
    workload = Glyphs(ways=3, shots=1, queries=1, filters=8, **settings)
    bench = bench_of(built_in("maml", 2), workload)
    assert predicted_peak(bench).peak == tracked_peak(bench)


def test_reptiles_mini_batches_are_predicted() -> None:
    bench = bench_of(Reptile(inner_steps=3, batch_size=4, optimiser="adam"))
    assert predicted_peak(bench).peak == tracked_peak(bench)


def test_it_says_where_the_peak_lies_as_the_tracker_does() -> None:
    found = predicted_peak(bench_of(built_in("imaml-gd", 2), Glyphs(ways=3, shots=1, queries=1, filters=8)))
    assert found.peak_phase == "solve"
    assert found.peak_operator.startswith("aten.")


def test_a_limit_holds_at_the_predicted_peak_and_breaks_one_byte_below() -> None:
    bench = bench_of(built_in("maml", 2))
    peak = predicted_peak(bench).peak
    assert predicted_peak(bench, limit=peak).peak == peak
    with pytest.raises(VirtualOutOfMemory, match=f"budget of {peak - 1:,}"):
        predicted_peak(bench, limit=peak - 1)


def test_a_step_that_no_machine_could_hold_is_predicted() -> None:
    bench = bench_of(built_in("maml", 2), Glyphs(ways=5, shots=5, queries=5, filters=16), meta_batch_size=4)
    wide = Glyphs(ways=5, shots=5, queries=5, filters=1024)
    assert predicted_peak(bench).peak < 2**30
    enormous = bench_of(built_in("maml", 8), wide, meta_batch_size=32)
    assert predicted_peak(enormous).peak > 60 * 2**30


def test_a_method_that_asks_for_values_is_unpredictable_and_says_why() -> None:
    class Curious(FOMAML):
        """Looks at a number."""

        def meta_gradient(self, tasks: TaskObjectives, meta: Params) -> Params:
            gradient = tasks.query.gradient(self.adapt(tasks.support, meta))
            return trees.scale(1.0 if float(trees.norm(gradient).sum()) > 1 else 2.0, gradient)

    with pytest.raises(Unpredictable, match="cannot be run without values: DataDependentOutput"):
        predicted_peak(bench_of(Curious(inner_steps=1)))


def test_prediction_leaves_the_bench_usable_and_the_parameters_real() -> None:
    bench = bench_of(built_in("fomaml", 1))
    predicted_peak(bench)
    learner = bench.learner(2)
    learner.step(bench.meta_batch())
    assert all(type(p) is torch.Tensor for p in learner.meta.values())


def test_a_profile_rounds_every_storage_up_and_adds_its_workspaces() -> None:
    bench = bench_of(built_in("maml", 2))
    exact, rounded = (
        predicted_peak(bench, profile=p).peak for p in (DeviceProfile(1, 0, ""), DeviceProfile(512, 0, ""))
    )
    with_workspace = predicted_peak(bench, profile=DeviceProfile(512, 10_240, "")).peak
    assert exact < rounded
    assert rounded % 512 == 0
    assert with_workspace == rounded + 10_240


def test_known_profiles_say_what_they_add() -> None:
    assert all(profile.source for profile in PROFILES.values())
    assert PROFILES["cuda"].workspace == 2 * 8_519_680  # what a memory snapshot shows for one handle
