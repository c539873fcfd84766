import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from problems import gaussian, make

from harness.analyze.readings import PEAK_PLACE
from harness.core.method import Method
from harness.core.objective import Execution
from harness.measure import memory
from harness.measure.allocator import allocator_peak
from harness.measure.bench import Bench
from harness.measure.memory import Asked, _resident_readings, measure_memory
from harness.measure.prediction import predicted_peak
from harness.measure.resident import ResidentPeak, Unreadable
from harness.measure.tracker import TRACE_POINTS, LiveStorages, storage_bytes
from harness.measure_settings import MemorySettings
from harness.protocol import Reading, Samples
from harness.workloads.glyphs import Glyphs
from harness.workloads.sinusoid import Sinusoid
from methods import BUILT_IN

MIB = 2**20
# All that can be read without a fresh process, which a test is not.
IN_PROCESS: dict[str, Any] = {"metrics": ["scratch_bytes", "predicted_peak_bytes"]}
SLOPE_MIB = 26.348  # a step and task of unrolled conv4, 20-way 5-shot (DESIGN, section 3)


def method_of(name: str, inner_steps: int) -> Any:
    module, _, attribute = BUILT_IN[name].partition(":")
    cls: type[Method] = getattr(importlib.import_module(module), attribute)
    return make(cls, inner_steps=inner_steps)


def read(bench: Bench) -> dict[str, Reading]:
    return {said.metric: said for said in measure_memory(bench) if isinstance(said, Reading)}


def tiny(name: str, device: str = "cpu", execution: Execution = "vectorized", **settings: Any) -> Bench:
    """A method on three sinusoids."""
    workload = Sinusoid()
    return Bench(
        method=method_of(name, 2),
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=MemorySettings(**IN_PROCESS | {"meta_batch_size": 3, "execution": execution} | settings),
        seed=0,
        device=torch.device(device),
        memory_budget=None,
    )


def conv4(name: str, inner_steps: int, tasks: int = 1, ways: int = 20) -> Bench:
    """A method on the published network: 5 shots and one query image a class."""
    workload = Glyphs(ways=ways, shots=5, queries=1)
    return Bench(
        method=method_of(name, inner_steps),
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=MemorySettings(**IN_PROCESS | {"meta_batch_size": tasks}),
        seed=0,
        device=torch.device("cpu"),
        memory_budget=None,
    )


def conv4_peak(name: str, inner_steps: int, tasks: int = 1, ways: int = 20) -> float:
    """`peak_bytes` in MiB."""
    peak = read(conv4(name, inner_steps, tasks, ways))["peak_bytes"].value
    assert peak is not None
    return peak / MIB


def test_allocator_peak_is_exact_on_known_allocations() -> None:
    def step() -> None:
        a = torch.empty(3 * MIB, dtype=torch.uint8)
        b = torch.empty(5 * MIB, dtype=torch.uint8)
        del a
        c = torch.empty(2 * MIB, dtype=torch.uint8)
        del b, c
        d = torch.empty(7 * MIB, dtype=torch.uint8)
        del d

    assert allocator_peak(step) == 8 * MIB


def test_allocator_peak_counts_above_what_was_held_before() -> None:
    before = torch.empty(9 * MIB, dtype=torch.uint8)

    def step() -> None:
        before.clone()

    assert allocator_peak(step) == 9 * MIB


def test_allocator_peak_sees_scratch_that_the_tracker_cannot() -> None:
    """A median copies its input, a convolution in float64 unfolds it; both free that before they return."""
    x, weight = gaussian(0, 1, 64, 30, 30), gaussian(1, 64, 64, 3, 3)
    operators: list[Callable[[], object]] = [x.median, lambda: torch.nn.functional.conv2d(x, weight)]
    for operator in operators:

        def step(operator: Callable[[], object] = operator) -> None:
            operator()

        with LiveStorages([]) as tracker:
            step()
        assert allocator_peak(step) >= tracker.peak + x.nbytes


