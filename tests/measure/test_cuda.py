"""What only a CUDA device can show. Without one every test here skips."""

import importlib
from typing import Any

import pytest
import torch
from problems import make

from harness.measure.bench import Bench
from harness.measure.gradient import measure_gradient
from harness.measure.memory import measure_memory
from harness.measure.prediction import PROFILES, cuda_profile, predicted_peak
from harness.measure.wall import verify
from harness.measure_settings import GradientSettings, MemorySettings
from harness.protocol import Reading
from harness.worker import _is_out_of_memory
from harness.workloads.glyphs import Glyphs
from harness.workloads.linear_regression import LinearRegression
from methods import BUILT_IN
from methods.imaml import ImamlGD

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]
# The rest needs a fresh process, which a test is not once it has opened the device.
IN_PROCESS = [
    "scratch_bytes",
    "predicted_peak_bytes",
    "requested_bytes",
    "reserved_bytes",
    "workspace_bytes",
    "nvml_bytes",
]


def bench(name: str, inner_steps: int = 4, **settings: Any) -> Bench:
    """20-way 5-shot on conv4, as in `memory-scaling`."""
    module, _, attribute = BUILT_IN[name].partition(":")
    workload = Glyphs(ways=20, shots=5, queries=1)
    return Bench(
        method=make(getattr(importlib.import_module(module), attribute), inner_steps=inner_steps),
        workload=workload,
        tasks=workload.open(None),
        model=workload.model(),
        settings=MemorySettings(**{"meta_batch_size": 1, "metrics": IN_PROCESS} | settings),
        seed=0,
        device=torch.device("cuda"),
        memory_budget=None,
    )


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_reading_is_there_and_in_its_order(name: str) -> None:
    said = [reading for reading in measure_memory(bench(name)) if isinstance(reading, Reading)]
    value = {reading.metric: reading.value or 0.0 for reading in said}
    assert value["baseline_bytes"] < value["tracked_peak_bytes"] <= value["requested_bytes"]
    assert value["requested_bytes"] <= value["peak_bytes"] <= value["reserved_bytes"]
    assert value["workspace_bytes"] >= 0
    nvml = next(reading for reading in said if reading.metric == "nvml_bytes")
    assert nvml.status == "skipped" or value["nvml_bytes"] >= value["reserved_bytes"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_profiles_prediction_is_near_the_allocators_peak(name: str) -> None:
    """Ten percent: its workspaces are stated, and the scratch of the device's kernels is not in it."""
    value = {r.metric: r.value for r in measure_memory(bench(name, 16)) if isinstance(r, Reading)}
    peak, predicted = value["peak_bytes"], value["predicted_allocated_bytes"]
    assert predicted == pytest.approx(peak, rel=0.1), f"{predicted / peak - 1:+.2%}"  # type: ignore[operator]


def test_a_real_out_of_memory_is_told_from_other_errors() -> None:
    free, _ = torch.cuda.mem_get_info()
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(4 * free, dtype=torch.uint8, device="cuda")
    assert _is_out_of_memory(caught.value)


def test_a_wall_is_verified_on_the_device() -> None:
    profile = PROFILES[cuda_profile(torch.device("cuda"))]
    peak = predicted_peak(bench("maml", 2), profile=profile).peak
    assert "fits" in verify(bench("maml", 2), 2 * peak, profile, 2)
    assert verify(bench("maml", 2), peak // 2, profile, 2) == "run at 2: over the budget"


def test_errors_of_meta_gradients_are_those_of_the_cpu() -> None:
    """In float64; the oracles' solvers run on the host, whatever the device."""
    workload = LinearRegression(dimension=8, shots=16)
    settings = {"lam": 0.5, "cg_steps": 3, "inner_lr": 0.5}
    found = []
    for device in ("cpu", "cuda"):
        point = Bench(
            method=make(ImamlGD, inner_steps=5, **settings),
            workload=workload,
            tasks=workload.open(None),
            model=workload.model(),
            settings=GradientSettings(),
            seed=0,
            device=torch.device(device),
            memory_budget=None,
        )
        found.append({r.metric: r.value for r in measure_gradient(point) if isinstance(r, Reading)})
    assert found[1] == pytest.approx(found[0], rel=1e-6)