def test_a_step_without_allocation_is_an_error_not_a_zero() -> None:
    with pytest.raises(RuntimeError, match="saw no allocation"):
        allocator_peak(lambda: None)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_tracked_peak_is_never_above_the_allocators(name: str) -> None:
    value = {metric: reading.value or 0.0 for metric, reading in read(tiny(name)).items()}
    assert 0 < value["baseline_bytes"] < value["tracked_peak_bytes"] <= value["peak_bytes"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_in_a_loop_the_tracker_is_above_by_one_accumulated_gradient_at_most(name: str) -> None:
    """Where a tensor has several uses autograd adds up their gradients in place, but out of place under any
    dispatch mode (`isTensorSubclassLike` in its InputBuffer): the tracker makes the copy that it sees."""
    value = {metric: reading.value or 0.0 for metric, reading in read(tiny(name, execution="loop")).items()}
    largest_gradient = 3 * 40 * 40 * 4
    assert value["tracked_peak_bytes"] <= value["peak_bytes"] + largest_gradient


def test_accumulating_gradients_takes_a_copy_under_the_tracker_only() -> None:
    x = torch.ones(MIB // 4, requires_grad=True)
    factors = [torch.ones(MIB // 4) for _ in range(3)]

    def step() -> None:
        loss = sum((x * factor).sum() for factor in factors)
        assert isinstance(loss, torch.Tensor)
        torch.autograd.grad(loss, x)

    before = [x, *factors]
    with LiveStorages(before) as tracker:
        step()
    allocated = allocator_peak(step) + storage_bytes(before)
    assert allocated < tracker.peak <= allocated + MIB


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_baseline_is_parameters_outer_state_and_meta_batch(name: str) -> None:
    bench = tiny(name)
    meta = bench.method.meta_parameters(bench.model.initial(0))  # Meta-SGD has step sizes beside the model's
    parameters = sum(p.nbytes for p in meta.values())
    batch = 3 * 2 * (10 + 10) * 4  # x and y of 10 support and 10 query points
    copies, counters = (1, 0) if name == "reptile" else (3, 4 * len(meta))  # Adam: moments, a step an entry
    assert read(bench)["baseline_bytes"].value == copies * parameters + counters + batch


def test_readings_say_how_tasks_were_batched_and_repeat_to_the_byte() -> None:
    first, second = read(tiny("maml")), read(tiny("maml"))
    assert {m: r.value for m, r in first.items()} == {m: r.value for m, r in second.items()}
    assert all(r.unit == "byte" for r in first.values())
    assert first["peak_bytes"].detail.endswith("vectorized, native batching")
    assert "loop" in read(tiny("maml", execution="loop"))["peak_bytes"].detail


def test_a_smaller_task_chunk_lowers_the_peak_of_a_vectorized_step() -> None:
    peaks = [read(tiny("maml", task_chunk=chunk))["tracked_peak_bytes"].value for chunk in (1, 3)]
    assert peaks[0] is not None
    assert peaks[1] is not None
    assert peaks[0] < peaks[1]


def test_mamls_slope_on_the_published_network_is_26_348_mib_a_step() -> None:
    first, last = (conv4_peak("maml", steps) for steps in (1, 3))
    assert (last - first) / 2 == pytest.approx(SLOPE_MIB, rel=0.01)


def test_mamls_slope_grows_with_the_tasks_of_a_vectorized_chunk() -> None:
    peaks = [conv4_peak("maml", steps, tasks=4) for steps in (1, 2)]
    assert peaks[1] - peaks[0] == pytest.approx(4 * SLOPE_MIB, rel=0.03)


@pytest.mark.parametrize("name", ["fomaml", "reptile", "imaml-gd", "imaml-hf"])
def test_first_order_and_implicit_methods_need_no_more_for_more_steps(name: str) -> None:
    two, four = (conv4_peak(name, steps, ways=5) for steps in (2, 4))
    assert four == pytest.approx(two, rel=0.01)


@pytest.mark.gpu
@pytest.mark.parametrize("name", BUILT_IN)
def test_cuda_statistics_agree_with_the_tracker(name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here")
    readings = read(tiny(name, "cuda"))
    value = {metric: reading.value or 0.0 for metric, reading in readings.items()}
    assert "flag" not in readings
    assert value["tracked_peak_bytes"] <= value["requested_bytes"] <= value["peak_bytes"]
    assert value["peak_bytes"] <= value["reserved_bytes"]
    assert value["baseline_bytes"] < value["tracked_peak_bytes"]
    assert value["tracked_peak_bytes"] == read(tiny(name))["tracked_peak_bytes"].value


# --- readings that are skipped or doubted -----------------------------------------------------------------


@pytest.mark.parametrize("metric", ["requested_bytes", "reserved_bytes", "workspace_bytes", "nvml_bytes"])
def test_a_reading_that_was_named_and_cannot_be_given_is_skipped_with_the_reason(metric: str) -> None:
    reading = read(tiny("fomaml", metrics=[metric]))[metric]
    assert (reading.status, reading.value) == ("skipped", None)
    assert reading.detail == "a reading of CUDA devices; this cell ran on cpu"


def test_without_names_a_cpu_leaves_no_row_of_a_gpu() -> None:
    asked = Asked(tiny("fomaml", metrics=None))
    assert asked.for_("resident_peak_bytes")
    assert not list(asked.in_vain())


def test_only_what_was_named_is_read() -> None:
    assert set(read(tiny("fomaml", metrics=[]))) == {"peak_bytes", "baseline_bytes", "tracked_peak_bytes"}


def test_scratch_is_what_the_allocator_has_above_the_tracker() -> None:
    value = {metric: reading.value or 0.0 for metric, reading in read(tiny("maml")).items()}
    assert value["scratch_bytes"] == value["peak_bytes"] - value["tracked_peak_bytes"]


def test_a_tracker_above_the_allocator_is_flagged_and_leaves_no_scratch() -> None:
    readings = read(tiny("imaml-gd", execution="loop"))
    above = (readings["tracked_peak_bytes"].value or 0) - (readings["peak_bytes"].value or 0)
    assert above > 0
    assert readings["scratch_bytes"].status == "skipped"
    assert f"{above:,.0f} bytes above the allocator" in readings["flag"].detail


def test_a_prediction_that_is_off_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    def off(bench: Bench, **options: Any) -> Any:
        tracker = predicted_peak(bench, **options)
        tracker.peak = int(tracker.peak * 1.01)
        return tracker

    monkeypatch.setattr(memory, "predicted_peak", off)
    assert "off by +1.00%" in read(tiny("maml"))["flag"].detail
    monkeypatch.undo()
    assert "flag" not in read(tiny("maml"))


class Answer:
    """A fresh process that has read this."""

    def __init__(self, before: int, peak: int, sampled: int) -> None:
        self.reading = ResidentPeak(before, peak, sampled)

    def read(self) -> ResidentPeak:
        return self.reading


@pytest.mark.parametrize(
    ("answer", "live", "warning"),
    [
        (Answer(200 * MIB, 300 * MIB, 300 * MIB), 90 * MIB, None),
        (Answer(200 * MIB, 300 * MIB, 280 * MIB), 90 * MIB, None),  # 10 ms between samples may miss that
        (Answer(200 * MIB, 300 * MIB, 200 * MIB), 90 * MIB, "memory_profiler saw"),
        (Answer(200 * MIB, 300 * MIB, 330 * MIB), 90 * MIB, "memory_profiler saw"),
        (Answer(200 * MIB, 300 * MIB, 300 * MIB), 150 * MIB, "pages were never touched"),
        (Answer(200 * MIB, 201 * MIB, 201 * MIB), 8 * MIB, None),  # too few pages to tell
    ],
)
def test_resident_readings_that_contradict_each_other_are_flagged(
    answer: Any, live: int, warning: str | None
) -> None:
    readings = {reading.metric: reading for reading in _resident_readings(answer, live)}
    assert readings["resident_peak_bytes"].value == answer.reading.peak
    assert readings["resident_sampled_bytes"].value == answer.reading.sampled
    if warning is None:
        assert "flag" not in readings
    else:
        assert warning in readings["flag"].detail


@pytest.mark.parametrize(
    ("failure", "status"), [(MemoryError("gone"), "oom"), (ImportError("psutil"), "error")]
)
def test_a_resident_reading_that_fails_is_a_row_of_its_own_and_touches_no_other(
    failure: Exception, status: str
) -> None:
    class Failing:
        def read(self) -> ResidentPeak:
            raise failure

    (reading,) = _resident_readings(Failing(), MIB)  # type: ignore[arg-type]
    assert (reading.metric, reading.status, reading.value) == ("resident_peak_bytes", status, None)
    assert str(failure) in reading.detail


def test_where_the_system_does_not_tell_the_resident_peak_it_is_skipped() -> None:
    (reading,) = _resident_readings(Unreadable("no /proc"), MIB)
    assert (reading.status, reading.detail) == ("skipped", "no /proc")


def test_the_trace_is_the_envelope_of_the_step_and_holds_its_peak() -> None:
    said = list(measure_memory(conv4("maml", 4, ways=5)))
    (trace,) = [each for each in said if isinstance(each, Samples)]
    peak = next(r.value for r in said if isinstance(r, Reading) and r.metric == "tracked_peak_bytes")
    assert trace.name == "memory_trace"
    assert max(trace.columns["live_bytes"]) == peak
    assert len(trace.columns["operator"]) <= TRACE_POINTS
    assert trace.columns["operator"] == sorted(trace.columns["operator"])
    assert list(dict.fromkeys(trace.columns["phase"])) == ["inner loop", "query", "backward", "outer update"]


def test_the_tracked_peak_says_its_phase_and_operator_and_survives_the_way_into_rows() -> None:
    detail = read(tiny("imaml-gd"))["tracked_peak_bytes"].detail
    match = PEAK_PLACE.match(detail)
    assert match is not None
    assert match["phase"] in ("inner loop", "solve")
    assert match["operator"].startswith("aten.")
